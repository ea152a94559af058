"""The JSON Schema of project files: that it is the code's, takes what is right, and refuses what it can."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from axsched_hpc.io import yaml_text
from axsched_hpc.project import schema
from axsched_hpc.project.reading import ProjectError, parse

ROOT = Path(__file__).resolve().parents[2]
WRONG = sorted((ROOT / "tests/data/wrong-files").glob("*.yaml"))
RIGHT = sorted((ROOT / "examples").glob("*.yaml"))

#: What no schema can say: the text's own surprises, and what several keys, files and formulas say together.
BEYOND = {
    "baseline",
    "baseline-missing",
    "bounds-swapped",
    "constraint-on-objective",
    "function-missing",
    "log-from-zero",
    "metric-names",
    "on-and-off",
    "parameter-constraints",
    "parameter-name",
    "placeholder",
    "profile-missing",
    "script-missing",
    "script-not-executable",
    "slurm-together",
    "step",
    "stopping-metric",
    "when",
    "when-in-a-circle",
    "weights-and-thresholds",
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    known = json.loads(schema.shipped())
    jsonschema.Draft202012Validator.check_schema(known)
    return jsonschema.Draft202012Validator(known)


def test_the_shipped_schema_is_made_of_the_tables() -> None:
    assert schema.shipped() == schema.text(), "python -m axsched_hpc.project.schema writes it anew"


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_it_takes_the_examples(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(yaml_text.read(path.read_text(), strict=True).data)


#: One of each thing that a file can say, and what may stand in the place of any of it.
EVERYTHING: dict[str, Any] = {
    "name": "all",
    "directory": "out",
    "parameters": {
        "x": {"type": "float", "lower": 0.5, "upper": 2, "log": True},
        "n": {"type": "int", "lower": 1, "upper": 9, "step": 2},
        "s": {"type": "choice", "values": ["a", "b"], "ordered": False},
        "b": {"type": "bool", "when": {"s": "a"}},
        "f": {"type": "fixed", "value": 3},
    },
    "parameter_constraints": ["n <= 7"],
    "baseline": {"x": 1, "n": 3, "s": "b"},
    "objectives": {"loss": {"goal": "minimize", "threshold": 3}, "gain": "maximize"},
    "constraints": ["memory <= 1.5 * baseline"],
    "tracked_metrics": ["time"],
    "objective": {
        "script": "simulate.sh",
        "args": ["{x}"],
        "environment": {"A": 1},
        "timeout": 60,
        "extract": {"loss": {"regex": "(.*)"}},
        "checkpointable": True,
        "warning": 60,
        "warning_signal": "USR2",
    },
    "runner": {
        "type": "slurm",
        "time_limit": "01:00:00",
        "memory": "1G",
        "nodes": 1,
        "config": {"modules": ["gcc"], "sbatch_options": {"exclusive": True}, "max_array_size": 10},
    },
    "parallel": {"max_parallel": 4, "synchronous": False},
    "budget": {"trials": 10, "time": "2 h"},
    "early_stopping": {"strategy": "percentile", "metric": "loss", "patience": 2},
    "global_stopping": {"strategy": "improvement", "min_trials": 10},
    "retries": {"infrastructure": 2, "timeout": {"attempts": 1, "time_factor": 2, "time_max": "2:00:00"}},
    "seed": 1,
    "config": {"monitoring_interval": 5, "permissions": "group", "max_failures": 3},
}
ODD: tuple[Any, ...] = (
    *(None, [], {}, "", " ", "x", "1", "true", 0, -1, 1, 2.5, 1e300, 10**30, True, False),
    *([None], ["x"], [1], [[1]], [{}], {"x": 1}, {"x": None}, {"type": "float"}, {"type": ["x"]}),
)
EIGHTH = 8


def _ways(data: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    for step in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield from _ways(data[step], (*way, step))


def test_whatever_stands_anywhere_is_taken_or_refused_and_the_schema_refuses_nothing_that_is_taken(
    validator: jsonschema.Draft202012Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "tests/data/wrong-files")
    taken = 0
    for number, way in enumerate(_ways(EVERYTHING)):
        # A few of them at each place: all at all places take half a minute.
        for odd in ODD[number % EIGHTH :: EIGHTH]:
            data = copy.deepcopy(EVERYTHING)
            place: Any = {(): data}
            for step in ((), *way)[:-1]:
                place = place[step]
            place[((), *way)[-1]] = odd
            if not way:
                data = odd
            try:
                parse(json.dumps(data), "axsched.yaml")
            except ProjectError as error:
                assert all(re.match(r"axsched\.yaml:1: .", line) for line in error.problems)
            else:
                taken += 1
                validator.validate(data)
    assert taken > 10


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_it_refuses_what_it_can(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    # As an editor reads it: what is no YAML is told by the editor itself.
    document = yaml_text.read(path.read_text())
    if document.problems:
        return
    valid = validator.is_valid(document.data)
    assert valid == (path.stem in BEYOND)
    assert len(BEYOND) < len(WRONG) / 2
