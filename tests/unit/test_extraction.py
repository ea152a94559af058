"""Metrics from what a program has written: each kind, and all that can go wrong, word for word."""

# Messages stand in one line, word for word.
# ruff: noqa: E501

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest

from axsched_hpc.objectives.extraction import arrays, documents, extract, lines
from axsched_hpc.objectives.extraction.options import extractions
from axsched_hpc.objectives.extraction.values import ExtractionError

Value = tuple[float, float | None]

FIX = "Correct extract['m'] in the objective's options, or what the program writes."


class Site:
    """A working directory and an attempt's logs."""

    def __init__(self, root: Path) -> None:
        self.work, self.stdout, self.stderr = root / "work", root / "stdout.log", root / "stderr.log"
        self.work.mkdir()
        self.stdout.touch()
        self.stderr.touch()

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def before(self, asked: Mapping[str, Any]) -> extract.Before:
        return extract.before(extractions("extract", {"m": asked}), self.work, self.stdout, self.stderr)

    def read(self, asked: Mapping[str, Any], before: extract.Before | None = None) -> Value:
        found = extract.metrics(
            extractions("extract", {"m": asked}), self.work, self.stdout, self.stderr, before
        )
        assert list(found) == ["m"]
        return found["m"]

    def refused(self, asked: Mapping[str, Any], before: extract.Before | None = None) -> str:
        """The message, without its first words and with the working directory as W."""
        with pytest.raises(ExtractionError) as caught:
            self.read(asked, before)
        text = str(caught.value)
        assert text.startswith("Metric 'm': ")
        return (
            text.removeprefix("Metric 'm': ").replace(str(self.work), "W").replace(str(self.work.parent), "A")
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# ---------------------------------------------------------------- patterns

LOG = """\
LAMMPS
Step 1 E_total = -1.5D+01
  Step 2 E_total = -1.25E+01 and E_total = 7
Step 3 E_total = -1.0-103 +- .5

Loop time of 3.1
"""


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"regex": r"E_total = (\S+)"}, (-1e-103, None)),
        ({"regex": r"E_total = (\S+)", "which": "first"}, (-15.0, None)),
        ({"regex": r"E_total = (\S+)", "which": "min"}, (-15.0, None)),
        ({"regex": r"E_total = (\S+)", "which": "max"}, (7.0, None)),
        ({"regex": r"E_total = (\S+)", "which": 1}, (-12.5, None)),
        ({"regex": r"E_total = (\S+)", "which": -2}, (7.0, None)),
        ({"regex": r"^Step . E_total = (\S+)", "which": -2}, (-15.0, None)),  # ^ is a line's beginning
        ({"regex": r"E_total = (\S+) \+- (\S+)"}, (-1e-103, 0.5)),
        ({"regex": r"E_total = (\S+)(?: \+- (\S+))?", "which": "first"}, (-15.0, None)),
        ({"regex": r"(?<=time of )[\d.]+$"}, (3.1, None)),  # without a group: the whole match
        ({"regex": r"(?i)loop TIME of (\S+)"}, (3.1, None)),
    ],
)
def test_a_pattern_in_a_log(site: Site, asked: dict[str, Any], expected: Value) -> None:
    site.write("log.lammps", LOG)
    assert site.read({"file": "log.lammps", **asked}) == expected


def test_lines_end_in_any_way_and_blocks_do_not_cut_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeffE = 1\r\nbar E = 2\rE = 3é\n\rE = 4\r\n\r\nE = 5"
    site.write("out.log", text)
    for size in range(1, len(text.encode()) + 2):
        monkeypatch.setattr(lines, "BLOCK", size)
        for which in range(5):
            assert site.read({"file": "out.log", "regex": r"^(?:bar )?E = (\d)", "which": which}) == (
                which + 1,
                None,
            )
    with (site.work / "out.log").open("rb") as file:
        assert list(lines.lines(file, "f")) == ["E = 1", "bar E = 2", "E = 3é", "", "E = 4", "", "E = 5"]


