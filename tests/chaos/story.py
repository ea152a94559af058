"""Experiments as the checkers' tests tell them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    CallEnded,
    CallStarted,
    DriverClosed,
    DriverOpened,
    Event,
    Failure,
    LeaseTaken,
    TrialAdded,
)
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic, document
from axsched_hpc.io.claim import Claim, Claimer
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal
from tests.chaos.asked import Laid
from tests.chaos.checker import check

HOST = "n1"


@dataclass
class Story:
    """An experiment that is written to a directory as it is told, and what the objective logged.

    Three trials. The worker of trial 1 was killed (process 11), and its second attempt (12) came to its end.
    """

    folder: Path
    events: list[Event] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    driver_log: str = "2026-01-01 INFO all is well\n"

    def __post_init__(self) -> None:
        self.lease = LeaseTaken(0.0, 2, HOST, 1, 1, None, "me", 60.0)
        self.opened = DriverOpened(0.0, 2, HOST, 1, "digest")
        trials = (0, 1, 2)
        self.events = [CallStarted(1.0, 1, "run", 0, max_trials=3)]
        self.events += [TrialAdded(1.0, n, f"{n}_0", parameters(n), "ax") for n in trials]
        self.plan("axs-a-0001", [(n, 1) for n in trials])
        for number, pid in ((0, 10), (1, 11), (2, 13)):
            self.begin(number, 1, pid)
        for number, pid in ((0, 10), (2, 13)):
            self.end(number, 1, pid)
        self.fail(1, 1)
        self.plan("axs-a-0002", [(1, 2)])
        self.begin(1, 2, 12)
        self.end(1, 2, 12)
        self.events.append(CallEnded(9.0, 1, "budget"))
        self.events.append(DriverClosed(9.0))

    @property
    def layout(self) -> Layout:
        return Layout.at(self.folder / "run")

    def plan(self, token: str, attempts: Sequence[tuple[int, int]]) -> None:
        self.events.append(BatchPlanned(2.0, token, tuple(attempts)))
        self.events.append(BatchSubmitted(2.0, token, {n: f"7_{n}" for n in range(len(attempts))}))

    def begin(self, trial: int, attempt: int, pid: int) -> None:
        self.events.append(AttemptStarted(3.0, trial, attempt))
        self.say("begins", trial, attempt, pid, parameters=parameters(trial))
        self.claim(trial, attempt, pid)

    def claim(self, trial: int, attempt: int, pid: int, name: str = "claim.json") -> None:
        held = Claim("axs", Claimer.WORKER, HOST, pid, pid, None, None, 0, 3.0)
        directory = self.layout.attempt(trial, attempt).root
        atomic.make_directory(directory)
        atomic.write(directory / name, document.encode(asdict(held)))

    def end(self, trial: int, attempt: int, pid: int) -> None:
        self.say("ends", trial, attempt, pid, value=float(trial))
        metrics = {"loss": (float(trial), None)}
        self.events.append(AttemptSucceeded(4.0, trial, attempt, metrics))

    def fail(self, trial: int, attempt: int, message: str = "killed") -> None:
        failure = Failure(FailureKind.WORKER_KILLED, message)
        self.events.append(AttemptFailed(4.0, trial, attempt, failure, Verdict.RETRY))

    def say(self, what: str, trial: int, attempt: int, pid: int, **more: Any) -> None:
        process = {"pid": pid, "start": pid, "host": HOST, "job": None}
        self.lines.append({"what": what, "time": 3.0, "trial": trial, "attempt": attempt, **process, **more})

    def drop(self, kind: type[Event], **facts: Any) -> None:
        """Remove the events of a kind with these fields; there must be some."""
        kept = [e for e in self.events if not (isinstance(e, kind) and has(e, facts))]
        assert len(kept) < len(self.events)
        self.events = kept

    def change(self, kind: type[Event], facts: dict[str, Any], **changes: Any) -> None:
        """Change the events of a kind with these fields; there must be some."""
        changed = [replace(e, **changes) if isinstance(e, kind) and has(e, facts) else e for e in self.events]
        assert changed != self.events
        self.events = changed

    def write(self) -> None:
        """Put it on the disk."""
        layout = self.layout
        for path in (layout.journal, layout.inbox):
            atomic.make_directory(path)
        lines = [self.lease, self.opened, *self.events]
        text = "".join(journal.encode_line(event, 1, n) for n, event in enumerate(lines, 1))
        (layout.journal / "00001.jsonl").write_text(text)
        for event in self.events:
            if isinstance(event, TrialAdded):
                atomic.make_directory(layout.trial(event.trial))
                atomic.write_json(layout.parameters(event.trial), event.parameters)
            if isinstance(event, AttemptSucceeded):
                files = layout.attempt(event.trial, event.attempt)
                atomic.make_directory(files.root)
                atomic.write_json(files.metrics, {"loss": event.metrics["loss"][0]})
        log = "".join(json.dumps(line) + "\n" for line in self.lines)
        (self.folder / "executions.log").write_text(log)
        (self.folder / "driver.log").write_text(self.driver_log)

    def violations(
        self, *, trials: int = 3, killed: Sequence[int] | None = (11,), laid: Sequence[Laid] = ()
    ) -> list[str]:
        found = check(
            self.folder / "run",
            self.folder / "executions.log",
            trials=trials,
            laid=laid,
            killed=killed,
            driver_logs=[self.folder / "driver.log"],
        )
        return [str(violation) for violation in found]


def parameters(trial: int) -> dict[str, float]:
    return {"x": trial / 10, "y": 0.5}


def has(event: Event, facts: dict[str, Any]) -> bool:
    return all(getattr(event, name) == value for name, value in facts.items())
