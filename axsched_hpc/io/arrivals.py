"""Whether something may have come into a directory: told by the kernel where it can, else always.

inotify(7) tells of what this machine does, so it is of use on a disk of this machine alone: of what other
hosts write on NFS, Lustre or GPFS it says nothing. There, and where there is no inotify, a directory has to
be listed to know.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

#: Seconds after which a directory is listed anyway.
RELIST = 10.0

#: From linux/magic.h: ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs, overlayfs.
_LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0x01021994, 0x794C7630})

#: From linux/inotify.h: IN_CREATE, IN_MOVED_TO; IN_DELETE_SELF, IN_MOVE_SELF; IN_ONLYDIR, IN_DONT_FOLLOW.
_CAME, _GONE, _ONLY = 0x100 | 0x80, 0x400 | 0x800, 0x0100_0000 | 0x0200_0000
#: IN_IGNORED, IN_Q_OVERFLOW, IN_UNMOUNT.
_LOST = 0x8000 | 0x4000 | 0x2000

_EVENT = struct.Struct("iIII")


class Arrivals:
    """Watches one directory.

    Parameters
    ----------
    monotonic
        The clock by which it is listed now and then in any case.

    Attributes
    ----------
    handle
        Can be read when something has come; None where the kernel does not tell.
    """

    def __init__(self, directory: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._listed_at = monotonic() - RELIST
        self._came = False
        self._left = True
        self.handle = _watch(directory)
        if self.handle is not None:
            self._close = weakref.finalize(self, os.close, self.handle)

    def expected(self) -> bool:
        """Whether there may be something that the last listing did not show, or left there."""
        self.note()
        if self.handle is None or self._came or self._left:
            return True
        return self._monotonic() - self._listed_at >= RELIST

    def listed(self, number: int) -> None:
        """Take note of a listing, begun after :meth:`expected`, that has shown so many files."""
        self._came, self._left = False, number > 0
        self._listed_at = self._monotonic()

    def note(self) -> bool:
        """Take note of what the kernel has told, after which `handle` cannot be read until it tells more;
        whether something has come. Temporary files do not count.
        """
        with contextlib.suppress(BlockingIOError):
            while self.handle is not None:
                for mask, name in _events(os.read(self.handle, 65536)):
                    if mask & (_GONE | _LOST) and self.handle is not None:
                        # Of the directory that is there now it knows nothing.
                        self._close()
                        self.handle = None
                    if not name.startswith(b"."):
                        self._came = True
        return self._came


def is_local(directory: Path) -> bool:
    """Whether a directory is on a disk of this machine, as far as is known."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        # struct statfs begins with the type, a long; 256 bytes hold all of it.
        found = ctypes.create_string_buffer(256)
        if library.statfs(os.fsencode(directory), found) != 0:
            return False
    except (OSError, AttributeError):
        return False
    return ctypes.c_long.from_buffer(found).value & 0xFFFF_FFFF in _LOCAL


def _watch(directory: Path) -> int | None:
    if not is_local(directory):
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        handle = int(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    except (OSError, AttributeError):
        return None  # no Linux
    if handle < 0:
        return None  # this user has no more of them
    if library.inotify_add_watch(handle, os.fsencode(directory), _CAME | _GONE | _ONLY) < 0:
        os.close(handle)
        return None
    return handle


def _events(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What happened, and the name in the directory."""
    place = 0
    while place < len(data):
        _, mask, _, length = _EVENT.unpack_from(data, place)
        place += _EVENT.size + length
        yield mask, data[place - length : place].rstrip(b"\0")
