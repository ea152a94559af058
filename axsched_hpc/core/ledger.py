"""The state of an experiment as the fold of its events.

The same fold serves the living driver (event by event, as they are journaled), a resumed one and ``axsched
status``. Work per event does not grow with the number of trials: what the loop asks for is kept up to date,
not counted anew.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from axsched_hpc.core import typed
from axsched_hpc.core.best import Problem
from axsched_hpc.core.changes import Changes
from axsched_hpc.core.events import (
    BaselineSet,
    BatchPlanned,
    BatchSubmitted,
    CallEnded,
    CallStarted,
    DefinitionChanged,
    DriverClosed,
    DriverOpened,
    Event,
    LeaseTaken,
    ObjectiveSet,
    PointsEnqueued,
    RequestAnswered,
    TrialAdded,
    TrialEvent,
)
from axsched_hpc.core.machine import (
    Action,
    IllegalTransition,
    Planned,
    Submitted,
    Trial,
    consequences,
    step,
)
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import CANCELLED, TrialState


class _External(Record):
    """What the ledger needs of the outcome of a trial that the user completed by himself."""

    state: TrialState | None = None
    metrics: Metrics | None = None
    source: str | None = None


_EXTERNAL = ("state", "metrics", "source")

#: States of trials that were given up.
_FAILED = (TrialState.FAILED, TrialState.ABANDONED)

#: With these the work of a driver begins anew.
_BEGINNINGS = (LeaseTaken, DriverOpened)

_FINAL = tuple(state for state in TrialState if state.final)

#: The origin of a trial that was found in Ax, where its owner had left it to be run.
CANDIDATE = "candidate"


def _same_run(before: DriverOpened | None, event: DriverOpened) -> bool:
    """Whether a driver takes over from another one of its run; the next session of one process is new."""
    return (
        before is not None
        and event.run is not None
        and event.run == before.run
        and (event.host, event.pid) != (before.host, before.pid)
    )


def arm_key(parameters: Mapping[str, Any]) -> str:
    """A key that is equal for equal parameters."""
    return json.dumps(parameters, sort_keys=True)


@dataclass
class Ledger:
    """All that is known of an experiment, without Ax.

    Attributes
    ----------
    trials
        By trial index.
    batches
        Token -> (trial, attempt) by array index.
    redefinitions
        How the definition was changed since the first trial, oldest first.
    active, waiting
        Trials with an attempt under way, and those that are to get one.
    stopping
        Active trials that are to be stopped early.
    worked
        Seconds in which a driver was at work, each from its opening to the last thing that it recorded.
    own
        Trials that this package runs or ran: all but those that came with their outcome.
    queue
        The points that are to be run before Ax is asked, in their order; by place.
    next_place
        The place that the next enqueued point gets.
    enqueued
        What the calls of the current session have enqueued, by ordinal.
    cancelled
        How many of the abandoned trials a person has cancelled.
    failed_arms
        How many failed or abandoned trials each arm has, by :func:`arm_key`.
    changes
        What requests have changed.
    calls
        The public calls of the current session (one run of the user's script, over its restarts), by ordinal.
    """

    trials: dict[int, Trial] = field(default_factory=dict)
    batches: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    counts: Counter[TrialState] = field(default_factory=Counter)
    cancelled: int = 0
    failed_arms: Counter[str] = field(default_factory=Counter)
    active: dict[int, None] = field(default_factory=dict)
    waiting: dict[int, None] = field(default_factory=dict)
    stopping: dict[int, None] = field(default_factory=dict)
    calls: dict[int, CallStarted] = field(default_factory=dict)
    ended_calls: dict[int, CallEnded] = field(default_factory=dict)
    driver: DriverOpened | None = None
    closed: bool = True
    objective: ObjectiveSet | None = None
    baseline: BaselineSet | None = None
    redefinitions: list[DefinitionChanged] = field(default_factory=list)
    worked: float = 0.0
    own: int = 0
    changes: Changes = field(default_factory=Changes)
    #: Ordered, since its first points are taken one by one: a dict goes past all that were before them.
    queue: OrderedDict[int, dict[str, Any]] = field(default_factory=OrderedDict)
    next_place: int = 0
    enqueued: dict[int, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    last_time: float = 0.0
    #: Whether the process that holds the experiment has come so far as to open it.
    _opened: bool = False
    #: Up to when the driver's work is counted; None while there is none.
    _counted: float | None = None

    def apply(self, event: Event) -> tuple[Action, ...]:
        """Take one event in; the actions that follow from it. Raises as :meth:`take`."""
        self.take(event)
        return consequences(event)

    def take(self, event: Event) -> None:
        """Take one event in whose actions were performed, or are found again from the state.

        Raises
        ------
        ValueError
            The event cannot happen here (:class:`~axsched_hpc.core.machine.IllegalTransition` for a trial's);
            nothing has changed.
        """
        kind, time, before = type(event), event.time, self._counted
        _HANDLERS.get(kind, Ledger._step)(self, event)
        if time > self.last_time:
            self.last_time = time
        # What the user finished by himself is recorded with its own time, which may be long past.
        if before is not None and time > before and kind not in _BEGINNINGS:
            self.worked += time - before
            if self._counted is not None:
                self._counted = time

    def replay(self, events: Iterable[Event]) -> None:
        """Take many such events in."""
        for event in events:
            self.take(event)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(self.counts[state] for state in _FINAL)

    def tally(self) -> dict[str, int]:
        """How many trials stand where, by :attr:`Trial.word`; only where there are some."""
        words = {state.value: self.counts[state] for state in TrialState} | {CANCELLED: self.cancelled}
        words[TrialState.ABANDONED.value] -= self.cancelled
        return {word: count for word, count in words.items() if count}

    def left_to_run(self) -> int:
        """How many trials that their owner made in Ax have not begun, and so are not counted in a call."""
        trials = (self.trials[number] for number in self.waiting)
        return sum(trial.origin == CANDIDATE and not trial.attempts for trial in trials)

    def interrupted(self) -> CallStarted | None:
        """The call that a driver began and did not end."""
        if not self.calls:
            return None
        last = self.calls[max(self.calls)]
        return None if last.ordinal in self.ended_calls else last

    def _step(self, event: TrialEvent) -> None:
        before = self._known(event)
        self._put(before, step(before, event))

    def _step_all(self, events: Iterable[TrialEvent]) -> None:
        """Events of different trials; all of them happen or none."""
        steps = [(before := self._known(event), step(before, event)) for event in events]
        for before, after in steps:
            self._put(before, after)

    def _known(self, event: TrialEvent) -> Trial:
        trial = self.trials.get(event.trial)
        if trial is None:
            raise IllegalTransition(
                f"{type(event).__name__} speaks of trial {event.trial}, which is not known"
            )
        return trial

    def _put(self, before: Trial | None, after: Trial) -> None:
        number, state = after.number, after.state
        self.trials[number] = after
        if before is not None:
            if before.state is state:
                if state.active and after.attempts[-1].stop:
                    self.stopping[number] = None
                return
            self.counts[before.state] -= 1
            self.cancelled -= before.cancelled
            if before.state in _FAILED:
                self.failed_arms[arm_key(after.parameters)] -= 1
                self.changes.cancelled.discard(number)
            self.active.pop(number, None)
            self.waiting.pop(number, None)
            if not state.active:
                self.stopping.pop(number, None)
        self.counts[state] += 1
        self.cancelled += after.cancelled
        if state.active:
            self.active[number] = None
        elif state is TrialState.WAITING:
            self.waiting[number] = None
        else:
            self.changes.ended(number, abandoned=state is TrialState.ABANDONED)
            if state in _FAILED:
                self.failed_arms[arm_key(after.parameters)] += 1

    # ------------------------------------------------------------ events of the experiment

    def _lease_taken(self, event: LeaseTaken) -> None:
        self._opened = False
        self._counted = None

    def _driver_opened(self, event: DriverOpened) -> None:
        try:
            Problem.from_json(event.problem)
        except ValueError as error:
            raise IllegalTransition(f"what a driver's record says is optimised {error}") from None
        if self.closed and not _same_run(self.driver, event):
            # The script before this one ended by itself; the calls of a new one are counted from the start.
            self.calls.clear()
            self.ended_calls.clear()
            self.enqueued.clear()
        self.changes.opened(same_run=_same_run(self.driver, event))
        self.driver, self.closed, self._opened = event, False, True
        self._counted = event.time

    def _definition_changed(self, event: DefinitionChanged) -> None:
        self.redefinitions.append(event)

    def _driver_closed(self, event: DriverClosed) -> None:
        if self._opened:
            self.closed, self._opened = event.finished, False
        self._counted = None

    def _call_started(self, event: CallStarted) -> None:
        self.calls[event.ordinal] = event
        self.changes.called(event)
        self.ended_calls.pop(event.ordinal, None)

    def _call_ended(self, event: CallEnded) -> None:
        self.ended_calls[event.ordinal] = event

    def _objective_set(self, event: ObjectiveSet) -> None:
        self.objective = event

    def _baseline_set(self, event: BaselineSet) -> None:
        self.baseline = event
        if self.driver is not None:
            # It belongs to what is optimised, which else the next driver would be the first to say.
            problem = {**self.driver.problem, "status_quo": event.arm}
            self.driver = replace(self.driver, problem=problem)

    def _points_enqueued(self, event: PointsEnqueued) -> None:
        if event.first < self.next_place:
            raise IllegalTransition(f"a point is enqueued at the place {event.first}, which is taken")
        added = dict(enumerate(event.points, event.first))
        self.queue.update(added)
        if event.front:
            for place in reversed(added):
                self.queue.move_to_end(place, last=False)
        self.next_place = event.first + len(event.points)
        if event.ordinal is not None:
            self.enqueued[event.ordinal] = (*self.enqueued.get(event.ordinal, ()), *event.points)

    def _request_answered(self, event: RequestAnswered) -> None:
        self.changes.take(event, self.active)

    def _trial_added(self, event: TrialAdded) -> None:
        if event.trial in self.trials:
            raise IllegalTransition(f"trial {event.trial} is added a second time")
        index = (event.ax or {}).get("index")
        trial = Trial(event.trial, event.arm, event.parameters, event.origin, event.time)
        if index is not None:
            trial = trial.changed(index=index)
        if event.origin == "external":
            try:
                outcome = typed.read(_External, {name: (event.ax or {}).get(name) for name in _EXTERNAL})
            except ValueError as error:
                raise IllegalTransition(
                    f"trial {event.trial} is added with an outcome that {error}"
                ) from None
            state = outcome.state or TrialState.ABANDONED
            if not state.final:
                raise IllegalTransition(f"trial {event.trial} is added as the user's own, and is {state}")
            ended = trial.changed(
                state=state, ended=event.time, metrics=outcome.metrics or None, source=outcome.source
            )
            self._put(None, ended)
            return
        self._put(None, trial)
        if event.place is not None:
            # A repaired journal may have lost the record of its coming in.
            self.queue.pop(event.place, None)
        self.own += 1

    def _batch_planned(self, event: BatchPlanned) -> None:
        if event.token in self.batches:
            raise IllegalTransition(f"the token {event.token} is planned a second time")
        if len({trial for trial, _ in event.attempts}) < len(event.attempts):
            raise IllegalTransition(f"the batch {event.token} has a trial twice")
        self._step_all(
            Planned(event.time, trial, attempt, event.token, index, event.request)
            for index, (trial, attempt) in enumerate(event.attempts)
        )
        self.batches[event.token] = event.attempts

    def _batch_submitted(self, event: BatchSubmitted) -> None:
        attempts = self.batches.get(event.token)
        if attempts is None:
            raise IllegalTransition(f"the token {event.token} was submitted, but never planned")
        if (last := max(event.jobs, default=-1)) >= len(attempts):
            raise IllegalTransition(f"the token {event.token} has no index {last}")
        self._step_all(Submitted(event.time, *attempts[index], job) for index, job in event.jobs.items())


_HANDLERS: dict[type[Event], Callable[[Ledger, Any], None]] = {
    LeaseTaken: Ledger._lease_taken,
    DriverOpened: Ledger._driver_opened,
    DefinitionChanged: Ledger._definition_changed,
    DriverClosed: Ledger._driver_closed,
    CallStarted: Ledger._call_started,
    CallEnded: Ledger._call_ended,
    ObjectiveSet: Ledger._objective_set,
    BaselineSet: Ledger._baseline_set,
    PointsEnqueued: Ledger._points_enqueued,
    RequestAnswered: Ledger._request_answered,
    TrialAdded: Ledger._trial_added,
    BatchPlanned: Ledger._batch_planned,
    BatchSubmitted: Ledger._batch_submitted,
}
