"""A hundred short trials on 32 slots: none lost, one sbatch per batch, few questions to Slurm."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import client, runner


def short(parameters: dict[str, Any]) -> dict[str, float]:
    """A tenth of a second."""
    time.sleep(0.1)
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}


def count_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put commands on PATH that log their call and become the real ones."""
    log = folder / "commands.log"
    log.touch()
    tools = folder / "tools"
    tools.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol"):
        real = shutil.which(name)
        assert real is not None
        tool = tools / name
        # What only asks whether sbatch would take a job is no submission.
        tested = f'case "$*" in *--test-only*) echo tested;; *) echo {name};; esac'
        tool.write_text(f'#!/bin/sh\n{{ {tested}; }} >> "{log}"\nexec {real} "$@"\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return log


@pytest.mark.slurm
def test_a_hundred_trials_on_32_slots(
    slurm_cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = count_commands(tmp_path, monkeypatch)
    interval = 2.0
    options = {
        "job_output_dir": str(tmp_path / "run"),
        "synchronous": False,
        "monitoring_interval": interval,
        "poll_interval": 0.5,
    }
    started = time.monotonic()
    with AxScheduler(client(initial=100), runner("slurm", 32), options) as scheduler:
        scheduler.set_objective_function(short)
        scheduler.run_optimization(max_trials=100)
    seconds = time.monotonic() - started

    ledger = read_experiment(tmp_path / "run").ledger
    assert sorted(ledger.trials) == list(range(100))
    assert {t.state for t in ledger.trials.values()} == {TrialState.COMPLETED}
    assert {len(t.attempts) for t in ledger.trials.values()} == {1}

    calls = log.read_text().split()
    assert calls.count("sbatch") == len(ledger.batches)
    assert calls.count("tested") == calls.count("scontrol") == 1
    # One question per poll whatever the number of jobs, and a poll only every so many seconds.
    assert calls.count("squeue") <= seconds / interval + 2
    assert calls.count("sacct") <= calls.count("squeue")
    assert calls.count("scancel") == 0
