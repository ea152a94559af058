"""What every job and every look at a running experiment pays for: the imports, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Seconds and hundreds of megabytes, or of no use to what only reads the journal.
HEAVY = {"ax", "botorch", "numpy", "pandas", "rich", "submitit", "torch", "yaml"}

_COMMAND = """
from axsched_hpc.cli import main
try:
    main()
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


@pytest.mark.parametrize("command", ["status", "best"])
def test_a_look_at_an_experiment_loads_nothing_heavy(finished: Path, command: str) -> None:
    modules = loaded(_COMMAND, command, str(finished))
    assert not modules & HEAVY
    assert {"axsched_hpc", "click"} <= modules
