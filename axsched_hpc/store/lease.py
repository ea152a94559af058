"""One driver per experiment: taking it, showing signs of life, giving it back.

What decides is the journal: who makes the next segment drives, and exactly one process can make it
(link(2), on NFS too). A segment without an end says that somebody drives; its time of change is his last sign
of life, renewed by a thread, by the filesystem's clock.

flock (filelock's ``UnixFileLock``) on ``driver.lock`` is a witness beside that. The kernel frees it when its
holder dies, on local disks and on NFS v3 and v4.2 alike (measured); that of an NFS v3 client whose machine
died stays for ever, and on filesystems mounted with ``localflock``, ``nolock`` or ``local_lock`` other
machines do not see it. So it neither opens the door nor keeps it closed by itself. Locks by the existence of
a file are never freed on NFS, and are not used.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from axsched_hpc.core.errors import AxSchedError, SupersededError
from axsched_hpc.core.events import LeaseTaken
from axsched_hpc.core.lease import BEATS, Judgement, Sighting, judge
from axsched_hpc.io import atomic, faults, owner, processes
from axsched_hpc.io.flock import Flock
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store.holder import TAKEOVER, Holder, holder, locked_error
from axsched_hpc.store.writer import JournalWriter

#: Seconds between two looks at a holder that is being watched.
LOOK = 0.5


class Lease:
    """The right to drive one experiment, from :meth:`take` to :meth:`release` or the process's end.

    Attributes
    ----------
    writer
        The journal's segment of this driver.
    """

    def __init__(self, writer: JournalWriter, lock: Flock, takeover: float) -> None:
        self.writer = writer
        self._lock = lock
        self._beats = _Beats(writer, takeover / BEATS)
        self._beats.start()

    @classmethod
    def take(
        cls,
        layout: Layout,
        *,
        takeover: float,
        purpose: str = "drive",
        say: Callable[[str], None] = lambda text: None,
        wait: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Lease:
        """Take the experiment, at once or after its holder has shown no sign of life for long enough.

        Parameters
        ----------
        takeover
            Seconds without a sign of life of this driver, after which one on another machine may take over.
        say
            Told, at most once, that somebody is being watched, and for how long.
        wait, monotonic
            The clock: waits so many seconds; seconds that never go back.

        Raises
        ------
        ExperimentLockedError
            Another driver runs it; names its host, process id and start.
        OSError
            The directory cannot be written or read.
        """
        lock = Flock(layout.lock)
        try:
            epoch = _watch(layout, lock, say, wait, monotonic)
            faults.reach("open.before")
            writer = JournalWriter(layout.journal, epoch, first_record(takeover, purpose))
        except SupersededError:
            lock.release()
            raise locked_error(layout, holder(layout)) from None
        except BaseException:
            lock.release()
            raise
        faults.reach("open.lease")
        return cls(writer, lock, takeover)

    def release(self) -> None:
        """Give the experiment back. That it was given back is recorded before, by a ``DriverClosed``."""
        self._beats.stop()
        self.writer.close()
        self._lock.release()


# ---------------------------------------------------------------- taking it


def _watch(
    layout: Layout,
    lock: Flock,
    say: Callable[[str], None],
    wait: Callable[[float], None],
    monotonic: Callable[[], float],
) -> int:
    """Return the epoch under which the experiment may be taken, or raise ExperimentLockedError."""
    known: Holder | None = None
    watched, told = 0.0, False
    while True:
        locked = lock.taken_by_another()
        who = holder(layout, known)
        if who is not None and known is not None and who.epoch != known.epoch:
            # Somebody else was quicker; whether he drives or has ended already is a new question.
            known, watched = None, 0.0
        held = who is not None and not who.ended
        seen = Sighting(
            held=held,
            alive=who.alive() if who is not None and held else None,
            locked=locked,
            silent=_now(layout) - who.seen if who is not None and held else 0.0,
            watched=watched,
            stirred=known is not None and who is not None and who.seen != known.seen,
        )
        takeover = who.takeover if who is not None else TAKEOVER
        match judge(seen, takeover=takeover):
            case Judgement.TAKE:
                return who.epoch + 1 if who is not None else 1
            case Judgement.REFUSE:
                raise locked_error(layout, who)
        if held and who is not None and not told:
            told = True
            say(_watching(layout, who, takeover))
        known = known or who
        # While it is free, whoever can tell that the holder has ended takes over at once.
        lock.release()
        before = monotonic()
        wait(LOOK)
        # A look that hung, on a filesystem that did not answer, has watched nobody.
        watched += min(monotonic() - before, 2 * LOOK)


def _watching(layout: Layout, who: Holder, takeover: float) -> str:
    name = f"process {who.pid} on {who.host}" if who.host is not None else "another process"
    return (
        f"{layout.root} is held by {name}, of which this machine cannot tell whether it is alive. "
        f"Watching it; where it shows no sign of life for {takeover:g} s this driver takes over."
    )


def first_record(takeover: float, purpose: str, *, base: bool = False) -> LeaseTaken:
    """The first record of a segment that this process makes."""
    pid = os.getpid()
    return LeaseTaken(
        time=time.time(),
        format=FORMAT,
        host=processes.hostname(),
        pid=pid,
        start=processes.start_ticks(pid),
        boot=processes.boot_id(),
        user=owner.user(),
        takeover=takeover,
        purpose=purpose,
        base=base,
    )


def _now(layout: Layout) -> float:
    """The filesystem's clock."""
    handle = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, atomic.FILE_MODE)
    try:
        os.utime(handle)
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)


class _Beats(threading.Thread):
    """Shows signs of life, also while Ax is busy for minutes. A stopped process shows none."""

    def __init__(self, writer: JournalWriter, interval: float) -> None:
        super().__init__(name="axsched-lease", daemon=True)
        self._writer = writer
        self._interval = interval
        self._ended = threading.Event()

    def run(self) -> None:
        """Touch the segment until :meth:`stop`, or until another driver has taken over. A filesystem that
        does not answer is the main thread's concern.
        """
        while not self._ended.wait(self._interval):
            try:
                self._writer.check()
                self._writer.touch()
            except OSError:
                continue
            except AxSchedError:
                # A driver that was superseded changes nothing any more; the main thread will say so.
                return

    def stop(self) -> None:
        """End; returns once no touch is under way."""
        self._ended.set()
        self.join()
