"""What can happen to an experiment: the facts that the journal records, and nothing else.

Each event is a frozen dataclass of plain JSON values with a ``kind`` of its own. The state of an experiment
is the fold of its events (:mod:`axsched_hpc.core.ledger`); a decision that depends on settings, such as
whether to retry, is taken before its event is written and stands in the event, so that a replay under other
settings gives the same past.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import Any, ClassVar

from axsched_hpc.core.record import Record
from axsched_hpc.core.states import FailureKind, RequestKind, Verdict

#: The last second of the year 9999: later ones cannot be shown as a date.
LAST_TIME = 253_402_300_799


class Event(Record):
    """Base of all events. ``time`` is in seconds since the epoch, on the driver's clock."""

    kind: ClassVar[str]
    time: float


class TrialEvent(Event):
    """An event of one trial."""

    trial: int


# ---------------------------------------------------------------- the experiment and its drivers


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


class DriverOpened(Event):
    """A driver has read what was there. Second record of its segment; the first one in format 1.

    ``previous`` maps the names of the segments that it has read to their sizes in bytes: what a superseded
    driver appends later lies beyond that size and does not count. ``run`` is the same for all drivers of one
    submission by ``axsched submit``, null for others: they are one run of the script, also where one of them
    died when it had just closed in good order. ``provenance`` is what :mod:`axsched_hpc.io.provenance` finds.
    """

    kind: ClassVar[str] = "driver_opened"
    format: int
    host: str
    pid: int
    definition: str
    problem: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    previous: dict[str, int] = field(default_factory=dict)
    run: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class Definition(Record):
    """What makes an experiment this one: its fingerprint, and Ax's JSON of what is searched and wanted."""

    fingerprint: dict[str, Any]
    search_space: dict[str, Any]
    optimization_config: dict[str, Any]


class DefinitionChanged(Event):
    """The experiment is defined anew from here on; earlier trials count as they are.

    It stands in one group with the record of the driver that was handed the new definition. ``changes`` says
    in words how it differs from the one before, and ``trials`` how many there were.
    """

    kind: ClassVar[str] = "definition_changed"
    changes: tuple[str, ...]
    trials: int
    before: Definition
    after: Definition


class DriverClosed(Event):
    """The driver gave the experiment back. ``finished``: in good order, with no call interrupted."""

    kind: ClassVar[str] = "driver_closed"
    finished: bool = True


class CallStarted(Event):
    """A public call began. ``ordinal`` counts them within one run of the user's script, over restarts.

    ``base`` is the number of trials that existed before it. ``trials`` are those which a batch context added.
    ``total`` and ``max_parallel`` are what the script says: how many trials there are to be at the end of a
    run, and how many attempts may be under way.
    """

    kind: ClassVar[str] = "call_started"
    ordinal: int
    what: str
    base: int
    trials: tuple[int, ...] = ()
    max_trials: int | None = None
    synchronous: bool = True
    total: int | None = None
    max_parallel: int | None = None


class CallEnded(Event):
    """A public call returned; ``reason`` says why it stopped."""

    kind: ClassVar[str] = "call_ended"
    ordinal: int
    reason: str


class ObjectiveSet(Event):
    """What the attempts planned from here on run: a directory below ``objective/``.

    ``warning``: seconds before the end of its job at which an objective that saves checkpoints is told to;
    null for one that does not. ``repository``: the git commit that its source is from, where there is one.
    """

    kind: ClassVar[str] = "objective_set"
    objective: str
    what: str
    warning: int | None = None
    repository: dict[str, Any] | None = None


class BaselineSet(Event):
    """The arm to which relative constraints refer: Ax's status quo."""

    kind: ClassVar[str] = "baseline_set"
    arm: str
    parameters: dict[str, Any]


class PointsEnqueued(Event):
    """Points that are to be run before Ax is asked for any.

    ``first`` is the place of the first of them; all that were ever enqueued are counted from 0. ``ordinal``
    counts such calls within one run of the user's script, over restarts; null for what no script enqueued.
    ``front``: they are run before those that wait already.
    """

    kind: ClassVar[str] = "points_enqueued"
    first: int
    points: tuple[dict[str, Any], ...]
    ordinal: int | None = None
    front: bool = False


class Setting(Record):
    """A number in the place of the script's: ``value``, for as long as the script says ``said``."""

    value: int
    said: int


class RequestAnswered(Event):
    """A request to the run was taken or refused; what a person is told of it is the ``answer``.

    ``id`` is in the name of the request's file, which is removed after this record. ``by`` asked for it at
    ``asked``, by that machine's clock. ``trial`` is the one to be cancelled or tried again; ``cancel``: a
    stop cancels what is under way, too. ``trials`` (of the experiment) and ``max_parallel`` are what is set.
    Points that were added, and evaluations, have records of their own in the same group.
    """

    kind: ClassVar[str] = "request_answered"
    id: str
    request: RequestKind
    by: str
    asked: float
    taken: bool
    answer: str
    trial: int | None = None
    cancel: bool = False
    trials: Setting | None = None
    max_parallel: Setting | None = None


# ---------------------------------------------------------------- a trial's life


