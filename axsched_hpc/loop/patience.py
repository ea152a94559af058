"""What a driver does while its directory cannot be written or read: it keeps what it knows, waits, and tries
again. A full disk is emptied, a quota raised, a file server comes back; the jobs go on in the meantime.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from axsched_hpc.core.errors import StorageError
from axsched_hpc.io.storage import is_storage_error
from axsched_hpc.loop.clock import Clock

log = logging.getLogger("axsched_hpc")

#: Seconds before the first repetition, and the most between two of them.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

T = TypeVar("T")


class Patience:
    """Repeats what the filesystem refuses.

    Attributes
    ----------
    stop
        Says why nobody may wait any longer, or None: a signal has come, the time of the call is over.
    """

    def __init__(self, clock: Clock, root: Path) -> None:
        self.stop: Callable[[], str | None] = lambda: None
        self._clock = clock
        self._root = root
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def insist(self, action: Callable[[], T]) -> T:
        """Do something until the filesystem lets it happen.

        Raises
        ------
        StorageError
            It did not, and nobody may wait any longer.
        OSError
            Of another kind than those of a filesystem in trouble.
        """
        refused = False
        while True:
            try:
                done = action()
            except OSError as error:
                self.bear(error)
                refused = True
            else:
                # What was not refused itself says nothing of what was: a full disk can still be read.
                if refused:
                    self.works()
                return done

    def bear(self, error: OSError) -> None:
        """Say that the filesystem is in trouble, and wait before the next try, longer each time.

        Raises
        ------
        StorageError
            Nobody may wait any longer.
        OSError
            It is another kind of error.
        """
        if not is_storage_error(error):
            raise error
        why = self.stop()
        if why is not None:
            raise StorageError(
                f"{self._what(error)}, and {why}. Nothing that was recorded is lost, and jobs go on: start "
                "the same script again once the filesystem works."
            ) from error
        if self._since is None:
            self._since = self._clock.monotonic()
        log.warning(
            "%s. Nothing new is submitted, and what is known is kept; trying again in %.0f s.",
            self._what(error),
            self._pause,
        )
        self._clock.wait(self._pause)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def works(self) -> None:
        """Say that the filesystem works again, where it did not."""
        if self._since is not None:
            log.warning(
                "%s can be used again, after %.0f s; going on.",
                self._root,
                self._clock.monotonic() - self._since,
            )
            self._since, self._pause = None, FIRST_PAUSE

    def _what(self, error: OSError) -> str:
        return f"{error.filename or self._root} cannot be written or read ({error.strerror or error})"
