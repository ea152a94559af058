"""An experiment directory with everything in it that a journal can tell of, made without Ax and jobs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWithdrawn,
    BaselineSet,
    BatchPlanned,
    BatchSubmitted,
    CallEnded,
    CallStarted,
    DriverClosed,
    DriverOpened,
    Event,
    Failure,
    LeaseTaken,
    ObjectiveSet,
    PointsEnqueued,
    TrialAbandoned,
    TrialAdded,
)
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic, claim, document, manifest, outcome, processes
from axsched_hpc.io.claim import Claimer
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.store import journal

PROBLEM = {"objectives": [{"weights": {"loss": 1.0}, "minimize": True}]}

BROKEN = Failure(FailureKind.EXIT_CODE, "exit code 3", exit_code=3, stderr_tail=("no licence", "left"))
KILLED = Failure(FailureKind.WORKER_KILLED, "killed", signal=9, node="n1")

#: A process that has ended on this machine, so that the next driver takes over at once.
GONE = (processes.hostname(), 2**22 + 1, 1, processes.boot_id())

EXTERNAL = {"state": "completed", "metrics": {"loss": [0.5, None]}, "status": "COMPLETED", "rows": []}


def taken(time: float, purpose: str = "drive") -> LeaseTaken:
    return LeaseTaken(time, 2, *GONE, "ada", 60.0, purpose)


def opened(time: float, previous: dict[str, int], format: int = 2) -> DriverOpened:
    return DriverOpened(time, format, "host-a", 77, "0" * 64, PROBLEM, {"axsched_hpc": "0.1"}, previous)


def added(time: float, trial: int, origin: str = "ax") -> TrialAdded:
    ax = EXTERNAL if origin == "external" else {"generator_run": {"arms": [trial]}}
    return TrialAdded(time, trial, f"{trial}_0", {"x": trial / 8, "kind": "a", "on": True}, origin, ax)


def segment(epoch: int, groups: Sequence[Sequence[Event]]) -> bytes:
    """A segment of these groups."""
    lines = []
    for group in groups:
        for left, event in zip(range(len(group) - 1, -1, -1), group, strict=True):
            lines.append(journal.encode_line(event, epoch, len(lines) + 1, more=left > 0))
    return "".join(lines).encode()


def segments() -> dict[str, bytes]:
    """Four segments: the first in format 1, the third of `axsched unlock`, the last one torn."""
    first = segment(
        1,
        [
            [opened(1.0, {}, 1)],
            [ObjectiveSet(2.0, "abc", "script f.sh")],
            [CallStarted(3.0, 1, "run", 0, (), 5, False)],
            [added(4.0, 0), added(4.0, 1), added(4.0, 2, "batch")],
            [BatchPlanned(5.0, "axs-1", ((0, 1), (1, 1)))],
            [BatchSubmitted(6.0, "axs-1", {0: "11_0", 1: "11_1"})],
            [AttemptStarted(7.0, 0, 1, "n1"), AttemptStarted(7.0, 1, 1)],
            [AttemptSucceeded(8.0, 0, 1, {"loss": (0.5, None)}, 6.5, 7.5, "n1")],
            [AttemptFailed(9.0, 1, 1, KILLED, Verdict.RETRY, 7.0, 8.0)],
            [BatchPlanned(10.0, "axs-2", ((1, 2), (2, 1)))],
        ],
    )
    second = segment(
        2,
        [
            [taken(20.0)],
            [opened(21.0, {"00001.jsonl": len(first)})],
            [CallStarted(21.5, 1, "run", 0, (), 5, False)],
            [BatchSubmitted(22.0, "axs-2", {1: "12_1"}), AttemptWithdrawn(22.0, 1, 2, "never submitted")],
            [added(23.0, 3, "external")],
            [BatchPlanned(24.0, "axs-3", ((1, 3),))],
            [BatchSubmitted(25.0, "axs-3", {0: "13_0"})],
            [AttemptStarted(26.0, 1, 3, "n2"), AttemptStarted(26.0, 2, 1, "n2")],
            [AttemptRequeued(27.0, 1, 3, "node failure")],
            [AttemptStarted(28.0, 1, 3, "n1")],
            [
                AttemptSucceeded(29.0, 1, 3, {"loss": (0.25, 0.125)}, 28.0, 28.5, "n1"),
                AttemptFailed(29.0, 2, 1, BROKEN, Verdict.FAIL, 26.0, 28.75),
            ],
            [CallEnded(30.0, 1, "budget")],
            [DriverClosed(31.0)],
        ],
    )
    third = segment(3, [[taken(40.0, "unlock")], [DriverClosed(41.0, finished=False)]])
    fourth = segment(
        4,
        [
            [taken(50.0)],
            [opened(51.0, {"00002.jsonl": len(second), "00003.jsonl": len(third)})],
            [CallStarted(52.0, 1, "batch", 4, (4, 5))],
            [BaselineSet(52.5, "0_0", added(0.0, 0).parameters)],
            [PointsEnqueued(52.5, 0, (added(0.0, 5).parameters, added(0.0, 7).parameters), 1)],
            [added(53.0, 4, "batch"), replace(added(53.0, 5, "enqueued"), place=0), added(53.0, 6)],
            [TrialAbandoned(53.5, 6, "time is up")],
            [BatchPlanned(54.0, "axs-4", ((4, 1), (5, 1)))],
            [BatchSubmitted(55.0, "axs-4", {0: "14_0", 1: "14_1"})],
            [AttemptStarted(56.0, 4, 1, "n1")],
        ],
    )
    torn = segment(4, [[AttemptStarted(57.0, 5, 1, "n1")]])[:40]
    return {f"{n:05d}.jsonl": data for n, data in enumerate((first, second, third, fourth + torn), 1)}


@contextlib.contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """A directory in memory, where there is such a place: every sync to a disk takes its time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def experiment(directory: Path) -> Layout:
    """The directory of that journal, with the files that its trials left."""
    layout = Layout.at(directory)
    for path in (layout.journal, layout.inbox, layout.submitit):
        atomic.make_directory(path)
    atomic.write(layout.definition, "{}\n")
    spec = layout.objective / "abc" / "objective.json"
    atomic.make_directory(spec.parent)
    atomic.write(spec, document.encode({"what": "script f.sh"}))
    for trial in (0, 1, 2, 4, 5):
        atomic.make_directory(layout.trial(trial))
        atomic.write_json(layout.parameters(trial), added(0.0, trial).parameters)
    ends: dict[tuple[int, int], tuple[str, Metrics | Failure | None]] = {
        (0, 1): ("axs-1", {"loss": (0.5, None)}),
        (1, 1): ("axs-1", KILLED),
        (1, 3): ("axs-3", {"loss": (0.25, 0.125)}),
        (2, 1): ("axs-2", BROKEN),
        (4, 1): ("axs-4", {"loss": (0.125, None)}),
        (5, 1): ("axs-4", None),
    }
    for (trial, attempt), (token, end) in ends.items():
        files = layout.attempt(trial, attempt)
        atomic.make_directory(files.root)
        claim.take(files, claim.mine(token, Claimer.WORKER))
        if end is not None:
            metrics, failure = (None, end) if isinstance(end, Failure) else (end, None)
            result = Outcome(trial, attempt, token, metrics, failure, "n1", None, 6.5, 7.5)
            atomic.write(files.result, outcome.encode(result))
    withdrawn = layout.attempt(1, 2)
    atomic.make_directory(withdrawn.root)
    claim.close(withdrawn, "never submitted")
    for token, pairs in (("axs-2", ((1, 2), (2, 1))), ("axs-4", ((4, 1), (5, 1)))):
        manifest.write(layout, Manifest(token, layout.root, "abc", pairs))
    put(layout, segments())
    return layout


def put(layout: Layout, files: dict[str, bytes]) -> None:
    """Let the journal be these segments."""
    for path in layout.journal.iterdir():
        path.unlink()
    for name, data in files.items():
        (layout.journal / name).write_bytes(data)
