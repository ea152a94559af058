"""Ax drives a real Slurm: saved, loaded in a new process, gone on with; and killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ax.api.client import Client

from axsched_hpc import SlurmRunner
from axsched_hpc.core.states import TrialState
from tests.ax_plugin.kit import executions, ledger, losses, prepared, run, statuses
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]

#: One process: makes the client or loads it, runs some trials in parallel, and saves it again.
SCRIPT = """
import sys
from pathlib import Path
from ax.api.client import Client
import axsched_hpc.ax_plugin
from axsched_hpc import SlurmRunner
from tests.ax_plugin.kit import client, prepared

folder, trials, parallelism, mode = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
saved = str(folder / "client.json")
log = str(folder / "executions.log")

def objective(parameters):
    import time
    with open(log, "a") as file:
        file.write(f"{parameters['x']!r}\\n")
    time.sleep(0.3)
    return {"loss": (parameters["x"] - 0.3) ** 2}

if mode == "new":
    runner = SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=parallelism)
    made = prepared(folder / "run", runner, objective)
    made.save_to_json_file(saved)
else:
    made = Client.load_from_json_file(saved)
    made._experiment.runner.bring_back(made)
    if mode == "finish":
        trials -= len(made._experiment.trials)
made.run_trials(max_trials=trials, parallelism=parallelism)
made.save_to_json_file(saved)
"""


def start(folder: Path, trials: int, parallelism: int, mode: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), str(trials), str(parallelism), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def ended(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0, output


def logged(folder: Path) -> list[str]:
    log = folder / "executions.log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_twenty_four_trials_eight_at_a_time_in_two_processes(tmp_path: Path, acct_cluster: Cluster) -> None:
    ended(start(tmp_path, 12, 8, "new"))
    first = Client.load_from_json_file(str(tmp_path / "client.json"))
    assert statuses(first) == {"COMPLETED": 12}
    ended(start(tmp_path, 12, 8, "more"))
    loaded = Client.load_from_json_file(str(tmp_path / "client.json"))
    assert statuses(loaded) == {"COMPLETED": 24}
    assert set(losses(loaded)) == set(range(24))
    assert executions(tmp_path / "run") == dict.fromkeys(range(24), 1)
    assert len(logged(tmp_path)) == len(set(logged(tmp_path))) == 24
    # Eight at a time is what Ax was allowed.
    times = [(a.submitted, a.ended) for t in ledger(tmp_path / "run").trials.values() for a in t.attempts]
    assert max(sum(s <= begun < e for s, e in times if s and e) for begun, _ in times if begun) <= 8


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_killed_in_the_middle_nothing_is_lost_and_nothing_is_run_twice(
    tmp_path: Path, noacct_cluster: Cluster
) -> None:
    process = start(tmp_path, 10, 4, "new")
    end = time.monotonic() + 100
    while len(logged(tmp_path)) < 4:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = Client.load_from_json_file(str(tmp_path / "client.json"))
    assert len(before._experiment.trials) == 0
    ended(start(tmp_path, 10, 4, "finish"))
    loaded = Client.load_from_json_file(str(tmp_path / "client.json"))
    assert statuses(loaded) == {"COMPLETED": 10}
    assert executions(tmp_path / "run") == dict.fromkeys(range(10), 1)
    assert len(logged(tmp_path)) == len(set(logged(tmp_path))) == 10


@pytest.mark.slurm
def test_one_batch_is_one_job_array_and_a_job_that_waits_is_taken_from_the_queue(
    tmp_path: Path, slurm_cluster: Cluster
) -> None:
    directory = tmp_path / "run"
    made = prepared(directory, SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=4))
    run(made, 3, parallelism=3)
    assert statuses(made) == {"COMPLETED": 3}
    jobs = {trial.attempts[0].job for trial in ledger(directory).trials.values()}
    assert len({str(job).partition("_")[0] for job in jobs}) == 1
    held = SlurmRunner(memory="100M", config={"sbatch_options": {"hold": True}})
    waiting = prepared(directory, held, made=made)
    trial = waiting._experiment.trials[waiting._experiment.attach_trial([{"x": 0.5, "y": 0.25}])[1]]
    trial.update_run_metadata(waiting._experiment.runner.run(trial))
    job = trial.run_metadata["job"]
    assert noted(slurm_cluster, job) == "PENDING"
    waiting._experiment.runner.stop(trial, "not wanted")
    assert noted(slurm_cluster, job) in ("", "CANCELLED")
    assert ledger(directory).trials[3].state is TrialState.ABANDONED


def noted(cluster: Cluster, job: str) -> str:
    return cluster.run("squeue", "-h", "-o", "%T", "-j", job).stdout.strip()
