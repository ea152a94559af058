"""The programs in docs/languages.md are compiled, and run as objectives."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.io import progress
from axsched_hpc.objectives.spec import script_objective
from tests.slurm.fixtures import missing
from tests.unit.worker_kit import bench

PAGE = Path(__file__).resolve().parents[2] / "docs" / "languages.md"

#: Name of the program, and what compiles it, warnings being errors.
COMPILED = {
    "fortran": ("quadratic.f90", ["gfortran", "-std=f2008", "-Wall", "-Werror"]),
    "c": ("quadratic.c", ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror"]),
    "cpp": ("quadratic.cpp", ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror"]),
}

PARAMETERS = {"x": 0.1, "y": 3e-05}
VALUE = (PARAMETERS["x"] - 1) ** 2 + (PARAMETERS["y"] + 2) ** 2


def _program(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return str(text)


def _options(script: str) -> dict[str, Any]:
    """The options with which the page sets a script."""
    (call,) = re.findall(
        rf'^scheduler\.set_script_objective\("{re.escape(script)}"(?:, (.*))?\)$',
        PAGE.read_text(),
        re.MULTILINE,
    )
    return dict(eval(call or "{}"))


def _value(root: Path, path: Path, script: str) -> float:
    """The metric that a program computes, which it reports on its way as well."""
    b = bench(root, script_objective(path, _options(script)), PARAMETERS)
    assert b.run() == (0, "")
    metrics = b.outcome().metrics
    assert metrics is not None
    ((name, (value, sem)),) = metrics.items()
    assert (name, sem) == ("value", None)
    ((step, reported),) = ((each.step, each.metrics) for each in progress.read(b.files.progress, 0).reports)
    assert (step, reported) == (1, {"value": (pytest.approx(value, rel=1e-15), None)})
    return value


@pytest.mark.parametrize("language", COMPILED)
def test_compiled_programs(tmp_path: Path, language: str) -> None:
    source, compiler = COMPILED[language]
    if shutil.which(compiler[0]) is None:
        missing(f"there is no {compiler[0]} here; tests/install-system-packages installs it.")
    (tmp_path / source).write_text(_program(language))
    subprocess.run([*compiler, "-o", "quadratic", source], cwd=tmp_path, check=True)
    assert _value(tmp_path, tmp_path / "quadratic", "./quadratic") == pytest.approx(VALUE, rel=1e-15)


@pytest.mark.parametrize(
    ("language", "script", "program"), [("sh", "quadratic.sh", "sh"), ("r", "quadratic.R", "Rscript")]
)
def test_scripts(tmp_path: Path, language: str, script: str, program: str) -> None:
    if shutil.which(program) is None:
        missing(f"there is no {program} here; tests/install-system-packages installs it.")
    (tmp_path / script).write_text(_program(language))
    assert _value(tmp_path, tmp_path / script, script) == pytest.approx(VALUE, rel=1e-15)