def test_a_log_is_not_held_in_memory(site: Site) -> None:
    import tracemalloc

    site.write("out.log", b"step 00000000 E = 1\n" + 100_000 * (b"x" * 200 + b"\n"))
    tracemalloc.start()
    assert site.read({"file": "out.log", "regex": r"E = (\d+)"}) == (1.0, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6 < (site.work / "out.log").stat().st_size


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        (
            "a\nb\n\nE=3\nlast \x1b[0m\n",
            {"regex": r"^E_total = (\S+)"},
            r"the pattern '^E_total = (\\S+)' matches no line of W/out; its last lines are: b | E=3 | last "
            + "\ufffd[0m. "
            + FIX,
        ),
        (
            "E = 12.5eV,\n",
            {"regex": r"E = (\S+)"},
            "'12.5eV,' in line 1 of W/out is no number: commas are read neither as thousands separators nor as decimal points. "
            + FIX,
        ),
        ("E = 12.5eV\n", {"regex": r"E = (\S+)"}, "'12.5eV' in line 1 of W/out is no number. " + FIX),
        (
            "\n\nE = NaN\n",
            {"regex": r"E = (\S+)"},
            "'NaN' in line 3 of W/out is not finite; let the program fail where no value can be computed. "
            + FIX,
        ),
        (
            "E = *****\n",
            {"regex": r"E = (\S+)"},
            "'*****' in line 1 of W/out is what Fortran writes where a number does not fit into its field; give the field more digits. "
            + FIX,
        ),
        (
            "E = 1e999\n",
            {"regex": r"E = (\S+)"},
            "'1e999' in line 1 of W/out is too large for a number. " + FIX,
        ),
        (
            "E = 1 x\n",
            {"regex": r"E = (\S+) (\S+)"},
            "'x' in the standard error in line 1 of W/out is no number. " + FIX,
        ),
        (
            "E = 1 -2\n",
            {"regex": r"E = (\S+) (\S+)"},
            "the standard error in line 1 of W/out is negative (-2.0). " + FIX,
        ),
        (
            "E = 1\nE = x\nE = 2\n",
            {"regex": r"E = (\S+)", "which": "max"},
            "'x' in line 2 of W/out is no number. " + FIX,
        ),
        (
            "E = 1\nE = 2\n",
            {"regex": r"E = (\S+)", "which": 2},
            "'which' is 2, but W/out has 2 values. " + FIX,
        ),
        (
            "E = 1\n",
            {"regex": r"E = (\S+)", "which": -2},
            "'which' is -2, but W/out has 1 value. " + FIX,
        ),
        ("", {"regex": r"E = (\S+)"}, "the program wrote nothing to W/out. " + FIX),
    ],
)
def test_patterns_say_what_is_wrong(site: Site, text: str, asked: dict[str, Any], message: str) -> None:
    site.write("out", text)
    assert site.refused({"file": "out", **asked}) == message


def test_a_line_without_an_end_is_refused(site: Site) -> None:
    site.write("out", b"\0" * (lines.LONGEST + lines.BLOCK + 1))
    assert (
        site.refused({"file": "out", "regex": "x"})
        == f"W/out is no text: it has a line of more than 16 MB. {FIX}"
    )


def test_binary_rubbish_has_no_pattern(site: Site) -> None:
    site.write("out", bytes(range(256)) * 3)
    message = site.refused({"file": "out", "regex": "energy"})
    assert message.startswith("the pattern 'energy' matches no line of W/out; its last lines are: ")
    assert message.isprintable()


# ---------------------------------------------------------------- the last line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", 0.5),
        ("a\n  -1.0D-3 \n\n \n", -1e-3),
        ("score: 0.93\r\n", 0.93),
        ("Final energy = -12.5", -12.5),
        ("accuracy=+2", 2.0),
    ],
)
def test_the_last_line_ends_with_the_number(site: Site, text: str, expected: float) -> None:
    site.stdout.write_text(text)
    assert site.read({"last_line": True}) == (expected, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5\nDone.\n", "'Done.' in line 2 of A/stdout.log is no number. " + FIX),
        ("took 12.5 s\n", "'s' in line 1 of A/stdout.log is no number. " + FIX),
        (
            "score:\n",
            "line 1 of A/stdout.log ends with ':', which is no number; use 'regex' to say which part of a line is the number. "
            + FIX,
        ),
        ("\n \n", "A/stdout.log has only blank lines. " + FIX),
        ("", "the program wrote nothing to A/stdout.log. " + FIX),
    ],
)
def test_a_last_line_without_a_number_is_refused(site: Site, text: str, message: str) -> None:
    site.stdout.write_text(text)
    assert site.refused({"last_line": True}) == message


