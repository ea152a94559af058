"""Ax drives local processes: Client.run_trials, the Orchestrator, and what they do at errors."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
    report,
)
from axsched_hpc.ax_plugin import AxRunnerError, FileMetric, SubmititAxRunner, bring_back
from axsched_hpc.cli import cli
from axsched_hpc.core.states import TrialState
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.submitit_runner import SubmititRunner
from tests.ax_plugin.kit import (
    bowl,
    check,
    client,
    ended,
    executions,
    ledger,
    losses,
    prepared,
    run,
    start,
    statuses,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in vain waited for {what}"
        time.sleep(0.02)


# ---------------------------------------------------------------- the usual ways


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


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


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


# ---------------------------------------------------------------- failures


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
    import os
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


# ---------------------------------------------------------------- stopping


def slow_at_the_right(parameters: dict[str, Any]) -> dict[str, float]:
    import time

    for step in range(600 if parameters["x"] > 0.5 else 2):
        report(step, loss=parameters["x"])
        if parameters["x"] > 0.5:
            time.sleep(0.1)
    return {"loss": parameters["x"]}


def test_the_orchestrator_stops_unpromising_trials_early(directory: Path) -> None:
    from ax.early_stopping.strategies import ThresholdEarlyStoppingStrategy

    made = prepared(directory, LocalRunner(2), slow_at_the_right, curve=True, lower_is_better=True)
    strategy = ThresholdEarlyStoppingStrategy(
        metric_signatures=["loss"], metric_threshold=0.5, min_progression=1, min_curves=0
    )
    run(made, 4, early_stopping_strategy=strategy)
    right = {n: t.arm.parameters["x"] > 0.5 for n, t in made._experiment.trials.items()}
    assert set(right.values()) == {True, False}
    for number, trial in made._experiment.trials.items():
        expected = TrialStatus.EARLY_STOPPED if right[number] else TrialStatus.COMPLETED
        assert trial.status is expected
        frame = made._experiment.lookup_data().full_df
        steps = frame[frame.trial_index == number]["step"].tolist()
        assert len(steps) >= 2
        assert steps == sorted(set(steps))
    asked = [made._experiment.trials[n] for n, stopped in right.items() if stopped]

    def ended() -> bool:
        made._experiment.runner.poll_trial_status(asked)
        found = ledger(directory).trials
        return all(found[trial.index].state is TrialState.EARLY_STOPPED for trial in asked)

    wait_for(ended, "the jobs of stopped trials to end")


def many_reports(parameters: dict[str, Any]) -> dict[str, float]:
    for step in range(1000):
        report(step, loss=1.0 / (step + 1), speed=2.0)
    return {"loss": 0.0, "speed": 3.0}


def test_metrics_with_and_without_curves_side_by_side(directory: Path) -> None:
    made = prepared(directory, LocalRunner(1), many_reports, curve=True)
    made.configure_metrics([FileMetric("speed")])
    run(made, 1)
    frame = made._experiment.lookup_data().full_df
    speed = frame[frame["metric_name"] == "speed"]
    assert speed[["step", "mean"]].to_numpy().tolist() == [[999.0, 3.0]]
    steps = frame[frame["metric_name"] == "loss"]["step"].tolist()
    # A long curve is thinned; its end has the final value.
    assert (steps[:3], steps[-1]) == ([0.0, 1.0, 2.0], 999.0)
    assert 200 < len(steps) < 500
    assert losses(made) == {0: 0.0}


def test_only_the_metrics_with_curves_are_fetched_while_trials_run() -> None:
    groups = {FileMetric(name, curve).fetch_multi_group_by_metric for name in "ab" for curve in (True, False)}
    assert len(groups) == 2


def test_stopping_ends_what_runs_and_what_waits(directory: Path) -> None:
    made = prepared(directory, LocalRunner(1), slow_at_the_right)
    experiment, runner = made._experiment, made._experiment.runner
    trials = [experiment.attach_trial([{"x": 0.9, "y": y}])[1] for y in (0.1, 0.2)]
    trials = [experiment.trials[number] for number in trials]
    runner.run_multiple(trials)
    assert runner.poll_available_capacity() == 0
    wait_for(lambda: executions(directory)[0] == 1, "the first to run")
    for trial in trials:
        runner.stop(trial, "not wanted")

    def ended() -> bool:
        runner.poll_trial_status(trials)
        return all(trial.state.final for trial in ledger(directory).trials.values())

    wait_for(ended, "both to end")
    found = ledger(directory).trials
    assert [found[n].state for n in (0, 1)] == [TrialState.EARLY_STOPPED, TrialState.ABANDONED]
    assert {trial.reason for trial in found.values()} == {"not wanted"}
    assert executions(directory) == {0: 1}
    assert runner.poll_available_capacity() == 1


# ---------------------------------------------------------------- what Ax has lost


def test_a_trial_whose_metadata_ax_has_lost_is_not_run_again(directory: Path, tmp_path: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    run(made, 1)
    made.save_to_json_file(str(tmp_path / "early.json"))
    run(made, 2)
    # As where Ax was killed before it could save: the same strategy suggests the same points again.
    loaded = Client.load_from_json_file(str(tmp_path / "early.json"))
    run(loaded, 2)
    assert statuses(loaded) == {"COMPLETED": 3}
    assert losses(loaded) == pytest.approx(losses(made))
    assert executions(directory) == dict.fromkeys(range(3), 1)


def test_trials_that_ax_has_lost_are_brought_back(directory: Path, tmp_path: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    run(made, 1)
    made.save_to_json_file(str(tmp_path / "early.json"))
    run(made, 3)
    loaded = Client.load_from_json_file(str(tmp_path / "early.json"))
    assert bring_back(loaded) == [1, 2, 3]
    assert statuses(loaded) == {"COMPLETED": 1, "RUNNING": 3}
    assert bring_back(loaded) == []
    run(loaded, 2)
    assert statuses(loaded) == {"COMPLETED": 6}
    assert executions(directory) == dict.fromkeys(range(6), 1)
    for number in range(1, 4):
        before, after = (each._experiment.trials[number] for each in (made, loaded))
        assert after.arm == before.arm
        assert after.generator_run.gen_metadata == before.generator_run.gen_metadata
        assert after.run_metadata["job"] == before.run_metadata["job"]
    # The strategy has gone on from the trials that were brought back.
    parameters = [tuple(t.arm.parameters.values()) for t in loaded._experiment.trials.values()]
    assert len(set(parameters)) == 6


def test_a_trial_with_other_parameters_than_the_directory_has_is_refused(
    directory: Path, tmp_path: Path
) -> None:
    run(prepared(directory, LocalRunner(2)), 2)
    other = client(seed=2)
    other.configure_runner(SubmititAxRunner(directory, LocalRunner(2)))
    other.configure_metrics([FileMetric("loss")])
    other._experiment.attach_trial([{"x": 0.25, "y": 0.25}])
    with pytest.raises(AxRunnerError, match=r"Trial 0 has the parameters .*bring_back\(client\)"):
        other._experiment.runner.run_multiple([other._experiment.trials[0]])
    with pytest.raises(AxRunnerError, match="Trial 0 has the parameters"):
        other._experiment.runner.bring_back(other)
    assert executions(directory) == {0: 1, 1: 1}


@pytest.mark.parametrize(
    ("point", "action"), [("batch.planned", "kill 2"), ("inbox.recorded", "kill"), ("journal.torn", "kill 6")]
)
def test_killed_at_a_point_of_its_life_nothing_is_lost_and_nothing_is_run_twice(
    tmp_path: Path, point: str, action: str
) -> None:
    ended(start(tmp_path, "local", 4, 2, "new", fault=(point, action)), -9)
    ended(start(tmp_path, "local", 4, 2, "finish"))
    check(tmp_path, 4)


def test_trials_can_only_be_brought_back_by_a_runner_of_this_kind() -> None:
    with pytest.raises(AxRunnerError, match="configure_runner first"):
        bring_back(client())


# ---------------------------------------------------------------- what is refused


def test_a_directory_of_another_experiment_is_refused(directory: Path) -> None:
    run(prepared(directory, LocalRunner(2)), 1)
    other = client()
    other.configure_optimization(objective="loss")
    other.configure_runner(SubmititAxRunner(directory, LocalRunner(2)))
    other.configure_metrics([FileMetric("loss")])
    with pytest.raises(AxRunnerError, match="'maximize loss' is here, not there"):
        run(other, 1)
    other._experiment.runner.close()
    with pytest.raises(AxRunnerError, match="holds another experiment"):
        run(other, 1)


def test_trials_that_it_does_not_know_stop_ax_rather_than_wait_for_ever(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    made.get_next_trials(max_trials=1)
    with pytest.raises(AxRunnerError, match=r"Trial 0 is running as far as Ax knows.*mark_trial_failed"):
        run(made, 1)
    assert made._experiment.trials[0].status is TrialStatus.RUNNING


def test_a_directory_that_another_process_drives_is_refused_and_no_trial_is_abandoned(
    directory: Path, tmp_path: Path
) -> None:
    made = prepared(directory, LocalRunner(2), slow_at_the_right)
    number = made._experiment.attach_trial([{"x": 0.9, "y": 0.1}])[1]
    trial = made._experiment.trials[number]
    trial.update_run_metadata(made._experiment.runner.run(trial))
    made.save_to_json_file(str(tmp_path / "saved.json"))
    other = (
        "import sys; from ax.api.client import Client; import axsched_hpc.ax_plugin\n"
        "client = Client.load_from_json_file(sys.argv[1])\n"
        "try:\n    client.run_trials(max_trials=0)\n"
        "except axsched_hpc.ax_plugin.AxRunnerError as error:\n    print(type(error.__cause__).__name__)\n"
        "print(client._experiment.trials[0].status.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", other, str(tmp_path / "saved.json")],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert done.stdout.split() == ["ExperimentLockedError", "RUNNING"]
    made._experiment.runner.stop(trial)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"synchronous": False}, "is an option of AxScheduler"),
        ({"retrys": {}}, "Did you mean 'retries'"),
        ({"lost_after": -1}, "takes a number of seconds"),
    ],
    ids=["of the scheduler", "misspelt", "out of range"],
)
def test_options_are_checked(directory: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SubmititAxRunner(directory, LocalRunner(), options)
    assert not directory.exists()


def test_what_is_no_runner_is_refused(directory: Path) -> None:
    with pytest.raises(ConfigError, match="takes a runner such as"):
        SubmititAxRunner(directory, "slurm")  # type: ignore[arg-type]


def test_without_an_objective_it_says_which_calls_set_one(directory: Path) -> None:
    made = client()
    made.configure_runner(SubmititAxRunner(directory, LocalRunner(2)))
    made.configure_metrics([FileMetric("loss")])
    with pytest.raises(AxRunnerError, match=r"No objective is set.*set_script_objective"):
        run(made, 1)


def test_one_trial_by_its_parameters_alone_is_refused(directory: Path) -> None:
    runner = SubmititAxRunner(directory, LocalRunner(2))
    with pytest.raises(AxRunnerError, match=r"Call run\(trial\)"):
        runner.run_trial(0, {"x": 0.5})
    with pytest.raises(AxRunnerError, match="was run or polled in this process yet"):
        runner.poll_trial(0, {})


def test_a_trial_of_several_arms_is_refused(directory: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    batch = made._experiment.new_batch_trial()
    with pytest.raises(AxRunnerError, match="only trials of one arm"):
        made._experiment.runner.run_multiple([batch])


def test_the_saved_text_holds_no_pickle_and_no_class_of_python(directory: Path, tmp_path: Path) -> None:
    made = prepared(directory, LocalRunner(2))
    made.save_to_json_file(str(tmp_path / "saved.json"))
    saved = json.loads((tmp_path / "saved.json").read_text())["experiment"]["runner"]
    name = saved.pop("objective")
    assert (directory / "objective" / name / "objective.json").exists()
    assert saved == {
        "__type": "SubmititAxRunner",
        "directory": str(directory),
        "runner": {"class": "LocalRunner", "arguments": {"max_parallel": 2}},
        "config": {"monitoring_interval": 1},
    }
