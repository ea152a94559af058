"""When the snapshot is written: a copy of the optimisation for whoever opens it without this package.

It holds nothing that is not in the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.io import faults
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop import opening
from axsched_hpc.loop.clock import Clock
from axsched_hpc.store import saving

log = logging.getLogger("axsched_hpc")

#: Of the run time, snapshots take at most this share.
SHARE = 0.05


class Snapshot:
    """The snapshot of one experiment.

    Attributes
    ----------
    behind
        Whether something has happened since it was written.
    """

    def __init__(self, layout: Layout, config: SchedulerConfig, clock: Clock) -> None:
        self.behind = False
        self._path = layout.snapshot
        self._mode = opening.file_mode(config.permissions)
        self._interval = config.save_interval
        self._clock = clock
        self._written = clock.monotonic()
        self._pause = 0.0

    @property
    def due(self) -> bool:
        """Whether it is behind, and the last one old enough for what it costs."""
        age = self._clock.monotonic() - self._written
        return self.behind and age >= max(self._interval, self._pause)

    def write(self, text: Callable[[], str], check: Callable[[], None]) -> None:
        """Write it now. A failure of the filesystem is logged: the journal has everything.

        Parameters
        ----------
        check
            Called right before it is replaced; where it raises, the old one stays.
        """
        started = self._clock.monotonic()
        try:
            faults.reach("snapshot.before")
            content = text()
            check()
            saving.save(self._path, content, mode=self._mode)
            self.behind = False
            faults.reach("snapshot.after")
        except OSError as error:
            log.warning(
                "The snapshot %s could not be written (%s); the journal has everything.", self._path, error
            )
        finally:
            self._written = self._clock.monotonic()
            self._pause = (self._written - started) / SHARE