# ---------------------------------------------------------------- tables

LIGHTNING = "epoch,train_loss,val_loss,step\n0,,0.9,9\n0,0.8,,9\n1,,0.4,19\n1,0.3,,19\n2,,0.6,29\n"
OPENFOAM = """\
# Force coefficients
# dragDir     : (1 0 0)
#
# Time        \tCd          \tCs
0.005         \t1.20e+00\t0.1
0.010         \t1.10e+00\t0.2
"""
LAMMPS = "# Time-averaged data for fix 1\n# TimeStep c_thermo_temp\n1000 1.5\n2000 1.25\n"
FLUENT = '"cd-rfile"\n"Iteration" "cd"\n("Iteration" "cd")\n1 0.5\n2 0.25\n'
UNITS = 'time;p, total;"a;b"\ns;Pa;1\n1;2.5;3\n2;3.5;4\n'
R = '"a" "b c"\n"1" 0.5 0.6\n'


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        (LIGHTNING, {"csv": "val_loss"}, (0.6, None)),
        (LIGHTNING, {"csv": "val_loss", "which": "min"}, (0.4, None)),
        (LIGHTNING, {"csv": "val_loss", "which": 0, "sem": "step"}, (0.9, 9.0)),
        (LIGHTNING, {"csv": "val_loss", "which": 0, "sem": "train_loss"}, (0.9, None)),  # empty: unknown
        (LIGHTNING, {"csv": 1}, (0.3, None)),
        (LIGHTNING, {"csv": -1, "which": "first"}, (9.0, None)),
        (OPENFOAM, {"csv": "Cd"}, (1.1, None)),
        (OPENFOAM, {"csv": "Cd", "which": "first", "sem": "Cs"}, (1.2, 0.1)),
        (OPENFOAM, {"csv": 1, "which": "first", "sem": 2}, (1.2, 0.1)),
        (LAMMPS, {"csv": "c_thermo_temp", "which": "max"}, (1.5, None)),
        (FLUENT, {"csv": "cd"}, (0.25, None)),
        (FLUENT, {"csv": 1, "which": "max"}, (0.5, None)),
        (UNITS, {"csv": "p, total"}, (3.5, None)),
        (UNITS, {"csv": "a;b", "which": "first"}, (1.0, None)),
        ("loss\n1\n2\n", {"csv": "loss"}, (2.0, None)),
        ("1 2\n3 4\n", {"csv": 1, "which": "first"}, (2.0, None)),
        ("1,2\n3,4\n", {"csv": 0}, (3.0, None)),
        ("\n\na|b\n\n1|2\n# end\n\n", {"csv": "b", "separator": "|"}, (2.0, None)),
        ("t, x\n 1,  2\n", {"csv": "x"}, (2.0, None)),
        ('name,note,v\nx,"a,b\nc",1\ny,"1,000",2\n', {"csv": "v"}, (2.0, None)),
        ("a,b,\n1,2,\n3,4\n", {"csv": "b"}, (4.0, None)),
        ("date,v\n2024-01-01,1D0\n2024-01-02,2D0\n", {"csv": "v"}, (2.0, None)),
        (R, {"csv": 1}, (0.5, None)),
    ],
)
def test_a_column_of_a_table(site: Site, text: str, asked: dict[str, Any], expected: Value) -> None:
    site.write("t", text)
    assert site.read({"file": "t", **asked}) == expected


