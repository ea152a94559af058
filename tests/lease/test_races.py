"""Short runs of the programs beside this file, which are for runs of any length by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lease.kit import ROOT, needs_hosts


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_hosts
@pytest.mark.parametrize("racers", ["2", "3"])
def test_nobody_is_inside_with_another(racers: str, tmp_path: Path) -> None:
    table = run("tests.lease.race", "--races", "8", "--racers", racers, "--takeover", "1.5", tmp_path)
    assert "overlaps               0\n" in table


@needs_hosts
def test_nor_where_there_are_no_locks(tmp_path: Path) -> None:
    table = run(
        "tests.lease.race", "--races", "8", "--racers", "3", "--takeover", "1.5", "--without-locks", tmp_path
    )
    assert "overlaps               0\n" in table


def test_saving_and_loading_at_once(tmp_path: Path) -> None:
    assert "the last one won" in run("tests.lease.saves", "--rounds", "10", tmp_path)
