"""Who holds an experiment: what the journal's last segment tells of him."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from axsched_hpc.core.errors import ExperimentLockedError, JournalError
from axsched_hpc.core.events import DriverClosed, DriverOpened, Event, LeaseTaken
from axsched_hpc.core.record import Record
from axsched_hpc.io import access, processes
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal

#: What a holder is believed to have promised whose segment does not tell.
TAKEOVER = 60.0


class Holder(Record):
    """The one who made the journal's last segment, as far as it can be read.

    Attributes
    ----------
    epoch
        Of the segment.
    seen
        His last sign of life, in seconds since the epoch on the filesystem's clock.
    size
        Of the segment, in bytes. A tick of that clock can hold two appends.
    ended
        Whether the segment has an end: he has given the experiment back.
    host, pid, start, boot, user, since
        None where the segment's first record cannot be read, or does not tell.
    takeover
        Seconds without a sign of life after which he counts as dead, seen from another machine.
    """

    epoch: int
    seen: float
    size: int
    ended: bool = False
    host: str | None = None
    pid: int | None = None
    start: int | None = None
    boot: str | None = None
    user: str | None = None
    since: float | None = None
    takeover: float = TAKEOVER

    def alive(self) -> bool | None:
        """Whether his process runs; None where this machine cannot know."""
        if self.host is None or self.pid is None or self.start is None:
            return None
        if self.boot != processes.boot_id():
            # Another machine of the same name, or this one before it was started anew.
            return None
        return processes.alive(self.host, self.pid, self.start, self.boot)


def holder(
    layout: Layout, known: Holder | None = None, segments: Iterable[journal.Segment] = ()
) -> Holder | None:
    """Who made the journal's last segment; None where there is no journal.

    Parameters
    ----------
    known
        What an earlier look has found: nothing is read where nothing has changed since.
    segments
        What has been read of the journal already: it is not read again.

    Raises
    ------
    OSError
        The journal cannot be read.
    """
    there = journal.epochs(layout.journal)
    if not there:
        return None
    epoch = there[-1]
    seen, size = changed(layout.journal / journal.segment_name(epoch))
    if known is not None and (known.epoch, known.seen, known.size) == (epoch, seen, size):
        return known
    whole = next((each for each in segments if (each.epoch, each.size) == (epoch, size)), None)
    try:
        events = (whole or journal.read_segment(layout.journal, epoch)).events
        first, last = (events[0], events[-1]) if events else (None, None)
    except JournalError:
        # Whoever wants to mend a damaged segment has to know whose it is.
        first, last = journal.ends(layout.journal, epoch)
    return holder_of(epoch, seen, size, first, last)


def holder_of(epoch: int, seen: float, size: int, first: Event | None, last: Event | None) -> Holder:
    """The holder by the first and the last record of his segment; None for one that cannot be read."""
    ended = first is not None and isinstance(last, DriverClosed)
    if isinstance(first, LeaseTaken):
        return Holder(
            epoch,
            seen,
            size,
            ended,
            first.host,
            first.pid,
            first.start,
            first.boot,
            first.user,
            first.time,
            first.takeover,
        )
    if isinstance(first, DriverOpened):
        # Format 1 does not tell when the process started.
        return Holder(epoch, seen, size, ended, first.host, first.pid, since=first.time)
    return Holder(epoch, seen, size)


def locked_error(layout: Layout, who: Holder | None) -> ExperimentLockedError:
    """The error that tells who drives an experiment."""
    if who is None or who.host is None or who.pid is None or who.since is None:
        return ExperimentLockedError(
            f"Another driver has just started on {layout.root}. "
            "Wait for it to end, or use another job_output_dir."
        )
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who.since))
    where = f"process {who.pid} on {who.host}"
    if who.pid == os.getpid() and who.host == processes.hostname():
        where = "another AxScheduler in this very process"
        todo = "Go on with that one, or call its close() first"
    elif who.host == processes.hostname() and processes.stopped(who.pid):
        todo = (
            f"It is stopped: let it go on (kill -CONT {who.pid}), or end it (kill -9 {who.pid}); "
            "its jobs go on"
        )
    else:
        todo = (
            f"Wait for it to end, or stop it (on {who.host}: kill {who.pid}) and start again; its jobs go "
            f"on. If that cannot be done: axsched unlock {layout.root}"
        )
    return ExperimentLockedError(
        f"{layout.root} is driven by {where}, since {since}. {todo}; or use another job_output_dir.",
        host=who.host,
        pid=who.pid,
        since=who.since,
    )


def changed(path: Path) -> tuple[float, int]:
    """When a segment was changed last, in seconds since the epoch on the filesystem's clock, and its size.

    Raises
    ------
    OSError
        It cannot be read.
    """
    # By opening it: NFS answers a mere stat from its cache, for seconds.
    handle = access.open_read(path)
    try:
        status = os.fstat(handle)
        return status.st_mtime, status.st_size
    finally:
        os.close(handle)
