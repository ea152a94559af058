"""All that a report tells, from the journal alone: one fold, whatever becomes of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from axsched_hpc.core.events import (
    CallEnded,
    DriverClosed,
    DriverOpened,
    Event,
    ObjectiveSet,
)
from axsched_hpc.core.front import Growth, growth
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.standing import Standing, standing
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.curves import Curves, curves
from axsched_hpc.reporting.faults import Fault, faults
from axsched_hpc.reporting.progress import Step, progress, tied
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.reporting.records import FORMAT
from axsched_hpc.reporting.savings import Saved, saved
from axsched_hpc.reporting.spans import Moment, Span, Use, occupancy, spans, use
from axsched_hpc.reporting.table import iso


@dataclass(frozen=True)
class Session:
    """One driver's time: when it opened the experiment, and when it was last heard of."""

    opened: DriverOpened
    last: float
    closed: bool
    reason: str


@dataclass(frozen=True)
class Account:
    """What a report tells.

    Attributes
    ----------
    now
        When it was made, in seconds since the epoch.
    alive
        Whether a driver is at work, as far as can be seen.
    until
        Up to when something is known to have happened, or goes on: ``now`` while a driver is at work.
    ties
        The trials that cannot be told from the best one.
    objectives
        What was run: each version of the objective once.
    """

    reading: Reading
    now: float
    alive: bool
    until: float
    standing: Standing
    steps: list[Step]
    ties: list[Step]
    growth: Growth | None
    curves: Curves
    spans: list[Span]
    moments: list[Moment]
    use: Use
    faults: list[Fault]
    saved: Saved
    sessions: list[Session]
    objectives: list[ObjectiveSet]

    @property
    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return list(self.reading.ledger.trials.values())

    @cached_property
    def best(self) -> frozenset[int]:
        """The numbers of the best trials."""
        return frozenset(trial.number for trial in self.standing.best)

    @property
    def began(self) -> float:
        """When the first driver opened it, or the first trial came in."""
        times = [session.opened.time for session in self.sessions] + [t.added for t in self.trials]
        return min(times, default=self.until)


def account(reading: Reading, events: Sequence[Event], *, now: float, alive: bool) -> Account:
    """Fold what a report needs.

    Parameters
    ----------
    events
        Of the same journal as the reading, oldest first.
    now
        Seconds since the epoch.
    alive
        Whether a driver is at work.
    """
    ledger, problem = reading.ledger, reading.problem
    trials = list(ledger.trials.values())
    stands = standing(trials, problem)
    until = max(now, ledger.last_time) if alive else ledger.last_time
    steps = progress(trials, problem)
    stretches = spans(trials, events, now=until)
    moments = occupancy(stretches)
    return Account(
        reading=reading,
        now=now,
        alive=alive,
        until=until,
        standing=stands,
        steps=steps,
        ties=tied(steps, stands.best[0].number) if steps and stands.best else [],
        growth=growth(trials, problem),
        curves=curves(events),
        spans=stretches,
        moments=moments,
        use=use(stretches, moments),
        faults=faults(trials),
        saved=saved(trials),
        sessions=_sessions(events),
        objectives=list({e.objective: e for e in events if isinstance(e, ObjectiveSet)}.values()),
    )


def account_json(found: Account) -> dict[str, Any]:
    """What ``axsched report --json`` prints: the numbers behind the figures that no other command has."""
    ledger, used = found.reading.ledger, found.use
    return {
        "format": FORMAT,
        "directory": str(found.reading.layout.root),
        "running": found.alive,
        "began": iso(found.began),
        "until": iso(found.until),
        "counts": {str(state): ledger.counts[state] for state in TrialState},
        "cancelled": ledger.cancelled,
        "feasible": found.standing.feasible,
        "feasibility": found.standing.text,
        "best": sorted(found.best),
        "tied": [step.trial for step in found.ties],
        "hypervolume": None if found.growth is None else found.growth.hypervolume,
        "use": {
            "job_hours": used.hours,
            "node_hours": used.node_hours,
            "wasted_hours": used.wasted_hours,
            "peak": used.peak,
            "share": used.share,
            "median_wait_seconds": used.median_wait,
        },
        "progress": [
            {
                "trial": step.trial,
                "time": iso(step.time),
                "value": step.value,
                "sem": step.sem,
                "feasible": step.feasible,
                "best": step.best,
            }
            for step in found.steps
        ],
        "failures": [
            {
                "kind": str(fault.kind),
                "attempts": fault.attempts,
                "trials": list(fault.trials),
                "without_result": fault.lost,
                "message": fault.message,
                "hint": fault.hint,
            }
            for fault in found.faults
        ],
        "jobs": [
            {
                "trial": span.trial,
                "attempt": span.attempt,
                "place": span.place,
                "start": iso(span.start),
                "end": iso(span.end),
                "fate": str(span.fate),
            }
            for span in found.spans
        ],
    }


def _sessions(events: Iterable[Event]) -> list[Session]:
    found: list[Session] = []
    opened: DriverOpened | None = None
    last, closed, reason = 0.0, False, ""

    def end() -> None:
        if opened is not None:
            found.append(Session(opened, last, closed, reason))

    for event in events:
        if isinstance(event, DriverOpened):
            end()
            opened, closed, reason = event, False, ""
        elif isinstance(event, DriverClosed):
            closed = True
        elif isinstance(event, CallEnded):
            reason = event.reason
        last = max(event.time, opened.time if opened is event else last)
    end()
    return found
