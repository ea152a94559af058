"""The option ``extract``: what it takes, and every mistake in it, found before anything is submitted."""

# Messages stand in one line, word for word.
# ruff: noqa: E501

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.objectives import kinds
from axsched_hpc.objectives.extraction.options import extractions
from axsched_hpc.objectives.kinds import Extraction
from axsched_hpc.objectives.spec import container_objective, script_objective

ASKED = {
    "energy": {"file": "log.lammps", "regex": r"^E_total\s*=\s*(\S+)", "which": "last"},
    "error": {"file": "out.json", "json": "$.results[-1].error", "sem": "$.results[-1].sem"},
    "loss": {"file": "history.csv", "csv": "val_loss", "which": "min", "separator": ";"},
    "rate": {"csv": -1, "which": -2, "sem": 1},
    "drag": {"file": "post/forces.h5", "hdf5": "/forces/drag"},
    "t_max": {"file": "out.nc", "netcdf": "temperature", "which": "max"},
    "score": {"last_line": True},
    "time": {"file": "stderr", "regex": "took ([0-9.]+) s", "which": None},
}

FOUND = (
    Extraction("energy", "regex", r"^E_total\s*=\s*(\S+)", "log.lammps"),
    Extraction("error", "json", "$.results[-1].error", "out.json", sem="$.results[-1].sem"),
    Extraction("loss", "csv", "val_loss", "history.csv", "min", separator=";"),
    Extraction("rate", "csv", -1, which=-2, sem=1),
    Extraction("drag", "hdf5", "/forces/drag", "post/forces.h5"),
    Extraction("t_max", "netcdf", "temperature", "out.nc", "max"),
    Extraction("score", "last_line"),
    Extraction("time", "regex", "took ([0-9.]+) s", "stderr"),
)


def test_it_is_an_option_of_scripts_and_containers_and_survives_its_file(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("true\n")
    for objective in (
        script_objective(script, {"extract": ASKED}),
        container_objective("python:3.12", "true", {"extract": ASKED}),
    ):
        assert objective.extract == FOUND
        assert kinds.decode(json.loads(json.dumps(kinds.encode(objective))), source="f") == objective


ADDRESSES = "'regex', 'json', 'csv', 'hdf5', 'netcdf', 'last_line'"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "o['m'] takes one of " + ADDRESSES + ", but has none of them."),
        ({"regex": "x", "csv": 1}, "o['m'] takes one of " + ADDRESSES + ", but has 'regex' and 'csv'."),
        ({"regx": "x"}, "Unknown key 'regx' in o['m']. Did you mean 'regex'?"),
        ({"regex": "x", 3: 4}, "Unknown key 3 in o['m']. Known: csv, file, hdf5, json, last_line, netcdf, regex, sem, separator, which."),
        ("x", "o['m'] is 'x' (str), but takes a dict, such as {\"file\": \"out.log\", \"regex\": r\"^loss = (\\S+)\"}."),
        ({"regex": "a(b"}, "o['m']['regex'] 'a(b' is no pattern that Python can use: missing ), unterminated subpattern at position 1."),
        ({"regex": "(a)(b)(c)"}, "o['m']['regex'] '(a)(b)(c)' has 3 groups, but the first is the value, and a second its standard error. Write (?:…) for groups that are neither."),
        ({"regex": re.compile("a")}, "o['m']['regex'] is a compiled pattern, but takes its text; flags go into it, such as '(?i)'."),
        ({"regex": ""}, "o['m']['regex'] is '' (str), but takes a pattern as a text, such as r'^loss = (\\S+)'."),
        ({"regex": "x", "sem": "y"}, "o['m'] has 'sem', but the standard error is the second group of 'regex'."),
        ({"regex": "x", "separator": ","}, "o['m'] has 'separator', which 'regex' does not take."),
        ({"regex": "x", "which": "lats"}, "o['m']['which'] is 'lats', but takes first, last, min, max. Did you mean 'last'?"),
        ({"regex": "x", "which": 1.5}, "o['m']['which'] is 1.5 (float), but takes 'first', 'last', 'min', 'max', or an index, counted from 0, or from the end."),
        ({"regex": "x", "which": True}, "o['m']['which'] is True (bool), but takes 'first', 'last', 'min', 'max', or an index, counted from 0, or from the end."),
        ({"regex": "x", "which": -(10**12)}, "o['m']['which'] is -1000000000000 (int), but takes 'first', 'last', 'min', 'max', or an index, counted from 0, or from the end."),
        ({"regex": "x", "file": "../out"}, "o['m']['file'] is '../out', but takes a path in the working directory, 'stdout' or 'stderr': a file elsewhere may be another trial's."),
        ({"regex": "x", "file": "/tmp/out"}, "o['m']['file'] is '/tmp/out', but takes a path in the working directory, 'stdout' or 'stderr': a file elsewhere may be another trial's."),
        ({"regex": "x", "file": "."}, "o['m']['file'] is '.', but takes a path in the working directory, 'stdout' or 'stderr': a file elsewhere may be another trial's."),
        ({"regex": "x", "file": 3}, "o['m']['file'] is 3 (int), but takes a path in the working directory, 'stdout' or 'stderr'."),
        ({"json": "$.a[*]"}, "o['m']['json'] is '$.a[*]', which is no path, at character 5: '*' finds several values: only names and indices, which find one, can be used."),
        ({"json": "$.a", "sem": "$.val-sem"}, "o['m']['sem'] is '$.val-sem', which is no path, at character 6: '-' does not belong there. A name with it goes into brackets and quotes: $['my-name']."),
        ({"csv": True}, "o['m']['csv'] is True (bool), but takes a column's name, or its number, counted from 0."),
        ({"csv": 1, "separator": "tab"}, "o['m']['separator'] is 'tab' (str), but takes one character, such as ',' or '\\t', or ' ' for any number of blanks."),
        ({"hdf5": "/drag"}, "o['m'] has no 'file': 'hdf5' reads a file that the program writes."),
        ({"netcdf": "/", "file": "a.nc"}, "o['m']['netcdf'] is '/' (str), but takes the path of an array, such as '/forces/drag'."),
        ({"last_line": False}, "o['m']['last_line'] is False (bool), but takes True."),
        ({"last_line": True, "which": "first"}, "o['m'] has 'which', but there is one last line."),
        ({"last_line": True, "sem": "x"}, "o['m'] has 'sem', but of the last line one number is read; use 'regex'."),
    ],
)  # fmt: skip
def test_mistakes_are_named(asked: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        extractions("o", {"m": asked})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "o is [] (list), but takes a dict from metrics to where they stand, such as "),
        ({}, "o is {} (dict), but takes a dict from metrics to where they stand, such as "),
        ({"": {"csv": 1}}, "o has the key '', which is no name of a metric."),
        ({3: {"csv": 1}}, "o has the key 3, which is no name of a metric."),
        ({"a\0": {"csv": 1}}, "o has the key 'a\\x00', which is no name of a metric."),
    ],
)
def test_what_is_no_dict_of_metrics_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        extractions("o", value)
    assert str(caught.value).startswith(message)
