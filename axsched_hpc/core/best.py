"""The best observed trials: one definition for the library and for the command line, without Ax.

A trial counts when it is completed and violates no outcome constraint. With one
objective the best is the trial with the best observed mean (of a weighted sum, the best sum); with several it
is the Pareto front: the trials that no other beats in one objective without losing in another, and that reach
the objective thresholds where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from axsched_hpc.core import typed
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import TrialState

#: Half the width of a 95 % confidence interval, in standard errors of a normal distribution.
_CONFIDENCE = 1.96


class Objective(Record):
    """A metric, or a weighted sum (``weights``: metric -> weight), to be minimised or maximised."""

    weights: dict[str, float]
    minimize: bool

    @property
    def name(self) -> str:
        """The metric's name, or the sum written out."""
        return _sum_text(self.weights)

    def value(self, metrics: Metrics) -> float:
        """The observed value, in the metrics' own units."""
        return _sum(self.weights, metrics)

    def as_cost(self, value: float) -> float:
        """A value so that less is better; and back."""
        return value if self.minimize else -value

    def cost(self, metrics: Metrics) -> float:
        """The observed value, so that less is better."""
        return self.as_cost(self.value(metrics))


class Constraint(Record):
    """``sum(weight * metric) op bound``; a relative bound is in per cent of the status quo, as in Ax.

    It counts as violated where the observed mean violates it with 95 % confidence, by its standard error (0
    where that is not known): Ax's own rule for the best observed point.
    """

    weights: dict[str, float]
    op: str
    bound: float
    relative: bool = False

    def __str__(self) -> str:
        """As people write it: ``l2norm <= 1.25``; ``memory <= baseline + 20%``."""
        bound = f"{self.bound:g}"
        if self.relative:
            sign = "-" if self.bound < 0 else "+"
            bound = f"baseline {sign} {abs(self.bound):g}%" if self.bound else "baseline"
        return f"{_sum_text(self.weights)} {self.op} {bound}"

    def limit(self, baseline: Metrics | None) -> float | None:
        """The bound in the metrics' unit; None for a relative one without a baseline, which nothing can
        violate.
        """
        if not self.relative:
            return self.bound
        if baseline is None or any(metric not in baseline for metric in self.weights):
            return None
        reference = _sum(self.weights, baseline)
        return reference + self.bound / 100.0 * abs(reference)

    def excess(self, metrics: Metrics, baseline: Metrics | None) -> float:
        """How far the observed mean lies beyond the bound, in the metrics' unit; below zero within it."""
        limit = self.limit(baseline)
        if limit is None:
            return -math.inf
        beyond = _sum(self.weights, metrics) - limit
        return beyond if self.op == "<=" else -beyond

    def holds(self, metrics: Metrics, baseline: Metrics | None) -> bool:
        """Whether it is not violated, given the error of the observation."""
        sem = math.hypot(*(weight * (metrics[metric][1] or 0.0) for metric, weight in self.weights.items()))
        return self.excess(metrics, baseline) <= _CONFIDENCE * sem


