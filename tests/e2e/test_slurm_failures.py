"""What Slurm's limits do to trials, and what Slurm refuses: the message, and what follows."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from axsched_hpc import AxScheduler, ConfigError, SlurmRunner, SubmissionError
from axsched_hpc.cli import cli
from axsched_hpc.core.events import Request
from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.io import queue
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import bowl, client
from tests.slurm.harness import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]


def made(folder: Path, runner: SlurmRunner, trials: int = 2, **options: Any) -> AxScheduler:
    return AxScheduler(
        client(initial=trials),
        runner,
        {
            "job_output_dir": folder / "run",
            "monitoring_interval": 1,
            "poll_interval": 0.2,
            "failure_rate": 1.0,
            **options,
        },
    )


def greedy(trial: dict[str, Any]) -> dict[str, float]:
    """Needs more time than it has in the first attempt, or more memory; by its x."""
    import os
    import time

    first = os.environ["AXSCHED_ATTEMPT"] == "1"
    if first and trial["x"] < 0.5:
        time.sleep(600)
    elif first:
        data = bytearray(400_000_000)
        data[::4096] = b"x" * len(data[::4096])
        time.sleep(600)
    return {"loss": trial["x"]}


def test_more_time_and_more_memory(slurm_cluster: Cluster, tmp_path: Path) -> None:
    runner = SlurmRunner(
        memory="200M", time_limit=1, max_parallel=2, config={"sbatch_options": {"acctg-freq": "1"}}
    )
    rules = {
        "timeout": {"attempts": 1, "time_factor": 1.5},
        "out_of_memory": {"attempts": 1, "memory_factor": 3},
    }
    scheduler = made(tmp_path, runner, retries=rules)
    scheduler.set_objective_function(greedy)
    with scheduler.batch_trial_context() as batch:
        batch.add_trial({"x": 0.25, "y": 0.0})
        batch.add_trial({"x": 0.75, "y": 0.0})
    slow, large = read_experiment(tmp_path / "run").ledger.trials.values()
    assert (slow.state, large.state) == (TrialState.COMPLETED, TrialState.COMPLETED)

    (failure,) = slow.failures()
    # A signal of submitit's before the limit would end the worker, and Slurm would say FAILED.
    assert (failure.kind, failure.limit_s) == (FailureKind.TIMED_OUT, 60)
    assert slow.attempts[1].request == Request(time_s=90)
    assert "it reached its time limit (state TIMEOUT)" in failure.message
    assert failure.elapsed_s is not None and 55 <= failure.elapsed_s <= 130
    assert failure.hint.startswith("Ended by Slurm: the job asked for 00:01:00, and it ")

    (failure,) = large.failures()
    assert (failure.kind, failure.asked_mb) == (FailureKind.OUT_OF_MEMORY, 200)
    assert large.attempts[1].request == Request(memory_mb=600)
    assert failure.hint.startswith("Killed for its memory: the job asked for 200 MB")
    if slurm_cluster.accounting:
        # Slurm ends it at the first sample that is too large, which may be taken while it still grows.
        assert failure.used_mb is not None and 200 < failure.used_mb < 600


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"partion": "main"}, ConfigError, r"no option --partion, .* Did you mean 'partition'\?"),
        ({"constraint": "rainbow"}, SubmissionError, "Invalid feature specification"),
        ({"partition": "nowhere"}, SubmissionError, "(?i)invalid partition.*`sinfo` lists the partitions"),
        ({"gres": "unicorn:1"}, SubmissionError, "Invalid generic resource"),
        ({"time": "tomorrow"}, SubmissionError, "Invalid --time specification. sbatch\\(1\\) says"),
    ],
)
def test_what_sbatch_refuses_is_refused_before_anything_is_asked_for(
    slurm_cluster: Cluster, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    scheduler = made(tmp_path, SlurmRunner(memory="100M", config={"sbatch_options": options}))
    scheduler.set_objective_function(bowl)
    with pytest.raises(error, match=words):
        scheduler.run_optimization(max_trials=2)
    assert read_experiment(tmp_path / "run").ledger.trials == {}
    assert list((tmp_path / "run/submitit").iterdir()) == []


def test_a_job_that_never_starts(
    slurm_cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the reason, the user hears of it and of what to do; when it has passed, the run goes on."""
    reason, hint, remedy, runner = _HINDERED[slurm_cluster.accounting]
    scheduler = made(
        tmp_path, SlurmRunner(memory="100M", time_limit=5, **runner), stuck_after=2, synchronous=False
    )
    scheduler.set_objective_function(bowl)
    with caplog.at_level(logging.INFO, "axsched_hpc"), scheduler.batch_trial_context() as batch:
        batch.add_trial({"x": 0.25, "y": 0.0})
        batch.add_trial({"x": 0.75, "y": 0.0})
    deadline = time.monotonic() + 60
    while "may never start" not in caplog.text:
        assert time.monotonic() < deadline
        scheduler.wait(0.5)
    trials = read_experiment(tmp_path / "run").ledger.trials
    jobs = [str(trial.attempts[0].job) for trial in trials.values()]
    assert (
        f"2 jobs ({jobs[0]}, {jobs[1]}) may never start. Slurm's reason: {reason}. What to do: {hint}"
    ) in caplog.text
    shown = CliRunner().invoke(cli, ["status", str(tmp_path / "run")]).output
    assert shown.count(f"waits for {reason}: {hint}") == 2
    assert queue.read(Layout.at(tmp_path / "run")).waits == {reason: (0, 1)}
    for job in jobs:
        assert slurm_cluster.run("scontrol", "update", f"JobId={job}", remedy).returncode == 0
    scheduler.wait()
    trials = read_experiment(tmp_path / "run").ledger.trials
    assert [trial.state for trial in trials.values()] == [TrialState.COMPLETED] * 2
    assert "waits for" not in CliRunner().invoke(cli, ["status", str(tmp_path / "run")]).output


#: With accounting or without: Slurm's reason, what to do, how to make it pass, and what brings it about.
_HINDERED: dict[bool, tuple[str, str, str, dict[str, Any]]] = {
    True: (
        "AssocGrpCPUMinutesLimit",
        "the account's compute time is used up",
        "Account=root",
        {"account": "spent"},
    ),
    False: (
        "PartitionTimeLimit",
        "time_limit is beyond the partition's",
        "TimeLimit=1",
        {"partition": "short"},
    ),
}
