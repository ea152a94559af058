"""Whether an experiment that Ax has read from a file is made of what belongs there.

Ax's decoder takes many a wrong value as it comes: a text for a time, NaN for a bound. It would be noticed
later, as an error far from its cause, or never.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import isfinite, isnan
from numbers import Real
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.parameter import ChoiceParameter, FixedParameter, Parameter, ParameterType, RangeParameter
from ax.core.search_space import SearchSpace
from ax.core.trial_status import TrialStatus

_Kinds = type | tuple[type, ...]

_TRIAL_FIELDS: Mapping[str, _Kinds] = {
    "_status": TrialStatus,
    "_time_created": datetime,
    "_time_completed": (datetime, type(None)),
    "_time_staged": (datetime, type(None)),
    "_time_run_started": (datetime, type(None)),
    "_status_reason": (str, type(None)),
    "_trial_type": (str, type(None)),
    "_run_metadata": dict,
    "_stop_metadata": dict,
    "_properties": dict,
    "_num_arms_created": int,
}

_RUN_FIELDS: Mapping[str, _Kinds] = {
    "_time_created": datetime,
    "_generator_run_type": (str, type(None)),
    "_generator_key": (str, type(None)),
    "_generation_node_name": (str, type(None)),
    "_fit_time": (int, float, type(None)),
    "_gen_time": (int, float, type(None)),
}

_ROW_FIELDS: Mapping[str, _Kinds] = {"arm_name": str, "metric_name": str, "metric_signature": str}


def check_values(experiment: object) -> None:
    """Look at each value of an experiment, its search space, trials and data.

    Raises
    ------
    ValueError
        One is of the wrong type, or NaN where a number belongs; the message names it.
    """
    if not isinstance(experiment, Experiment):
        raise ValueError(f"it holds {type(experiment).__name__} where an Experiment belongs")  # noqa: TRY004 - one type for callers
    _fields(experiment, "the experiment", {"_name": (str, type(None)), "_time_created": datetime})
    space = experiment.search_space
    for parameter in space.parameters.values():
        _parameter(parameter)
    for metric in experiment.metrics.values():
        _fields(metric, "a metric", {"_name": str})
    if experiment.status_quo is not None:
        _point(space, experiment.status_quo.parameters, "the status quo")
    for key, trial in experiment.trials.items():
        _trial(space, key, trial)
    for row in experiment.data._data_rows:
        _row(experiment, row)


def _parameter(parameter: Parameter) -> None:
    _fields(parameter, "a parameter", {"_name": str, "_parameter_type": ParameterType})
    values: list[Any] = []
    if isinstance(parameter, RangeParameter):
        values = [parameter.lower, parameter.upper]
        if not all(_number(value) for value in values):
            raise ValueError(f"the bounds of parameter {parameter.name!r} are {values}")
    elif isinstance(parameter, ChoiceParameter):
        values = parameter.values
    elif isinstance(parameter, FixedParameter):
        values = [parameter.value]
    for value in values:
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"parameter {parameter.name!r} has the value {value}")


def _trial(space: SearchSpace, key: int, trial: BaseTrial) -> None:
    where = f"trial {key}"
    if trial.index != key:
        raise ValueError(f"{where} calls itself {trial.index!r}")
    _fields(trial, where, _TRIAL_FIELDS)
    for run in trial.generator_runs:
        _fields(run, f"the generator run of {where}", _RUN_FIELDS)
    for arm in trial.arms:
        _fields(arm, f"the arm of {where}", {"_name": str})
        _point(space, arm.parameters, where)


def _point(space: SearchSpace, point: Mapping[str, Any], where: str) -> None:
    for name, value in point.items():
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"parameter {name!r} of {where} is {value}")
    # A name that the space lacks may be a parameter of former times.
    space.check_types(dict(point), allow_extra_params=True, raise_error=True)


def _row(experiment: Experiment, row: DataRow) -> None:
    where = f"an observation of trial {row.trial_index!r}"
    if row.trial_index not in experiment.trials:
        raise ValueError(f"{where}, which is not there")
    _fields(row, where, _ROW_FIELDS)
    # NaN stands for an unknown error, and in the data of a user's own for a value that could not be had.
    for value in (row.mean, row.se):
        if not _number(value) and not (isinstance(value, float) and isnan(value)):
            raise ValueError(f"{where} of the metric {row.metric_name!r} is {value!r}")


def _fields(owner: object, where: str, kinds: Mapping[str, _Kinds]) -> None:
    for name, kind in kinds.items():
        value = getattr(owner, name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise ValueError(f"{name.lstrip('_')} of {where} is {value!r:.80}")


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
