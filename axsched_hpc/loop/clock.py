"""Time, given to the loop from outside, so that its logic can be tested without waiting."""

from __future__ import annotations

import contextlib
import os
import select
import time
import weakref
from typing import Protocol


class Source(Protocol):
    """What can end a wait: a handle that can be read then, or none at present; and what reads it, and says
    whether to end the wait.
    """

    @property
    def handle(self) -> int | None: ...

    def note(self) -> bool: ...


class Clock(Protocol):
    """What the loop needs of time.

    Attributes
    ----------
    passes
        Whether time goes by while something is computed, so that there is anything to do beside it.
    """

    passes: bool

    def now(self) -> float:
        """Seconds since the epoch, for records."""

    def monotonic(self) -> float:
        """Seconds that never go back, for intervals."""

    def wait(self, seconds: float) -> None:
        """Return after that time, or at once when woken."""

    def listen(self, source: Source) -> None:
        """Let what comes there end a wait as well."""

    def wake(self) -> None:
        """End a wait under way, or else the next one; may be called from a signal handler."""


class SystemClock:
    """The machine's clock. Waits on a pipe, since a threading.Event may deadlock when a signal handler sets
    it.
    """

    passes = True

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._sources: list[Source] = []
        weakref.finalize(self, _close, self._reader, self._writer)

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep until woken, for that many seconds at the most."""
        deadline = time.monotonic() + seconds
        while True:
            sources = {each.handle: each for each in self._sources if each.handle is not None}
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self._reader, *sources], [], [], left)[0]
            if self._reader in ready:
                os.read(self._reader, 4096)
                return
            if not ready or any([source.note() for handle, source in sources.items() if handle in ready]):
                return

    def listen(self, source: Source) -> None:
        """Let what comes there end a wait as well."""
        self._sources.append(source)

    def wake(self) -> None:
        """End the wait."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b".")


def _close(*handles: int) -> None:
    for handle in handles:
        os.close(handle)
