"""What Ax has lost, by a kill or an old save, is brought back, and not run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from ax.api.client import Client

from axsched_hpc import (
    LocalRunner,
)
from axsched_hpc.ax_plugin import AxRunnerError, FileMetric, SubmititAxRunner, bring_back
from tests.ax_plugin.kit import (
    check,
    client,
    ended,
    executions,
    losses,
    prepared,
    run,
    start,
    statuses,
)


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
