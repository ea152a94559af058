"""What a line of the journal holds of Ax: generator runs, the trials of the user's own, rows of data.

A generator run carries the search space and the optimisation config that it was made for. They are left out
where they equal those of the experiment's definition, and put back on the way in: journal lines stay small.
Numbers that JSON lacks (NaN, infinities) are wrapped.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.optimization_config import OptimizationConfig
from ax.core.search_space import SearchSpace

from axsched_hpc.ax_bridge.data import moment
from axsched_hpc.ax_bridge.encode import Decoder, from_json, to_json, unwrap, wrap
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import Definition

_ROW_FIELDS = ("metric_name", "metric_signature", "mean", "se", "step", "start_time", "end_time", "n")

#: What a definition has of Ax, by Ax's names.
PARTS = ("search_space", "optimization_config")

#: The greater part of a generator run, and the same in all runs of a node.
_KWARGS = ("generator_kwargs", "adapter_kwargs")

#: Numbers for the most part.
_PLAIN_PARTS = ("gen_metadata", "model_predictions")

#: What the JSON of a trial of the user's own has to carry. Ax's names, without the underscore.
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
_BATCH_FIELDS = ("abandoned_arms_metadata",)


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

    @classmethod
    def of_definition(cls, definition: Definition) -> Reference:
        """What a record says that the experiment was."""
        parts = {part: getattr(definition, part) for part in PARTS}
        space, config = (from_json(part) for part in parts.values())
        return cls(space, config, parts)


def run_to_json(run: GeneratorRun, reference: Reference) -> dict[str, Any]:
    """A generator run, without what the reference holds already."""
    encoded: dict[str, Any] = to_json(run)
    inherited = [part for part, same in reference.json.items() if encoded[part] == same]
    for part in inherited:
        del encoded[part]
    return {**encoded, "inherited": inherited}


def inherit(run: GeneratorRun, inherited: Collection[str], reference: Reference) -> None:
    """Put the reference's parts into a run, in place of parts that are equal or missing. All runs share them
    so, in an experiment that lives as in one that was replayed.
    """
    if "search_space" in inherited:
        run._search_space = reference.search_space
    if "optimization_config" in inherited:
        run._optimization_config = reference.optimization_config


class Runs:
    """Generator runs from the journal, each completed from the reference.

    Ax decodes them; the arguments that a run shares with others are decoded once.
    """

    def __init__(self, reference: Reference) -> None:
        #: Of the definition under which the next run was made.
        self.reference = reference
        self._kwargs: dict[str, GeneratorRun] = {}
        self._plain = Decoder()

    def decode(self, encoded: Mapping[str, Any]) -> GeneratorRun:
        """One run; raises whatever damage leads Ax's decoder to."""
        inherited = encoded["inherited"]
        plain = {key: value for key, value in encoded.items() if key != "inherited"}
        kwargs = {key: plain[key] for key in _KWARGS if key in plain}
        # What is left out here is put in below: Ax's decoder takes microseconds for each of its numbers.
        run: GeneratorRun = from_json({**plain, **dict.fromkeys((*inherited, *kwargs, *_PLAIN_PARTS))})
        inherit(run, inherited, self.reference)
        run._gen_metadata = self._plain.decode(plain["gen_metadata"])
        predictions = self._plain.decode(plain["model_predictions"])
        run._model_predictions = tuple(predictions) if isinstance(predictions, list) else predictions
        # Ax has both or neither. As in its own clones, a mapping of each run's own holds the shared values.
        if any(value is not None for value in kwargs.values()):
            known = self._known(plain, kwargs)
            run._generator_kwargs = copy.copy(known._generator_kwargs)
            run._adapter_kwargs = copy.copy(known._adapter_kwargs)
        return run

    def _known(self, plain: Mapping[str, Any], kwargs: Mapping[str, Any]) -> GeneratorRun:
        key = json.dumps(kwargs)
        known = self._kwargs.get(key)
        if known is None:
            bare: dict[str, Any] = {"arms": [], "weights": [], "candidate_metadata_by_arm_signature": None}
            known = self._kwargs[key] = from_json({**plain, **bare})
        return known


def trial_fields_to_json(trial: BaseTrial) -> dict[str, Any]:
    """What a trial of the user's own has beside its generator runs."""
    names = (*_TRIAL_FIELDS, *_BATCH_FIELDS) if isinstance(trial, BatchTrial) else _TRIAL_FIELDS
    fields = {name: getattr(trial, f"_{name}") for name in names}
    encoded: dict[str, Any] = to_json(fields)
    return encoded


def set_trial_fields(trial: BaseTrial, encoded: Mapping[str, Any]) -> None:
    """Put back what :func:`trial_fields_to_json` took."""
    for name, value in from_json(dict(encoded)).items():
        setattr(trial, f"_{name}", value)


def row_to_json(row: DataRow) -> dict[str, Any]:
    """One observation; what is not known is left out."""
    values = {name: getattr(row, name) for name in _ROW_FIELDS}
    known = {name: value for name, value in values.items() if value is not None}
    encoded: dict[str, Any] = wrap(
        {
            name: value if isinstance(value, (str, int, float)) else moment(value)
            for name, value in known.items()
        }
    )
    return encoded


def row_from_json(encoded: Mapping[str, Any], *, trial: int, arm: str) -> DataRow:
    """One observation of a trial."""
    return DataRow(trial_index=trial, arm_name=arm, **unwrap(dict(encoded)))
