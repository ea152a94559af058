"""A kernel lock on a file (flock(2)), where the filesystem has locks: nothing may depend on it alone."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from axsched_hpc.io import atomic

#: How filesystems say that they have no locks (Lustre without `flock`: ENOSYS), or that their lock service
#: does not run.
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


class Flock:
    """The lock, held where it can be had. The kernel frees it when its holder dies."""

    def __init__(self, path: Path) -> None:
        from filelock import UnixFileLock  # most jobs take no lock

        self._lock = UnixFileLock(path, mode=atomic.FILE_MODE, fallback_to_soft=False, thread_local=False)

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return bool(self._lock.is_locked)

    def taken_by_another(self) -> bool:
        """Take it, if it is free; whether somebody else has it. Where there are no locks, nobody has.

        Raises
        ------
        OSError
            The file cannot be opened.
        """
        from filelock import Timeout

        if self._lock.is_locked:
            return False
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        return False

    def release(self) -> None:
        """Give it back."""
        with contextlib.suppress(OSError):
            self._lock.release(force=True)
