"""The loop: observe, decide, journal, act, one tick at a time, until the call's goal is reached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from axsched_hpc.core.errors import ClusterUnavailableError, FailureRateError, SubmissionError, plural
from axsched_hpc.core.events import AttemptStarted, Event, StopDecided, TrialAbandoned, TrialStopped
from axsched_hpc.core.plan import Demand, demand
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import faults
from axsched_hpc.loop.changes import Changer, tell_of_changes
from axsched_hpc.loop.curves import Curves
from axsched_hpc.loop.failures import Failures
from axsched_hpc.loop.generation import Generation
from axsched_hpc.loop.observation import Gone, Observer
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from axsched_hpc.loop.stopping import Stopper
from axsched_hpc.loop.submission import Submitter
from axsched_hpc.runners.base import BaseRunner

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.taking import Candidate

log = logging.getLogger("axsched_hpc")

#: Seconds until the next look right after something happened; it grows to `poll_interval` while nothing does.
QUICK_LOOK = 0.02
LOOK_GROWTH = 1.5

#: Seconds for which cancelled attempts may still bring their results in, before they are given up.
CANCEL_GRACE = 15.0


class Stop(StrEnum):
    """Why a call ended."""

    BUDGET = "budget"  #: all trials that were asked for have ended
    TIMEOUT = "timeout"  #: the call's time was over
    EXHAUSTED = "exhausted"  #: Ax has no more points to suggest
    INTERRUPTED = "interrupted"  #: a signal came
    REQUESTED = "requested"  #: a request to stop came


@dataclass(frozen=True)
class Goal:
    """What a call wants.

    Attributes
    ----------
    trials
        The experiment's number of own trials at which nothing new is asked for, as the script says.
    budget
        Whether a request may change that number, or it is that of the trials to be waited for.
    deadline
        On the monotonic clock; None for no limit.
    cancel
        Whether attempts still running at the deadline may be cancelled, where the config says so.
    """

    trials: int
    synchronous: bool
    deadline: float | None = None
    cancel: bool = True
    budget: bool = True


class Loop:
    """Runs an opened experiment with a runner."""

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        self._session = session
        self._runner = runner
        self._clock = session.clock
        self._curves = Curves(session)
        self._changer = Changer(session, runner)
        self._observer = Observer(session, runner, self._curves, self._changer)
        self._stopper = Stopper(session, runner)
        self._submitter = Submitter(session, runner)
        self._generation = Generation(session, beside=session.clock.passes and not runner.inside)
        self._next_poll = self._next_curves = 0.0
        self._look = QUICK_LOOK
        self._told: str | None = None
        #: What had ended when Ax was last asked, and whether nothing was under way.
        self._asked_at = (0, False)
        #: The same, where Ax had fewer points than it was asked for: until that changes, so will its answer.
        self._refused_at: tuple[int, bool] | None = None
        self._failures = Failures(session)

    @property
    def generating(self) -> float:
        """Seconds spent in Ax, asking for points."""
        return self._generation.seconds

    def run(self, goal: Goal, interrupts: Interrupts) -> Stop:
        """Tick until the goal is reached, the time is over or a signal comes.

        Raises
        ------
        FailureRateError
            Too many of this call's trials failed.
        SubmissionError
            The scheduler refused a batch for good.
        """
        session = self._session
        self._failures = Failures(session)
        self._observer.stopping = None
        self._changer.total, self._changer.drives = goal.trials if goal.budget else None, True
        self._refused_at = None
        self._generation.begin()
        tell_of_changes(session, self._runner.max_parallel, goal.trials if goal.budget else None)
        try:
            stop = self._tick_until(goal, interrupts)
        except (FailureRateError, SubmissionError):
            self._end_asking()
            raise
        finally:
            self._generation.end()
        self._end_asking()
        return stop

    def _end_asking(self) -> None:
        """Record the points that Ax has by now, and tell it of what has happened meanwhile."""
        self._generation.end()
        self._session.record()

    def _tick_until(self, goal: Goal, interrupts: Interrupts) -> Stop:
        while True:
            if interrupts.first is not None:
                return Stop.INTERRUPTED
            if goal.deadline is not None and self._clock.monotonic() >= goal.deadline:
                return self._time_over(goal)
            try:
                # Between two requests Ax is told what has happened, decides what to stop, and is saved.
                happened = self._take_answer() + self.observe()
                self._failures.check()
                self._session.save_if_due()
                stop = self._decide(goal)
                # A job's end can be seen before its notice: that one is not to be left behind. Nor is a
                # request, after which there may be more to do.
                if stop is not None and self._observer.read_inbox():
                    continue
            except OSError as error:
                # What happened is in the journal or will be seen again, so the tick is simply repeated.
                self._session.patience.bear(error)
                continue
            self._session.patience.works()
            if stop is not None:
                return stop
            self._pause(goal, happened)

    def observe(self) -> int:
        """Look into the inbox, and at the jobs where that is due; how much has happened.

        Raises
        ------
        SupersededError
            Another driver has taken over: what this one knows is out of date, so it does nothing any more.
        """
        self._session.record()  # what an error in an earlier tick has left undone
        happened = self._observer.read_inbox()
        now = self._clock.monotonic()
        if self._runner.cheap_poll or now >= self._next_poll:
            happened += self._observer.poll()
            self._next_poll = self._clock.monotonic() + self._observer.pause
        due = now >= self._next_curves
        # Where Ax was busy when there was something to decide about, that is done as soon as it is not.
        self._stopper.decide(self._curves.look() if due else ())
        if due:
            self._next_curves = self._clock.monotonic() + self._session.config.monitoring_interval
        self._cancel_asked_for()
        self._stopper.end()
        return happened

    def _cancel_asked_for(self) -> None:
        """End the trials that are to be cancelled and do not run; of the others :class:`Stopper` ends the
        jobs.
        """
        session, ledger = self._session, self._session.ledger
        for number, reason in list(ledger.changes.cancelling.items()):
            if ledger.trials[number].state is TrialState.PLANNED:
                # Else whether it has a job is settled by `recover`, at a look that is near.
                self._submitter.drop_held()
            trial = ledger.trials[number]
            queued = trial.state is TrialState.QUEUED
            if trial.state is TrialState.WAITING or (queued and self._submitter.close(trial, reason)):
                session.record(TrialAbandoned(self._clock.now(), number, reason, cancelled=True))
                if queued and (job := trial.attempts[-1].job) is not None:
                    self._observer.give_up(job)

    def submit_waiting(self) -> None:
        """Submit what waits, as far as there are slots, without asking for anything new."""
        self._session.patience.insist(self._submit_waiting)

    def _submit_waiting(self) -> None:
        self._submitter.recover()
        ledger = self._session.ledger
        if self._submitter.ready and not ledger.changes.halted:
            free = self._submitter.slots - len(ledger.active)
            self._submitter.submit(list(ledger.waiting)[: max(0, free)])

    def stop(self, number: int, reason: str) -> None:
        """End a trial that is not wanted any more: one that runs counts as stopped early, and keeps its
        curve.

        Its job is cancelled now, or where the scheduler does not answer, at a later look.
        """
        self._session.patience.insist(lambda: self._stop_trial(number, reason))

    def _stop_trial(self, number: int, reason: str) -> None:
        session, ledger = self._session, self._session.ledger
        self._submitter.recover()
        trial, now = ledger.trials[number], self._clock.now()
        if trial.state is TrialState.QUEUED and not self._submitter.close(trial, reason):
            # Its worker is at work already, which the scheduler has not been asked for yet.
            session.record(AttemptStarted(now, number, trial.attempts[-1].number))
        trial = ledger.trials[number]
        if trial.state is TrialState.RUNNING:
            if not trial.attempts[-1].stop:
                session.record(StopDecided(now, number, trial.attempts[-1].number, reason))
            self._stopper.end()
        elif not trial.state.final:
            job = trial.attempts[-1].job if trial.state is TrialState.QUEUED else None
            if trial.state is TrialState.PLANNED:
                self._submitter.close(trial, reason)
            session.record(TrialAbandoned(now, number, reason))
            if job is not None:
                self._observer.give_up(job)

    def cancel(self, reason: str, *, wanted: bool = False) -> None:
        """Cancel all that runs; what ends with a result all the same within the grace time is kept.

        Where the scheduler does not answer, what runs is left to the next call.

        Parameters
        ----------
        wanted
            Whether a person wants it so.
        """
        gone = partial(TrialAbandoned, reason=reason, cancelled=wanted)
        self._session.patience.insist(lambda: self._cancel(gone, reason))

    def _cancel(self, gone: Gone, reason: str) -> None:
        self._session.check()
        ledger = self._session.ledger
        jobs = [job for n in ledger.active if (job := ledger.trials[n].attempts[-1].job) is not None]
        self._observer.stopping = gone
        if jobs:
            log.info("Cancelling %s: %s.", plural(len(jobs), "attempt"), reason)
            try:
                self._runner.cancel(jobs)
            except ClusterUnavailableError as error:
                log.warning(
                    "%s could not be cancelled and will be collected by the next call: %s",
                    plural(len(jobs), "attempt"),
                    error,
                )
                return
        end = self._clock.monotonic() + CANCEL_GRACE
        pause = QUICK_LOOK
        while ledger.active and self._clock.monotonic() < end:
            self._observer.read_inbox()
            self._observer.poll()
            if ledger.active:
                self._clock.wait(pause)
                # The cluster is shared: ask it at most once a second, however many jobs are being ended.
                pause = min(2 * pause, 0.2 if self._runner.cheap_poll else 1.0)
        self._session.record(*(self._given_up(number, gone) for number in list(ledger.active)))

    def _given_up(self, number: int, gone: Gone) -> Event:
        attempt, now = self._session.ledger.trials[number].attempts[-1], self._clock.now()
        if attempt.stop:
            return TrialStopped(now, number, attempt.number, attempt.stop)
        return gone(now, number)

    # ------------------------------------------------------------ decisions

    def _decide(self, goal: Goal) -> Stop | None:
        ledger, changes = self._session.ledger, self._session.ledger.changes
        self._submitter.recover()
        if changes.stopping is not None:
            self._submitter.drop_held()
            return None if ledger.active else Stop.REQUESTED
        if not self._submitter.ready:
            return None
        total = changes.total(goal.trials) if goal.budget else goal.trials
        if changes.paused is not None:
            idle = not (ledger.active or ledger.waiting or self._generation.under_way)
            return Stop.BUDGET if idle and ledger.own >= total else None
        self._fill(goal, total)
        while self._generation.answered:
            self._take_answer()
            self._fill(goal, total)
        if ledger.active or ledger.waiting or self._generation.under_way:
            return None
        if ledger.own >= total:
            return Stop.BUDGET
        if self._refused:
            log.warning(
                "Ax suggests no further point (%s); the run ends early.", self._told or "no reason given"
            )
            return Stop.EXHAUSTED
        return None

    def _fill(self, goal: Goal, total: int) -> None:
        """Submit what waits, and see to it that more will."""
        session, ledger = self._session, self._session.ledger
        wanted = self._demand(goal, total)
        if wanted.ask and not session.ax_is_busy and self._take_from_queue(wanted.ask):
            wanted = self._demand(goal, total)
        self._submitter.submit(list(islice(ledger.waiting, wanted.submit)))
        if wanted.ask and not session.ax_is_busy:
            faults.reach("ask.before")
            self._asked_at = self._session.ledger.ended, not (ledger.active or ledger.waiting)
            self._generation.ask(wanted.ask, most=max(0, total - ledger.own), whole=goal.synchronous)

    def _demand(self, goal: Goal, total: int) -> Demand:
        ledger = self._session.ledger
        return demand(
            slots=self._submitter.slots,
            active=len(ledger.active),
            waiting=len(ledger.waiting),
            remaining=0 if self._refused and not ledger.queue else max(0, total - ledger.own),
            synchronous=goal.synchronous,
            pack=self._runner.pack,
            prefetch=self._session.config.prefetch,
            stock=self._generation.stock(self._submitter.slots),
        )

    @property
    def _refused(self) -> bool:
        """Whether Ax has no point to suggest for as long as no other trial has ended."""
        ledger = self._session.ledger
        return self._refused_at == (self._session.ledger.ended, not (ledger.active or ledger.waiting))

    def _take_from_queue(self, number: int) -> int:
        """Make trials of the points that wait in the queue; of how many."""
        session, ledger = self._session, self._session.ledger
        first = list(islice(ledger.queue.items(), number))
        now = self._clock.now()
        return self._recorded(
            [session.bridge.take(place, point, time=now, known=ledger.trials) for place, point in first]
        )

    def _take_answer(self) -> int:
        """Record the trials for which Ax has points now; how many."""
        if not self._generation.answered:
            return 0
        asked = self._generation.take()
        self._told = asked.reason or self._told
        self._refused_at = self._asked_at if asked.reason is not None or not asked.candidates else None
        return self._recorded(asked.candidates)

    def _recorded(self, candidates: Sequence[Candidate]) -> int:
        """Record trials that Ax has now; how many. It is told what has ended while it was asked, before it is
        asked again.
        """
        self._session.owe(*(candidate.event() for candidate in candidates))
        if candidates:
            faults.reach("ask.after")
        self._session.record()
        return len(candidates)

    def _time_over(self, goal: Goal) -> Stop:
        self._session.patience.insist(self.observe)
        if goal.cancel and self._session.config.on_timeout == "cancel":
            self.cancel("the time of the call was over")
        return Stop.TIMEOUT

    # ------------------------------------------------------------ waiting

    def _pause(self, goal: Goal, happened: int) -> None:
        interval = self._session.config.poll_interval
        self._look = QUICK_LOOK if happened else min(self._look * LOOK_GROWTH, interval)
        now = self._clock.monotonic()
        until = now + min(self._look, interval)
        if not self._runner.cheap_poll:
            until = min(until, max(self._next_poll, now))
        if goal.deadline is not None:
            until = min(until, goal.deadline)
        self._clock.wait(until - now)
