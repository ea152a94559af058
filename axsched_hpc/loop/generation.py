"""Ax asked for points beside the loop, which meanwhile polls and submits: a model may take a minute for one.

While Ax is asked nobody else touches it. What happens meanwhile goes into the journal and the ledger at once,
and :class:`~axsched_hpc.loop.session.Session` tells Ax of it afterwards.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from axsched_hpc.loop.session import Session

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.asking import Asked

#: The part of the time between the ends of two trials for which Ax may be asked for the next, where points
#: can as well be had ahead; and how many of them.
ASKING_PART, MOST_AHEAD = 0.1, 64

log = logging.getLogger("axsched_hpc")


class Generation:
    """At most one request for points under way.

    Parameters
    ----------
    beside
        Whether Ax is asked in a thread of its own, or at once, where nothing can be done beside it.

    Attributes
    ----------
    seconds
        How long Ax was asked in all.
    """

    def __init__(self, session: Session, *, beside: bool) -> None:
        self._session = session
        # One thread for all requests: torch keeps threads of its own for each that calls it.
        self._thread = ThreadPoolExecutor(1, "axsched-ask") if beside else None
        self._answer: Future[Asked] | None = None
        self.seconds = 0.0
        self._requests = 0
        #: When the call began, and how many trials had ended by then.
        self._began, self._ended_before = 0.0, 0

    @property
    def under_way(self) -> bool:
        """Whether Ax is being asked, or its answer was not taken yet."""
        return self._answer is not None

    @property
    def answered(self) -> bool:
        """Whether there is an answer to take."""
        return self._answer is not None and self._answer.done()

    def begin(self) -> None:
        """A call begins to run trials."""
        self._began, self._ended_before = self._session.clock.monotonic(), self._session.ledger.ended

    def stock(self, slots: int) -> int:
        """How many points to have at hand: none, unless they are random ones, and trials end so fast that
        asking Ax for each by itself would take more than a small part of the time.
        """
        session = self._session
        ended = session.ledger.ended - self._ended_before
        if not ended or not self._requests or not session.bridge.blind:
            return 0
        between = (session.clock.monotonic() - self._began) / ended
        return min(slots, MOST_AHEAD) if self.seconds / self._requests > ASKING_PART * between else 0

    def ask(self, number: int, *, most: int, whole: bool) -> None:
        """Ask for points, as :meth:`axsched_hpc.ax_bridge.bridge.AxBridge.ask` does; the clock is woken when
        there is an answer.
        """
        session = self._session
        clock, now = session.clock, session.clock.now()
        begun = clock.monotonic()

        def ask() -> Asked:
            try:
                return session.bridge.ask(number, time=now, most=most, whole=whole)
            finally:
                self.seconds += clock.monotonic() - begun

        session.ax_is_busy = True
        self._requests += 1
        if self._thread is None:
            self._answer = Future()
            try:
                self._answer.set_result(ask())
            except Exception as error:
                self._answer.set_exception(error)
        else:
            self._answer = self._thread.submit(ask)
            self._answer.add_done_callback(lambda _: clock.wake())

    def take(self) -> Asked:
        """The answer, waited for where it is not there yet; raises what Ax has raised."""
        answer = self._answer
        if answer is None:
            raise RuntimeError("Ax was not asked.")
        try:
            return answer.result()
        finally:
            if answer.done():
                self._answer, self._session.ax_is_busy = None, False

    def end(self) -> None:
        """Wait for an answer that nobody takes any more: its points are Ax's already, so the journal gets
        them.
        """
        if not self.under_way:
            return
        try:
            asked = self.take()
        except Exception as error:
            log.warning("Ax was asked for points when the run ended, and failed: %s", error)
        else:
            self._session.owe(*(candidate.event() for candidate in asked.candidates))
