"""Elements of arrays in HDF5 and netCDF files, what is wrong with such files, and files over which a library crashes."""

# Messages stand in one line, word for word.
# ruff: noqa: E501

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest

from axsched_hpc.objectives.extraction import arrays, classic, extract
from axsched_hpc.objectives.extraction.options import extractions
from axsched_hpc.objectives.extraction.values import ExtractionError, Pair

CUT = "Was it cut short, or is it in another format?"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def _value(path: Path, asked: dict[str, Any]) -> Pair | None:
    """As a job has it, but in this process, which saves the time of another one."""
    (each,) = extractions("extract", {"m": {"file": path.name, **asked}})
    sem = None if each.sem is None else str(each.sem)
    return arrays.read(each.kind, path, str(each.address), sem, each.which)


def _refused(path: Path, asked: dict[str, Any]) -> str:
    """The message, with the file's directory as W."""
    with pytest.raises(ExtractionError) as caught:
        _value(path, asked)
    return " ".join(filter(None, [str(caught.value), caught.value.advice])).replace(str(path.parent), "W")


def _in_a_job(root: Path, asked: dict[str, Any]) -> Pair:
    log = root.parent / "log"
    return extract.metrics(extractions("extract", {"m": asked}), root, log, log)["m"]


def _refused_in_a_job(root: Path, asked: dict[str, Any]) -> str:
    with pytest.raises(ExtractionError) as caught:
        _in_a_job(root, asked)
    return str(caught.value).replace(str(root), "W")


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
    root: Path, asked: dict[str, Any], expected: Pair, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BLOCK", block)
    _hdf5(root / "f.h5")
    assert _value(root / "f.h5", asked) == expected


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_an_element_of_a_netcdf_file(root: Path, form: str) -> None:
    _netcdf(root / "out.nc", form)
    path, read = root / "out.nc", {"netcdf": "temperature"}
    assert _value(path, {**read, "which": "max"}) == (310.0, None)
    assert _value(path, {**read, "which": "min"}) == (290.0, None)
    assert _value(path, {**read, "which": "first"}) == (300.5, None)
    assert _value(path, {**read, "which": 1, "sem": "packed"}) == (310.0, 1.0)
    assert _refused(path, read) == "temperature[3] of W/out.nc is a missing value"
    assert (
        _refused(path, {**read, "netcdf": "gone", "which": "min"})
        == "all values of gone of W/out.nc are missing"
    )
    if form == "NETCDF4":
        assert _value(path, {"netcdf": "/forces/drag"}) == (0.25, None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hdf5": "/forces/lift"}, "there is no /forces/lift in W/f.h5; /forces has 'drag', 'sem'"),
        ({"hdf5": "/force/drag"}, "there is no /force/drag in W/f.h5; / has 'count', 'forces', 'name', 'nan', 'none', 'nothing'"),
        ({"hdf5": "/count/x"}, "there is no /count/x in W/f.h5; /count is an array"),
        ({"hdf5": "forces"}, "/forces of W/f.h5 is a group, which has 'drag', 'sem'; name an array in it"),
        ({"hdf5": "name"}, "/name of W/f.h5 holds values of the type object, no numbers"),
        ({"hdf5": "nothing"}, "/nothing of W/f.h5 holds nothing, no numbers"),
        ({"hdf5": "nan"}, "nan[1] of W/f.h5 is nan; let the program fail where no value can be computed"),
        ({"hdf5": "nan", "which": "min"}, "nan of W/f.h5 has values that are NaN"),
        ({"hdf5": "nan", "which": 2}, "'which' is 2, but nan of W/f.h5 has 2 values"),
        ({"hdf5": "nan", "which": 0, "sem": "count"}, "nan of W/f.h5 has the shape (2,), and its standard errors ()"),
    ],
)  # fmt: skip
def test_hdf5_files_say_what_is_wrong(root: Path, asked: dict[str, Any], message: str) -> None:
    _hdf5(root / "f.h5")
    assert _refused(root / "f.h5", asked) == message


def test_netcdf_files_say_what_is_wrong(root: Path) -> None:
    _netcdf(root / "out.nc")
    assert _refused(root / "out.nc", {"netcdf": "temp"}) == (
        "there is no temp in W/out.nc; / has 'forces', 'temperature', 'packed', 'gone'"
    )
    (root / "other.nc").write_text("no netCDF")
    assert _refused(root / "other.nc", {"netcdf": "temp"}) == (
        f"W/other.nc cannot be read as netCDF ([Errno -51] NetCDF: Unknown file format: 'W/other.nc') {CUT}"
    )
    assert _refused(root / "other.nc", {"hdf5": "temp"}) == (
        f"W/other.nc cannot be read as HDF5 (Unable to synchronously open file (file signature not found)) {CUT}"
    )


# ---------------------------------------------------------------- classic netCDF files that were cut short


