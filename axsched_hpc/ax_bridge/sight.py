"""What Ax's model says of the parameters: which matter, how each one acts, and how well it predicts.

The model is fitted to all that the journal holds, in a copy of its own: a run that goes on is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ax.adapter.cross_validation import cross_validate
from ax.adapter.torch import TorchAdapter
from ax.core.experiment import Experiment
from ax.core.observation import ObservationFeatures
from ax.core.parameter import ChoiceParameter, Parameter, ParameterType, RangeParameter
from ax.exceptions.core import OptimizationComplete
from ax.utils.common.random import with_rng_seed
from ax.utils.sensitivity.sobol_measures import ax_parameter_sens

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.model import unfitted
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import Event

#: Points of a slice; folds of the cross-validation, and the trials up to which each is left out once.
_POINTS, _FOLDS, _EACH = 25, 10, 40

#: (value of the parameter, predicted mean, its standard error)
SlicePoint = tuple[Any, float, float]


@dataclass(frozen=True)
class Fold:
    """A trial, and what a model says of it that has not seen it."""

    trial: int
    observed: float
    predicted: float
    sem: float


@dataclass(frozen=True)
class Sight:
    """What the model says.

    Attributes
    ----------
    importances
        Metric -> parameter -> total Sobol index: the part of the metric's variance over the search space, by
        the model, that the parameter takes part in. The largest first.
    slices
        Metric -> parameter -> its effect, all others being as in the trial ``centre``.
    folds
        Metric -> the trials, each predicted from others (cross-validation).
    reason
        Why there is nothing of it; empty where there is.
    """

    importances: dict[str, dict[str, float]] = field(default_factory=dict)
    slices: dict[str, dict[str, list[SlicePoint]]] = field(default_factory=dict)
    folds: dict[str, list[Fold]] = field(default_factory=dict)
    centre: int | None = None
    reason: str = ""


def sight(definition: Path, events: Iterable[Event], centre: tuple[int, Mapping[str, Any]] | None) -> Sight:
    """Make the experiment again from its definition and its journal, fit the model, and ask it.

    Parameters
    ----------
    definition
        The file ``definition.json`` of the experiment's directory.
    centre
        The trial, and its parameters, through which the slices go; None: there is none, and no slice.

    Raises
    ------
    ConfigError
        The definition cannot be read.
    """
    try:
        text = definition.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{definition} cannot be read ({error.strerror or error}), and Ax's model cannot be made without "
            "it. Leave --model out."
        ) from error
    bridge = AxBridge.from_text(text, str(definition))
    bridge.replay(events)
    try:
        with with_rng_seed(bridge.seed or 0):
            return _ask(bridge, centre)
    except OptimizationComplete as error:
        return Sight(reason=f"Ax has ended its strategy: {error}")
    except Exception as error:
        # A fit can fail in many ways, and the rest of the report is there all the same.
        return Sight(reason=f"Ax's model failed: {type(error).__name__}: {error}")


def _ask(bridge: AxBridge, centre: tuple[int, Mapping[str, Any]] | None) -> Sight:
    experiment = bridge.experiment
    if experiment.data.empty:
        return Sight(reason="Ax has no data yet, so that there is no model.")
    strategy = unfitted(bridge.generation_strategy, experiment)
    adapter = strategy.fit(experiment)
    if not isinstance(adapter, TorchAdapter):
        return Sight(
            reason=f"Ax has no model yet: its strategy is at {strategy.current_node_name}, and comes to a "
            "model after some more trials."
        )
    wanted = [name for name in _metrics(experiment) if name in adapter.outcomes]
    return Sight(
        importances=_importances(adapter, wanted),
        slices={} if centre is None else _slices(experiment, adapter, wanted, centre[1]),
        folds=_folds(adapter, wanted),
        centre=None if centre is None else centre[0],
    )


def _metrics(experiment: Experiment) -> list[str]:
    config = experiment.optimization_config
    return [] if config is None else sorted(config.metric_names, key=_objective_first(experiment))


def _objective_first(experiment: Experiment) -> Any:
    config = experiment.optimization_config
    first = [] if config is None else list(config.objective.metric_names)
    return lambda name: (name not in first, name)


def _importances(adapter: TorchAdapter, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    found = ax_parameter_sens(adapter, metrics=list(metrics), order="total", signed=False)
    return {
        metric: dict(sorted(((name, float(v)) for name, v in each.items()), key=lambda item: -item[1]))
        for metric, each in found.items()
    }


def _slices(
    experiment: Experiment, adapter: TorchAdapter, metrics: Sequence[str], centre: Mapping[str, Any]
) -> dict[str, dict[str, list[SlicePoint]]]:
    grid = [
        (name, value)
        for name, parameter in experiment.search_space.parameters.items()
        if name in centre
        for value in _values(parameter)
    ]
    if not grid:
        return {}
    features = [ObservationFeatures(parameters={**centre, name: value}) for name, value in grid]
    means, covariances = adapter.predict(features)
    found: dict[str, dict[str, list[SlicePoint]]] = {}
    for metric in metrics:
        variances = covariances[metric][metric]
        for (name, value), mean, variance in zip(grid, means[metric], variances, strict=True):
            point = (value, float(mean), math.sqrt(max(0.0, float(variance))))
            found.setdefault(metric, {}).setdefault(name, []).append(point)
    return found


def _values(parameter: Parameter) -> list[Any]:
    """The values at which a parameter is looked at; none where it is fixed."""
    if isinstance(parameter, ChoiceParameter):
        return list(parameter.values)
    if not isinstance(parameter, RangeParameter):
        return []
    low, high = float(parameter.lower), float(parameter.upper)
    parts = [i / (_POINTS - 1) for i in range(_POINTS)]
    if parameter.log_scale:
        values = [low * (high / low) ** part for part in parts]
    else:
        values = [low + (high - low) * part for part in parts]
    values = [min(max(value, low), high) for value in values]
    if parameter.parameter_type is ParameterType.INT:
        return sorted({round(value) for value in values})
    return values


def _folds(adapter: TorchAdapter, metrics: Sequence[str]) -> dict[str, list[Fold]]:
    few = len(adapter.get_training_data().arm_data) <= _EACH
    found: dict[str, list[Fold]] = {metric: [] for metric in metrics}
    for result in cross_validate(adapter, folds=-1 if few else _FOLDS):
        data, features = result.observed.data, result.observed.features
        observed = dict(zip(data.metric_signatures, data.means, strict=True))
        predicted = dict(
            zip(
                result.predicted.metric_signatures,
                zip(result.predicted.means, result.predicted.covariance.diagonal(), strict=True),
                strict=True,
            )
        )
        for metric in metrics:
            if metric in observed and metric in predicted and features.trial_index is not None:
                mean, variance = predicted[metric]
                fold = Fold(
                    int(features.trial_index),
                    float(observed[metric]),
                    float(mean),
                    math.sqrt(max(0.0, float(variance))),
                )
                found[metric].append(fold)
    return found
