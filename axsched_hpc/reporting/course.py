"""The course of a run, kept up to date event by event: what ``axsched watch`` shows of the past, without
going through all trials at each look.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from axsched_hpc.core.best import Incumbent, Problem
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    BaselineSet,
    BatchSubmitted,
    DriverOpened,
    Event,
    Failure,
    LeaseTaken,
    TrialAbandoned,
    TrialAdded,
    TrialEvent,
    TrialStopped,
)
from axsched_hpc.core.front import Growth, growth
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState, Verdict
from axsched_hpc.reporting.changes import describe, is_failure

#: Ends of trials from which the rate is taken, at the least; and how many times the slots, so that a few
#: rounds of a run in rounds are among them.
_ENDS, _ROUNDS = 20, 3

#: Before so many trials have ended there is no rate.
_LEAST = 3

#: How much of the latest is kept.
_FAILURES, _NEWS = 20, 10_000


@dataclass(frozen=True)
class Failed:
    """An attempt that failed: when, in seconds since the epoch, of which trial (its label), what follows."""

    time: float
    trial: str
    attempt: int
    failure: Failure
    verdict: Verdict


@dataclass(frozen=True)
class News:
    """A change in words; ``place`` counts all events."""

    place: int
    time: float
    text: str


class Course:
    """The course of a run.

    Attributes
    ----------
    events
        How many were taken in.
    problem
        What is optimised.
    incumbent
        The best trial so far.
    failures
        The latest failed attempts, oldest first.
    news
        The latest changes in words, oldest first.
    since
        When the trials that run have started, in seconds since the epoch.
    ended
        How many times trials have ended.
    failed
        How many attempts have failed.
    """

    def __init__(self) -> None:
        self.events = 0
        self.problem = Problem(())
        self.incumbent = Incumbent(self.problem)
        self.failures: deque[Failed] = deque(maxlen=_FAILURES)
        self.news: deque[News] = deque(maxlen=_NEWS)
        self.since: dict[int, float] = {}
        self.ended = 0
        self.failed = 0
        self._nodes: dict[int, int] = {}
        self._spent = 0.0
        #: Seconds in which there was no driver, up to now; what is measured is the time without them.
        self._idle = 0.0
        self._before = 0.0
        self._begun: float | None = None
        self._ends: deque[float] = deque(maxlen=_ENDS + 1)
        self._most = 0
        self._grown: tuple[int, Growth | None] | None = None

    def __call__(self, event: Event, ledger: Ledger) -> None:
        """Take an event in, which the ledger has taken in already."""
        self.events += 1
        match event:
            case LeaseTaken() if self._before:
                self._idle += max(0.0, event.time - self._before)
            case DriverOpened() | BaselineSet():
                self._opened(ledger)
            case BatchSubmitted():
                self._most = max(self._most, len(ledger.active))
                if self._begun is None:
                    self._begun = event.time - self._idle
            case TrialEvent():
                self._step(event, ledger)
        self._before = max(self._before, event.time)
        text = describe(event, ledger, self.incumbent)
        if text is not None:
            self.news.append(News(self.events, event.time, text))

    def growth(self, ledger: Ledger) -> Growth | None:
        """The hypervolume over time, computed anew after another completed trial; None with one objective."""
        if self._grown is None or self._grown[0] != self.incumbent.completed:
            self._grown = (self.incumbent.completed, growth(ledger.trials.values(), self.problem))
        return self._grown[1]

    def node_hours(self, now: float) -> float:
        """Hours of attempts, those under way up to ``now``, times the nodes of each."""
        running = sum(max(0.0, now - began) * self._nodes[trial] for trial, began in self.since.items())
        return (self._spent + running) / 3600.0

    def rate(self, now: float) -> float | None:
        """Trials that ended per second, over the last ones and up to ``now``; None before there are enough.

        The time in which no driver was at work does not count.
        """
        if self.ended < _LEAST or self._begun is None:
            return None
        first, number = self._begun, len(self._ends)
        if self.ended > number:
            first, number = self._ends[0], number - 1
        seconds = now - self._idle - first
        return number / seconds if seconds > 0.0 else None

    def _opened(self, ledger: Ledger) -> None:
        problem = Problem.from_json(ledger.driver.problem if ledger.driver else {})
        if problem == self.problem:
            return
        self.problem, self.incumbent, self._grown = problem, Incumbent(problem), None
        done = [trial for trial in ledger.trials.values() if trial.state is TrialState.COMPLETED]
        for trial in sorted(done, key=lambda trial: (trial.ended or trial.added, trial.number)):
            self.incumbent.update(trial)

    def _step(self, event: TrialEvent, ledger: Ledger) -> None:
        trial = ledger.trials[event.trial]
        match event:
            case AttemptStarted():
                self.since[trial.number] = event.time
                self._nodes[trial.number] = nodes(event.node)
            case AttemptRequeued() | TrialAbandoned():
                self._spend(event, None, None)
            case AttemptSucceeded() | AttemptFailed() | TrialStopped():
                self._spend(event, event.started, event.ended)
        if isinstance(event, AttemptFailed) and is_failure(event) and not trial.cancelled:
            self.failed += 1
            self.failures.append(Failed(event.time, trial.label, event.attempt, event.failure, event.verdict))
        if trial.state is TrialState.COMPLETED:
            self.incumbent.update(trial)
        # What came with its outcome was not run.
        if trial.state.final and not isinstance(event, TrialAdded):
            self.ended += 1
            self._end(event.time - self._idle)

    def _end(self, moment: float) -> None:
        wanted = max(_ENDS, _ROUNDS * self._most) + 1
        if wanted > (self._ends.maxlen or 0):
            self._ends = deque(self._ends, maxlen=wanted)
        self._ends.append(moment)

    def _spend(self, event: TrialEvent, started: float | None, ended: float | None) -> None:
        """Count what an attempt has taken: by its node's clock where that is known."""
        began = self.since.pop(event.trial, None)
        number = self._nodes.pop(event.trial, 1)
        if started is not None and ended is not None:
            self._spent += max(0.0, ended - started) * number
        elif began is not None:
            self._spent += max(0.0, event.time - began) * number


def nodes(name: str | None) -> int:
    """How many nodes these are, as a scheduler writes them: ``n[1-3]`` are three."""
    if name is None or ("[" not in name and "," not in name):
        return 1
    from axsched_hpc.slurm.allocation import hosts  # few looks need it

    return len(hosts(name)) or 1
