"""What the public calls do with an opened experiment, once their arguments are checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import AxSchedError, StorageError, plural
from axsched_hpc.core.standing import standing
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.clock import SystemClock
from axsched_hpc.loop.loop import Goal, Loop, Stop
from axsched_hpc.loop.progress import shown
from axsched_hpc.loop.session import Session, summary
from axsched_hpc.loop.signals import Interrupts
from axsched_hpc.reporting import export
from axsched_hpc.reporting.curves import read_curves
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.scheduler import baseline
from axsched_hpc.scheduler.batch import BatchTrialContext
from axsched_hpc.scheduler.calls import Call, Calls
from axsched_hpc.scheduler.opened import Opened
from axsched_hpc.scheduler.result import Result, best_parameters, by_model, collect

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.bridge import AxBridge
    from axsched_hpc.ax_bridge.model import BestByModel
    from axsched_hpc.ax_bridge.warm import Finished

log = logging.getLogger("axsched_hpc")


class Driver(Opened):
    """Drives one experiment from :meth:`open` to the end of its session.

    Attributes
    ----------
    stopped
        Why the last call ended; empty before the first.
    """

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        super().__init__(session, runner)
        self.stopped = ""
        self._calls = Calls(session)

    @classmethod
    def open(cls, layout: Layout, bridge: AxBridge, config: SchedulerConfig, runner: BaseRunner) -> Driver:
        """Take an experiment directory; see :meth:`axsched_hpc.loop.session.Session.open` for the errors."""
        return cls(Session.open(layout, bridge, config, SystemClock()), runner)

    # ------------------------------------------------------------ the public calls

    def attach(self, evaluations: Sequence[Finished], source: str) -> list[int]:
        """Record evaluations that were not run here, but are from a source, as completed trials; their
        numbers.
        """
        numbers: list[int] = []
        with self._interruptible(None):
            session = self.session
            session.adopt()
            before = len(session.ledger.trials)
            indices = session.bridge.warm.attach(evaluations, time=self._clock.now())
            session.adopt(source)
            numbers = [session.bridge.number(index) for index in indices]
            new = len(session.ledger.trials) - before
            log.info("Attached %s.", _new_of(new, len(evaluations), "trial", "there already"))
        return numbers

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Let points be run before Ax is asked for any."""
        with self._interruptible(None):
            new, before = self._calls.enqueue(points), "enqueued before the script was started again"
            log.info("Enqueued %s.", _new_of(new, len(points), "point", before))

    def set_baseline(self, point: Mapping[str, Any]) -> None:
        """Make a point the baseline, and record it."""
        with self._interruptible(None):
            self.session.bridge.warm.set_baseline(point)
            self.session.adopt()

    def optimise(
        self, max_trials: int, *, synchronous: bool, limit: float | None, total: bool = False
    ) -> dict[str, Any]:
        """Run up to so many more trials, or until there are so many in total; ``limit`` is in seconds."""
        session = self.session
        deadline = None if limit is None else self._clock.monotonic() + limit
        with self._interruptible(deadline) as interrupts:
            session.adopt()
            if self._stopped_by_request():
                return best_parameters(session.ledger, session.problem)
            if session.bridge.stops_between_rounds and not synchronous:
                log.warning(
                    "The global stopping strategy acts only while no trial is running, and an asynchronous "
                    "run keeps its slots full. Make the strategy with inactive_when_pending_trials=False."
                )
            baseline.check(session.problem)
            loop = self._prepared()
            base = self._calls.base()
            goal = Goal(max_trials if total else base + max_trials, synchronous, deadline)
            call = self._calls.begin_run(
                max(0, goal.trials - base),
                synchronous=synchronous,
                total=goal.trials,
                max_parallel=self._runner.max_parallel,
            )
            if call.done:
                log.warning(
                    "This call had ended before the script was started again (%s); nothing is run for it.",
                    summary(session.ledger),
                )
            else:
                baseline.begin(session)
                self._run(loop, goal, call, interrupts)
        self._warn_if_infeasible()
        return best_parameters(session.ledger, session.problem)

    def new_batch(self) -> BatchTrialContext:
        """Collect the points of a batch."""
        self.session.adopt()
        trials, call = self.session.ledger.trials, self._calls.earlier_batch()
        earlier = call.trials if call is not None else ()
        return BatchTrialContext(self.session.bridge, [(n, trials[n].parameters) for n in earlier])

    def submit_batch(self, batch: BatchTrialContext, *, wait: bool) -> None:
        """Submit the user's own points as one batch, and wait for them or not."""
        with self._interruptible(None) as interrupts:
            self._submit_batch(batch, interrupts, wait=wait)

    def _submit_batch(self, batch: BatchTrialContext, interrupts: Interrupts, *, wait: bool) -> None:
        session = self.session
        loop = self._prepared()
        call = self._calls.earlier_batch() if batch.known else None
        if call is not None:
            log.info("These %d points were added before the script was started again.", len(call.trials))
            self._calls.go_on_with(call)
        else:
            if session.bridge.next_trial != batch.first:
                raise AxSchedError(
                    "Other trials were added while this batch was open, so that its points would not get the "
                    f"indices that add_trial returned, from {batch.first} on. Nothing of the batch was "
                    "submitted. Leave the with-block before anything else adds trials."
                )
            now = self._clock.now()
            added = [session.bridge.attach(point, time=now) for point in batch.points]
            started = self._calls.begin_batch([c.trial for c in added], synchronous=wait)
            session.owe(*(candidate.event() for candidate in added), started)
            session.record()
            call = Call(started.ordinal, started.base, started.trials)
        if call.done:
            return
        if wait:
            self._run(loop, Goal(session.ledger.own, synchronous=True, budget=False), call, interrupts)
        else:
            loop.submit_waiting()
            self._calls.end(call, "submitted")

    def wait(self, limit: float | None) -> None:
        """Wait for all trials that exist, for so many seconds at the most."""
        session = self.session
        deadline = None if limit is None else self._clock.monotonic() + limit
        with self._interruptible(deadline) as interrupts:
            session.adopt()
            loop = self._prepared()
            goal = Goal(session.ledger.own, True, deadline=deadline, cancel=False, budget=False)
            self._run(loop, goal, None, interrupts)

    def result(self) -> Result:
        """What there is to tell now."""
        session = self.session
        generating = self._loop.generating if self._loop is not None else 0.0
        return collect(
            session.ledger, session.bridge, session.problem, generating=generating, stopped=self.stopped
        )

    def best_by_model(self) -> BestByModel:
        """What Ax's model takes for the best."""
        session = self.session
        return by_model(session.ledger, session.bridge, session.problem)

    def export(self, path: str | Path, *, curves: bool) -> None:
        """Write the trials, or their curves, to a file."""
        session = self.session
        if curves:
            table = export.curve_table(read_curves(session.layout.root))
        else:
            table = export.trial_table(session.ledger.trials.values(), session.problem)
        export.write(path, table)

    # ------------------------------------------------------------ inside

    def _stopped_by_request(self) -> bool:
        """Whether an earlier call of this process was stopped by a request, which is for all that follow."""
        stopped = self.stopped == Stop.REQUESTED
        if stopped:
            log.warning("The run was stopped by a request, so this call runs nothing either.")
        return stopped

    def _warn_if_infeasible(self) -> None:
        found = standing(self.session.ledger.trials.values(), self.session.problem)
        if found.feasible is False:
            log.warning("Nothing is best. %s", found.text)

    def _run(self, loop: Loop, goal: Goal, call: Call | None, interrupts: Interrupts) -> None:
        """Run to the goal; a call that a signal has interrupted is not ended."""
        session = self.session
        try:
            with self._shown(goal.trials):
                try:
                    stop = loop.run(goal, interrupts)
                except StorageError as error:
                    if interrupts.first is None:
                        raise
                    log.warning("%s", error)
                    stop = Stop.INTERRUPTED
                self.stopped = stop.value
                if stop is Stop.INTERRUPTED:
                    session.save()
                    if self._wants_cancel(interrupts):
                        loop.cancel("cancelled by the user", wanted=True)
        except Exception:
            self.stopped = "error"
            session.save()
            raise
        if stop is Stop.REQUESTED:
            # As after a signal the call is not ended: started again, the script goes on with it.
            session.save()
            self._tell_of_stop()
            return
        if stop is Stop.INTERRUPTED:
            return
        if call is not None:
            self._calls.end(call, stop.value)
        session.save()

    def _shown(self, total: int) -> AbstractContextManager[None]:
        """What a person sees of a call towards ``total`` trials."""
        return shown(self.session, total)


def _new_of(new: int, total: int, noun: str, known: str) -> str:
    """``3 points``; of points that are not all new, ``3 points; 1 was there already``."""
    old = total - new
    rest = f"; {old} {'was' if old == 1 else 'were'} {known}" if old else ""
    return plural(new, noun) + rest
