"""The warning in a job: SIGUSR1 says that the end of its time is near.

Slurm sends it to the batch step, which is the worker (``--signal=B:USR1@120``), up to a minute earlier than
asked for. The worker never dies of it: not before the objective has begun, when it is remembered, and not of
one that a user has asked for whose objective saves no checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_came = False
_tell: Callable[[], None] | None = None


def watch() -> None:
    """From here on the signal is taken in."""
    signal.signal(signal.SIGUSR1, _handle)


def came() -> bool:
    """Whether the warning has come to this process."""
    return _came


def ring() -> None:
    """Take the warning for come, and tell who is to know."""
    global _came
    _came = True
    if _tell is not None:
        _tell()


@contextlib.contextmanager
def telling(tell: Callable[[], None], *, enabled: bool = True) -> Iterator[None]:
    """Call ``tell`` when the warning comes, or now where it has; it runs in a signal handler."""
    global _tell
    if not enabled:
        yield
        return
    _tell = tell
    try:
        if _came:
            tell()
        yield
    finally:
        _tell = None


def ignore() -> None:
    """What a worker does whose objective saves no checkpoints."""
    note("SIGUSR1 came, and is ignored: the objective is not checkpointable.")


def note(text: str) -> None:
    """A line of the worker's own; from a signal handler, which may have interrupted a print."""
    with contextlib.suppress(OSError):
        os.write(2, f"axsched worker: {text}\n".encode())


def _handle(signum: int, frame: FrameType | None) -> None:
    ring()