BY_NUMBER = "give the column by its number, counted from 0"


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        (
            LIGHTNING,
            {"csv": "loss"},
            f"there is no column 'loss' in W/t; line 1 names 'epoch', 'train_loss', 'val_loss', 'step'. Correct the name, or {BY_NUMBER}.",
        ),
        (
            OPENFOAM,
            {"csv": "Cl"},
            f"there is no column 'Cl' in W/t; line 4 names 'Time', 'Cd', 'Cs'. Correct the name, or {BY_NUMBER}.",
        ),
        (
            LIGHTNING,
            {"csv": "val_loss", "sem": "sem"},
            f"there is no column 'sem' in W/t; line 1 names 'epoch', 'train_loss', 'val_loss', 'step'. Correct the name, or {BY_NUMBER}.",
        ),
        ("1 2\n3 4\n", {"csv": "x"}, f"W/t has no line with names before its numbers; {BY_NUMBER}. {FIX}"),
        ("a,a\n1,2\n", {"csv": "a"}, f"line 1 of W/t names 2 columns 'a'; {BY_NUMBER}. {FIX}"),
        (
            "a,b\n1,2\n3\n",
            {"csv": "b"},
            f"line 3 of W/t has 1 column, where line 1 names 2; {BY_NUMBER}. {FIX}",
        ),
        (R, {"csv": "b c"}, f"line 2 of W/t has 3 columns, where line 1 names 2; {BY_NUMBER}. {FIX}"),
        ("1 2\n3\n", {"csv": 1}, "line 2 of W/t has only 1 column. " + FIX),
        ("1 2\n", {"csv": 5}, "line 1 of W/t has only 2 columns. " + FIX),
        ("a,b\n1,x\n2,y\n", {"csv": "b"}, "'x' in line 2 of W/t is no number. " + FIX),
        (
            "a,b\n1,1\n2,nan\n3,2\n",
            {"csv": "b", "which": "min"},
            "'nan' in line 3 of W/t is not finite; let the program fail where no value can be computed. "
            + FIX,
        ),
        (
            "a;b\n1;1.000,5\n",
            {"csv": "b"},
            "'1.000,5' in line 2 of W/t is no number: commas are read neither as thousands separators nor as decimal points. "
            + FIX,
        ),
        ("a,b\n", {"csv": "b"}, "column 'b' of W/t has no values. " + FIX),
        ("a,b\n1,\n", {"csv": "b"}, "column 'b' of W/t has no values. " + FIX),
        ("a,b\n1,2\n", {"csv": "b", "which": 1}, "'which' is 1, but W/t has 1 value. " + FIX),
        ('a,b\n1,"2\n', {"csv": "b"}, "line 2 of W/t is no row of a table (unexpected end of data). " + FIX),
        ("\n", {"csv": "b"}, f"W/t has no line with names before its numbers; {BY_NUMBER}. {FIX}"),
    ],
)
def test_tables_say_what_is_wrong(site: Site, text: str, asked: dict[str, Any], message: str) -> None:
    site.write("t", text)
    assert site.refused({"file": "t", **asked}) == message


# ---------------------------------------------------------------- JSON

