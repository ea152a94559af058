"""What users do that nobody planned for: each ends in an error that says so, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, ConfigError, JournalError, LocalRunner, ObjectiveError
from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import bowl, client


def scheduler(folder: Path, **config: Any) -> AxScheduler:
    made = AxScheduler(client(), LocalRunner(2), {"job_output_dir": folder, "poll_interval": 0.1, **config})
    made.set_objective_function(bowl)
    return made


def test_the_directory_is_removed_while_the_scheduler_is_open(tmp_path: Path) -> None:
    with scheduler(tmp_path / "run") as made:
        made.run_optimization(max_trials=1)
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(
            JournalError, match=r"00001\.jsonl has been moved or removed while this driver ran"
        ):
            made.run_optimization(max_trials=1)
    assert not (tmp_path / "run" / "trials").exists()
    assert len(read_experiment(tmp_path / "moved").ledger.trials) == 1


def test_the_objective_is_removed_before_a_resume(tmp_path: Path) -> None:
    with scheduler(tmp_path / "run") as made:
        made.run_optimization(max_trials=1)
    shutil.rmtree(next((tmp_path / "run" / "objective").iterdir()) / "files")
    with (
        AxScheduler.resume(tmp_path / "run", LocalRunner(2)) as again,
        pytest.raises(ObjectiveError, match=r"is not what was installed|cannot be read"),
    ):
        again.run_optimization(max_trials=1)
    assert len(read_experiment(tmp_path / "run").ledger.trials) == 1


def test_a_run_inside_a_batch_block(tmp_path: Path) -> None:
    with scheduler(tmp_path / "run") as made:
        with (
            pytest.raises(AxSchedError, match="Other trials were added while this batch was open"),
            made.batch_trial_context() as batch,
        ):
            assert batch.add_trial({"x": 0.1, "y": 0.2}) == 0
            made.run_optimization(max_trials=1)
        assert len(made.experiment.trials) == 1
        with made.batch_trial_context() as batch:
            assert batch.add_trial({"x": 0.1, "y": 0.2}) == 1
        assert made.result.trials["trial_status"].tolist() == ["COMPLETED", "COMPLETED"]


@pytest.mark.parametrize("path", ["/proc/x.json", "missing/deep/x.json", "file/x.json"])
def test_a_path_that_cannot_be_saved_to(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    made = scheduler(tmp_path / "run")
    with pytest.raises(ConfigError, match="The experiment cannot be saved to"):
        made.save_experiment(tmp_path / path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]


def test_no_path_at_all(tmp_path: Path) -> None:
    with scheduler(tmp_path / "run") as made:
        with pytest.raises(ConfigError, match="path is None"):
            made.save_experiment(None)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="path is None"):
            made.load_experiment(None)  # type: ignore[arg-type]


def test_a_runner_without_parentheses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runner is the class LocalRunner; write LocalRunner\(\)"):
        AxScheduler(client(), LocalRunner, {"job_output_dir": tmp_path})  # type: ignore[arg-type]


def test_a_run_that_must_go_on_makes_nothing_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no experiment"):
        scheduler(tmp_path / "run", resume="must").run_optimization(max_trials=1)
    assert not (tmp_path / "run").exists()
