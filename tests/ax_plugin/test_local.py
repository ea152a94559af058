"""Ax drives local processes: Client.run_trials, the Orchestrator, and what they do at errors."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ax.api.client import Client
from ax.core.trial_status import TrialStatus
from ax.orchestration.orchestrator import FailureRateExceededError
from click.testing import CliRunner

from axsched_hpc import (
    AxScheduler,
    ConfigError,
    LocalRunner,
    MetricsError,
    ObjectiveError,
    SubmissionError,
)
from axsched_hpc.ax_plugin import AxRunnerError, FileMetric, SubmititAxRunner
from axsched_hpc.cli import cli
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.submitit_runner import SubmititRunner
from tests.ax_plugin.kit import (
    bowl,
    client,
    executions,
    ledger,
    losses,
    prepared,
    run,
    slow_at_the_right,
    statuses,
    wait_for,
)


def test_client_run_trials(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    made.configure_metrics([FileMetric("cost")])
    made.run_trials(max_trials=3, parallelism=2, initial_seconds_between_polls=1)
    assert statuses(made) == {"COMPLETED": 3}
    frame = made._experiment.lookup_data().df
    assert {
        (row.metric_name, row.mean, row.sem) for row in frame.itertuples() if row.metric_name == "cost"
    } == {("cost", 1.0, 0.1)}
    for number, loss in losses(made).items():
        assert loss == pytest.approx(bowl(made._experiment.trials[number].arm.parameters)["loss"])
        assert math.isnan(frame[(frame.trial_index == number) & (frame.metric_name == "loss")]["sem"].item())
    assert executions(directory) == dict.fromkeys(range(3), 1)
    metadata = made._experiment.trials[1].run_metadata
    assert metadata["directory"] == str(directory)
    assert (metadata["attempt"], metadata["job"]) == (1, ledger(directory).trials[1].attempts[0].job)
    parameters, _, _, _ = made.get_best_parameterization()
    assert set(parameters) == {"x", "y"}


def test_trials_that_are_submitted_together_are_one_batch(directory: Path) -> None:
    made = prepared(directory, LocalRunner(3))
    run(made, 5, parallelism=3)
    assert statuses(made) == {"COMPLETED": 5}
    assert len(next(iter(ledger(directory).batches.values()))) == 3


class Counting(SubmititRunner):
    """Counts what the scheduler is asked."""

    def __init__(self) -> None:
        super().__init__("local", 20)
        self.cheap_poll = False
        self.polls = 0

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        self.polls += 1
        return super().poll(jobs)


def test_a_poll_of_many_trials_is_one_query_and_not_more_often_than_it_is_allowed(directory: Path) -> None:
    counting = Counting()
    made = prepared(directory, counting, slow_at_the_right)
    experiment, runner = made._experiment, made._experiment.runner
    for place in range(5):
        experiment.attach_trial([{"x": 0.9, "y": place / 10}])
    trials = list(experiment.trials.values())
    runner.run_multiple(trials)
    assert runner.poll_available_capacity() == 15
    begun = time.monotonic()
    for _ in range(10):
        assert runner.poll_trial_status(trials) == {TrialStatus.RUNNING: set(range(5))}
    # config["monitoring_interval"] is a second.
    assert 1 <= counting.polls <= 2 + time.monotonic() - begun
    for trial in trials:
        runner.stop(trial)


def test_a_script_as_the_objective(directory: Path, tmp_path: Path) -> None:
    script = tmp_path / "half.sh"
    script.write_text('#!/bin/sh\necho "loss 0.5" > "$AXSCHED_METRICS_FILE"\n')
    script.chmod(0o700)
    made = client()
    runner = SubmititAxRunner(directory, LocalRunner(1))
    runner.set_script_objective(script)
    made.configure_runner(runner)
    made.configure_metrics([FileMetric("loss")])
    run(made, 1)
    assert losses(made) == {0: 0.5}
    with pytest.raises(ObjectiveError, match=r"unknown placeholder \{z\}"):
        runner.set_script_objective(script, {"args": ["{z}"]})
    runner.close()
    # Which parameters there are is not known before the first trial.
    runner.set_script_objective(script, {"args": ["{z}"]})
    with pytest.raises(AxRunnerError, match=r"unknown placeholder \{z\}"):
        run(made, 1)


def test_what_is_saved_as_json_goes_on_when_it_is_loaded(directory: Path, tmp_path: Path) -> None:
    made = prepared(directory, LocalRunner(2), curve=True, lower_is_better=True)
    run(made, 2)
    made.save_to_json_file(str(tmp_path / "saved.json"))
    loaded = Client.load_from_json_file(str(tmp_path / "saved.json"))
    assert loaded._experiment.runner == made._experiment.runner
    metric = loaded._experiment.metrics["loss"]
    assert isinstance(metric, FileMetric)
    assert (metric.curve, metric.lower_is_better) == (True, True)
    # The objective was not set again, and the directory is still held by the same process.
    run(loaded, 2)
    assert statuses(loaded) == {"COMPLETED": 4}
    assert executions(directory) == dict.fromkeys(range(4), 1)


def test_it_is_a_runner_for_an_experiment_without_a_client(directory: Path) -> None:
    made = client()
    experiment = made._experiment
    experiment.runner = SubmititAxRunner(directory, LocalRunner(2))
    experiment.runner.set_objective_function(bowl)
    trial = experiment.new_trial(made._generation_strategy_or_choose().gen_single_trial(experiment))
    trial.run()
    wait_for(
        lambda: bool(experiment.runner.poll_trial_status([trial]).get(TrialStatus.COMPLETED)), "the trial"
    )
    assert experiment.runner.poll_trial(0, trial.run_metadata) is TrialStatus.COMPLETED
    step, (mean, sem) = FileMetric("cost").fetch(0, trial.run_metadata)
    assert (step, mean, sem) == (0, 1.0, 0.1)


def test_the_command_line_reads_the_directory(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    run(made, 2)
    for command in ("status", "best"):
        done = CliRunner().invoke(cli, [command, str(directory)])
        assert done.exit_code == 0
        assert "loss" in done.output
    assert not (directory / "experiment.json").exists()


def test_axscheduler_goes_on_in_the_same_directory(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    run(made, 2)
    made._experiment.runner.close()
    with AxScheduler(made, LocalRunner(2), {"job_output_dir": directory, "poll_interval": 0.05}) as scheduler:
        scheduler.run_optimization(max_trials=2)
    assert statuses(made) == {"COMPLETED": 4}
    assert executions(directory) == dict.fromkeys(range(4), 1)


def test_axscheduler_cannot_make_the_experiment_from_the_directory_alone_and_says_where_it_is(
    directory: Path,
) -> None:
    made = prepared(directory, LocalRunner(2))
    run(made, 1)
    made._experiment.runner.close()
    with pytest.raises(ConfigError, match=r"Ax itself has driven it.*Client.load_from_json_file"):
        AxScheduler.resume(directory, LocalRunner(2))


def broken_at_the_right(parameters: dict[str, Any]) -> dict[str, float]:
    if parameters["x"] > 0.5:
        raise ValueError("the mesh is too coarse")
    return {"loss": parameters["x"]}


def test_an_objective_that_fails_fails_its_trial_with_its_message(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2), broken_at_the_right)
    run(made, 4)
    by_x = {trial.arm.parameters["x"] > 0.5: trial for trial in made._experiment.trials.values()}
    assert by_x[True].status is TrialStatus.FAILED
    assert "the mesh is too coarse" in by_x[True].status_reason
    assert by_x[False].status is TrialStatus.COMPLETED
    assert executions(directory) == dict.fromkeys(range(4), 1)


def test_a_metric_that_the_objective_does_not_report_fails_the_trial(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2), lambda parameters: {"los": parameters["x"]})
    with pytest.raises(FailureRateExceededError):
        run(made, 1)
    trial = made._experiment.trials[0]
    assert trial.status is TrialStatus.FAILED
    assert "lacks 'loss'" in trial.status_reason


def test_a_further_metric_that_is_missing_is_said_by_name_and_file(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    run(made, 1)
    trial = made._experiment.trials[0]
    with pytest.raises(MetricsError, match=r"without reporting 'speed'; .*metrics.json has 'cost', 'loss'"):
        FileMetric("speed").fetch(0, trial.run_metadata)
    said = FileMetric("speed").fetch_trial_data(trial).unwrap_err()
    assert "without reporting 'speed'" in said.message
    assert "was not run by" in FileMetric("loss").fetch_trial_data(client_trial()).unwrap_err().message


def client_trial() -> Any:
    made = client()
    made.get_next_trials(max_trials=1)
    return made._experiment.trials[0]


def killed_once(parameters: dict[str, Any]) -> dict[str, float]:
    import signal

    if os.environ["AXSCHED_ATTEMPT"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"loss": 1.0}


def test_a_worker_that_was_killed_is_repeated_and_ax_sees_one_trial(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2), killed_once)
    run(made, 1)
    assert statuses(made) == {"COMPLETED": 1}
    assert len(ledger(directory).trials[0].attempts) == 2


class Refusing(SubmititRunner):
    """Takes nothing."""

    def __init__(self) -> None:
        super().__init__("local", 2)
        self.asked_for = 0

    def submit(self, batch: Batch) -> dict[int, str]:
        self.asked_for += 1
        raise SubmissionError("sbatch: error: invalid partition specified: mian")


def test_a_refusal_for_good_stops_ax_at_once_and_the_trial_is_run_later(directory: Path) -> None:
    refusing = Refusing()
    made = prepared(directory, refusing)
    with pytest.raises(AxRunnerError, match="invalid partition") as caught:
        run(made, 1)
    assert isinstance(caught.value.__cause__, SubmissionError)
    assert refusing.asked_for == 1
    assert statuses(made) == {"CANDIDATE": 1}
    made.configure_runner(SubmititAxRunner(directory, LocalRunner(1)))
    run(made, 1)
    assert statuses(made) == {"COMPLETED": 1}
    assert executions(directory) == {0: 1}
