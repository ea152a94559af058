"""Ax's batch trials as a user runs them: one job for each arm or one for all, and an interrupted run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner
from axsched_hpc.cli import cli
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners.base import BaseRunner
from tests.e2e.kit import bowl, client
from tests.slurm.harness import Cluster


def experiment() -> Any:
    """What the user's script makes: an experiment with a batch trial of his own, which is still to be run."""
    from ax.core.arm import Arm

    made = client()._experiment
    batch = made.new_batch_trial()
    batch.add_arms_and_weights([Arm({"x": 0.1, "y": 0.1}), Arm({"x": 1.0, "y": 0.2})], weights=[1.0, 3.0])
    return made


def scheduler(folder: Path, runner: BaseRunner, objective: Callable[..., Any], **options: Any) -> AxScheduler:
    made = AxScheduler(
        experiment(),
        runner,
        {
            "job_output_dir": folder / "run",
            "poll_interval": 0.1,
            "monitoring_interval": 1,
            "seed": 5,
            "arms_per_trial": 3,
            **options,
        },
    )
    made.set_objective_function(objective)
    return made


def frame_of(made: AxScheduler) -> list[tuple[Any, ...]]:
    frame = made.result.trials
    return list(zip(frame["number"], frame["trial_index"], frame["arm_name"], strict=True))


def test_a_run_that_is_interrupted_in_the_middle_of_a_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "axsched_hpc")

    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        trial = int(os.environ["AXSCHED_TRIAL"])
        with (tmp_path / "log").open("a") as log:
            log.write(f"{trial}\n")
        while trial >= 3 and not (tmp_path / "gate").exists():
            time.sleep(0.05)
        if parameters["x"] == 1.0:
            raise ValueError("the mesh broke")
        return bowl(parameters)

    def interrupt() -> None:
        # The third arm of the second batch begins when one of the other two has ended.
        while not (tmp_path / "log").exists() or "4" not in (tmp_path / "log").read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    first = scheduler(tmp_path, LocalRunner(2), objective)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(SystemExit):
        first.run_optimization(max_trials=8)
    thread.join()
    trials = first.experiment.trials
    assert [(t.status.name, t.abandoned_arm_names) for t in trials.values()] == [
        ("COMPLETED", {"0_1"}),
        ("RUNNING", set()),
    ]
    # One arm of the second batch has ended, and Ax is told when all have.
    assert read_experiment(tmp_path / "run").ledger.counts[TrialState.COMPLETED] == 2
    assert list(first.experiment.data.df["arm_name"]) == ["0_0"]
    first.close()

    (tmp_path / "gate").touch()
    again = scheduler(tmp_path, LocalRunner(2), objective)
    best = again.run_optimization(max_trials=8)
    assert sorted((tmp_path / "log").read_text().split()) == [str(n) for n in range(8)]
    assert [t.status.name for t in again.experiment.trials.values()] == ["COMPLETED"] * 3
    assert again.experiment.trials[0].weights == [1.0, 3.0]
    arms = [(0, "0_0"), (0, "0_1"), *((i, f"{i}_{n}") for i in (1, 2) for n in range(3))]
    assert frame_of(again) == [(number, *arm) for number, arm in enumerate(arms)]
    assert len(again.experiment.data.df) == 7
    result = again.result
    assert result.best_trial is not None
    assert best == read_experiment(tmp_path / "run").ledger.trials[result.best_trial].parameters
    ((failed, reason),) = ((each.trial, each.reason) for each in result.failures)
    assert failed == 1
    assert "the mesh broke" in reason
    assert again.experiment.trials[0].abandoned_arms_metadata[0].reason == reason
    again.close()

    assert "trial 1 (arm 0_1), attempt 1: " in caplog.text
    assert "trial 2 (arm 1_0) completed" in caplog.text
    shown = CliRunner().invoke(cli, ["status", str(tmp_path / "run")]).output
    assert "\ntrial  arm  state" in shown
    assert "\n5      2_0  completed" in shown
    resumed = AxScheduler.resume(tmp_path / "run", LocalRunner(2), {"arms_per_trial": 3})
    there, here = again.experiment, resumed.experiment
    assert [here.trials[n] for n in (1, 2)] == [there.trials[n] for n in (1, 2)]
    assert here.trials[0].weights == [1.0, 3.0]
    assert here.trials[0].abandoned_arms_metadata == there.trials[0].abandoned_arms_metadata
    assert here.data == there.data
    resumed.close()


@pytest.mark.slurm
def test_one_job_for_all_arms_or_one_for_each(acct_cluster: Cluster, tmp_path: Path) -> None:
    small: dict[str, Any] = {"memory": "100M", "time_limit": "00:10:00", "max_parallel": 6}
    packed = scheduler(tmp_path, SlurmRunner(trials_per_job=3, **small), bowl)
    packed.run_optimization(max_trials=8)
    packed.close()
    single = scheduler(tmp_path, SlurmRunner(**small), bowl)
    single.run_optimization(max_trials=3)
    single.close()
    trials = read_experiment(tmp_path / "run").ledger.trials
    assert {trial.state for trial in trials.values()} == {TrialState.COMPLETED}
    jobs: dict[str, list[str]] = {}
    for trial in trials.values():
        jobs.setdefault((trial.attempts[-1].job or "").partition("#")[0], []).append(trial.arm)
    assert list(jobs.values()) == [
        ["0_0", "0_1"],
        ["1_0", "1_1", "1_2"],
        ["2_0", "2_1", "2_2"],
        ["3_0"],
        ["3_1"],
        ["3_2"],
    ]
    assert [t.status.name for t in single.experiment.trials.values()] == ["COMPLETED"] * 4
    data = single.experiment.data.df
    assert list(zip(data["trial_index"], data["arm_name"], strict=True)) == [
        (int(trial.arm[0]), trial.arm) for trial in trials.values()
    ]
