"""The baseline of an experiment at the beginning of a run: it must be there, and it is run first."""

from __future__ import annotations

import logging

from axsched_hpc.core.best import Problem
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.ledger import arm_key
from axsched_hpc.core.states import TrialState
from axsched_hpc.loop.session import Session

log = logging.getLogger("axsched_hpc")


def check(problem: Problem) -> None:
    """Refuse to begin where constraints refer to a baseline that does not exist: Ax would use up the points
    that need no model, and stop.

    Raises
    ------
    ConfigError
        There are such constraints, and no baseline.
    """
    relative = [each for each in (*problem.constraints, *problem.thresholds) if each.relative]
    if relative and problem.status_quo is None:
        names = ", ".join(dict.fromkeys(name for each in relative for name in each.weights))
        raise ConfigError(
            f"The constraint on {names} is relative to a baseline, and there is none. Nothing was submitted. "
            "Name it with scheduler.set_baseline({...}), and its metrics where they are known."
        )


def begin(session: Session) -> None:
    """Enqueue the baseline as the first point, unless it has an outcome or is on its way."""
    ledger = session.ledger
    if ledger.baseline is None:
        return
    key = arm_key(ledger.baseline.parameters)
    trials = [trial for trial in ledger.trials.values() if arm_key(trial.parameters) == key]
    if any(trial.state is TrialState.COMPLETED or not trial.state.final for trial in trials):
        return
    if any(arm_key(point) == key for point in ledger.queue.values()):
        return
    log.info("The baseline %s has no completed trial; it is run first.", ledger.baseline.parameters)
    session.enqueue([ledger.baseline.parameters], front=True)
