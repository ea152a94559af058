"""Points at which a test can end, stop or disturb this process: what a crash leaves there is what it tests.

Off, which is always but in tests, :func:`reach` is one comparison. Armed with a directory, by
``AXSCHED_FAULTS`` or :func:`arm`, a point fires when the directory has a file of its name. The file holds an
action: ``kill`` (SIGKILL to this process), ``stop`` (SIGSTOP; it goes on after SIGCONT), or the name of an
error such as ``ENOSPC``, which is raised as an ``OSError``; a number after it means from the n-th arrival of
a process on. A point fires once over all processes: whoever renames its file to ``POINT.fired-PID`` fires.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

#: Every point, and where it is. The driver's, then those of any process, then the worker's.
POINTS = {
    "open.before": "nothing of this driver is on the disk",
    "open.lease": "this driver's segment exists with its first record, nothing is read yet",
    "open.read": "the journal is read, and Ax is where it stands",
    "open.recorded": "what the driver has read is recorded",
    "journal.before": "before events are written",
    "journal.torn": "half of the bytes of some events are written",
    "journal.unsynced": "events are written, not synced",
    "journal.after": "events are on the disk, nothing has followed from them",
    "ask.before": "before Ax is asked for points",
    "ask.after": "Ax has made trials of which the journal knows nothing",
    "batch.planned": "a batch's intent is in the journal, none of its files exists",
    "batch.files": "a batch's files are complete",
    "submit.before": "before the scheduler is asked",
    "submit.half": "between sbatch and the end of submitit's bookkeeping; locally, one process is started",
    "batch.submitted": "the scheduler has taken a batch, the journal does not know it",
    "batch.recorded": "the job ids are in the journal",
    "inbox.listed": "notices are seen, not read",
    "inbox.read": "notices are read, not recorded",
    "inbox.recorded": "notices are recorded, not removed",
    "inbox.removed": "notices are removed",
    "request.read": "a request is read, and not answered",
    "request.recorded": "its answer is recorded, and its file is still there",
    "request.removed": "its file is removed",
    "poll.seen": "the jobs' states are known, nothing is recorded",
    "poll.recorded": "what the jobs' states mean is recorded",
    "claim.closed": "the driver has closed an attempt, and not recorded it",
    "tell.before": "before Ax is told a trial's end",
    "tell.after": "Ax knows a trial's end",
    "snapshot.before": "before the snapshot is written",
    "snapshot.after": "the snapshot is written",
    "cleanup.before": "before the files of a completed attempt are removed",
    "cleanup.half": "some of them are removed",
    "cleanup.after": "all of them are removed",
    "close.before": "the driver is about to end in good order",
    "close.after": "the driver has recorded its end",
    "file.written": "a file's content is on the disk under a temporary name",
    "worker.started": "a worker runs, and has claimed nothing",
    "worker.claimed": "a worker has claimed its attempt, the objective has not begun",
    "worker.ended": "the objective is over, and nothing is published",
    "worker.result": "the result is published, its notice is not",
    "worker.announced": "the notice is in the inbox",
}

_directory: Path | None = None
_arrivals: Counter[str] = Counter()


def arm(directory: str | Path | None) -> None:
    """Look for faults in a directory from here on; None for none."""
    global _directory
    _directory = None if directory is None else Path(directory)
    _arrivals.clear()


def reach(point: str) -> None:
    """Say that this process has come to a point.

    Raises
    ------
    OSError
        The fault is an error.
    KeyError
        There is no such point; where faults are armed only.
    """
    if _directory is not None:
        _reach(point, _directory)


def pieces(point: str, data: bytes) -> Iterator[bytes]:
    """The data in one piece; where faults are armed in two, with the point between them."""
    if _directory is None:
        yield data
        return
    half = len(data) // 2
    yield data[:half]
    _reach(point, _directory)
    yield data[half:]


def _reach(point: str, directory: Path) -> None:
    if point not in POINTS:
        raise KeyError(point)
    _arrivals[point] += 1
    path = directory / point
    try:
        action, _, arrival = path.read_text(encoding="ascii").strip().partition(" ")
        if _arrivals[point] < int(arrival or 1):
            return
        path.rename(path.with_name(f"{point}.fired-{os.getpid()}"))
    except FileNotFoundError:
        return
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            number = getattr(errno, action)
            raise OSError(number, os.strerror(number), f"(fault at {point})")


if "AXSCHED_FAULTS" in os.environ:
    arm(os.environ["AXSCHED_FAULTS"])
