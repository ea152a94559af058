"""Taking an experiment from a holder of whom only a person can know that he is dead."""

from __future__ import annotations

import time

from axsched_hpc.core.events import DriverClosed
from axsched_hpc.io import atomic
from axsched_hpc.io.flock import Flock
from axsched_hpc.io.layout import Layout
from axsched_hpc.store.holder import TAKEOVER, Holder
from axsched_hpc.store.lease import first_record
from axsched_hpc.store.writer import JournalWriter


def unlock(layout: Layout, who: Holder) -> None:
    """End a holder's right to drive: the next driver starts at once.

    A segment that is made and ended here follows his own. Should he live after all, he finds it before his
    next write, and stops. A lock that cannot be had, such as that of an NFS client that died, is left behind
    with its file, which is replaced.

    Raises
    ------
    SupersededError
        Somebody else was quicker.
    OSError
        The directory cannot be written.
    """
    writer = JournalWriter(layout.journal, who.epoch + 1, first_record(TAKEOVER, "unlock"))
    try:
        writer.append([DriverClosed(time.time(), finished=False)])
    finally:
        writer.close()
    lock = Flock(layout.lock)
    if lock.taken_by_another():
        atomic.write(layout.lock, "")
    lock.release()
