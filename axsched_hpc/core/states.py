"""The words for where a trial, a job and a failure stand."""

from __future__ import annotations

from enum import StrEnum


class TrialState(StrEnum):
    """Where a trial stands; one attempt at the most is under way at any time."""

    WAITING = "waiting"  #: suggested by Ax (or by the user); no attempt is under way
    PLANNED = "planned"  #: an attempt's intent is in the journal; whether its job exists is not yet known
    QUEUED = "queued"  #: the attempt's job is submitted
    RUNNING = "running"  #: the attempt's job has started
    COMPLETED = "completed"  #: its metrics are in Ax
    EARLY_STOPPED = "early_stopped"  #: ended before its time, unpromising by its curve, which is in Ax
    FAILED = "failed"  #: given up; Ax may suggest its arm again
    ABANDONED = "abandoned"  #: given up; Ax will not suggest its arm again

    # Enum's own is a function in Python, and every event of a journal needs it several times.
    __hash__ = str.__hash__

    @property
    def final(self) -> bool:
        """Whether nothing can happen to the trial any more."""
        return self in _FINAL_TRIAL

    @property
    def active(self) -> bool:
        """Whether an attempt holds one of the runner's slots."""
        return self in _ACTIVE_TRIAL


#: What people are told of an abandoned trial that a person has cancelled, in the place of its state; and all
#: that they can be told.
CANCELLED = "cancelled"
WORDS = (*(state.value for state in TrialState), CANCELLED)

_FINAL_TRIAL = frozenset(
    {TrialState.COMPLETED, TrialState.EARLY_STOPPED, TrialState.FAILED, TrialState.ABANDONED}
)
_ACTIVE_TRIAL = frozenset({TrialState.PLANNED, TrialState.QUEUED, TrialState.RUNNING})


class JobState(StrEnum):
    """Where a job stands, in one vocabulary for all runners. ``UNKNOWN`` is never final: absence is not an
    end.
    """

    UNKNOWN = "unknown"  #: no query knows the job, or the word for its state is new to us
    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDING = "ending"  #: its processes are being cleaned up; the outcome is not known yet
    SUCCEEDED = "succeeded"  #: exit code 0, which says nothing of metrics
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    PREEMPTED = "preempted"
    NODE_FAILED = "node_failed"

    @property
    def final(self) -> bool:
        """Whether the job has ended (the scheduler may still requeue it where it does so by itself)."""
        return self in _FINAL_JOB


_FINAL_JOB = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMED_OUT,
        JobState.OUT_OF_MEMORY,
        JobState.PREEMPTED,
        JobState.NODE_FAILED,
    }
)


class RetryClass(StrEnum):
    """Whose fault a failure is: it decides whether the attempt is repeated."""

    INFRASTRUCTURE = "infrastructure"
    RESOURCE = "resource"
    OBJECTIVE = "objective"
    CONTINUATION = "continuation"  #: no failure: the objective has saved its state and is to go on
    USER = "user"


class FailureKind(StrEnum):
    """Why an attempt ended without metrics."""

    NODE_FAILED = "node_failed"
    PREEMPTED = "preempted"
    LOST = "lost"  #: no query has known the job for longer than the deadline
    LAUNCH_FAILED = "launch_failed"  #: the job ended before the worker claimed the attempt
    WORKER_KILLED = "worker_killed"  #: the worker was killed from outside while the objective ran
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    EXIT_CODE = "exit_code"
    EXCEPTION = "exception"
    CRASHED = "crashed"  #: ended by a signal of its own making, such as SIGSEGV
    OBJECTIVE_TIMEOUT = "objective_timeout"  #: the objective's own `timeout` option
    BAD_METRICS = "bad_metrics"
    CANNOT_RUN = "cannot_run"  #: program, image or function could not be started on the node
    CHECKPOINTED = "checkpointed"  #: it saved its state, and asked to go on in another job
    CANCELLED = "cancelled"

    @property
    def retry_class(self) -> RetryClass:
        """Whose fault it is."""
        return _RETRY_CLASS[self]


_RETRY_CLASS = {
    FailureKind.NODE_FAILED: RetryClass.INFRASTRUCTURE,
    FailureKind.PREEMPTED: RetryClass.INFRASTRUCTURE,
    FailureKind.LOST: RetryClass.INFRASTRUCTURE,
    FailureKind.LAUNCH_FAILED: RetryClass.INFRASTRUCTURE,
    FailureKind.WORKER_KILLED: RetryClass.INFRASTRUCTURE,
    FailureKind.TIMED_OUT: RetryClass.RESOURCE,
    FailureKind.OUT_OF_MEMORY: RetryClass.RESOURCE,
    FailureKind.EXIT_CODE: RetryClass.OBJECTIVE,
    FailureKind.EXCEPTION: RetryClass.OBJECTIVE,
    FailureKind.CRASHED: RetryClass.OBJECTIVE,
    FailureKind.OBJECTIVE_TIMEOUT: RetryClass.OBJECTIVE,
    FailureKind.BAD_METRICS: RetryClass.OBJECTIVE,
    FailureKind.CANNOT_RUN: RetryClass.OBJECTIVE,
    FailureKind.CHECKPOINTED: RetryClass.CONTINUATION,
    FailureKind.CANCELLED: RetryClass.USER,
}


class RequestKind(StrEnum):
    """What a request asks of a run under way."""

    STOP = "stop"  #: end the run when what is under way has ended
    CANCEL = "cancel"  #: end a trial, without a result
    PAUSE = "pause"  #: submit nothing new
    RESUME = "resume"
    RETRY = "retry"  #: give a trial that failed or was abandoned another attempt
    SET = "set"  #: change the number of trials, or of those at a time
    ADD = "add"  #: run points before Ax is asked for any
    IMPORT = "import"  #: take evaluations in that are there already


class Verdict(StrEnum):
    """What becomes of a trial whose attempt failed."""

    RETRY = "retry"
    FAIL = "fail"
    ABANDON = "abandon"
