"""Ax drives a real Slurm: saved, loaded in a new process, gone on with; and killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest
from ax.api.client import Client

from axsched_hpc import SlurmRunner
from axsched_hpc.core.states import TrialState
from tests.ax_plugin.kit import check, ended, ledger, prepared, run, start, statuses
from tests.slurm.harness import Cluster


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_twenty_four_trials_eight_at_a_time_in_two_processes(tmp_path: Path, acct_cluster: Cluster) -> None:
    ended(start(tmp_path, "slurm", 12, 8, "new"))
    first = Client.load_from_json_file(str(tmp_path / "client.json"))
    assert statuses(first) == {"COMPLETED": 12}
    ended(start(tmp_path, "slurm", 12, 8, "more"))
    check(tmp_path, 24)
    # Eight at a time is what Ax was allowed.
    times = [(a.submitted, a.ended) for t in ledger(tmp_path / "run").trials.values() for a in t.attempts]
    assert max(sum(s <= begun < e for s, e in times if s and e) for begun, _ in times if begun) <= 8


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_killed_right_after_sbatch_nothing_is_lost_and_nothing_is_run_twice(
    tmp_path: Path, noacct_cluster: Cluster
) -> None:
    # Ax has saved nothing yet; five jobs are known to nobody but Slurm, or to the journal.
    ended(start(tmp_path, "slurm", 9, 4, "new", fault=("batch.submitted", "kill 5")), -9)
    assert len(Client.load_from_json_file(str(tmp_path / "client.json"))._experiment.trials) == 0
    ended(start(tmp_path, "slurm", 9, 4, "finish"))
    check(tmp_path, 9)


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
