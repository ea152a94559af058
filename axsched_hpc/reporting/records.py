"""An experiment and its trials as JSON objects, for programs. docs/reference/cli.md describes their keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from axsched_hpc.core.events import RequestAnswered
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.standing import standing
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.reporting.savings import saved
from axsched_hpc.reporting.table import baseline_trial, iso

#: Of all these objects.
FORMAT = 1


def status_record(reading: Reading) -> dict[str, Any]:
    """What ``axsched status --json`` prints."""
    ledger = reading.ledger
    spared = saved(ledger.trials.values())
    found = standing(ledger.trials.values(), reading.problem)
    return {
        "format": FORMAT,
        "directory": str(reading.layout.root),
        "driver": driver_record(reading),
        "finished": ledger.closed,
        "changes": _changes(reading),
        "counts": {str(state): ledger.counts[state] for state in TrialState},
        "cancelled": ledger.cancelled,
        "objectives": [
            {"name": each.name, "goal": "minimize" if each.minimize else "maximize"}
            for each in reading.problem.objectives
        ],
        "constraints": [str(each) for each in reading.problem.bounds],
        "feasible": found.feasible,
        "feasibility": found.text,
        "best": [trial.number for trial in found.best],
        "baseline": _baseline(reading),
        "redefinitions": [
            {"time": iso(change.time), "trials": change.trials, "changes": list(change.changes)}
            for change in ledger.redefinitions
        ],
        "early_stopping": {"trials": spared.trials, "hours": spared.hours, "node_hours": spared.node_hours},
        "trials": [trial_record(trial, reading.waits) for trial in ledger.trials.values()],
    }


def _baseline(reading: Reading) -> dict[str, Any] | None:
    """The arm with which relative constraints compare."""
    arm, trial = reading.problem.status_quo, baseline_trial(reading)
    return None if arm is None else {"arm": arm, "trial": None if trial is None else trial.number}


def driver_record(reading: Reading) -> dict[str, Any] | None:
    """Who drives, as far as the directory tells."""
    who = reading.holder
    if who is None or who.ended:
        return None
    return {
        "host": who.host,
        "pid": who.pid,
        "since": _moment(who.since),
        "seen": iso(who.seen),
        "alive": who.alive(),
    }


def _changes(reading: Reading) -> dict[str, Any]:
    """What requests have changed, and which wait for their answer."""
    changes = reading.ledger.changes
    budget = changes.budget.trials if changes.budget else None
    parallel = changes.parallel.max_parallel if changes.parallel else None
    return {
        "paused": _by(changes.paused),
        "stopping": _by(changes.stopping),
        "cancelling": sorted(changes.cancelling),
        "trials": None if budget is None else {**asdict(budget), **(_by(changes.budget) or {})},
        "max_parallel": None if parallel is None else {**asdict(parallel), **(_by(changes.parallel) or {})},
        "waiting": [
            {
                "id": id,
                "request": None if change is None else str(change.request),
                "trial": None if change is None else change.trial,
                "by": None if change is None else change.by,
                "since": None if change is None else iso(change.time),
            }
            for id, change in reading.requests
        ],
    }


def _by(request: RequestAnswered | None) -> dict[str, Any] | None:
    return None if request is None else {"by": request.by, "since": iso(request.time)}


def trials_record(reading: Reading, trials: Iterable[Trial]) -> dict[str, Any]:
    """What ``axsched trials --json`` prints."""
    return {
        "format": FORMAT,
        "directory": str(reading.layout.root),
        "trials": [trial_record(trial, reading.waits) for trial in trials],
    }


def trial_record(trial: Trial, waits: Mapping[int, str]) -> dict[str, Any]:
    """One trial, with all its attempts; ``waits`` as of :class:`Reading`."""
    reach = trial.reach
    curve = None
    if reach is not None:
        curve = {"first": reach.first, "last": reach.last, "metrics": _metrics(reach.metrics)}
    return {
        "trial": trial.number,
        "arm": trial.arm,
        "state": str(trial.state),
        "cancelled": trial.cancelled,
        "origin": trial.origin,
        "source": trial.source,
        "added": iso(trial.added),
        "ended": _moment(trial.ended),
        "parameters": trial.parameters,
        "metrics": _metrics(trial.metrics or {}),
        "curve": curve,
        "reason": why(trial),
        "attempts": [_attempt(trial, attempt, waits) for attempt in trial.attempts],
    }


def attempt_state(trial: Trial, attempt: Attempt) -> str:
    """Where an attempt stands: its failure's kind, ``withdrawn``, or where its trial stands."""
    if attempt.failure is not None:
        return str(attempt.failure.kind)
    return "withdrawn" if attempt.withdrawn else trial.word


def why(trial: Trial) -> str:
    """Why its last attempt failed, or why it was given up; empty for a trial that is completed after all."""
    return "" if trial.state is TrialState.COMPLETED else trial.reason


def _attempt(trial: Trial, attempt: Attempt, waits: Mapping[int, str]) -> dict[str, Any]:
    queued = attempt is trial.attempt and trial.state is TrialState.QUEUED
    return {
        "attempt": attempt.number,
        "state": attempt_state(trial, attempt),
        "job": attempt.job,
        "node": attempt.node,
        "planned": iso(attempt.planned),
        "submitted": _moment(attempt.submitted),
        "started": _moment(attempt.started),
        "ended": _moment(attempt.ended),
        "waits": attempt.waits,
        "pending_reason": waits.get(trial.number) if queued else None,
        "stop": attempt.stop,
        "request": asdict(attempt.request),
        "failure": None if attempt.failure is None else asdict(attempt.failure),
    }


def _metrics(metrics: Metrics) -> dict[str, Any]:
    return {name: {"mean": mean, "sem": sem} for name, (mean, sem) in metrics.items()}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
