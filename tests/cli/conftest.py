"""Experiments as their journals tell them, written without Ax: the command reads nothing else."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWaits,
    BatchPlanned,
    BatchSubmitted,
    DriverClosed,
    DriverOpened,
    Event,
    Failure,
    LeaseTaken,
    TrialAdded,
)
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic, processes
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store.writer import JournalWriter

PROBLEM = {
    "objectives": [{"weights": {"loss": 1.0}, "minimize": True}],
    "constraints": [],
    "thresholds": [],
    "status_quo": None,
}


class Story:
    """Tells an experiment event by event, a second apart, and writes it as a journal."""

    def __init__(self) -> None:
        self.now = time.time() - 7200.0
        self.events: list[Event] = []
        self.attempts: dict[int, int] = {}
        self.batches = 0

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def opened(self, problem: dict[str, Any] = PROBLEM) -> Story:
        self.events.append(
            DriverOpened(self.tick(), FORMAT, socket.gethostname(), os.getpid(), "0" * 64, problem)
        )
        return self

    def closed(self) -> Story:
        self.events.append(DriverClosed(self.tick()))
        return self

    def added(self, *trials: int) -> Story:
        self.events += [
            TrialAdded(self.tick(), n, f"{n}_0", {"rate": 0.125 * (n + 1), "kind": "a"}, "ax") for n in trials
        ]
        return self

    def submitted(self, *trials: int) -> Story:
        pairs = []
        for number in trials:
            self.attempts[number] = self.attempts.get(number, 0) + 1
            pairs.append((number, self.attempts[number]))
        token = f"axs-test-{self.batches}"
        jobs = {index: f"{1000 + self.batches}_{index}" for index in range(len(pairs))}
        self.batches += 1
        self.events += [
            BatchPlanned(self.tick(), token, tuple(pairs)),
            BatchSubmitted(self.tick(), token, jobs),
        ]
        return self

    def waits(self, number: int, reason: str) -> Story:
        self.events.append(AttemptWaits(self.tick(), number, self.attempts[number], reason))
        return self

    def started(self, *trials: int) -> Story:
        self.events += [AttemptStarted(self.tick(), n, self.attempts[n], "n1") for n in trials]
        return self

    def succeeded(self, trial: int, loss: float, sem: float | None = None, **others: float) -> Story:
        metrics = {"loss": (loss, sem), **{name: (value, None) for name, value in others.items()}}
        self.events.append(AttemptSucceeded(self.tick(), trial, self.attempts[trial], metrics, node="n1"))
        return self

    def failed(self, trial: int, kind: FailureKind, message: str, verdict: Verdict) -> Story:
        failure = Failure(kind, message)
        self.events.append(AttemptFailed(self.tick(), trial, self.attempts[trial], failure, verdict))
        return self

    def write(self, directory: Path, epoch: int = 1) -> Path:
        layout = Layout.at(directory)
        atomic.make_directory(layout.journal)
        pid = os.getpid()
        taken = LeaseTaken(
            self.events[0].time,
            FORMAT,
            socket.gethostname(),
            pid,
            processes.start_ticks(pid),
            processes.boot_id(),
            "user",
            60.0,
        )
        writer = JournalWriter(layout.journal, epoch, taken)
        writer.append(self.events[:-1])
        writer.append(self.events[-1:])
        writer.close()
        return directory


def journal_lines(directory: Path) -> Sequence[str]:
    """The lines of the first segment."""
    return (directory / "journal" / "00001.jsonl").read_text().splitlines(keepends=True)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """Three completed trials; the second is the best."""
    story = Story().opened().added(0, 1, 2).submitted(0, 1, 2).started(0, 1, 2)
    story.succeeded(0, 0.5).succeeded(1, 0.125, 0.0625).succeeded(2, 0.75).closed()
    return story.write(tmp_path / "finished")
