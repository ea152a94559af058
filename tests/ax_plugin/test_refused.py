"""What the plugin refuses, so that Ax stops and no trial is abandoned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ax.core.trial_status import TrialStatus

from axsched_hpc import (
    ConfigError,
    LocalRunner,
)
from axsched_hpc.ax_plugin import AxRunnerError, FileMetric, SubmititAxRunner
from tests import scripts
from tests.ax_plugin.kit import (
    client,
    prepared,
    run,
    slow_at_the_right,
)


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
    (tmp_path / "other.py").write_text(other)
    done = scripts.run(tmp_path / "other.py", [tmp_path / "saved.json"], folder=tmp_path)
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
