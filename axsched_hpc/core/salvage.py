"""What can be saved of a damaged record: a fold that drops what cannot follow, and puts in what was found.

The readable events are taken in their order. Where one speaks of something whose own record is lost, that is
made again from what lies in the experiment directory; where that cannot be done, the event is dropped with
the reason. At the end everything else that was found comes in: trials, attempts, and what they have computed.
Where the record lacks a part of an attempt's curve, all of it is taken from the attempt's reports. An attempt
that was begun and has no end stays under way, for the next driver to look for its job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.best import Problem
from axsched_hpc.core.curve import Report, extend, thinned
from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptSucceeded,
    AttemptWithdrawn,
    BatchPlanned,
    BatchSubmitted,
    DriverOpened,
    Event,
    Failure,
    TrialAbandoned,
    TrialAdded,
    TrialEvent,
    TrialRetried,
    TrialStopped,
)
from axsched_hpc.core.found import Found, FoundAttempt, FoundBatch, FoundEnd
from axsched_hpc.core.ledger import Ledger, arm_key
from axsched_hpc.core.metrics import Metrics, require
from axsched_hpc.core.policy import RetryPolicy, judge
from axsched_hpc.core.states import FailureKind, TrialState, Verdict

if TYPE_CHECKING:
    from axsched_hpc.core.machine import Trial


@dataclass(frozen=True)
class Record:
    """A readable line, and where it stands."""

    file: str
    line: int
    event: Event


@dataclass(frozen=True)
class Dropped:
    """A line that is left out, and why."""

    file: str
    line: int
    why: str


@dataclass(frozen=True)
class Salvaged:
    """What was saved: the events in their order, and what was dropped.

    ``rescued`` says in words what was made again, and ``lost`` what was found and could not be used.
    """

    ledger: Ledger
    events: tuple[Event, ...]
    dropped: tuple[Dropped, ...]
    rescued: tuple[str, ...]
    lost: tuple[str, ...]


def salvage(records: Iterable[Record], found: Found) -> Salvaged:
    """Save what can be saved of these records, oldest first, and of what was found."""
    records = tuple(records)
    fold = _Fold(found, [record.event for record in records])
    if found.opened is not None and not any(isinstance(r.event, DriverOpened) for r in records):
        fold.rescue(found.opened, "no driver's record can be read; one is made, without what is optimised")
    for record in records:
        fold.take(record)
    fold.finish()
    return Salvaged(
        fold.ledger, tuple(fold.events), tuple(fold.dropped), tuple(fold.rescued), tuple(fold.lost)
    )


class _Fold:
    def __init__(self, found: Found, recorded: Sequence[Event]) -> None:
        self.ledger = Ledger()
        self.events: list[Event] = []
        self.dropped: list[Dropped] = []
        self.rescued: list[str] = []
        self.lost: list[str] = []
        self._found = found
        #: Trials whose own record is lost, the last one first.
        added = {event.trial for event in recorded if isinstance(event, TrialAdded)}
        self._missing = sorted(set(found.trials) - added, reverse=True)
        self._reported: dict[tuple[int, int], list[AttemptReported]] = {}
        for event in recorded:
            if isinstance(event, AttemptReported):
                self._reported.setdefault((event.trial, event.attempt), []).append(event)
        #: Attempts whose curve is looked at, and whether it is taken from their reports.
        self._curves: dict[tuple[int, int], bool] = {}
        self._planning: set[str] = set()
        #: Batches of which it is not certain which index is which attempt.
        self._guessed: set[str] = set()

    def take(self, record: Record) -> None:
        """Let a recorded event happen, after what must have happened before it; or drop it."""
        try:
            event = record.event
            self._prepare(event)
            if isinstance(event, AttemptReported):
                self._mend_curve(event.trial, event.time)
                if self._curves.get((event.trial, event.attempt)):
                    return
            self._happen(event)
        except ValueError as error:
            self.dropped.append(Dropped(record.file, record.line, str(error)))

    def rescue(self, event: Event, text: str) -> None:
        """Let an event happen of which there is no record."""
        # What cannot be read again must not be written.
        self._happen(decode(json.loads(json.dumps(encode(event)))))
        self.rescued.append(text)

    def finish(self) -> None:
        """Let happen what else was found."""
        self._add_missing()
        for token, batch in self._found.batches.items():
            if token not in self.ledger.batches:
                self._try(f"batch {token}", self._plan_batch, token, batch)
        for trial, attempt in sorted(self._found.attempts):
            name = f"trial {trial}, attempt {attempt}"
            self._try(name, self._bring, trial, attempt + 1, self.ledger.last_time, end=False)
        ends = [(each.end.ended, key, each.end) for key, each in self._found.attempts.items() if each.end]
        for _, (trial, attempt), end in sorted(ends, key=lambda item: item[:2]):
            self._try(f"trial {trial}, attempt {attempt}", self._end, trial, attempt, end)
        for number in sorted(self.ledger.active):
            self._mend_curve(number, self.ledger.last_time)
        objective = self._found.objective
        if self.ledger.objective is None and objective is not None:
            self.rescue(objective, f"the objective is {objective.what}")

    def _try(self, what: str, action: Callable[..., None], *arguments: Any, **options: Any) -> None:
        try:
            action(*arguments, **options)
        except ValueError as error:
            self.lost.append(f"{what}: {error}")

    def _happen(self, event: Event) -> None:
        if isinstance(event, AttemptSucceeded | AttemptFailed | TrialStopped | TrialAbandoned):
            self._mend_curve(event.trial, event.time)
        self.ledger.take(event)
        self.events.append(event)

    # ------------------------------------------------------------ what must have happened before

    def _prepare(self, event: Event) -> None:
        match event:
            case TrialAdded():
                self._add_missing(before=event.trial)
            case BatchPlanned():
                for trial, attempt in event.attempts:
                    self._retry(trial, attempt, event.time)
                    self._bring(trial, attempt, event.time)
            case BatchSubmitted():
                batch = self._found.batches.get(event.token)
                if event.token not in self.ledger.batches and batch is not None:
                    self._plan_batch(event.token, batch)
                if event.token in self._guessed:
                    raise ValueError(f"which job of the batch {event.token} is which attempt is lost")
            case TrialEvent():
                attempt = getattr(event, "attempt", 0)
                self._bring(event.trial, attempt, event.time)
                if attempt > len(self.ledger.trials[event.trial].attempts):
                    self._plan_next(event.trial, event.time)

    def _add_missing(self, before: float = float("inf")) -> None:
        """Make the trials again whose number is lower, so that the numbers have no holes."""
        while self._missing and self._missing[-1] < before:
            trial = self._missing.pop()
            if trial not in self.ledger.trials:
                self._try(f"trial {trial}", self._add, trial)

    def _add(self, trial: int) -> None:
        if trial not in self._found.trials:
            raise ValueError(f"the record of trial {trial} is lost, and it has no parameters.json")
        time, parameters = self._found.trials[trial]
        key, queue = arm_key(parameters), self.ledger.queue
        # A point of the queue that became a trial is not to be run again.
        place = next((place for place, point in queue.items() if arm_key(point) == key), None)
        origin = "batch" if place is None else "enqueued"
        self.rescue(
            TrialAdded(time, trial, f"{trial}_0", parameters, origin, place=place),
            f"trial {trial}: its parameters are taken from its parameters.json; how Ax came to them is lost",
        )

    def _bring(self, number: int, attempt: int, time: float, *, end: bool = True) -> None:
        """Bring a trial to where its so-manieth attempt can be planned, or is under way already.

        ``end=False`` leaves the attempt before that under way.
        """
        if number not in self.ledger.trials:
            self._add(number)
        while not (trial := self.ledger.trials[number]).state.final and len(trial.attempts) < attempt:
            last = len(trial.attempts) == attempt - 1
            if last and not (end and trial.state.active):
                return
            if trial.state.active:
                self._end_earlier(trial, time)
            else:
                self._plan_next(number, time)

    def _retry(self, number: int, attempt: int, time: float) -> None:
        """Let a trial that was given up wait again, where there is a record of a later attempt."""
        trial = self.ledger.trials.get(number)
        given_up = trial is not None and trial.state in (TrialState.FAILED, TrialState.ABANDONED)
        if trial is not None and given_up and attempt == len(trial.attempts) + 1:
            reason = "the record of who asked for it is lost"
            self.rescue(TrialRetried(time, number, reason), f"trial {number}: it was tried again; {reason}")

    def _plan_next(self, number: int, time: float) -> None:
        """Plan a trial's next attempt, with the batch that it belonged to where that is known."""
        attempt = len(self.ledger.trials[number].attempts) + 1
        there = self._found.attempts.get((number, attempt))
        if there is None:
            raise ValueError(f"nothing is known of trial {number}, attempt {attempt}")
        batch = self._found.batches.get(there.token) if there.token is not None else None
        if (
            there.token is not None
            and batch is not None
            and there.token not in self.ledger.batches
            and there.token not in self._planning
        ):
            self._plan_batch(there.token, batch)
        if len(self.ledger.trials[number].attempts) < attempt:
            self.rescue(
                BatchPlanned(time, f"lost-{number:05d}-{attempt}", ((number, attempt),)),
                f"trial {number}, attempt {attempt}: it was planned, in a batch of which nothing is known",
            )

    def _plan_batch(self, token: str, batch: FoundBatch) -> None:
        """Plan a batch again, with those of its attempts that can follow."""
        self._planning.add(token)
        for number, attempt in batch.attempts:
            self._try(f"batch {token}", self._bring, number, attempt, batch.time)
        self._planning.discard(token)
        trials = self.ledger.trials
        there = {
            number: attempt
            for number, attempt in batch.attempts
            if number in trials
            and trials[number].state is TrialState.WAITING
            and len(trials[number].attempts) == attempt - 1
        }
        if not there:
            return
        pairs = tuple(there.items())
        self.rescue(
            BatchPlanned(batch.time, token, pairs), f"batch {token}: its plan is taken from {batch.source}"
        )
        if not batch.exact or pairs != batch.attempts:
            self._guessed.add(token)

    # ------------------------------------------------------------ curves

    def _mend_curve(self, number: int, time: float) -> None:
        """Take the curve of a trial's last attempt from its reports where the record lacks a part of it."""
        trial = self.ledger.trials.get(number)
        if trial is None or not trial.state.active or (key := (number, len(trial.attempts))) in self._curves:
            return
        self._curves[key] = False
        found = self._found.attempts.get(key)
        if found is not None and found.reports and found.token in (None, trial.attempts[-1].token):
            self._try(f"trial {number}, attempt {key[1]}", self._report, trial, found.reports, time)

    def _report(self, trial: Trial, reports: tuple[Report, ...], time: float) -> None:
        key = trial.number, len(trial.attempts)
        recorded = self._reported.get(key, [])
        if recorded and recorded[-1].read > reports[-1].end:
            return  # the file has become shorter
        kept, held = thinned(trial.reach, reports)
        points = tuple((each.step, each.metrics) for each in (*kept, *([held] if held else [])))
        known: dict[int, Metrics] = {}
        whole: dict[int, Metrics] = {}
        extend(known, (point for event in recorded for point in event.points))
        extend(whole, points)
        if all(metrics.items() <= known.get(step, {}).items() for step, metrics in whole.items()):
            return
        self.rescue(
            AttemptReported(time, *key, points, reports[-1].end),
            f"trial {key[0]}, attempt {key[1]}: its curve is taken from its progress file",
        )
        self._curves[key] = True

    # ------------------------------------------------------------ ends

    def _end_earlier(self, trial: Trial, time: float) -> None:
        """End an attempt that another one followed."""
        latest = trial.attempts[-1]
        name = f"trial {trial.number}, attempt {latest.number}"
        end = (self._found.attempts.get((trial.number, latest.number)) or FoundAttempt()).end
        if end is not None and end.failure is not None and end.token == latest.token:
            failed = AttemptFailed(
                time, trial.number, latest.number, end.failure, Verdict.RETRY, end.started, end.ended
            )
            self.rescue(failed, f"{name}: its failure is taken from {end.source}; another attempt followed")
            return
        reason = "the record of its end is lost; another attempt followed"
        if trial.state is TrialState.PLANNED:
            self.rescue(AttemptWithdrawn(time, trial.number, latest.number, reason), f"{name}: {reason}")
        else:
            failure = Failure(FailureKind.LOST, f"job {latest.job}: {reason}")
            self.rescue(
                AttemptFailed(time, trial.number, latest.number, failure, Verdict.RETRY), f"{name}: {reason}"
            )

    def _end(self, number: int, attempt: int, end: FoundEnd) -> None:
        """End an attempt as its result says, with the verdict of the default policy for a failure."""
        trial = self.ledger.trials.get(number)
        if trial is None or not trial.state.active:
            return
        latest = trial.attempts[-1]
        if latest.number != attempt or latest.token != end.token:
            return
        name = f"trial {number}, attempt {attempt}"
        failure = end.failure
        if end.metrics is not None:
            try:
                require(end.metrics, self._required(), source=end.source)
            except MetricsError as error:
                failure = Failure(FailureKind.BAD_METRICS, str(error), node=end.node)
            else:
                succeeded = AttemptSucceeded(
                    end.ended, number, attempt, end.metrics, end.started, end.ended, end.node
                )
                self.rescue(succeeded, f"{name}: its metrics are taken from {end.source}")
                return
        assert failure is not None  # an end has metrics or a failure
        arm_failures = self.ledger.failed_arms[arm_key(trial.parameters)]
        verdict = judge(RetryPolicy(), failure, trial.failures(), arm_failures)
        self.rescue(
            AttemptFailed(end.ended, number, attempt, failure, verdict, end.started, end.ended),
            f"{name}: its failure is taken from {end.source}",
        )

    def _required(self) -> tuple[str, ...]:
        driver = self.ledger.driver
        return Problem.from_json(driver.problem).required if driver is not None else ()
