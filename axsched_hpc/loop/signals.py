"""What a person or a scheduler tells the driver while it runs: SIGINT, SIGTERM, SIGUSR1."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from axsched_hpc.loop.clock import Clock

#: Exit code after SIGUSR1: saved, not done, start me again (sysexits.h: EX_TEMPFAIL).
EXIT_AGAIN = 75

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupts:
    """The signals that have come, and how often; the loop looks at them between two steps."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self.count = 0

    def note(self, number: int) -> None:
        """Take one signal in."""
        if self.first is None:
            self.first = signal.Signals(number)
        if number != signal.SIGUSR1:
            self.count += 1


@contextmanager
def watching(clock: Clock) -> Iterator[Interrupts]:
    """Note the watched signals instead of dying of them; the handlers before are back afterwards.

    Python delivers signals to the main thread only: elsewhere nothing is watched, and they act as the caller
    has it.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def handler(number: int, frame: FrameType | None) -> None:
        interrupts.note(number)
        clock.wake()

    before = {number: signal.signal(number, handler) for number in _WATCHED}
    try:
        yield interrupts
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)
