"""What can happen to an experiment: the facts that the journal records, and nothing else.

Each event is a frozen dataclass of plain JSON values with a ``kind`` of its own. The state of an experiment
is the fold of its events (:mod:`axsched_hpc.core.ledger`); a decision that depends on settings, such as
whether to retry, is taken before its event is written and stands in the event, so that a replay under other
settings gives the same past.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from axsched_hpc.core.states import FailureKind, Verdict


@dataclass(frozen=True)
class Event:
    """Base of all events. ``time`` is in seconds since the epoch, on the driver's clock."""

    kind: ClassVar[str]
    time: float


@dataclass(frozen=True)
class TrialEvent(Event):
    """An event of one trial."""

    trial: int


# ---------------------------------------------------------------- the experiment and its drivers


@dataclass(frozen=True)
class LeaseTaken(Event):
    """A process took the experiment over. First record of every segment, from format 2 on.

    ``start`` and ``boot`` tell its pid from a later process of the same number. ``takeover``: after so many
    seconds without a sign of life a driver on another host may take over. ``purpose`` is ``drive``, or the
    command that did what no driver does (``unlock``, ``repair``). ``base``: this segment holds all that is
    known, and earlier ones do not count.
    """

    kind: ClassVar[str] = "lease_taken"
    format: int
    host: str
    pid: int
    start: int | None
    boot: str | None
    user: str
    takeover: float
    purpose: str = "drive"
    base: bool = False


@dataclass(frozen=True)
class DriverOpened(Event):
    """A driver has read what was there. Second record of its segment; the first one in format 1.

    ``previous`` maps the names of the segments that it has read to their sizes in bytes: what a superseded
    driver appends later lies beyond that size and does not count.
    """

    kind: ClassVar[str] = "driver_opened"
    format: int
    host: str
    pid: int
    definition: str
    problem: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    previous: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DriverClosed(Event):
    """The driver gave the experiment back. ``finished``: in good order, with no call interrupted."""

    kind: ClassVar[str] = "driver_closed"
    finished: bool = True


@dataclass(frozen=True)
class CallStarted(Event):
    """A public call began. ``ordinal`` counts them within one run of the user's script, over restarts.

    ``base`` is the number of trials that existed before it. ``trials`` are those which a batch context added.
    """

    kind: ClassVar[str] = "call_started"
    ordinal: int
    what: str
    base: int
    trials: tuple[int, ...] = ()
    max_trials: int | None = None
    synchronous: bool = True


@dataclass(frozen=True)
class CallEnded(Event):
    """A public call returned; ``reason`` says why it stopped."""

    kind: ClassVar[str] = "call_ended"
    ordinal: int
    reason: str


@dataclass(frozen=True)
class ObjectiveSet(Event):
    """What the attempts planned from here on run: a directory below ``objective/``."""

    kind: ClassVar[str] = "objective_set"
    objective: str
    what: str


# ---------------------------------------------------------------- a trial's life


@dataclass(frozen=True)
class TrialAdded(TrialEvent):
    """A trial entered the experiment.

    ``origin`` is ``ax`` (suggested), ``batch`` (the user's own point, to be run) or ``external`` (found in
    the experiment, with its outcome in ``ax``). ``ax`` is opaque here: what the Ax bridge needs to make the
    same trial again.
    """

    kind: ClassVar[str] = "trial_added"
    arm: str
    parameters: dict[str, Any]
    origin: str
    ax: dict[str, Any] | None = None


@dataclass(frozen=True)
class BatchPlanned(Event):
    """The intent to submit attempts, written before the scheduler is asked. ``attempts`` are (trial,
    attempt), by array index.
    """

    kind: ClassVar[str] = "batch_planned"
    token: str
    attempts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class BatchSubmitted(Event):
    """The scheduler took a batch. ``jobs`` maps array indices to job ids (an index without a job was not
    submitted).
    """

    kind: ClassVar[str] = "batch_submitted"
    token: str
    jobs: dict[int, str]


