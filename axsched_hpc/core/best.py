"""The best observed trials: one definition for the library and for the command line, without Ax.

A trial counts when it is completed and violates no outcome constraint. With one
objective the best is the trial with the best observed mean (of a weighted sum, the best sum); with several it
is the Pareto front: the trials that no other beats in one objective without losing in another, and that reach
the objective thresholds where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from axsched_hpc.core import typed
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import TrialState

#: Half the width of a 95 % confidence interval, in standard errors of a normal distribution.
_CONFIDENCE = 1.96


@dataclass(frozen=True)
class Objective:
    """A metric, or a weighted sum (``weights``: metric -> weight), to be minimised or maximised."""

    weights: dict[str, float]
    minimize: bool

    @property
    def name(self) -> str:
        """The metric's name, or the sum written out."""
        if len(self.weights) == 1 and next(iter(self.weights.values())) == 1.0:
            return next(iter(self.weights))
        return " + ".join(f"{weight:g}*{metric}" for metric, weight in self.weights.items())

    def value(self, metrics: Metrics) -> float:
        """The observed value, in the metrics' own units."""
        return sum(weight * metrics[metric][0] for metric, weight in self.weights.items())


@dataclass(frozen=True)
class Constraint:
    """``sum(weight * metric) op bound``; a relative bound is in per cent of the status quo, as in Ax.

    It counts as violated where the observed mean violates it with 95 % confidence, by its standard error (0
    where that is not known): Ax's own rule for the best observed point.
    """

    weights: dict[str, float]
    op: str
    bound: float
    relative: bool = False

    def holds(self, metrics: Metrics, baseline: Metrics | None) -> bool:
        """Whether it is not violated; a relative one without a baseline cannot be judged, and holds."""
        value = sum(weight * metrics[metric][0] for metric, weight in self.weights.items())
        bound = self.bound
        if self.relative:
            if baseline is None or any(metric not in baseline for metric in self.weights):
                return True
            reference = sum(weight * baseline[metric][0] for metric, weight in self.weights.items())
            bound = reference + self.bound / 100.0 * abs(reference)
        sem = math.hypot(*(weight * (metrics[metric][1] or 0.0) for metric, weight in self.weights.items()))
        margin = _CONFIDENCE * sem
        return value - margin <= bound if self.op == "<=" else value + margin >= bound


@dataclass(frozen=True)
class Problem:
    """What is optimised, as far as observed values can be ranked by it.

    ``thresholds`` are those of a multi-objective experiment; ``status_quo`` is the name of the baseline's
    arm.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    thresholds: tuple[Constraint, ...] = ()
    status_quo: str | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """The metrics that a trial has to report, in a fixed order."""
        weights = [term.weights for term in self.objectives]
        weights += [term.weights for term in (*self.constraints, *self.thresholds)]
        return tuple(dict.fromkeys(metric for each in weights for metric in each))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Problem:
        """From :meth:`to_json`; an empty object is a problem without objectives.

        Raises
        ------
        ValueError
            It is no such object.
        """
        found: Problem = typed.read(cls, {"objectives": [], **value})
        return found


class Incumbent:
    """The best trial so far with a single objective, kept up to date trial by trial."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.trial: Trial | None = None
        self.value: float | None = None

    @property
    def name(self) -> str:
        """The objective's name."""
        return self._problem.objectives[0].name if self._problem.objectives else ""

    def update(self, trial: Trial) -> bool:
        """Take a completed trial in; whether it is the best now. Nothing is best with several objectives."""
        if len(self._problem.objectives) != 1 or not best([trial], self._problem) or trial.metrics is None:
            return False
        objective = self._problem.objectives[0]
        value = objective.value(trial.metrics)
        if self.value is not None and (value >= self.value if objective.minimize else value <= self.value):
            return False
        self.trial, self.value = trial, value
        return True


def best(trials: Iterable[Trial], problem: Problem) -> list[Trial]:
    """The best trials: none or one with a single objective, the Pareto front with several, by trial index."""
    completed = [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETED
        and trial.metrics is not None
        and all(metric in trial.metrics for metric in problem.required)
    ]
    baseline = next((trial.metrics for trial in completed if trial.arm == problem.status_quo), None)
    feasible = [
        (trial, trial.metrics)
        for trial in completed
        if trial.metrics is not None and all(c.holds(trial.metrics, baseline) for c in problem.constraints)
    ]
    if not problem.objectives or not feasible:
        return []
    if len(problem.objectives) == 1:
        objective = problem.objectives[0]
        sign = 1.0 if objective.minimize else -1.0
        return [min(feasible, key=lambda item: (sign * objective.value(item[1]), item[0].number))[0]]
    above = [
        (trial, _costs(problem, metrics))
        for trial, metrics in feasible
        if all(threshold.holds(metrics, baseline) for threshold in problem.thresholds)
    ]
    return [trial for trial, costs in above if not any(_dominates(other, costs) for _, other in above)]


def _costs(problem: Problem, metrics: Metrics) -> tuple[float, ...]:
    return tuple((1.0 if o.minimize else -1.0) * o.value(metrics) for o in problem.objectives)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