class TrialAdded(TrialEvent):
    """A trial entered the experiment.

    ``origin`` is ``ax`` (suggested), ``batch`` (the user's own point, to be run), ``enqueued`` (taken from
    the queue, where it was at ``place``), ``candidate`` (found in the experiment, to be run) or ``external``
    (it came with its outcome, which is in ``ax``). ``ax`` is opaque here: what the Ax bridge needs to make
    the same trial again. In ``ax`` is also the ``source`` that an evaluation was imported from.
    """

    kind: ClassVar[str] = "trial_added"
    arm: str
    parameters: dict[str, Any]
    origin: str
    ax: dict[str, Any] | None = None
    place: int | None = None

    def imported(self, source: str) -> TrialAdded:
        """The same, with what it was imported from."""
        return replace(self, ax={**(self.ax or {}), "source": source})


class Request(Record):
    """What a batch's jobs ask for beyond what their runner is set to.

    ``memory_mb`` (MiB) and ``time_s`` (seconds) take the place of the runner's; null leaves those as they
    are. ``exclude``: nodes on which an earlier attempt met a fault of the node.
    """

    memory_mb: int | None = None
    time_s: int | None = None
    exclude: tuple[str, ...] = ()


class BatchPlanned(Event):
    """The intent to submit attempts, written before the scheduler is asked. ``attempts`` are (trial,
    attempt), by array index.
    """

    kind: ClassVar[str] = "batch_planned"
    token: str
    attempts: tuple[tuple[int, int], ...]
    request: Request = field(default_factory=Request)


class BatchSubmitted(Event):
    """The scheduler took a batch. ``jobs`` maps array indices to job ids (an index without a job was not
    submitted).
    """

    kind: ClassVar[str] = "batch_submitted"
    token: str
    jobs: dict[int, str]


class AttemptWithdrawn(TrialEvent):
    """A planned attempt never became a job, and its claim is closed, so that it never will. It counts as no
    failure.
    """

    kind: ClassVar[str] = "attempt_withdrawn"
    attempt: int
    reason: str


class AttemptWaits(TrialEvent):
    """The job waits for a reason that does not pass by itself, in the scheduler's words; empty: no longer."""

    kind: ClassVar[str] = "attempt_waits"
    attempt: int
    reason: str


class AttemptStarted(TrialEvent):
    """The job runs."""

    kind: ClassVar[str] = "attempt_started"
    attempt: int
    node: str | None = None


class AttemptRequeued(TrialEvent):
    """The scheduler put the job back into its queue by itself."""

    kind: ClassVar[str] = "attempt_requeued"
    attempt: int
    reason: str = ""


class AttemptReported(TrialEvent):
    """The objective reported intermediate values: points of the trial's curve, as (step, metrics).

    ``read``: bytes of the attempt's progress file that are taken in with them. Of many reports only some are
    recorded (:mod:`axsched_hpc.core.curve`).
    """

    kind: ClassVar[str] = "attempt_reported"
    attempt: int
    points: tuple[tuple[int, dict[str, tuple[float, float | None]]], ...]
    read: int


class StopDecided(TrialEvent):
    """The trial is unpromising by its curve, and its attempt is to be ended; ``reason`` is Ax's."""

    kind: ClassVar[str] = "stop_decided"
    attempt: int
    reason: str


class TrialStopped(TrialEvent):
    """The attempt that was to be ended has ended without metrics; the trial keeps its curve."""

    kind: ClassVar[str] = "trial_stopped"
    attempt: int
    reason: str
    started: float | None = None
    ended: float | None = None


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


class Failure(Record):
    """Why an attempt failed, as far as it is known.

    ``asked_mb`` and ``used_mb`` are the memory that the job asked for and the most that it used, in MiB;
    ``elapsed_s`` and ``limit_s`` the time that it ran and its limit, in seconds. ``hint`` says in words what
    to do. ``progressed``: the objective has saved a checkpoint since it was started, so that the next attempt
    goes on from there.
    """

    kind: FailureKind
    message: str
    exit_code: int | None = None
    signal: int | None = None
    node: str | None = None
    stderr_tail: tuple[str, ...] = ()
    asked_mb: float | None = None
    used_mb: float | None = None
    elapsed_s: float | None = None
    limit_s: float | None = None
    hint: str = ""
    progressed: bool = False

    @property
    def text(self) -> str:
        """What happened, and what to do."""
        stop = "." if self.hint and not self.message.endswith((".", "!", "?")) else ""
        return f"{self.message}{stop} {self.hint}".rstrip()


class AttemptFailed(TrialEvent):
    """An attempt ended without valid metrics, and what becomes of its trial."""

    kind: ClassVar[str] = "attempt_failed"
    attempt: int
    failure: Failure
    verdict: Verdict
    started: float | None = None
    ended: float | None = None


class TrialRetried(TrialEvent):
    """A trial that had failed or was abandoned waits for another attempt, as a person asked for."""

    kind: ClassVar[str] = "trial_retried"
    reason: str


class TrialAbandoned(TrialEvent):
    """The driver gave the trial up, for example at the end of a call's time; ``cancelled``: since a person
    wanted it.
    """

    kind: ClassVar[str] = "trial_abandoned"
    reason: str
    cancelled: bool = False
