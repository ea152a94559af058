"""When each job waited and ran, where, and how it ended: for a timeline, and how many ran at a time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from axsched_hpc.core.events import AttemptRequeued, AttemptStarted, Event
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.slurm.allocation import hosts

#: What is known of a job's place before it runs, and where nothing is known of it.
QUEUE, NOWHERE = "waiting", "node not known"


@dataclass(frozen=True)
class _Execution:
    """When a job was seen to run, where, and when Slurm put it back into its queue, if it did."""

    start: float
    node: str | None
    requeued: float | None = None


class Fate(StrEnum):
    """What a stretch of a job's life came to."""

    WAITED = "waited"
    WAITING = "waits"
    COMPLETED = "completed"
    STOPPED = "stopped early"
    RUNNING = "runs"
    CHECKPOINTED = "saved its state"
    REQUEUED = "requeued"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Span:
    """A stretch of a job's life on one node, or in the queue; times in seconds since the epoch."""

    trial: int
    attempt: int
    place: str
    start: float
    end: float
    fate: Fate
    detail: str = ""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start

    @property
    def queued(self) -> bool:
        """Whether the job waits."""
        return self.fate in (Fate.WAITED, Fate.WAITING)


def spans(trials: Iterable[Trial], events: Iterable[Event], *, now: float) -> list[Span]:
    """The spans of all attempts, by their start.

    The end of an execution that Slurm put back into its queue stands in the events alone. Where the clocks of
    driver and node disagree, no span is shorter than nothing.

    Parameters
    ----------
    now
        Where what is not over ends.
    """
    runs = _executions(events)
    found: list[Span] = []
    for trial in trials:
        for attempt in trial.attempts:
            found += _of_attempt(trial, attempt, runs.get((trial.number, attempt.number), []), now)
    return sorted(found, key=lambda span: (span.start, span.trial))


def lanes(found: Iterable[Span]) -> dict[str, list[list[Span]]]:
    """Place -> lanes, in which no two spans overlap: as few as there can be. The queue comes last."""
    free: dict[str, list[tuple[float, int]]] = {}
    places: dict[str, list[list[Span]]] = {}
    for span in found:
        place = QUEUE if span.queued else span.place
        ends, rows = free.setdefault(place, []), places.setdefault(place, [])
        if ends and ends[0][0] <= span.start:
            _, lane = heapq.heappop(ends)
        else:
            lane = len(rows)
            rows.append([])
        rows[lane].append(span)
        heapq.heappush(ends, (span.end, lane))
    return dict(sorted(places.items(), key=lambda item: (item[0] == QUEUE, item[0] == NOWHERE, item[0])))


@dataclass(frozen=True)
class Moment:
    """From a time on so many attempts run, and so many wait; of a stretch of time, on the average."""

    time: float
    running: float
    waiting: float


def occupancy(found: Iterable[Span]) -> list[Moment]:
    """How many attempts run and wait, from change to change; an attempt on several nodes counts once."""
    changes: dict[float, list[int]] = {}
    once = {(s.trial, s.attempt, s.start, s.end, s.queued) for s in found}
    for _, _, start, end, queued in once:
        if end > start:
            changes.setdefault(start, [0, 0])[queued] += 1
            changes.setdefault(end, [0, 0])[queued] -= 1
    running = waiting = 0
    moments = []
    for time in sorted(changes):
        running, waiting = running + changes[time][0], waiting + changes[time][1]
        moments.append(Moment(time, running, waiting))
    return moments


@dataclass(frozen=True)
class Use:
    """What the jobs took.

    Attributes
    ----------
    hours, node_hours
        That attempts ran; the second times their nodes.
    wasted_hours
        Of ``hours``: of executions that failed or were put back into the queue.
    peak
        The most attempts that ran at a time.
    share
        How much of ``peak`` ran on the average, from the first start to the last end.
    median_wait
        Of the attempts that have started, in seconds.
    """

    hours: float
    node_hours: float
    wasted_hours: float
    peak: int
    share: float | None
    median_wait: float | None


