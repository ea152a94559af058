"""How the observed Pareto front has grown: its hypervolume, trial by trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from axsched_hpc.core.best import Objective, Problem, baseline, best, comparable, satisfies
from axsched_hpc.core.hypervolume import Point, added
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics

#: The reference point lies this part of the front's extent beyond the front's worst values.
_BEYOND = 0.1

#: The least extent that is taken for one.
_LEAST = 1e-7


@dataclass(frozen=True)
class Volume:
    """The hypervolume once a trial was completed. ``time`` is in seconds since the epoch."""

    trial: int
    time: float
    hypervolume: float


@dataclass(frozen=True)
class Growth:
    """The hypervolume of the observed front over the completed trials.

    Attributes
    ----------
    reference
        Objective -> value of the reference point, in the objective's own unit. It is the objective's
        threshold. For one without a threshold it is the worst value on the observed front, and a tenth of the
        front's extent beyond.
    inferred
        The objectives for which it comes from the front, so that it may move when the front grows. The whole
        series is for one and the same reference point.
    over_time
        One entry per completed trial, in the order of completion. A trial that violates a constraint leaves
        the hypervolume as it was.
    """

    reference: dict[str, float]
    inferred: tuple[str, ...]
    over_time: tuple[Volume, ...]

    @property
    def hypervolume(self) -> float:
        """The hypervolume now."""
        return self.over_time[-1].hypervolume if self.over_time else 0.0

    @property
    def last(self) -> Volume | None:
        """When it grew last."""
        before = 0.0
        found = None
        for volume in self.over_time:
            if volume.hypervolume > before:
                before, found = volume.hypervolume, volume
        return found


def growth(trials: Iterable[Trial], problem: Problem) -> Growth | None:
    """The hypervolume over time; None with a single objective, or where no reference point is known yet."""
    if len(problem.objectives) < 2:
        return None
    found = comparable(trials, problem)
    status_quo = baseline(found, problem)
    front = [trial.metrics for trial in best((t for t, _ in found), problem) if trial.metrics is not None]
    bounds = [_threshold(problem, objective, status_quo) for objective in problem.objectives]
    if not front and None in bounds:
        return None
    worst = [
        objective.as_cost(bound) if bound is not None else _beyond([objective.cost(m) for m in front])
        for objective, bound in zip(problem.objectives, bounds, strict=True)
    ]
    reference = tuple(worst)
    total, covering = 0.0, list[Point]()
    over_time = []
    for trial, metrics in sorted(found, key=lambda item: (_end(item[0]), item[0].number)):
        costs = tuple(objective.cost(metrics) for objective in problem.objectives)
        if satisfies(metrics, problem.constraints, status_quo) and not _covered(costs, covering):
            total += added(costs, covering, reference)
            covering = [other for other in covering if not _covers(costs, other)]
            covering.append(costs)
        over_time.append(Volume(trial.number, _end(trial), total))
    return Growth(
        {o.name: o.as_cost(cost) for o, cost in zip(problem.objectives, worst, strict=True)},
        tuple(o.name for o, bound in zip(problem.objectives, bounds, strict=True) if bound is None),
        tuple(over_time),
    )


def _threshold(problem: Problem, objective: Objective, status_quo: Metrics | None) -> float | None:
    for threshold in problem.thresholds:
        if threshold.weights == objective.weights:
            return threshold.limit(status_quo)
    return None


def _beyond(costs: Sequence[float]) -> float:
    """The rule of BoTorch's ``infer_reference_point``, by which Ax sets thresholds too; the tenth is from H.
    Ishibuchi, N. Akedo and Y. Nojima, "A Many-Objective Test Problem for Visually Examining Diversity
    Maintenance Behavior in a Decision Space", GECCO (2011).
    """
    worst, extent = max(costs), max(costs) - min(costs)
    if len(costs) == 1:
        extent = abs(worst)
    return worst + _BEYOND * max(extent, _LEAST)


def _end(trial: Trial) -> float:
    return trial.added if trial.ended is None else trial.ended


def _covered(point: Point, points: Iterable[Point]) -> bool:
    return any(_covers(other, point) for other in points)


def _covers(one: Point, other: Point) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
