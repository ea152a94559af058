"""What a job's state means for its attempt: pure decisions about beginnings, ends and disappearances."""

from __future__ import annotations

import re
import signal as signals
from dataclasses import dataclass, replace
from enum import StrEnum

from axsched_hpc.core.events import Failure
from axsched_hpc.core.states import FailureKind, JobState, TrialState


class Sight(StrEnum):
    """What one look at a job tells."""

    NOTHING = "nothing"
    STARTED = "started"
    REQUEUED = "requeued"
    ENDED = (
        "ended"  #: ended, and stayed so for the settle time: if no outcome file is there now, none will come
    )
    LOST = "lost"  #: no query has known it for longer than the deadline


@dataclass(frozen=True)
class Watch:
    """What earlier looks left: since when the job is seen ended, or is not known, in seconds of the monotonic
    clock.
    """

    ended_since: float | None = None
    unknown_since: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the last look saw the job ended."""
        return self.ended_since is not None


def look(
    watch: Watch, trial: TrialState, job: JobState, *, now: float, settle: float, lost_after: float
) -> tuple[Watch, Sight]:
    """Judge one look at a job. ``settle`` and ``lost_after`` are in seconds."""
    if job is JobState.UNKNOWN:
        since = watch.unknown_since if watch.unknown_since is not None else now
        lost = now - since >= lost_after
        return Watch(unknown_since=since), Sight.LOST if lost else Sight.NOTHING
    if job.final:
        since = watch.ended_since if watch.ended_since is not None else now
        return Watch(ended_since=since), Sight.ENDED if now - since >= settle else Sight.NOTHING
    watch = replace(watch, ended_since=None, unknown_since=None)
    if job is JobState.RUNNING and trial is TrialState.QUEUED:
        return watch, Sight.STARTED
    if job is JobState.QUEUED and trial is TrialState.RUNNING:
        return watch, Sight.REQUEUED
    return watch, Sight.NOTHING


@dataclass(frozen=True)
class JobEnd:
    """All that is known of a job that ended without an outcome file.

    Attributes
    ----------
    out_of_memory
        Whether Slurm's records say that it was killed for its memory, whatever its state.
    log, said
        The job's own log and its last lines: what it wrote before its worker took the output over, and what
        Slurm's step manager wrote into it.
    """

    job: str
    state: JobState
    raw: str = ""
    reason: str = ""
    node: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    claimed: bool = False
    out_of_memory: bool = False
    log: str = ""
    said: tuple[str, ...] = ()


#: Ends that say by themselves why.
_PLAIN: dict[JobState, tuple[FailureKind, str]] = {
    JobState.NODE_FAILED: (FailureKind.NODE_FAILED, "its node failed"),
    JobState.PREEMPTED: (FailureKind.PREEMPTED, "it was preempted"),
    JobState.TIMED_OUT: (FailureKind.TIMED_OUT, "it reached its time limit"),
    JobState.OUT_OF_MEMORY: (FailureKind.OUT_OF_MEMORY, "it used more memory than it asked for"),
    JobState.CANCELLED: (FailureKind.CANCELLED, "it was cancelled from outside"),
}

#: What slurmstepd writes into a job's log where it or the kernel has killed for lack of memory; Slurm's state
#: of the job may be FAILED all the same.
_NO_MEMORY = re.compile(
    r"slurmstepd.*(exceeded (job |step )?memory limit|oom[-_ ]kill|out of memory)", re.IGNORECASE
)

_KILLS = frozenset({signals.SIGKILL, signals.SIGTERM, signals.SIGINT, signals.SIGHUP})


def diagnose(end: JobEnd) -> Failure:
    """Why an attempt failed whose job ended without an outcome."""
    where = f"job {end.job}" + (f" on {end.node}" if end.node else "")
    words = f" (state {end.raw})" if end.raw else ""
    state = end.state
    no_memory = end.out_of_memory or any(map(_NO_MEMORY.match, end.said))
    if no_memory and state in (JobState.FAILED, JobState.CANCELLED):
        state = JobState.OUT_OF_MEMORY
    if state in _PLAIN:
        kind, text = _PLAIN[state]
        reason = f"; reason given: {end.reason}" if end.reason and end.reason != "None" else ""
        return _failure(end, kind, f"{where}: {text}{words}{reason}.")
    if not end.claimed:
        look = f" Look into {end.log}." if end.log else ""
        if end.said:
            look = f" It said: {end.said[-1].strip()!r} (the whole is in {end.log})."
        return _failure(
            end,
            FailureKind.LAUNCH_FAILED,
            f"{where} ended before the objective was started{words}{_code(end)}: "
            f"the job could not start Python or import axsched_hpc there.{look}",
        )
    if end.signal in _KILLS or (end.exit_code is None and end.signal is None):
        return _failure(
            end,
            FailureKind.WORKER_KILLED,
            f"{where} was killed while the objective ran{words}{_code(end)}.",
        )
    return _failure(
        end,
        FailureKind.CRASHED,
        f"{where} ended while the objective ran, without reporting an outcome{words}{_code(end)}: "
        "the program crashed or left Python in the middle.",
    )


def lost(job: str, seconds: float) -> Failure:
    """The failure of an attempt whose job nothing knows any more."""
    return Failure(FailureKind.LOST, f"job {job} has been unknown to every query for {seconds:.0f} s.")


def _failure(end: JobEnd, kind: FailureKind, message: str) -> Failure:
    return Failure(
        kind,
        message,
        exit_code=end.exit_code,
        signal=end.signal,
        node=end.node,
        # Once the objective runs, what it says is in a log of its own.
        stderr_tail=() if end.claimed else end.said,
    )


def _code(end: JobEnd) -> str:
    if end.signal:
        return f", signal {end.signal}"
    return f", exit code {end.exit_code}" if end.exit_code is not None else ""