def use(found: Sequence[Span], moments: Sequence[Moment]) -> Use:
    """Sum up."""
    ran = [span for span in found if not span.queued]
    once = {(s.trial, s.attempt, s.start): s for s in ran}.values()
    hours = sum(span.seconds for span in once) / 3600
    wasted = sum(s.seconds for s in once if s.fate in (Fate.FAILED, Fate.REQUEUED)) / 3600
    peak = round(max((moment.running for moment in moments), default=0))
    whole = max((s.end for s in ran), default=0.0) - min((s.start for s in ran), default=0.0)
    share = hours * 3600 / (peak * whole) if peak and whole > 0 else None
    waits = sorted(span.seconds for span in found if span.fate is Fate.WAITED)
    median = (waits[(len(waits) - 1) // 2] + waits[len(waits) // 2]) / 2 if waits else None
    return Use(hours, sum(s.seconds for s in ran) / 3600, wasted, peak, share, median)


def _executions(events: Iterable[Event]) -> dict[tuple[int, int], list[_Execution]]:
    """(trial, attempt) -> its executions, as the driver saw them begin."""
    found: dict[tuple[int, int], list[_Execution]] = {}
    for event in events:
        if isinstance(event, AttemptStarted):
            began = _Execution(event.time, event.node)
            found.setdefault((event.trial, event.attempt), []).append(began)
        elif isinstance(event, AttemptRequeued):
            runs = found.get((event.trial, event.attempt))
            if runs and runs[-1].requeued is None:
                runs[-1] = replace(runs[-1], requeued=event.time)
    return found


def _of_attempt(trial: Trial, attempt: Attempt, runs: list[_Execution], now: float) -> list[Span]:
    job = f"job {attempt.job}" if attempt.job else ""

    def span(place: str, start: float, end: float, fate: Fate) -> Span:
        return Span(trial.number, attempt.number, place, start, max(start, end), fate, job)

    found: list[Span] = []
    since = attempt.planned if attempt.submitted is None else attempt.submitted
    node = attempt.node
    for run in runs:
        # The scheduler's name of a node goes before what the machine calls itself.
        node = run.node or attempt.node
        if run.requeued is not None:
            found.append(span(QUEUE, since, run.start, Fate.WAITED))
            found += [span(each, run.start, run.requeued, Fate.REQUEUED) for each in _nodes(node)]
            since = max(run.start, run.requeued)
            node = attempt.node
    fate = _fate(trial, attempt)
    over = attempt.ended
    if over is None:
        over = now if fate in (Fate.RUNNING, Fate.WAITING) else trial.ended or now
    if attempt.started is None:
        # It never ran, or not again, as far as is known.
        if not attempt.withdrawn:
            found.append(span(QUEUE, since, over, Fate.WAITING if fate is Fate.WAITING else Fate.WAITED))
        return found
    found.append(span(QUEUE, since, attempt.started, Fate.WAITED))
    return found + [span(each, attempt.started, over, fate) for each in _nodes(node)]


def _fate(trial: Trial, attempt: Attempt) -> Fate:
    if attempt.failure is not None and attempt.failure.kind is not FailureKind.CANCELLED:
        saved = attempt.failure.kind is FailureKind.CHECKPOINTED
        return Fate.CHECKPOINTED if saved else Fate.FAILED
    last = attempt is trial.attempt
    if attempt.failure is not None or (last and trial.cancelled):
        return Fate.CANCELLED
    if last and trial.state is TrialState.COMPLETED:
        return Fate.COMPLETED
    if last and trial.state is TrialState.EARLY_STOPPED:
        return Fate.STOPPED
    if last and not trial.state.final:
        return Fate.RUNNING if trial.state is TrialState.RUNNING else Fate.WAITING
    return Fate.FAILED


def _nodes(name: str | None) -> list[str]:
    """The nodes of a job; a name that is no list of Slurm's, of a local machine for example, is one node."""
    return hosts(name) or [name] if name else [NOWHERE]
