"""What every kind of objective gets to run, and how it says that it failed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from axsched_hpc.core.record import Record
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import parameters, storage
from axsched_hpc.io.checkpoint import saved_since
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.io.outcome import LINE_LENGTH, TAIL_LINES
from axsched_hpc.io.parameters import Value

if TYPE_CHECKING:
    from axsched_hpc.core.events import Failure

Result = TypeVar("Result")

#: Names of the variables with the trial's checkpoint directory, and how often its objective was begun before.
CHECKPOINT_DIR, RESTART_COUNT = "AXSCHED_CHECKPOINT_DIR", "AXSCHED_RESTART_COUNT"

#: Name of the variable with the file for intermediate values.
PROGRESS_FILE = "AXSCHED_PROGRESS_FILE"

#: Seconds for which a job waits for its filesystem; what ends it is the job's own time limit.
LIFETIME = 86_400.0


class RunContext(Record):
    """One attempt, ready to run.

    Attributes
    ----------
    parameters_file
        The trial's parameters as JSON.
    claim
        The claim of this execution.
    checkpoint
        The trial's checkpoint directory, which exists.
    restarts
        How often the trial's objective was begun before.
    in_job
        Whether the process is the job's own, so that its signals can be handled; false for a run inside the
        driver's process.
    """

    trial: int
    attempt: int
    token: str
    parameters: dict[str, Value]
    parameters_file: Path
    files: AttemptFiles
    claim: Path
    checkpoint: Path
    restarts: int = 0
    in_job: bool = True

    @property
    def variables(self) -> dict[str, str]:
        """The variables that every objective gets."""
        return {
            **parameters.variables(self.parameters),
            "AXSCHED_TRIAL": str(self.trial),
            "AXSCHED_ATTEMPT": str(self.attempt),
            PROGRESS_FILE: str(self.files.progress),
            CHECKPOINT_DIR: str(self.checkpoint),
            RESTART_COUNT: str(self.restarts),
        }

    @property
    def saved(self) -> bool:
        """Whether a checkpoint was written since this execution began."""
        return saved_since(self.checkpoint, self.claim)


class ObjectiveFailed(Exception):
    """The objective ended without valid metrics."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Terminated(BaseException):
    """The worker was told to end by a signal. The objective's processes have ended."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def say(text: str) -> None:
    """A line of the worker's own on its standard error, which may lie on a full disk."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"axsched worker: {text}\n")
        sys.stderr.flush()


def insist(action: Callable[[], Result], what: str, *, reading: bool = False) -> Result:
    """Do something as soon as the filesystem lets it, for as long as the job lives.

    Raises
    ------
    OSError
        What went wrong does not pass.
    """
    return storage.patiently(
        action,
        what=what,
        say=say,
        patience=LIFETIME,
        retry=lambda error: storage.is_storage_error(error, reading=reading),
    )


def failed(
    kind: FailureKind,
    message: str,
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    tail: Iterable[str] = (),
    progressed: bool = False,
) -> ObjectiveFailed:
    """The exception for a failure on this node."""
    # Imported where it is needed: defining all events costs a job 8 ms, and most jobs succeed.
    from axsched_hpc.core.events import Failure

    node = os.uname().nodename
    lines = tuple(line[:LINE_LENGTH] for line in tail)[-TAIL_LINES:]
    return ObjectiveFailed(
        Failure(kind, message, exit_code, signal, node, stderr_tail=lines, progressed=progressed)
    )


def account() -> str:
    """The name of this process's user."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def size(path: Path) -> int:
    """A file's size; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def quoted(lines: Iterable[str], path: Path) -> str:
    """The end of a log as a part of a message."""
    last = [line.strip()[:LINE_LENGTH] for line in lines][-3:]
    return f"the last lines of {path}: {' | '.join(last)}" if last else f"{path} is empty"
