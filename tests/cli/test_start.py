"""What every job and every look at a running experiment pays for: the imports, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout

#: Seconds and hundreds of megabytes, or of no use to what only reads the journal.
HEAVY = {"ax", "botorch", "numpy", "pandas", "rich", "submitit", "torch", "yaml"}

#: Not `main`, which ends a look at once.
_COMMAND = """
from axsched_hpc.cli import cli
try:
    cli(prog_name="axsched")
except SystemExit as end:
    assert end.code == 0
"""

_LIST = "import sys, json; json.dump(sorted({name.partition('.')[0] for name in sys.modules}), sys.stderr)"


def loaded(code: str, *arguments: str) -> set[str]:
    """The top-level modules in memory at the end of a program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_LIST}", *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr))


def test_the_check_sees_what_is_loaded() -> None:
    assert {"yaml", "click"} <= loaded("import click, yaml")


def test_the_package_loads_next_to_nothing() -> None:
    modules = loaded("import axsched_hpc; axsched_hpc.__version__, dir(axsched_hpc)")
    assert not modules & (HEAVY | {"click"})


def test_an_error_can_be_caught_without_ax() -> None:
    assert not loaded("from axsched_hpc import AxSchedError, FailureRateError") & HEAVY


def test_the_worker_loads_nothing_heavy() -> None:
    assert not loaded("import axsched_hpc.worker") & (HEAVY | {"click"})


#: How bash asks for what `axsched st` could go on as.
_COMPLETION = {"_AXSCHED_COMPLETE": "bash_complete", "COMP_WORDS": "axsched st", "COMP_CWORD": "1"}


@pytest.mark.parametrize("variables", [{}, _COMPLETION], ids=["help", "completion"])
def test_the_list_of_commands_loads_none_of_them(variables: dict[str, str]) -> None:
    ours = "import sys; print(*(name for name in sys.modules if name.startswith('axsched_hpc.')))"
    done = subprocess.run(
        [sys.executable, "-c", f"{_COMMAND}\n{ours}", "--help"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    *said, modules = done.stdout.splitlines()
    assert any("status" in line for line in said)
    assert modules.split() == [f"axsched_hpc.{name}" for name in ("_version", "core", "core.errors", "cli")]


def test_output_that_cannot_be_written_is_an_error(finished: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "axsched_hpc", "status", str(finished)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "axsched: The output cannot be written (No space left on device).\n",
    )


#: Of the standard library: of no use to a look, and slow to load.
SLOW = {"importlib.resources", "statistics", "subprocess", "tempfile"}


@pytest.mark.parametrize("command", ["status", "best", "trials", "show 1", "logs 1"])
def test_a_look_at_an_experiment_loads_nothing_heavy(finished: Path, command: str) -> None:
    files = Layout.at(finished).attempt(1, 1)
    atomic.make_directory(files.root)
    files.stdout.write_text("of trial 1\n")
    modules = loaded(_COMMAND, *command.split(), str(finished))
    assert not modules & (HEAVY | SLOW)
    assert {"axsched_hpc", "click"} <= modules