DOCUMENT = {"results": [{"error": 0.5}, {"error": 0.25, "sem": 0.01}], "x y": {"a.b": 3}, "curve": [3, 1.5, "2D0"],
            "sems": [0.3, 0.2, 0.1], "no": None, "yes": True, "nan": float("nan"), "text": "fast", "empty": []}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"json": "$.results[-1].error", "sem": "$.results[-1].sem"}, (0.25, 0.01)),
        ({"json": "results[0].error"}, (0.5, None)),
        ({"json": "$['x y'][\"a.b\"]"}, (3.0, None)),
        ({"json": "curve"}, (2.0, None)),
        ({"json": "curve", "which": "min"}, (1.5, None)),
        ({"json": "curve", "which": -3, "sem": "sems"}, (3.0, 0.3)),
        ({"json": "curve[1]", "sem": "sems[2]"}, (1.5, 0.1)),
    ],
)
def test_a_value_of_a_document(site: Site, asked: dict[str, Any], expected: Value) -> None:
    site.write("out.json", "\ufeff" + json.dumps(DOCUMENT, indent=1))
    assert site.read({"file": "out.json", **asked}) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"json": "$.result"}, "in W/out.json, $ has no member 'result'; it has 'results', 'x y', 'curve', 'sems', 'no', 'yes', 'nan', 'text', 'empty'. " + FIX),
        ({"json": "$.results[5].error"}, "in W/out.json, $.results has no element 5; it has 2. " + FIX),
        ({"json": "$.results.error"}, "in W/out.json, $.results is an array, which has no member 'error'. " + FIX),
        ({"json": "$.text[0]"}, "in W/out.json, $.text is a string, which has no element 0. " + FIX),
        ({"json": "$.text"}, "'fast' in $.text of W/out.json is no number. " + FIX),
        ({"json": "$.no"}, "$.no of W/out.json is null, no number. " + FIX),
        ({"json": "$.yes"}, "$.yes of W/out.json is a boolean, no number. " + FIX),
        ({"json": "$.nan"}, "$.nan of W/out.json is nan; let the program fail where no value can be computed. " + FIX),
        ({"json": "$.results"}, "$.results[1] of W/out.json is an object, no number. " + FIX),
        ({"json": "$.empty"}, "there is no value at $.empty in W/out.json. " + FIX),
        ({"json": "$.curve", "which": 3}, "'which' is 3, but W/out.json has 3 values. " + FIX),
        ({"json": "$.curve", "sem": "$.text"}, "$.curve of W/out.json is an array of 3, and $.text no array of as many standard errors. " + FIX),
    ],
)  # fmt: skip
def test_documents_say_what_is_wrong(site: Site, asked: dict[str, Any], message: str) -> None:
    site.write("out.json", json.dumps(DOCUMENT))
    assert site.refused({"file": "out.json", **asked}) == message


CUT = "Was it cut short, or is it in another format?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"a": 1,\n "b',
            f"W/out.json is no JSON (Unterminated string starting at, line 2, column 2: ' \"b'). {CUT}",
        ),
        ("<xml/>", f"W/out.json is no JSON (Expecting value, line 1, column 1: '<xml/>'). {CUT}"),
        (b"\xff\xfe\x00", "W/out.json is no JSON: it is no text (byte 0). " + FIX),
        ('{"a": 1, "a": 2}', "W/out.json cannot be used: it has the member 'a' twice. " + FIX),
        ("[" * 100_000, "W/out.json cannot be used: it is nested too deeply. " + FIX),
        ('{"a": 1' + "0" * 400 + "}", "$.a of W/out.json is too large for a number. " + FIX),
        ("", "the program wrote nothing to W/out.json. " + FIX),
        (" \n", "there is no value at $.a in W/out.json. " + FIX),
    ],
)
def test_what_is_no_document_is_refused(site: Site, text: str | bytes, message: str) -> None:
    site.write("out.json", text)
    assert site.refused({"file": "out.json", "json": "$.a"}) == message


def test_documents_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write("out.json", '{"a": 1}')
    monkeypatch.setattr(documents, "LARGEST", 7)
    assert site.refused({"file": "out.json", "json": "a"}) == (
        "W/out.json has more than 0 MB, and JSON has to be read as a whole. "
        "Let the program write the value to a file of its own."
    )


def test_json_lines(site: Site) -> None:
    site.write(
        "log.jsonl", '{"step": 1, "loss": 3}\n\n{"eval": {"f1": 0.5, "sd": 0.1}}\n{"step": 2, "loss": 2}\n'
    )
    assert site.read({"file": "log.jsonl", "json": "loss"}) == (2.0, None)
    assert site.read({"file": "log.jsonl", "json": "loss", "which": "max"}) == (3.0, None)
    assert site.read({"file": "log.jsonl", "json": "$.eval.f1", "sem": "$.eval.sd"}) == (0.5, 0.1)
    assert site.refused({"file": "log.jsonl", "json": "acc"}) == (
        f"in line 1 of W/log.jsonl, $ has no member 'acc'; it has 'step', 'loss'; nor is it in any other line. {FIX}"
    )
    site.write("bad.jsonl", '{"loss": 3}\n{"loss"')
    assert site.refused({"file": "bad.jsonl", "json": "loss"}) == (
        "line 2 of W/bad.jsonl is no JSON (Expecting ':' delimiter, line 1, column 8: '{\"loss\"'). " + CUT
    )


