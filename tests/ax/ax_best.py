"""The best that has been observed by Ax's own functions: the oracle for axsched_hpc.core.best.

Only completed trials count that have all metrics of the optimisation config, lie in the search space, and are
not known with 95 % confidence to violate an outcome constraint or a threshold; an unknown standard
error counts as none. That is Ax's own rule for the best point without model predictions, here for several
objectives too, where Ax would fit a model first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from ax.core.experiment import Experiment
from ax.core.optimization_config import OptimizationConfig
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus
from ax.exceptions.core import AxError
from ax.service.utils.best_point import derelativize_opt_config, is_row_feasible

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.definition import objectives
from axsched_hpc.core.best import best as core_best
from axsched_hpc.core.machine import Trial as CoreTrial
from axsched_hpc.core.states import TrialState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """A best point.

    Attributes
    ----------
    values
        Metric -> (observed mean, standard error or None).
    """

    trial: int
    arm: str
    parameters: dict[str, Any]
    values: dict[str, tuple[float, float | None]]


def best_points(experiment: Experiment) -> list[Best]:
    """The best observed point as a list of one, or the Pareto front by trial; empty where none qualifies."""
    config = experiment.optimization_config
    if config is None:
        return []
    points = _feasible(experiment, config)
    goals = objectives(config.objective.expression)
    scores = [
        tuple(sum(weight * point.values[name][0] for name, weight in goal) for goal in goals)
        for point in points
    ]
    if len(goals) == 1:
        return [points[max(range(len(points)), key=lambda i: (scores[i][0], -i))]] if points else []
    return [point for point, score in zip(points, scores, strict=True) if not _dominated(score, scores)]


def _dominated(score: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    return any(
        other != score and all(theirs >= ours for theirs, ours in zip(other, score, strict=True))
        for other in others
    )


def _feasible(experiment: Experiment, config: OptimizationConfig) -> list[Best]:
    frame = experiment.lookup_data().df
    completed = experiment.trial_indices_by_status[TrialStatus.COMPLETED]
    frame = frame[frame["trial_index"].isin(completed)]
    if frame.empty:
        return []
    if any(constraint.relative for constraint in config.all_constraints):
        try:
            config = derelativize_opt_config(config, experiment)
        except (AxError, ValueError) as error:
            logger.warning(
                "The best point is not known: constraints relative to the status quo need its metrics (%s).",
                error,
            )
            return []
    feasible = is_row_feasible(df=frame, optimization_config=config, undetermined_value=False)
    values: dict[int, dict[str, tuple[float, float | None]]] = {}
    for index, name, mean, sem in frame.loc[
        feasible.astype(bool), ["trial_index", "metric_name", "mean", "sem"]
    ].itertuples(index=False):
        values.setdefault(int(index), {})[name] = (float(mean), None if isnan(sem) else float(sem))
    points = []
    for index in sorted(values):
        trial = experiment.trials[index]
        arm = trial.arm if isinstance(trial, Trial) else None
        if arm is None or not config.metric_names <= set(values[index]):
            continue
        if experiment.search_space.check_membership(arm.parameters):
            points.append(Best(index, arm.name, dict(arm.parameters), values[index]))
    return points


def detail_of(bridge: AxBridge) -> list[Best]:
    """The best point as a list of one, or the front."""
    return best_points(bridge.experiment)


def best_of(bridge: AxBridge) -> dict[str, Any]:
    """The best parameters; with several objectives, arm name -> parameters."""
    points = best_points(bridge.experiment)
    if len(bridge.problem().objectives) > 1:
        return {point.arm: point.parameters for point in points}
    return points[0].parameters if points else {}


def core_best_of(bridge: AxBridge) -> list[int]:
    """The best trials by the definition without Ax, which the library, status and best use."""
    experiment, trials = bridge.experiment, []
    for index, trial in experiment.trials.items():
        rows = [row for row in experiment.data._data_rows if row.trial_index == index]
        metrics = {row.metric_name: (row.mean, None if isnan(row.se) else row.se) for row in rows}
        arm, state = trial.arms[0], TrialState(trial.status.name.lower())
        trials.append(CoreTrial(index, arm.name, dict(arm.parameters), "batch", 0.0, state, metrics=metrics))
    return [trial.number for trial in core_best(trials, bridge.problem())]
