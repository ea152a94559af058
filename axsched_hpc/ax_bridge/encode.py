"""Generator runs, trials and whole optimisations as JSON, and back.

A generator run carries the search space and the optimisation config that it was made for. They are left out
where they equal those of the experiment's definition, and put back on the way in: journal lines stay small.
Numbers that JSON lacks (NaN, infinities) are wrapped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ax.core.data import Data, DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.optimization_config import OptimizationConfig
from ax.core.search_space import SearchSpace
from ax.core.trial import Trial
from ax.exceptions.storage import JSONEncodeError
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json
from ax.storage.json_store.encoders import experiment_to_dict, generation_strategy_to_dict

from axsched_hpc.core.errors import ConfigError

_NUMBER = "__number"
_ROW_FIELDS = ("metric_name", "metric_signature", "mean", "se", "step", "start_time", "end_time", "n")

#: What the JSON of a trial that its owner finished has to carry. Ax's names, without the underscore.
_TRIAL_FIELDS = (
    "trial_type",
    "time_created",
    "time_completed",
    "time_staged",
    "time_run_started",
    "status_reason",
    "run_metadata",
    "stop_metadata",
    "properties",
)


@dataclass(frozen=True)
class Reference:
    """The search space and optimisation config of an experiment when it was taken over, and their JSON."""

    search_space: SearchSpace
    optimization_config: OptimizationConfig
    json: Mapping[str, Any]

    @classmethod
    def of(cls, experiment: Experiment) -> Reference:
        """A copy of what the experiment has now."""
        config = experiment.optimization_config
        if config is None:
            raise ConfigError("The experiment has no objective.")
        space, config = experiment.search_space.clone(), config.clone()
        return cls(space, config, {"search_space": to_json(space), "optimization_config": to_json(config)})


def to_json(value: Any) -> Any:
    """Any object that Ax can save, as values that strict JSON can hold.

    Raises
    ------
    ConfigError
        Ax has no encoder for a part of it, such as a metric or runner class of the user's own.
    """
    return _wrap(_encoded(value))


def from_json(value: Any) -> Any:
    """The object behind :func:`to_json`. The argument is left whole; Ax's decoder takes its input apart."""
    return object_from_json(_unwrap(value))


def run_to_json(run: GeneratorRun, reference: Reference) -> dict[str, Any]:
    """A generator run, without what the reference holds already."""
    encoded: dict[str, Any] = to_json(run)
    inherited = [part for part, same in reference.json.items() if encoded[part] == same]
    for part in inherited:
        del encoded[part]
    return {**encoded, "inherited": inherited}


def run_from_json(encoded: Mapping[str, Any], reference: Reference) -> GeneratorRun:
    """A generator run, completed from the reference."""
    inherited = encoded["inherited"]
    plain = {key: value for key, value in encoded.items() if key != "inherited"}
    run: GeneratorRun = from_json({**plain, **dict.fromkeys(inherited)})
    if "search_space" in inherited:
        run._search_space = reference.search_space
    if "optimization_config" in inherited:
        run._optimization_config = reference.optimization_config
    return run


def trial_fields_to_json(trial: Trial) -> dict[str, Any]:
    """What a trial that the user finished by himself has beside its generator run."""
    fields = {name: getattr(trial, f"_{name}") for name in _TRIAL_FIELDS}
    encoded: dict[str, Any] = to_json(fields)
    return encoded


def set_trial_fields(trial: Trial, encoded: Mapping[str, Any]) -> None:
    """Put back what :func:`trial_fields_to_json` took."""
    for name, value in from_json(dict(encoded)).items():
        setattr(trial, f"_{name}", value)


def row_to_json(row: DataRow) -> dict[str, Any]:
    """One observation; what is not known is left out."""
    values = {name: getattr(row, name) for name in _ROW_FIELDS}
    known = {name: value for name, value in values.items() if value is not None}
    encoded: dict[str, Any] = _wrap(
        {
            name: value if isinstance(value, (str, int, float)) else _moment(value)
            for name, value in known.items()
        }
    )
    return encoded


def row_from_json(encoded: Mapping[str, Any], *, trial: int, arm: str) -> DataRow:
    """One observation of a trial."""
    return DataRow(trial_index=trial, arm_name=arm, **_unwrap(dict(encoded)))


def client_to_json(experiment: Experiment, strategy: GenerationStrategy) -> dict[str, Any]:
    """The snapshot that ``ax.Client.load_from_json_file`` opens.

    It is smaller than Ax's own: the strategy does not hold the experiment a second time, and of its generator
    runs only those from which Ax continues. Data stand in one table with all their digits, where Ax rounds to
    ten decimals (a loss of 1e-12 becomes zero).
    """
    fields = experiment_to_dict(experiment)
    fields["data_by_trial"] = {}
    # NaN stays as it is here: Ax's loader reads it, and does not know our wrapped numbers.
    encoded_experiment = {name: _encoded(value) for name, value in fields.items()}
    if not experiment.data.empty:
        encoded_experiment["data_by_trial"] = {"0": _table(experiment.data)}
    strategy_fields = generation_strategy_to_dict(strategy)
    strategy_fields["experiment"] = None
    strategy_fields["generator_runs"] = _last_runs(strategy._generator_runs)
    return {
        "_type": "Client",
        "experiment": encoded_experiment,
        "generation_strategy": {name: _encoded(value) for name, value in strategy_fields.items()},
    }


def _encoded(value: Any) -> Any:
    try:
        return json.loads(json.dumps(object_to_json(value)))
    except (JSONEncodeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"Ax cannot save a part of this experiment, so no run could be resumed: {error} Metrics are read "
            "from the objective and jobs are run by the runner, so metric and runner classes of your own are "
            "not needed on it."
        ) from None


def _table(data: Data) -> dict[str, Any]:
    frame = data.full_df
    columns = {
        str(name): {str(i): _cell(value) for i, value in enumerate(frame[name].tolist())}
        for name in frame.columns
    }
    table = {"__type": "Data", "df": {"__type": "DataFrame", "value": json.dumps(columns)}}
    return {"__type": "OrderedDict", "value": [[0, table]]}


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value if value is None or isinstance(value, (str, int)) else _moment(value)


def _moment(value: Any) -> str | None:
    # pandas' NaT is the one timestamp that is not equal to itself.
    return str(value) if value == value else None


def _last_runs(runs: Iterable[GeneratorRun]) -> list[GeneratorRun]:
    last: dict[tuple[str | None, str | None], GeneratorRun] = {}
    for run in runs:
        key = (run._generation_node_name, run._generator_key)
        last.pop(key, None)
        last[key] = run
    return list(last.values())


def _wrap(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_wrap(item) for item in value]
    return {_NUMBER: repr(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {_NUMBER}:
            return float(value[_NUMBER])
        return {key: _unwrap(item) for key, item in value.items()}
    return [_unwrap(item) for item in value] if isinstance(value, list) else value
