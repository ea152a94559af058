"""How the best observed value came to be, and how sure it is. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from axsched_hpc.core.best import Objective, Problem, baseline, comparable, satisfies
from axsched_hpc.core.machine import Trial

#: Half the width of a 95 % confidence interval, in standard errors of a normal distribution.
CONFIDENCE = 1.96


@dataclass(frozen=True)
class Step:
    """A completed trial with a single objective.

    Attributes
    ----------
    time
        When it was completed, in seconds since the epoch.
    sem
        The standard error of ``value``; None where it is not known.
    best
        The best value so far among the feasible; None where there is none yet.
    """

    trial: int
    label: str
    time: float
    value: float
    sem: float | None
    feasible: bool
    best: float | None
    better: bool


def progress(trials: Iterable[Trial], problem: Problem) -> list[Step]:
    """The completed trials in the order of their completion; none with several objectives."""
    if len(problem.objectives) != 1:
        return []
    (objective,) = problem.objectives
    found = comparable(trials, problem)
    reference = baseline(found, problem)
    best: float | None = None
    steps = []
    for trial, metrics in sorted(found, key=lambda item: (_end(item[0]), item[0].number)):
        value = objective.value(metrics)
        feasible = satisfies(metrics, problem.bounds, reference)
        better = feasible and (best is None or objective.as_cost(value) < objective.as_cost(best))
        best = value if better else best
        steps.append(
            Step(
                trial.number,
                trial.label,
                _end(trial),
                value,
                error(objective, trial),
                feasible,
                best,
                better,
            )
        )
    return steps


def error(objective: Objective, trial: Trial) -> float | None:
    """The standard error of an objective's value; None where that of one of its metrics is not known."""
    sems = [
        None if (pair := (trial.metrics or {}).get(metric)) is None or pair[1] is None else weight * pair[1]
        for metric, weight in objective.weights.items()
    ]
    known = [sem for sem in sems if sem is not None]
    return math.hypot(*known) if known and len(known) == len(sems) else None


def tied(steps: Sequence[Step], best: int) -> list[Step]:
    """The feasible trials whose value cannot be told from the best one's at 95 %, by their standard errors.

    ``best`` is the number of the best trial. Without its standard error nothing can be said: none.
    """
    top = next((step for step in steps if step.trial == best), None)
    if top is None or top.sem is None:
        return []
    return [
        step
        for step in steps
        if step.trial != best
        and step.feasible
        and abs(step.value - top.value) <= CONFIDENCE * math.hypot(top.sem, step.sem or 0.0)
    ]


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation of two values, ties sharing their mean rank; None where one is constant.

    C. Spearman, "The Proof and Measurement of Association between Two Things", American Journal of Psychology
    15 (1904) 72-101.
    """
    if len(pairs) < 3:
        return None
    one, other = _ranks([a for a, _ in pairs]), _ranks([b for _, b in pairs])
    mean = (len(pairs) - 1) / 2
    across = sum((a - mean) * (b - mean) for a, b in zip(one, other, strict=True))
    size = math.sqrt(sum((a - mean) ** 2 for a in one) * sum((b - mean) ** 2 for b in other))
    return across / size if size else None


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for i in order[first : last + 1]:
            ranks[i] = (first + last) / 2
        first = last + 1
    return ranks


def _end(trial: Trial) -> float:
    return trial.added if trial.ended is None else trial.ended
