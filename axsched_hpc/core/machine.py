"""The life of one trial: a table of legal transitions, and the pure step over it.

``step(trial, event)`` is the trial after the event, and ``consequences(event)`` are the actions that follow
from it. Both touch nothing; the loop performs the actions. An illegal transition is a bug or a damaged
journal, and its error tells the trial's whole story.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from axsched_hpc.core.curve import Point, Reach, reached
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWaits,
    AttemptWithdrawn,
    Event,
    Failure,
    Request,
    StopDecided,
    TrialAbandoned,
    TrialAdded,
    TrialEvent,
    TrialRetried,
    TrialStopped,
)
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import CANCELLED, FailureKind, TrialState, Verdict

S = TrialState


class Attempt(Record):
    """One execution of a trial by one job.

    Attributes
    ----------
    waits
        Why its job may never start, in the scheduler's words; empty where nothing is known to hinder it.
    read
        Bytes of its progress file that are taken in.
    stop
        Why it is to be ended early; empty where it is not.
    """

    number: int
    token: str
    index: int
    planned: float
    request: Request = field(default_factory=Request)
    waits: str = ""
    read: int = 0
    stop: str = ""
    job: str | None = None
    node: str | None = None
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    failure: Failure | None = None
    withdrawn: bool = False


class Trial(Record):
    """One trial: its parameters, where it stands, and all its attempts, oldest first.

    Attributes
    ----------
    reach
        How far its curve has come; None where nothing was reported.
    index
        Ax's index, where that is not the number: of arms of batch trials, and of all trials beside them.
    source
        What it was imported from, with its outcome; None for any other.
    cancelled
        Whether it is abandoned because a person has cancelled it, here or in Slurm.
    """

    number: int
    arm: str
    parameters: dict[str, Any]
    origin: str
    added: float
    state: TrialState = TrialState.WAITING
    attempts: tuple[Attempt, ...] = ()
    reach: Reach | None = None
    metrics: Metrics | None = None
    ended: float | None = None
    reason: str = ""
    index: int | None = None
    source: str | None = None
    cancelled: bool = False

    @property
    def word(self) -> str:
        """Where it stands, as people are told it: its state, or ``cancelled``."""
        return CANCELLED if self.cancelled else self.state.value

    @property
    def given_up(self) -> bool:
        """Whether it came to nothing, and no person wanted it so."""
        return self.state in (S.FAILED, S.ABANDONED) and not self.cancelled

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def label(self) -> str:
        """Its number, and where that is not Ax's index, the arm's name."""
        return f"{self.number}" if self.index is None else f"{self.number} (arm {self.arm})"

    def failures(self) -> tuple[Failure, ...]:
        """The failures of its attempts, oldest first."""
        return tuple(a.failure for a in self.attempts if a.failure is not None)


class Planned(TrialEvent):
    """One trial's share of a ``BatchPlanned``."""

    attempt: int
    token: str
    index: int
    request: Request = field(default_factory=Request)


class Submitted(TrialEvent):
    """One trial's share of a ``BatchSubmitted``."""

    attempt: int
    job: str


class Action(Record):
    """Something that the loop has to do because of an event."""

    trial: int


class Submit(Action):
    """Plan and submit the trial's next attempt."""


class TellCompleted(Action):
    """Give Ax the metrics."""

    metrics: Metrics
    time: float


class TellReported(Action):
    """Give Ax points of the trial's curve."""

    points: tuple[Point, ...]


class TellStopped(Action):
    """Tell Ax that the trial was stopped early."""

    reason: str
    time: float


class TellFailed(Action):
    """Tell Ax that the trial failed; its arm may come again."""

    reason: str
    time: float


class TellAbandoned(Action):
    """Tell Ax that the trial is abandoned; its arm will not come again."""

    reason: str
    time: float


class TellRetried(Action):
    """Tell Ax that the trial is under way again."""

    time: float


class CleanUp(Action):
    """Remove the working files of an attempt that was completed or stopped early."""

    attempt: int


class IllegalTransition(ValueError):
    """An event that cannot happen in the trial's state."""


def step(trial: Trial, event: TrialEvent) -> Trial:
    """Apply one event to one trial.

    Raises
    ------
    IllegalTransition
        The event cannot happen in the trial's state, or speaks of another attempt than the latest.
    """
    handler = TRANSITIONS.get((trial.state, type(event)))
    if handler is None:
        raise IllegalTransition(f"{_short(event)} cannot follow; {story(trial)}")
    number = getattr(event, "attempt", None)
    if number is not None:
        latest = trial.attempts[-1].number if trial.attempts else 0
        if number != (latest + 1 if isinstance(event, Planned) else latest):
            raise IllegalTransition(f"{_short(event)} speaks of attempt {number}; {story(trial)}")
    return handler(trial, event)


def story(trial: Trial) -> str:
    """All that is known of a trial, in one sentence for an error message."""
    attempts = "; ".join(
        f"attempt {a.number} (token {a.token}, job {a.job or 'none'}"
        + (", withdrawn" if a.withdrawn else "")
        + (f", {a.failure.kind}: {a.failure.message}" if a.failure else "")
        + ")"
        for a in trial.attempts
    )
    return f"trial {trial.number} is {trial.state}, its story: {attempts or 'no attempt yet'}"


def _short(event: TrialEvent) -> str:
    return f"{type(event).__name__} of trial {event.trial}"


def _with_attempt(trial: Trial, state: TrialState, **changes: Any) -> Trial:
    latest = trial.attempts[-1].changed(**changes)
    return trial.changed(state=state, attempts=(*trial.attempts[:-1], latest))