def test_json_on_stdout_is_its_last_line_or_all_of_it(site: Site) -> None:
    site.stdout.write_text('starting\n{"a": 1}\ndone {\n{"a": 2}\n\n')
    assert site.read({"json": "a"}) == (2.0, None)
    site.stdout.write_text('{\n "a": [\n  1,\n  3\n ]\n}\n')
    assert site.read({"json": "a"}) == (3.0, None)
    site.stdout.write_text("4")
    assert site.read({"json": "$"}) == (4.0, None)
    site.stdout.write_text("starting\n{}\n")
    assert (
        site.refused({"json": "a"})
        == f"in line 2 of A/stdout.log, $ has no member 'a'; it has nothing. {FIX}"
    )


# ---------------------------------------------------------------- HDF5 and netCDF


def _hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["forces/drag"] = np.array([[3.0, 1.0], [2.0, 9.0]])
        file["forces/sem"] = np.array([[0.3, 0.1], [0.2, 0.9]])
        file["count"] = 7
        file["name"] = "text"
        file["nan"] = np.array([1.0, np.nan])
        file["none"] = np.zeros((2, 0))
        file["nothing"] = h5py.Empty("f4")


def _netcdf(path: Path, form: str = "NETCDF4") -> None:
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.createDimension("t", 4)
        values = file.createVariable("temperature", "f4", ("t",), fill_value=-999.0)
        values[:] = np.ma.array([300.5, 310.0, 290.0, 0.0], mask=[0, 0, 0, 1])
        packed = file.createVariable("packed", "i2", ("t",))
        packed.scale_factor = 0.5
        packed.set_auto_maskandscale(False)
        packed[:] = [1, 2, 3, 4]
        file.createVariable("gone", "f8", ("t",))
        if form == "NETCDF4":
            file.createGroup("forces").createVariable("drag", "f8")[...] = 0.25


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"hdf5": "/forces/drag"}, (9.0, None)),
        ({"hdf5": "forces/drag", "which": "first"}, (3.0, None)),
        ({"hdf5": "/forces/drag", "which": 2, "sem": "/forces/sem"}, (2.0, 0.2)),
        ({"hdf5": "/forces/drag", "which": -3}, (1.0, None)),
        ({"hdf5": "/forces/drag", "which": "min", "sem": "/forces/sem"}, (1.0, 0.1)),
        ({"hdf5": "/forces/drag", "which": "max", "sem": "/forces/sem"}, (9.0, 0.9)),
        ({"hdf5": "count"}, (7.0, None)),
        ({"hdf5": "count", "which": "max", "sem": "count"}, (7.0, 7.0)),
        ({"hdf5": "nan", "which": 0}, (1.0, None)),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 100])
