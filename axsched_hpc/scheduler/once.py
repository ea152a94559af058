"""One trial at a point that was chosen, run as all trials are, by the driver with its loop; without Ax."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from axsched_hpc.core.best import Problem
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.events import TrialAdded
from axsched_hpc.core.machine import Trial
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.clock import SystemClock
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler.driver import Driver

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.bridge import AxBridge

log = logging.getLogger("axsched_hpc")

#: The name of the trial's arm, as Ax would call it.
ARM = "0_0"


class Once(Driver):
    """Drives one trial in a directory of its own.

    Parameters
    ----------
    watch
        Shows what happens while it runs.
    """

    def __init__(
        self, session: Session, runner: BaseRunner, watch: Callable[[Session], AbstractContextManager[None]]
    ) -> None:
        super().__init__(session, runner)
        self._watch = watch

    @classmethod
    def begin(
        cls,
        layout: Layout,
        problem: Problem,
        config: SchedulerConfig,
        runner: BaseRunner,
        watch: Callable[[Session], AbstractContextManager[None]],
    ) -> Once:
        """Take a new directory; see :meth:`axsched_hpc.loop.session.Session.open` for the errors."""
        bridge = cast("AxBridge", _NoAx(problem))
        return cls(Session.open(layout, bridge, config, SystemClock()), runner, watch)

    def run(self, point: Mapping[str, Any]) -> Trial:
        """Run the objective, which is set, at a point; the trial, which has ended.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            A signal came, and the trial was cancelled.
        """
        self.enqueue([point])
        self.optimise(1, synchronous=True, limit=None)
        return self.session.ledger.trials[0]

    def _shown(self, total: int) -> AbstractContextManager[None]:
        return self._watch(self.session)

    def _wants_cancel(self, interrupts: Interrupts) -> bool:
        # Nobody goes on with it.
        return True

    def _leave(self, interrupts: Interrupts) -> None:
        if interrupts.first is signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (interrupts.first or signal.SIGTERM))


@dataclass(frozen=True)
class _Chosen:
    """The trial, as Ax's bridge gives its own."""

    trial: int
    parameters: dict[str, Any]
    time: float
    place: int

    def event(self) -> TrialAdded:
        return TrialAdded(self.time, self.trial, ARM, self.parameters, "enqueued", {}, self.place)


class _NoBaseline:
    baseline = None


class _NoAx:
    """As much of :class:`~axsched_hpc.ax_bridge.bridge.AxBridge` as a run needs that asks for nothing."""

    keeps_snapshot = stops_between_rounds = False
    warm = _NoBaseline()

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def problem(self) -> Problem:
        return self._problem

    def definition(self) -> dict[str, Any]:
        return {}

    def take(self, place: int, point: dict[str, Any], *, time: float, known: Any) -> _Chosen:
        return _Chosen(0, dict(point), time, place)

    def external(self, known: Any, *, time: float) -> list[TrialAdded]:
        return []

    def to_stop(self, candidates: Any) -> dict[int, str]:
        return {}

    def replay(self, events: Any) -> None:
        """There is nobody to tell."""

    def report(self, reports: Iterable[Any]) -> None:
        """There is nobody to tell."""

    def complete(self, ends: Iterable[Any]) -> None:
        """There is nobody to tell."""

    def stop(self, trial: int, reason: str, *, time: float) -> None:
        """There is nobody to tell."""

    fail = abandon = stop
