"""One driver per experiment: the lock, and who holds it.

flock (filelock's ``UnixFileLock``) is freed by the kernel when its holder dies, on local disks and on NFS v3
and v4.2 alike (measured); locks by the existence of a file are never freed on NFS. The lock keeps drivers
apart; that a superseded one cannot do harm where a filesystem's lock fails is the journal's part (see
:mod:`axsched_hpc.store.journal`).
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from filelock import Timeout, UnixFileLock

from axsched_hpc.core.errors import AxSchedError, ExperimentLockedError
from axsched_hpc.core.events import DriverOpened
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal


class DriverLock:
    """The right to drive one experiment, from :meth:`acquire` to :meth:`release` or the process's end."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = UnixFileLock(
            layout.lock, mode=atomic.FILE_MODE, fallback_to_soft=False, thread_local=False
        )

    def acquire(self) -> None:
        """Take the lock, or fail at once.

        Raises
        ------
        ExperimentLockedError
            Another driver runs; names its host, process id and start.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise locked_error(self._layout) from None
        except (OSError, NotImplementedError) as error:
            raise AxSchedError(
                f"{self._layout.lock} cannot be locked ({error}). The filesystem may not support flock; "
                "put job_output_dir on one that does."
            ) from error

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def locked_error(layout: Layout) -> ExperimentLockedError:
    """The error that tells who drives an experiment."""
    driver = _last_driver(layout)
    if driver is None:
        return ExperimentLockedError(
            f"Another driver has just started on {layout.root}. "
            "Wait for it to end, or use another job_output_dir."
        )
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(driver.time))
    where = f"process {driver.pid} on {driver.host}"
    if driver.pid == os.getpid() and driver.host == socket.gethostname():
        where = "another AxScheduler in this very process"
        todo = "Go on with that one, or call its close() first"
    else:
        todo = (
            f"Wait for it to end, or stop it (on {driver.host}: kill {driver.pid}) and start again; "
            "its jobs go on"
        )
    return ExperimentLockedError(
        f"{layout.root} is driven by {where}, since {since}. {todo}; or use another job_output_dir.",
        host=driver.host,
        pid=driver.pid,
        since=driver.time,
    )


def _last_driver(layout: Layout) -> DriverOpened | None:
    try:
        segments = journal.read(layout.journal)
    except (AxSchedError, OSError):
        return None
    for segment in reversed(segments):
        if segment.events and isinstance(segment.events[0], DriverOpened):
            return segment.events[0]
    return None


def guarded_write(path: Path, text: str) -> None:
    """Replace a file as a whole, one process at a time: two savers of the same path never mix, and the last
    one wins.

    Raises
    ------
    OSError
        It could not be written; the old file is still there.
    """
    guard = path.with_name(f".{path.name}.lock")
    # Made here, since filelock would make missing directories too, and try for ever where it may not.
    os.close(os.open(guard, os.O_RDWR | os.O_CREAT, atomic.FILE_MODE))
    with UnixFileLock(guard, mode=atomic.FILE_MODE, fallback_to_soft=False):
        atomic.write(path, text)