def test_an_element_of_an_hdf5_file(
    site: Site, asked: dict[str, Any], expected: Value, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BLOCK", block)
    _hdf5(site.work / "f.h5")
    assert site.read({"file": "f.h5", **asked}) == expected


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_an_element_of_a_netcdf_file(site: Site, form: str) -> None:
    _netcdf(site.work / "out.nc", form)
    read = {"file": "out.nc", "netcdf": "temperature"}
    assert site.read({**read, "which": "max"}) == (310.0, None)
    assert site.read({**read, "which": "min"}) == (290.0, None)
    assert site.read({**read, "which": "first"}) == (300.5, None)
    assert site.read({**read, "which": 1, "sem": "packed"}) == (310.0, 1.0)
    assert site.refused(read) == f"temperature[3] of W/out.nc is a missing value. {FIX}"
    assert (
        site.refused({**read, "netcdf": "gone", "which": "min"})
        == f"all values of gone of W/out.nc are missing. {FIX}"
    )
    if form == "NETCDF4":
        assert site.read({"file": "out.nc", "netcdf": "/forces/drag"}) == (0.25, None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hdf5": "/forces/lift"}, "there is no /forces/lift in W/f.h5; /forces has 'drag', 'sem'. " + FIX),
        ({"hdf5": "/force/drag"}, "there is no /force/drag in W/f.h5; / has 'count', 'forces', 'name', 'nan', 'none', 'nothing'. " + FIX),
        ({"hdf5": "/count/x"}, "there is no /count/x in W/f.h5; /count is an array. " + FIX),
        ({"hdf5": "forces"}, "/forces of W/f.h5 is a group, which has 'drag', 'sem'; name an array in it. " + FIX),
        ({"hdf5": "name"}, "/name of W/f.h5 holds values of the type object, no numbers. " + FIX),
        ({"hdf5": "nothing"}, "/nothing of W/f.h5 holds nothing, no numbers. " + FIX),
        ({"hdf5": "none"}, "none of W/f.h5 has no elements. " + FIX),
        ({"hdf5": "nan"}, "nan[1] of W/f.h5 is nan; let the program fail where no value can be computed. " + FIX),
        ({"hdf5": "nan", "which": "min"}, "nan of W/f.h5 has values that are NaN. " + FIX),
        ({"hdf5": "nan", "which": 2}, "'which' is 2, but nan of W/f.h5 has 2 values. " + FIX),
        ({"hdf5": "nan", "which": 0, "sem": "count"}, "nan of W/f.h5 has the shape (2,), and its standard errors (). " + FIX),
    ],
)  # fmt: skip
def test_hdf5_files_say_what_is_wrong(site: Site, asked: dict[str, Any], message: str) -> None:
    _hdf5(site.work / "f.h5")
    assert site.refused({"file": "f.h5", **asked}) == message


def test_netcdf_files_say_what_is_wrong(site: Site) -> None:
    _netcdf(site.work / "out.nc")
    assert site.refused({"file": "out.nc", "netcdf": "temp"}) == (
        f"there is no temp in W/out.nc; / has 'forces', 'temperature', 'packed', 'gone'. {FIX}"
    )
    site.write("other.nc", "no netCDF")
    assert site.refused({"file": "other.nc", "netcdf": "temp"}) == (
        f"W/other.nc cannot be read as netCDF ([Errno -51] NetCDF: Unknown file format: 'W/other.nc'). {CUT}"
    )
    assert site.refused({"file": "other.nc", "hdf5": "temp"}) == (
        f"W/other.nc cannot be read as HDF5 (Unable to synchronously open file (file signature not found)). {CUT}"
    )


