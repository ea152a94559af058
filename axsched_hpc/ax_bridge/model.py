"""The best point by Ax's model, as ``get_best_parameterization`` and ``get_pareto_frontier`` find it.

Ax itself goes by the model that it fitted when it last suggested a trial: later results are not in it, after
a restart there is none, and where the fit is poor Ax falls back to the observations without telling. Here the
model is fitted to all that is known, and what is no prediction is not called one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ax.adapter.torch import TorchAdapter
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.optimization_config import MultiObjectiveOptimizationConfig
from ax.core.trial_status import TrialStatus
from ax.core.types import TModelPredictArm
from ax.exceptions.core import OptimizationComplete
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.service.utils.best_point import (
    get_best_parameters_from_model_predictions_with_trial_index,
    get_pareto_optimal_parameters,
)
from ax.utils.common.random import with_rng_seed

from axsched_hpc.core.metrics import Metrics


@dataclass(frozen=True)
class BestByModel:
    """The best points among those tried, by what Ax's model predicts for them.

    Attributes
    ----------
    best_parameters, best_trial
        Of the best one; empty and None where Ax gives none, and with several objectives.
    best_values
        Its predictions: metric -> (mean, standard error).
    front
        With several objectives: arm name -> parameters, of the predicted Pareto front.
    front_values
        Its predictions: arm name -> metric -> (mean, standard error).
    feasible
        Whether these predictions satisfy all constraints, given their error: Ax also gives a best one where
        by its model none does. None where it gives none.
    reason
        Why Ax gives none; empty where it does.
    """

    best_parameters: dict[str, Any] = field(default_factory=dict)
    best_values: Metrics = field(default_factory=dict)
    best_trial: int | None = None
    front: dict[str, dict[str, Any]] = field(default_factory=dict)
    front_values: dict[str, Metrics] = field(default_factory=dict)
    feasible: bool | None = None
    reason: str = ""

    @property
    def predictions(self) -> tuple[Metrics, ...]:
        """Of all points."""
        return tuple(self.front_values.values()) if self.best_trial is None else (self.best_values,)


def best_by_model(experiment: Experiment, strategy: GenerationStrategy, seed: int | None) -> BestByModel:
    """Fit the model, within a seed, and ask Ax. What Ax will suggest next is not changed by it."""
    if not experiment.trial_indices_by_status[TrialStatus.COMPLETED]:
        return BestByModel(reason="No trial is completed yet.")
    copy = unfitted(strategy, experiment)
    try:
        with with_rng_seed(seed):
            adapter = copy.fit(experiment)
            if experiment.is_moo_problem:
                # Before the strategy has a model, Ax makes one of its own for this.
                return _front(experiment, copy)
            if not isinstance(adapter, TorchAdapter):
                return BestByModel(
                    reason=f"Ax has no model yet: its strategy is at {copy.current_node_name}, and comes to "
                    "a model after some more trials."
                )
            return _best(experiment, adapter)
    except OptimizationComplete as error:
        return BestByModel(reason=f"Ax has ended its strategy: {error}")
    except Exception as error:
        # A fit can fail in many ways, and what has been observed is there all the same.
        return BestByModel(reason=f"Ax's model failed: {type(error).__name__}: {error}")


def _best(experiment: Experiment, adapter: TorchAdapter) -> BestByModel:
    found = get_best_parameters_from_model_predictions_with_trial_index(experiment, adapter)
    trial, parameters, prediction = found or (-1, {}, None)
    if prediction is None:
        return BestByModel(reason="By Ax's model no trial satisfies all constraints.")
    if prediction[0] == _observed(experiment, trial):
        return BestByModel(
            reason="Ax's model predicts the objective poorly (by cross-validation): Ax goes by observations."
        )
    return BestByModel(
        best_parameters=dict(_arm(experiment, trial, parameters).parameters),
        best_values=_values(prediction),
        best_trial=trial,
    )


def _front(experiment: Experiment, strategy: GenerationStrategy) -> BestByModel:
    found = get_pareto_optimal_parameters(experiment, strategy)
    arms = {trial: _arm(experiment, trial, parameters) for trial, (parameters, _) in sorted(found.items())}
    return BestByModel(
        front={arm.name: dict(arm.parameters) for arm in arms.values()},
        front_values={arm.name: _values(found[trial][1]) for trial, arm in arms.items()},
        reason="" if found else _why_no_front(experiment),
    )


def _why_no_front(experiment: Experiment) -> str:
    config = experiment.optimization_config
    if isinstance(config, MultiObjectiveOptimizationConfig):
        thresholds = {name for bound in config.objective_thresholds for name in bound.metric_names}
        if thresholds and not thresholds.issuperset(config.objective.metric_names):
            return "Ax finds no front by its model where only some objectives have a threshold; give all one."
    return "By Ax's model no trial satisfies all constraints and thresholds."


def unfitted(strategy: GenerationStrategy, experiment: Experiment) -> GenerationStrategy:
    """The strategy as it stands, without its models: fitting one leaves the other alone."""
    memo: dict[int, Any] = {id(each): each for each in (experiment, strategy._generator_runs)}
    memo |= {
        id(spec._fitted_adapter): None
        for node in strategy._nodes
        for spec in node.generator_specs
        if spec._fitted_adapter is not None
    }
    return deepcopy(strategy, memo)


def _arm(experiment: Experiment, trial: int, parameters: Mapping[str, Any]) -> Arm:
    """The arm as the trial has it: Ax's transforms change the last digits."""
    arms = experiment.trials[trial].arms
    return next((arm for arm in arms if arm.parameters == parameters), arms[0])


def _observed(experiment: Experiment, trial: int) -> dict[str, float]:
    frame = experiment.lookup_data(trial_indices=[trial]).df
    return dict(zip(frame["metric_name"], frame["mean"], strict=True))


def _values(prediction: TModelPredictArm) -> Metrics:
    # Ax's own clients give the variance here, where they promise the standard error.
    means, covariances = prediction
    return {
        name: (float(mean), None if covariances is None else math.sqrt(covariances[name][name]))
        for name, mean in means.items()
    }
