"""The JSON Schema of project files: that it is the code's, takes what is right, and refuses what it can."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from axsched_hpc.io import yaml_text
from axsched_hpc.project import schema

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


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_it_refuses_what_it_can(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    # As an editor reads it: what is no YAML is told by the editor itself.
    document = yaml_text.read(path.read_text())
    if document.problems:
        return
    valid = validator.is_valid(document.data)
    assert valid == (path.stem in BEYOND)
    assert len(BEYOND) < len(WRONG) / 2
