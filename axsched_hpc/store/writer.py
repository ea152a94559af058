"""The end of the journal that a driver appends to, and the fence that keeps a superseded one out.

A driver's segment is made before it reads the earlier ones, and every append looks for a later segment,
before it writes and after. So of two drivers that overlap, each sees the other: either the later one has read
what the earlier one appended, or the earlier one sees the later one's segment after its append, and lets
nothing follow from it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from axsched_hpc.core.errors import JournalError, SupersededError
from axsched_hpc.core.events import Event, LeaseTaken
from axsched_hpc.io import atomic, faults
from axsched_hpc.store import journal

#: Seconds: how fine the times of filesystems are, and how coarse.
SHORTEST_TICK, LONGEST_TICK = 0.001, 2.0


class JournalWriter:
    """One driver's segment, from its first record on.

    Parameters
    ----------
    directory
        The journal's directory.
    epoch
        This driver's epoch.
    first
        The segment's first record; the segment appears with it, whole.

    Raises
    ------
    SupersededError
        Another driver made a segment of that epoch first.
    OSError
        It cannot be written; nothing was.
    """

    def __init__(self, directory: Path, epoch: int, first: LeaseTaken) -> None:
        self.directory = directory
        self.epoch = epoch
        self.path = directory / journal.segment_name(epoch)
        line = journal.encode_line(first, epoch, 1)
        if not atomic.create(self.path, line):
            raise self._superseded(epoch)
        _stir(directory)
        self._file = self._open()
        self._size = len(line.encode())
        self._seq = 1
        #: Whether bytes may stand behind the last record that counts, of an append that failed.
        self._torn = False

    def append(self, new: Sequence[Event]) -> None:
        """Write events as one group, and return when they are on the disk: one write and one sync, whatever
        their number.

        Raises
        ------
        SupersededError
            Another driver has taken over; the events do not count, and nothing may follow from them.
        JournalError
            The segment is gone.
        OSError
            The disk is full or gone; nothing counts, and the same events may be appended again.
        """
        if not new:
            return
        self.check()
        faults.reach("journal.before")
        last = len(new)
        data = "".join(
            journal.encode_line(event, self.epoch, self._seq + number, more=number < last)
            for number, event in enumerate(new, 1)
        ).encode()
        if self._torn:
            self._restore()
        self._torn = True
        try:
            for piece in faults.pieces("journal.torn", data):
                _write_all(self._file, piece)
            faults.reach("journal.unsynced")
            os.fsync(self._file)
        except OSError as error:
            error.filename = error.filename or str(self.path)
            with contextlib.suppress(OSError):
                self._restore()
            raise
        faults.reach("journal.after")
        # Only now do they count: where it cannot be found out whether another driver has taken over, they are
        # taken back by the next append, which looks again first.
        self.check()
        self._torn = False
        self._size += len(data)
        self._seq += last

    def check(self) -> None:
        """Make sure that this is still the driver.

        Raises
        ------
        SupersededError
            Another driver has taken over.
        JournalError
            The segment is gone.
        OSError
            The journal's directory cannot be read now.
        """
        there = journal.epochs(self.directory)
        if there and there[-1] > self.epoch:
            raise self._superseded(there[-1])
        if self.epoch not in there:
            raise JournalError(
                f"{self.path} has been moved or removed while this driver ran. Nothing more is recorded or "
                "submitted. Put the experiment directory back as it was, and start again.",
                file=str(self.path),
            )

    def touch(self) -> None:
        """Show a sign of life: the segment's time of change, by the filesystem's clock.

        Raises
        ------
        OSError
            The filesystem does not answer now.
        """
        os.utime(self._file)

    @property
    def closed(self) -> bool:
        """Whether nothing more can be appended."""
        return self._file < 0

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            handle, self._file = self._file, -1
            os.close(handle)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)

    def _restore(self) -> None:
        """Take half-written lines back, by a new handle: that of a failed write may have gone stale."""
        handle = self._open()
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, handle)
            if (size := os.fstat(handle).st_size) < self._size:
                raise JournalError(
                    f"{self.path} has {size} bytes, but {self._size} were written and synced: the filesystem "
                    "has lost its end. Nothing more is recorded or submitted.",
                    file=str(self.path),
                )
            os.ftruncate(handle, self._size)
            os.fsync(handle)
            undo.pop_all()
        old, self._file, self._torn = self._file, handle, False
        with contextlib.suppress(OSError):
            os.close(old)

    def _superseded(self, epoch: int) -> SupersededError:
        path = self.directory / journal.segment_name(epoch)
        holder = None
        with contextlib.suppress(OSError, JournalError):
            holder = journal.read_segment(self.directory, epoch).lease
        who = "Another driver" if holder is None else f"Process {holder.pid} on {holder.host}"
        return SupersededError(
            f"{who} has taken this experiment over ({path}). This driver has stopped without changing "
            "anything more; jobs go on under the new one. `axsched status` tells how they stand.",
            host=holder.host if holder else None,
            pid=holder.pid if holder else None,
            since=holder.time if holder else None,
        )


def _stir(directory: Path) -> None:
    """Move a directory's time of change on, by a tick of its filesystem's clock at the least.

    By that time alone does NFS v3 know that a listing is out of date. One tick, of 10 ms perhaps, can hold a
    change, a listing on another machine and the next change, which that machine then never sees: without
    this, a driver that had looked just before the link of a later segment did not see it in 46 of 60 trials.
    """
    end = time.monotonic() + LONGEST_TICK
    before = directory.stat().st_ctime_ns
    while True:
        os.utime(directory)
        if directory.stat().st_ctime_ns != before or time.monotonic() >= end:
            return
        time.sleep(SHORTEST_TICK)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