def _planned(trial: Trial, event: Planned) -> Trial:
    attempt = Attempt(event.attempt, event.token, event.index, event.time, event.request)
    return trial.changed(state=S.PLANNED, attempts=(*trial.attempts, attempt))


def _submitted(trial: Trial, event: Submitted) -> Trial:
    return _with_attempt(trial, S.QUEUED, job=event.job, submitted=event.time)


def _withdrawn(trial: Trial, event: AttemptWithdrawn) -> Trial:
    return _with_attempt(trial, S.WAITING, withdrawn=True, ended=event.time)


def _started(trial: Trial, event: AttemptStarted) -> Trial:
    return _with_attempt(trial, S.RUNNING, node=event.node, started=event.time, waits="")


def _waits(trial: Trial, event: AttemptWaits) -> Trial:
    return _with_attempt(trial, S.QUEUED, waits=event.reason)


def _requeued(trial: Trial, event: AttemptRequeued) -> Trial:
    return _with_attempt(trial, S.QUEUED, started=None)


def _reported(trial: Trial, event: AttemptReported) -> Trial:
    after = _with_attempt(trial, trial.state, read=event.read)
    return after.changed(reach=reached(trial.reach, event.points))


def _to_be_stopped(trial: Trial, event: StopDecided) -> Trial:
    return _with_attempt(trial, trial.state, stop=event.reason)


def _stopped(trial: Trial, event: TrialStopped) -> Trial:
    latest = trial.attempts[-1]
    after = _with_attempt(
        trial, S.EARLY_STOPPED, started=event.started or latest.started, ended=event.ended or event.time
    )
    return after.changed(reason=event.reason, ended=event.time)


def _succeeded(trial: Trial, event: AttemptSucceeded) -> Trial:
    latest = trial.attempts[-1]
    after = _with_attempt(
        trial,
        S.COMPLETED,
        started=event.started or latest.started,
        ended=event.ended or event.time,
        node=event.node or latest.node,
    )
    return after.changed(metrics=event.metrics, ended=event.time)


def _failed(trial: Trial, event: AttemptFailed) -> Trial:
    latest = trial.attempts[-1]
    state = {Verdict.RETRY: S.WAITING, Verdict.FAIL: S.FAILED, Verdict.ABANDON: S.ABANDONED}[event.verdict]
    after = _with_attempt(
        trial,
        state,
        failure=event.failure,
        started=event.started or latest.started,
        ended=event.ended or event.time,
        node=event.failure.node or latest.node,
    )
    after = after.changed(reason=event.failure.text)
    if event.verdict is Verdict.RETRY:
        return after
    cancelled = event.verdict is Verdict.ABANDON and event.failure.kind is FailureKind.CANCELLED
    return after.changed(ended=event.time, cancelled=cancelled)


def _abandoned(trial: Trial, event: TrialAbandoned) -> Trial:
    return trial.changed(state=S.ABANDONED, reason=event.reason, ended=event.time, cancelled=event.cancelled)


def _retried(trial: Trial, event: TrialRetried) -> Trial:
    return trial.changed(state=S.WAITING, reason="", ended=None, cancelled=False)


Handler = Callable[[Trial, Any], Trial]

#: (state, event) -> what happens. What is not in the table is illegal.
TRANSITIONS: dict[tuple[TrialState, type[TrialEvent]], Handler] = {
    (S.WAITING, Planned): _planned,
    (S.WAITING, TrialAbandoned): _abandoned,
    (S.PLANNED, Submitted): _submitted,
    (S.PLANNED, AttemptWithdrawn): _withdrawn,
    (S.QUEUED, AttemptWaits): _waits,
    (S.QUEUED, AttemptStarted): _started,
    (S.RUNNING, AttemptRequeued): _requeued,
    (S.RUNNING, StopDecided): _to_be_stopped,
    # Slurm may have requeued the job that was to be ended.
    **{(state, TrialStopped): _stopped for state in (S.QUEUED, S.RUNNING)},
    # A driver that died between the submission and its record learns of the end first.
    **{(state, AttemptReported): _reported for state in (S.PLANNED, S.QUEUED, S.RUNNING)},
    **{(state, AttemptSucceeded): _succeeded for state in (S.PLANNED, S.QUEUED, S.RUNNING)},
    **{(state, AttemptFailed): _failed for state in (S.PLANNED, S.QUEUED, S.RUNNING)},
    **{(state, TrialAbandoned): _abandoned for state in (S.PLANNED, S.QUEUED, S.RUNNING)},
    **{(state, TrialRetried): _retried for state in (S.FAILED, S.ABANDONED)},
}


def consequences(event: Event) -> tuple[Action, ...]:
    """What the loop has to do because of an event."""
    match event:
        case TrialAdded():
            return () if event.origin == "external" else (Submit(event.trial),)
        case AttemptWithdrawn():
            return (Submit(event.trial),)
        case AttemptReported():
            return (TellReported(event.trial, event.points),)
        case TrialStopped():
            return TellStopped(event.trial, event.reason, event.time), CleanUp(event.trial, event.attempt)
        case AttemptSucceeded():
            return TellCompleted(event.trial, event.metrics, event.time), CleanUp(event.trial, event.attempt)
        case AttemptFailed(verdict=Verdict.RETRY):
            return (Submit(event.trial),)
        case AttemptFailed():
            tell = TellFailed if event.verdict is Verdict.FAIL else TellAbandoned
            return (tell(event.trial, event.failure.text, event.time),)
        case TrialAbandoned():
            return (TellAbandoned(event.trial, event.reason, event.time),)
        case TrialRetried():
            return TellRetried(event.trial, event.time), Submit(event.trial)
        case _:
            return ()