@dataclass(frozen=True)
class AttemptWithdrawn(TrialEvent):
    """A planned attempt never became a job, and its claim is closed, so that it never will. It counts as no
    failure.
    """

    kind: ClassVar[str] = "attempt_withdrawn"
    attempt: int
    reason: str


@dataclass(frozen=True)
class AttemptStarted(TrialEvent):
    """The job runs."""

    kind: ClassVar[str] = "attempt_started"
    attempt: int
    node: str | None = None


@dataclass(frozen=True)
class AttemptRequeued(TrialEvent):
    """The scheduler put the job back into its queue by itself."""

    kind: ClassVar[str] = "attempt_requeued"
    attempt: int
    reason: str = ""


@dataclass(frozen=True)
class AttemptSucceeded(TrialEvent):
    """The objective reported valid metrics: name -> (mean, sem or null). ``started`` and ``ended`` are on the
    node's clock.
    """

    kind: ClassVar[str] = "attempt_succeeded"
    attempt: int
    metrics: dict[str, tuple[float, float | None]]
    started: float | None = None
    ended: float | None = None
    node: str | None = None


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, as far as it is known."""

    kind: FailureKind
    message: str
    exit_code: int | None = None
    signal: int | None = None
    node: str | None = None
    stderr_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttemptFailed(TrialEvent):
    """An attempt ended without valid metrics, and what becomes of its trial."""

    kind: ClassVar[str] = "attempt_failed"
    attempt: int
    failure: Failure
    verdict: Verdict
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class TrialAbandoned(TrialEvent):
    """The driver gave the trial up by itself, for example at the end of a call's time."""

    kind: ClassVar[str] = "trial_abandoned"
    reason: str


_EVENTS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        LeaseTaken,
        DriverOpened,
        DriverClosed,
        CallStarted,
        CallEnded,
        ObjectiveSet,
        TrialAdded,
        BatchPlanned,
        BatchSubmitted,
        AttemptWithdrawn,
        AttemptStarted,
        AttemptRequeued,
        AttemptSucceeded,
        AttemptFailed,
        TrialAbandoned,
    )
}

_FIELDS = {event: frozenset(field.name for field in fields(event)) for event in _EVENTS.values()}


def encode(event: Event) -> dict[str, Any]:
    """The event as a JSON object."""
    return {"kind": event.kind, **asdict(event)}


def decode(record: dict[str, Any]) -> Event:
    """The event that a JSON object stands for.

    Raises
    ------
    ValueError
        The kind is unknown, or a field is missing, superfluous or of the wrong type.
    """
    kind = record.get("kind")
    cls = _EVENTS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"unknown kind of record {kind!r}")
    values = {key: value for key, value in record.items() if key != "kind"}
    if unknown := values.keys() - _FIELDS[cls]:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r} in a record of kind {kind!r}")
    try:
        for name, restore in _RESTORE.get(cls, {}).items():
            if name in values:
                values[name] = restore(values[name])
        for name in ("time", "trial", "attempt"):
            _check_number(name, values.get(name, 0))
        return cls(**values)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"a field of a record of kind {kind!r} is missing or malformed ({error})") from None


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"field {name!r} is not a number")


def _failure(value: dict[str, Any]) -> Failure:
    return Failure(
        **{**value, "kind": FailureKind(value["kind"]), "stderr_tail": tuple(value.get("stderr_tail", ()))}
    )


# JSON has neither tuples, enums nor integer keys; these fields need their type back.
_RESTORE: dict[type[Event], dict[str, Any]] = {
    CallStarted: {"trials": tuple},
    BatchPlanned: {"attempts": lambda value: tuple((int(t), int(a)) for t, a in value)},
    BatchSubmitted: {"jobs": lambda value: {int(index): str(job) for index, job in value.items()}},
    AttemptSucceeded: {"metrics": lambda value: {name: (pair[0], pair[1]) for name, pair in value.items()}},
    AttemptFailed: {"failure": _failure, "verdict": Verdict},
}
