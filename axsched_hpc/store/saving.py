"""Files that several processes save to and load from: one at a time where the filesystem has locks, and
always whole, since they are put in their place by a rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout, UnixFileLock

from axsched_hpc.io import atomic
from axsched_hpc.io.flock import NO_LOCKS

#: Seconds to wait for another process that saves to the same path. One save takes seconds at the most.
PATIENCE = 60.0


def save(path: Path, text: str, *, mode: int | None = None) -> None:
    """Replace a file as a whole, one process at a time: the last one wins.

    Parameters
    ----------
    mode
        The file's permissions; None for those that its directory passes on.

    Raises
    ------
    OSError
        It could not be written; the old file is still there.
    """
    guard = _guard(path)
    # Made here, since filelock would make missing directories too, and try for ever where it may not.
    os.close(os.open(guard, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, atomic.FILE_MODE))
    with _held(guard):
        atomic.write(path, text, mode=mode)


def load(path: Path) -> str:
    """Read a file that others save to.

    Raises
    ------
    OSError, UnicodeDecodeError
        It is not there, or not readable as UTF-8.
    """
    guard = _guard(path)
    # A file that was never saved here, or belongs to somebody else, has no lock that this process may take;
    # it is whole all the same, since it was put there by a rename.
    if not os.access(guard, os.R_OK | os.W_OK):
        return atomic.read_text(path)
    with _held(guard):
        return atomic.read_text(path)


def _guard(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def _held(guard: Path) -> Iterator[None]:
    lock = UnixFileLock(guard, mode=atomic.FILE_MODE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise OSError(
            errno.EBUSY,
            f"another process has been saving or loading it for {PATIENCE:g} s; if that one's machine is "
            "gone, remove the lock",
            str(guard),
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()