def test_of_a_classic_file_that_was_cut_short_no_zeros_are_read(root: Path) -> None:
    path = root / "out.nc"
    _netcdf(path, "NETCDF3_CLASSIC")
    whole, ends = path.read_bytes(), classic.ends(path)
    assert list(ends) == ["temperature", "packed", "gone"]
    assert max(ends.values()) == len(whole)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        for name, value in (("temperature", 300.5), ("packed", 0.5)):
            asked = {"netcdf": name, "which": "first"}
            if size >= ends[name]:
                assert _value(path, asked) == (value, None)
            elif size >= min(ends.values()):
                assert _refused(path, asked) == (
                    f"W/out.nc is cut short: {name} ends at byte {ends[name]}, and the file has {size} "
                    "Was the disk full, or the file not closed?"
                )
            else:
                _refused(path, asked)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_where_variables_end(root: Path, form: str, seed: int) -> None:
    draw, path = random.Random(f"{form}-{seed}"), root / "f.nc"
    types = [
        "i1",
        "i2",
        "i4",
        "f4",
        "f8",
        *(["u1", "u2", "i8", "u8"] if form == "NETCDF3_64BIT_DATA" else []),
    ]
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.title = "x" * draw.randint(0, 9)
        file.createDimension("time", None)
        lengths = {"time": draw.randint(1, 4), "a": draw.randint(1, 5), "b": draw.randint(1, 5)}
        for name in ("a", "b"):
            file.createDimension(name, lengths[name])
        for number in range(draw.randint(1, 4)):
            dimensions = [name for name in lengths if draw.random() < 0.5]
            variable = file.createVariable(f"v{number}", draw.choice(types), dimensions)
            variable.units = "m" * draw.randint(0, 5)
            variable[...] = np.ones([lengths[name] for name in dimensions])
        names = list(file.variables)
    ends = classic.ends(path)
    assert list(ends) == names
    # The library pads the last variable.
    assert 0 <= path.stat().st_size - max(ends.values()) <= 3


def test_a_damaged_header_is_refused(root: Path) -> None:
    path = root / "out.nc"
    _netcdf(path, "NETCDF3_CLASSIC")
    whole = path.read_bytes()
    path.write_bytes(whole[:8] + b"\0\0\0\x0a\xff\xff\xff\xff" + whole[16:])
    assert _refused(path, {"netcdf": "temperature"}).startswith(
        "W/out.nc cannot be read as netCDF (its header is "
    )
    draw = random.Random(1)
    for _ in range(150):
        data = bytearray(whole)
        data[draw.randrange(4, len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            assert all(end >= 0 for end in classic.ends(path).values())
        except ValueError as error:
            assert str(error).startswith("its header is ")


# ---------------------------------------------------------------- the process of its own


def test_arrays_are_read_in_a_job(root: Path) -> None:
    _hdf5(root / "f.h5")
    drag = {"file": "f.h5", "hdf5": "/forces/drag"}
    assert _in_a_job(root, {**drag, "which": "min", "sem": "/forces/sem"}) == (1.0, 0.1)
    assert _refused_in_a_job(root, {**drag, "hdf5": "lift"}) == (
        "Metric 'm': there is no lift in W/f.h5; / has 'count', 'forces', 'name', 'nan', 'none', 'nothing'. "
        "Correct extract['m'] in the objective's options, or what the program writes."
    )
    assert _refused_in_a_job(root, {**drag, "hdf5": "none"}).startswith(
        "Metric 'm': none of W/f.h5 has no elements. "
    )


@pytest.mark.parametrize(
    ("library", "form", "kind"), [("h5py", "HDF5", "hdf5"), ("netCDF4", "netCDF", "netcdf")]
)
def test_a_missing_library_is_named_with_its_extra(
    root: Path, library: str, form: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "out").write_text("x")
    (root / f"{library}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{library}'\")\n")
    monkeypatch.syspath_prepend(root)
    assert _refused_in_a_job(root, {"file": "out", kind: "drag"}) == (
        f"Metric 'm': {form} files are read by {library}, which the job's Python does not have (No module named "
        f"'{library}'). Install it there: pip install 'axsched-hpc[{kind}]'."
    )


def test_a_library_that_crashes_leaves_the_worker_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "out").write_text("x")
    (root / "h5py.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.syspath_prepend(root)
    assert _refused_in_a_job(root, {"file": "out", "hdf5": "drag"}) == (
        f"Metric 'm': W/out cannot be read: the process that read it ended with SIGSEGV. {CUT}"
    )


# ---------------------------------------------------------------- blocks


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (3, 1, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("most", [1, 2, 5, 6, 100])
def test_blocks_cover_an_array_once_in_the_order_of_c(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    parts = [array[block].ravel() for block in arrays.blocks(shape, most)]
    assert all(0 < part.size <= most for part in parts)
    assert np.concatenate(parts).tolist() == array.ravel().tolist()
