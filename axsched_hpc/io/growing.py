"""Reading a file that another process, maybe on another host, appends to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from axsched_hpc.io import access

#: Bytes that are read at a time.
CHUNK = 1 << 16


class Growing:
    """A file from its beginning, or from its last lines on, a part at each look.

    It need not be there yet. It is opened anew at each look, since NFS asks the server then. Where it was
    removed, its rest is read all the same, as long as the system has it.

    Parameters
    ----------
    lines
        How many of its last lines to begin with; None for all.
    """

    def __init__(self, path: Path, lines: int | None = None) -> None:
        self._path = path
        self._lines = lines
        self._handle: int | None = None
        self._position: int | None = None

    def read(self) -> Iterator[bytes]:
        """What was appended since the last look, in pieces.

        Raises
        ------
        OSError
            It cannot be read, is a symbolic link or no regular file.
        """
        if not self._open() or self._handle is None:
            return
        try:
            size = os.fstat(self._handle).st_size
            if self._position is None:
                self._position = 0 if self._lines is None else last_lines(self._handle, size, self._lines)
            if size < self._position:
                self._position = 0  # it was written anew
            while self._position < size:
                data = os.pread(self._handle, min(CHUNK, size - self._position), self._position)
                if not data:
                    return
                self._position += len(data)
                yield data
        except OSError as error:
            if error.errno != errno.ESTALE:  # NFS: it was removed on another host
                raise

    def close(self) -> None:
        """Give it back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> bool:
        try:
            handle = access.open_read(self._path)
        except FileNotFoundError:
            return self._handle is not None
        self.close()
        self._handle = handle
        return True


def last_lines(handle: int, size: int, lines: int) -> int:
    """Where the last lines of an open file begin, in bytes; a long file is not read whole."""
    if not lines:
        return size
    # The line end of the last line begins no further one.
    position, left = max(0, size - 1), lines
    while position > 0:
        begin = max(0, position - CHUNK)
        block = os.pread(handle, position - begin, begin)
        found = len(block)
        while (found := block.rfind(b"\n", 0, found)) >= 0:
            left -= 1
            if not left:
                return begin + found + 1
        position = begin
    return 0