@pytest.mark.parametrize(
    ("library", "form", "kind"), [("h5py", "HDF5", "hdf5"), ("netCDF4", "netCDF", "netcdf")]
)
def test_a_missing_library_is_named_with_its_extra(
    site: Site, library: str, form: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("out", "x")
    monkeypatch.setitem(sys.modules, library, None)
    assert site.refused({"file": "out", kind: "drag"}) == (
        f"{form} files are read by {library}, which the job's Python does not have (import of {library} halted; "
        f"None in sys.modules). Install it there: pip install 'axsched-hpc[{kind}]'."
    )


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (3, 1, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("most", [1, 2, 5, 6, 100])
def test_blocks_cover_an_array_once_in_the_order_of_c(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    parts = [array[block].ravel() for block in arrays.blocks(shape, most)]
    assert all(0 < part.size <= most for part in parts)
    assert np.concatenate(parts).tolist() == array.ravel().tolist()


# ---------------------------------------------------------------- files

READ = {"file": "out.log", "regex": r"E = (\d)"}


def test_a_missing_file_is_told_with_what_is_there(site: Site) -> None:
    assert site.refused(READ) == f"there is no file W/out.log; its directory has no files. {FIX}"
    for name in ("a.txt", "b.txt"):
        site.write(name, "")
    assert site.refused(READ) == f"there is no file W/out.log; its directory has 'a.txt', 'b.txt'. {FIX}"
    site.write("out.log.1", "")
    assert site.refused(READ) == f"there is no file W/out.log; there is 'out.log.1'. {FIX}"
    site.write("forces/0/f.dat", "")
    assert site.refused({**READ, "file": "force/0/f.dat"}) == (
        f"there is no directory W/force; there is 'forces'. {FIX}"
    )
    for name in "cdefghijklmn":
        site.write(name, "")
    assert "'g', 'h', 'i' and 6 more. " in site.refused({**READ, "file": "1234"})


def test_what_is_no_file_is_refused(site: Site) -> None:
    (site.work / "out.log").mkdir()
    assert site.refused(READ) == f"W/out.log cannot be read: Is a directory. {FIX}"
    (site.work / "out.log").rmdir()
    os.mkfifo(site.work / "out.log")
    assert site.refused(READ) == f"W/out.log cannot be read: it is not a regular file. {FIX}"


def test_links_may_lead_within_the_working_directory(site: Site) -> None:
    site.write("run-7.log", "E = 7\n")
    (site.work / "out.log").symlink_to("run-7.log")
    assert site.read(READ) == (7.0, None)
    other = site.work.parent / "other.log"
    other.write_text("E = 8\n")
    (site.work / "out.log").unlink()
    (site.work / "out.log").symlink_to(other)
    assert site.refused(READ) == (
        "a link leads from W/out.log out of the working directory, to A/other.log. "
        "Let the program write into its working directory."
    )
    (site.work / "out.log").unlink()
    (site.work / "out.log").symlink_to("gone")
    assert site.refused(READ) == f"W/out.log is a link to gone, which is not there. {FIX}"


def test_a_file_of_before_is_not_the_program_s(site: Site) -> None:
    path = site.write("out.log", "E = 1\n")
    before = site.before(READ)
    assert site.refused(READ, before) == (
        f"W/out.log was there before the program was started, and the program has not written to it. {FIX}"
    )
    with path.open("a") as file:
        file.write("E = 2\n")
    assert site.read(READ, before) == (2.0, None)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_of_a_log_the_part_of_this_execution_is_read(site: Site, name: str) -> None:
    log: Path = getattr(site, name)
    log.write_text("E = 1\n")
    read = {"file": name, "regex": r"E = (\d)", "which": "first"}
    before = site.before(read)
    assert site.refused(read, before) == f"the program wrote nothing to A/{name}.log. {FIX}"
    with log.open("a") as file:
        file.write("F = 2\nE = 3\n")
    assert site.read(read, before) == (3.0, None)
    assert site.refused({**read, "regex": "E = 1"}, before).endswith(
        f"its last lines are: F = 2 | E = 3. {FIX}"
    )
    assert site.read({"file": name, "last_line": True}, before) == (3.0, None)


def test_several_metrics(site: Site) -> None:
    site.write("out.log", LOG)
    site.stdout.write_text("0.5\n")
    asked = extractions(
        "extract",
        {"e": {"file": "out.log", "regex": r"E_total = (\S+)", "which": 0}, "s": {"last_line": True}},
    )
    assert extract.metrics(asked, site.work, site.stdout, site.stderr) == {
        "e": (-15.0, None),
        "s": (0.5, None),
    }


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Lets a number of openings fail as a server does that is away."""

    def fail(times: int) -> list[str]:
        import errno

        from axsched_hpc.io import access, storage

        opened: list[str] = []
        real = access.open_read

        def open_read(path: Path) -> int:
            opened.append(path.name)
            if len(opened) <= times:
                raise OSError(errno.ESTALE, "Stale file handle", str(path))
            return real(path)

        monkeypatch.setattr(access, "open_read", open_read)
        monkeypatch.setattr(storage, "FIRST_DELAY", 0.0)
        return opened

    return fail


def test_a_filesystem_in_trouble_is_waited_for(site: Site, unreadable: Callable[[int], list[str]]) -> None:
    site.write("out.log", "E = 1\n")
    opened = unreadable(3)
    assert site.read(READ) == (1.0, None)
    assert opened == ["out.log"] * 4
