"""Filesystems that fail for a while: which errors those are, and waiting until they are over."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

#: Seconds before the first repetition, and the most between two.
FIRST_DELAY, LONGEST_DELAY = 0.25, 60.0

_TRANSIENT = frozenset(
    {
        errno.ENOSPC,  # the disk is full
        errno.EDQUOT,  # the user's or the project's share of it is
        errno.EROFS,  # mounted read-only, as kernels do after an error and administrators before a repair
        errno.EIO,  # a soft NFS mount that gave up, a disk or server that failed
        errno.ESTALE,  # the NFS server came back, or the file was replaced on another host
        errno.ETIMEDOUT,  # the server does not answer
        errno.ENOLCK,  # its lock manager does not, or is still in its grace period
        errno.ENOTCONN,  # a FUSE or Lustre client without its server
        errno.ESHUTDOWN,  # a Lustre client that was evicted, until it has connected again
        errno.EHOSTDOWN,  # network filesystems let these of their connection through
        errno.EHOSTUNREACH,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        *(  # Linux alone: an error that the server reports; Kerberos tickets that ran out, until renewed
            getattr(errno, name)
            for name in ("EREMOTEIO", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED")
            if hasattr(errno, name)
        ),
    }
)

# Who could write a moment ago has lost that by a chmod, a changed export or an expired ticket, and can get it
# back. A file that may not be read, on the other hand, is most often another user's.
_TRANSIENT_FOR_WRITING = _TRANSIENT | {errno.EACCES, errno.EPERM}


def is_storage_error(error: OSError, *, reading: bool = False) -> bool:
    """Whether the filesystem failed in a way that can pass, rather than the request being wrong.

    Parameters
    ----------
    reading
        Whether something was to be read: a permission that is missing then counts as wrong.
    """
    return error.errno in (_TRANSIENT if reading else _TRANSIENT_FOR_WRITING)


def patiently(
    action: Callable[[], Result],
    *,
    what: str,
    say: Callable[[str], None],
    patience: float,
    retry: Callable[[OSError], bool] = is_storage_error,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """Do something, again and again while the filesystem fails.

    Parameters
    ----------
    action
        May be done more than once.
    what
        What cannot be done, as a message begins: "the result cannot be written".
    say
        Takes a message before a wait; not one for each, once the waits are long.
    patience
        Seconds after which the error is raised.
    retry
        Which errors to wait for.
    pause
        Waits for some seconds, or raises what ends the waiting.

    Raises
    ------
    OSError
        It is no error to wait for, or the time is over.
    """
    deadline, delay, said = time.monotonic() + patience, FIRST_DELAY, ""
    while True:
        try:
            return action()
        except OSError as error:
            left = deadline - time.monotonic()
            if not retry(error) or left <= 0:
                raise
            if delay < LONGEST_DELAY or str(error) != said:
                said = str(error)
                say(f"{what} yet: {error}. Trying again, for {_duration(left)} at most.")
        # Jobs that the same full disk stopped do not come back all at once.
        jitter = 0.5 + os.urandom(1)[0] / 510
        pause(min(left, delay * jitter))
        delay = min(2 * delay, LONGEST_DELAY)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