class Problem(Record):
    """What is optimised, as far as observed values can be ranked by it.

    ``thresholds`` are those of a multi-objective experiment; ``status_quo`` is the name of the baseline's
    arm.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    thresholds: tuple[Constraint, ...] = ()
    status_quo: str | None = None

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """The outcome constraints, and the objective thresholds, which a trial has to reach like those."""
        return (*self.constraints, *self.thresholds)

    @property
    def required(self) -> tuple[str, ...]:
        """The metrics that a trial has to report, in a fixed order."""
        weights = [term.weights for term in self.objectives]
        weights += [term.weights for term in self.bounds]
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
    """The best trial so far with a single objective, kept up to date trial by trial.

    Attributes
    ----------
    completed
        How many trials were taken in.
    steps
        Each time that it became better: (how many trials were completed then, the value).
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.trial: Trial | None = None
        self.value: float | None = None
        self.completed = 0
        self.steps: list[tuple[int, float]] = []
        #: Those that have to be judged anew when the baseline is completed.
        self._judged: list[Trial] | None = [] if any(c.relative for c in problem.constraints) else None
        self._reference: Metrics | None = None

    @property
    def name(self) -> str:
        """The objective's name."""
        return self._problem.objectives[0].name if self._problem.objectives else ""

    def update(self, trial: Trial) -> bool:
        """Take a completed trial in; whether it is the best now. Nothing is best with several objectives."""
        if trial.state is not TrialState.COMPLETED:
            return False
        self.completed += 1
        if self._judged is not None:
            self._judged.append(trial)
            if trial.arm == self._problem.status_quo:
                self._reference, self.trial, self.value, self.steps = trial.metrics, None, None, []
                for place, each in enumerate(self._judged, 1):
                    self._take(each, place)
                return self.trial is trial
        return self._take(trial, self.completed)

    def _take(self, trial: Trial, place: int) -> bool:
        problem = self._problem
        if len(problem.objectives) != 1 or not comparable([trial], problem) or trial.metrics is None:
            return False
        if not satisfies(trial.metrics, problem.constraints, self._reference):
            return False
        (objective,) = problem.objectives
        value = objective.value(trial.metrics)
        if self.value is not None and objective.as_cost(value) >= objective.as_cost(self.value):
            return False
        self.trial, self.value = trial, value
        self.steps.append((place, value))
        return True


def comparable(trials: Iterable[Trial], problem: Problem) -> list[tuple[Trial, Metrics]]:
    """The completed trials that have all metrics of objectives, constraints and thresholds."""
    return [
        (trial, trial.metrics)
        for trial in trials
        if trial.state is TrialState.COMPLETED
        and trial.metrics is not None
        and all(metric in trial.metrics for metric in problem.required)
    ]


def baseline(found: Iterable[tuple[Trial, Metrics]], problem: Problem) -> Metrics | None:
    """The metrics of the status quo, where it is among these trials."""
    return next((metrics for trial, metrics in found if trial.arm == problem.status_quo), None)


def satisfies(metrics: Metrics, constraints: Iterable[Constraint], reference: Metrics | None) -> bool:
    """Whether all constraints hold; ``reference``: the status quo's metrics."""
    return all(constraint.holds(metrics, reference) for constraint in constraints)


def best(trials: Iterable[Trial], problem: Problem) -> list[Trial]:
    """The best trials: none or one with a single objective, the Pareto front with several, by trial index."""
    found = comparable(trials, problem)
    reference = baseline(found, problem)
    feasible = [item for item in found if satisfies(item[1], problem.constraints, reference)]
    if not problem.objectives or not feasible:
        return []
    if len(problem.objectives) == 1:
        (objective,) = problem.objectives
        return [min(feasible, key=lambda item: (objective.cost(item[1]), item[0].number))[0]]
    above = [
        (tuple(objective.cost(metrics) for objective in problem.objectives), trial)
        for trial, metrics in feasible
        if satisfies(metrics, problem.thresholds, reference)
    ]
    front: list[tuple[tuple[float, ...], Trial]] = []
    # What dominates a point comes before it in this order, and is itself dominated only by what does so too.
    for costs, trial in sorted(above, key=lambda item: item[0]):
        if not any(_dominates(other, costs) for other, _ in front):
            front.append((costs, trial))
    return sorted((trial for _, trial in front), key=lambda trial: trial.number)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _sum(weights: Mapping[str, float], metrics: Metrics) -> float:
    return sum(weight * metrics[metric][0] for metric, weight in weights.items())


def _sum_text(weights: Mapping[str, float]) -> str:
    terms = [metric if weight == 1.0 else f"{weight:g}*{metric}" for metric, weight in weights.items()]
    return " + ".join(terms).replace(" + -", " - ")
