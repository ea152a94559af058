"""What a run has found, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.best import Problem, baseline, best, comparable, satisfies
from axsched_hpc.core.front import Growth, growth
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.standing import standing
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.savings import Saved, saved
from axsched_hpc.scheduler.notebook import result_html

if TYPE_CHECKING:
    import pandas as pd

    from axsched_hpc.ax_bridge.bridge import AxBridge
    from axsched_hpc.ax_bridge.model import BestByModel


@dataclass(frozen=True)
class FailedTrial:
    """A trial that was given up: its parameters, how many attempts it had, and why the last one failed."""

    trial: int
    parameters: dict[str, Any]
    attempts: int
    reason: str


@dataclass(frozen=True)
class Seconds:
    """Where the time went, in seconds.

    Attributes
    ----------
    generating
        In Ax, asking for points, during the calls of this process.
    waiting
        Between submission and start, summed over all attempts.
    running
        Between start and end, summed over all attempts.
    """

    generating: float
    waiting: float
    running: float


@dataclass(frozen=True)
class Result:
    """The outcome of an experiment so far. See ``AxScheduler.result``.

    Attributes
    ----------
    best_parameters
        Those of the best observed trial; empty where none is completed, and with several objectives.
    best_values
        Its metrics: name -> (mean, standard error or None).
    best_trial
        Its number: Ax's index, but where there are batch trials.
    front
        With several objectives: arm name -> parameters, of the observed Pareto front.
    front_values
        Its metrics: arm name -> metric -> (mean, standard error or None).
    hypervolume
        With several objectives: the front's hypervolume over time. None before there is a front from which a
        reference point can be taken.
    feasible
        Whether the best trials satisfy all constraints and thresholds. False where no completed trial does,
        so that nothing is best; None where nothing is completed, or a constraint cannot be judged before the
        baseline is.
    feasibility
        The same in words, with the trial that comes nearest where none satisfies them.
    trials
        One row per trial, as Ax has it; of batch trials one per arm, with its ``number``.
    failures
        The trials that were given up, with reasons.
    cancelled
        The trials that a person has cancelled, here or in Slurm.
    stopped_early
        The trials that were stopped early, by their curves.
    saved
        What they have not spent, in hours of jobs and of nodes.
    stopped
        Why the last call ended: "budget", "timeout", "exhausted", "interrupted", "requested" (by `axsched
        stop`), or "" before the first.
    """

    best_parameters: dict[str, Any]
    best_values: Metrics
    best_trial: int | None
    front: dict[str, dict[str, Any]]
    front_values: dict[str, Metrics]
    hypervolume: Growth | None
    feasible: bool | None
    feasibility: str
    trials: pd.DataFrame
    failures: tuple[FailedTrial, ...]
    cancelled: tuple[int, ...]
    stopped_early: tuple[int, ...]
    saved: Saved
    seconds: Seconds
    stopped: str

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return result_html(self)


def best_parameters(ledger: Ledger, problem: Problem) -> dict[str, Any]:
    """What ``run_optimization`` returns: parameters, or arm name -> parameters with several objectives."""
    found = best(ledger.trials.values(), problem)
    if len(problem.objectives) > 1:
        return {trial.arm: dict(trial.parameters) for trial in found}
    return dict(found[0].parameters) if found else {}


def collect(ledger: Ledger, bridge: AxBridge, problem: Problem, *, generating: float, stopped: str) -> Result:
    """The result as things stand now."""
    trials = ledger.trials.values()
    found = standing(trials, problem)
    several = len(problem.objectives) > 1
    single = None if several or not found.best else found.best[0]
    front = found.best if several else ()
    return Result(
        best_parameters=dict(single.parameters) if single else {},
        best_values=dict(single.metrics or {}) if single else {},
        best_trial=single.number if single else None,
        front={trial.arm: dict(trial.parameters) for trial in front},
        front_values={trial.arm: dict(trial.metrics or {}) for trial in front},
        hypervolume=growth(trials, problem),
        feasible=found.feasible,
        feasibility=found.text,
        trials=bridge.trials_frame(),
        failures=tuple(
            FailedTrial(t.number, dict(t.parameters), len(t.attempts), t.reason) for t in trials if t.given_up
        ),
        cancelled=tuple(t.number for t in trials if t.cancelled),
        stopped_early=tuple(t.number for t in trials if t.state is TrialState.EARLY_STOPPED),
        saved=saved(trials),
        seconds=_seconds(trials, generating),
        stopped=stopped,
    )


def by_model(ledger: Ledger, bridge: AxBridge, problem: Problem) -> BestByModel:
    """The best by Ax's model, and whether that satisfies the constraints."""
    found = bridge.best_by_model()
    if not found.predictions:
        return found
    reference = baseline(comparable(ledger.trials.values(), problem), problem)
    return replace(
        found, feasible=all(satisfies(each, problem.bounds, reference) for each in found.predictions)
    )


def _seconds(trials: Any, generating: float) -> Seconds:
    waiting = running = 0.0
    trial: Trial
    for trial in trials:
        for attempt in trial.attempts:
            if attempt.started is None:
                continue
            if attempt.submitted is not None:
                # Two clocks, the driver's and the node's: a negative difference is their skew, not time.
                waiting += max(0.0, attempt.started - attempt.submitted)
            if attempt.ended is not None:
                running += max(0.0, attempt.ended - attempt.started)
    return Seconds(generating, waiting, running)
