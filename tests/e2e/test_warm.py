"""Experiments that begin with earlier evaluations, with points of the user's own, and with a baseline."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from axsched_hpc import AxScheduler, ConfigError, FailureRateError, LocalRunner, ParameterError, report
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.reporting.table import status_text
from tests import scripts
from tests.e2e.kit import bowl, client

ROOT = Path(__file__).resolve().parents[2]

BY_HAND = [({"x": 0.1 * n, "y": 0.5}, {"loss": 0.1 * n}) for n in range(3)]


def scheduler(directory: Path, source: Any = None, **options: Any) -> AxScheduler:
    made = AxScheduler(
        client(initial=20) if source is None else source,
        LocalRunner(max_parallel=2),
        {"job_output_dir": directory, "poll_interval": 0.1, "monitoring_interval": 0.1, **options},
    )
    made.set_objective_function(bowl)
    return made


def rows(experiment: Any) -> list[tuple[dict[str, Any], float]]:
    """Parameters and loss of the completed trials."""
    losses = {row.trial_index: row.mean for row in experiment.data._data_rows}
    completed = [t for t in experiment.trials.values() if t.status.is_completed]
    return [(dict(trial.arm.parameters), losses[trial.index]) for trial in completed]


def reporting(parameters: dict[str, Any]) -> dict[str, float]:
    report(1, loss=9.0)
    return bowl(parameters)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AxScheduler]:
    """An earlier experiment: two trials by hand, one that was run and has a curve, one that failed."""
    source = client(initial=20)
    made = scheduler(tmp_path_factory.mktemp("earlier") / "run", source)
    made.set_objective_function(reporting)
    with made:
        made.attach(BY_HAND[:2])
        source.mark_trial_failed(source.attach_trial({"x": 0.9, "y": 0.9}))
        made.run_optimization(max_trials=1)
        yield made


@pytest.mark.parametrize("form", ["directory", "csv", "frame", "Client", "Experiment", "object"])
def test_what_an_earlier_experiment_has_evaluated(
    earlier: AxScheduler, tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="axsched_hpc")
    file = tmp_path / "file.json"
    match form:
        case "directory":
            source: Any = earlier.directory
        case "csv":
            earlier.experiment.to_df().to_csv(file)
            source = str(file)
        case "frame":
            source = earlier.experiment.to_df()
        case "Client":
            earlier.client.save_to_json_file(str(file))
            source = file
        case "Experiment":
            from ax.storage.json_store.save import save_experiment

            save_experiment(earlier.experiment, str(file))
            source = file
        case _:
            source = earlier.client
    # Ax's own files have ten digits.
    digits = 1e-9 if form in ("Client", "Experiment") else 0.0
    completed = [(p, pytest.approx(loss, abs=digits)) for p, loss in rows(earlier.experiment)]
    with scheduler(tmp_path / "run") as made:
        assert made.attach(source) == [0, 1, 2]
        assert made.attach(source) == [0, 1, 2]
        assert rows(made.experiment) == completed
        steps = {row.step for row in made.experiment.data._data_rows if row.step == row.step}
        assert steps - {None} == (set() if form in ("csv", "frame") else {1.0})
    assert "not completed are left out (1 FAILED)" in caplog.text
    assert "Attached 0 trials; 3 were there already." in caplog.text


def test_bad_rows_are_named_and_nothing_is_attached(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "points.csv"
    file.write_text("x,y,loss\n0.1,0.2,0.3\n0.1,two,0.3\n0.1,0.2\n0.1,1.5,nan\n0.5,0.5,1e-3\n")
    with scheduler(tmp_path / "run") as made:
        with pytest.raises(ParameterError) as error:
            made.attach(file)
        first, *bad, last = str(error.value).splitlines()
        assert first == f"3 of 5 evaluations in {file} cannot be used:"
        assert [line.split(":")[0].strip() for line in bad] == ["line 3", "line 4", "line 5"]
        assert ("'y' is 'two'" in bad[0], "it has 2 cells" in bad[1]) == (True, True)
        assert ("'y' is 1.5" in bad[2], "'loss' is nan" in bad[2]) == (True, True)
        read = "Its columns were read as parameters (x, y) and metrics (loss)."
        assert last == f"{read} Nothing was attached. Pass skip_bad=True to attach the others."
        # A directory with a search space that may have to be mended would be in the way.
        assert not (tmp_path / "run").exists()
        assert made.attach(file, skip_bad=True) == [0, 1]
        assert "line 4: it has 2 cells" in caplog.text
        frame = pd.DataFrame({"x": [0.1, 3.0], "y": 0.1, "loss": 0.5, 7: 1.0}, index=[4, 4])
        with pytest.raises(
            ParameterError, match="1 of 2 evaluations in the data frame cannot be used:\n  row 1:"
        ):
            made.attach(frame)
        for source in ("nowhere.csv", 7, {"x": 1}, [3], ROOT):
            with pytest.raises((ParameterError, ConfigError)):
                made.attach(source)
        for points in ([{"x": 0.1, "y": 0.2}, {"x": 0.1}, {"x": 2.0, "y": 0.1}, 3], 5):
            with pytest.raises(ParameterError) as error:
                made.enqueue(points)
        assert len(made.experiment.trials) == 2


def test_points_of_the_queue_are_run_first_and_count(tmp_path: Path) -> None:
    with scheduler(tmp_path / "run") as made:
        made.attach(BY_HAND)
        made.enqueue([{"x": 0.9, "y": 0.1}, {"x": 0.8, "y": 0.1}])
        made.enqueue({"x": 0.7, "y": 0.1})
        assert len(made.experiment.trials) == 3
        made.run_optimization(max_trials=2)
        assert [point["x"] for point, _ in rows(made.experiment)[3:]] == [0.9, 0.8]
        text = status_text(read_experiment(made.directory), now=0.0, width=80)
        assert "queue: 1 point to be run before Ax is asked" in text
    with AxScheduler.resume(tmp_path / "run", LocalRunner(2), {"poll_interval": 0.1}) as again:
        assert again.experiment == made.experiment
        again.run_optimization(max_trials=2)
        alone = client(initial=20)
        for point, metrics in BY_HAND:
            alone.complete_trial(alone.attach_trial(point), metrics)
        expected = [{"x": 0.7, "y": 0.1}, *alone.get_next_trials(1).values()]
        assert [point for point, _ in rows(again.experiment)[5:]] == expected


def failing(parameters: dict[str, Any]) -> dict[str, float]:
    raise ArithmeticError


def test_a_script_that_was_mended_enqueues_only_what_is_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="axsched_hpc")
    points = [{"x": 0.9, "y": 0.1}, {"x": 0.8, "y": 0.1}, {"x": 0.8, "y": 0.1}, {"x": 0.7, "y": 0.1}]
    with scheduler(tmp_path / "run", max_failures=0) as made:
        made.enqueue(points[:2])
        made.set_objective_function(failing)
        with pytest.raises(FailureRateError):
            made.run_optimization(max_trials=1)
    with scheduler(tmp_path / "run") as made:
        made.enqueue(points)
        # Another run of enqueue is another call, whatever its points.
        made.enqueue(points[:1])
    queue = read_experiment(tmp_path / "run").ledger.queue
    assert list(queue.values()) == [points[1], *points[2:], points[0]]
    assert "Enqueued 2 points; 2 were enqueued before the script was started again." in caplog.text


# ---------------------------------------------------------------- the baseline


def costly(parameters: dict[str, Any]) -> dict[str, float]:
    return {**bowl(parameters), "cost": 1.0 + parameters["x"]}


def relative(directory: Path, kind: str = "") -> AxScheduler:
    """An experiment whose points must cost less than the baseline."""
    made = client(initial=20)
    made.configure_optimization("-loss", outcome_constraints=["cost <= 0.9 * baseline"])
    if kind == "attached":
        made.attach_baseline({"x": 0.5, "y": 0.5})
    one = scheduler(directory, made._experiment if kind == "Experiment" else made)
    one.set_objective_function(costly)
    return one


def test_constraints_relative_to_no_baseline(tmp_path: Path) -> None:
    with relative(tmp_path / "run") as made:
        with pytest.raises(
            ConfigError, match="The constraint on cost is relative to a baseline, and there is"
        ):
            made.run_optimization(max_trials=2)
        assert len(made.experiment.trials) == 0
        made.set_baseline({"x": 0.5, "y": 0.5}, {"loss": 0.1, "cost": 0.1})
        # By the baseline's metrics nothing is feasible.
        assert made.run_optimization(max_trials=1) == {}
        assert list(made.experiment.arms_by_name) == ["baseline", "1_0"]
        with pytest.raises(ConfigError, match="already"):
            made.set_baseline({"x": 0.5, "y": 0.6})
    assert read_experiment(tmp_path / "run").problem.status_quo == "baseline"


@pytest.mark.parametrize("kind", ["attached", "Experiment"])
def test_a_baseline_without_metrics_is_the_first_trial(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="axsched_hpc")

    def made() -> AxScheduler:
        one = relative(tmp_path / "run", kind)
        if kind != "attached":
            one.set_baseline({"x": 0.5, "y": 0.5})
        return one

    with made() as first:
        first.enqueue({"x": 0.3, "y": 0.6})
        assert first.run_optimization(max_trials=2) == {"x": 0.3, "y": 0.6}
        assert [p for p, _ in rows(first.experiment)] == [{"x": 0.5, "y": 0.5}, {"x": 0.3, "y": 0.6}]
        assert list(first.experiment.arms_by_name) == ["baseline", "1_0"]
    assert "The baseline {'x': 0.5, 'y': 0.5} has no completed trial; it is run first." in caplog.text
    with AxScheduler.resume(tmp_path / "run", LocalRunner(2)) as again:
        assert again.experiment == first.experiment
    # The script again: the same baseline is there, and has been run.
    with made() as second:
        second.run_optimization(max_trials=0)
        assert len(second.experiment.trials) == 2
    assert read_experiment(tmp_path / "run").ledger.queue == {}


# ---------------------------------------------------------------- a script that is killed


#: A user's script, run several times in a row in processes of its own that have imported Ax already.
SCRIPT = """
import os, sys, warnings
from pathlib import Path
import axsched_hpc.scheduler.scheduler
from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.io import faults
from tests.e2e.kit import bowl, client

folder = Path(sys.argv[1])

def objective(parameters):
    with open(folder / "executions.log", "a") as file:
        file.write(f"{parameters['x']}\\n")
    return bowl(parameters)

def script():
    with AxScheduler(client(initial=20), LocalRunner(1), {
        "job_output_dir": folder / "run", "poll_interval": 0.1,
    }) as scheduler:
        scheduler.set_objective_function(objective)
        scheduler.attach(folder / "points.csv")
        scheduler.set_baseline({"x": 0.5, "y": 0.5})
        scheduler.enqueue([{"x": 0.25, "y": 0.5}, {"x": 0.75, "y": 0.5}])
        scheduler.run_optimization(max_trials=4)

codes = []
for fault in (("ask.after", "kill"), ("inbox.recorded", "kill 2"), None):
    pid = os.fork()
    if pid == 0:
        if fault is not None:
            (folder / fault[0]).write_text(fault[1])
            faults.arm(folder)
        script()
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(codes)
"""


def test_a_script_that_is_killed_attaches_and_enqueues_once(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y,loss\n0.1,0.1,0.5\n0.2,0.2,0.25\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = scripts.run(tmp_path / "script.py", [tmp_path], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [-9, -9, 0], done.stderr
    reading = read_experiment(tmp_path / "run")
    trials = list(reading.ledger.trials.values())
    assert [trial.origin for trial in trials] == ["external"] * 2 + ["enqueued"] * 3 + ["ax"]
    assert [trial.parameters["x"] for trial in trials[:5]] == [0.1, 0.2, 0.5, 0.25, 0.75]
    executions = (tmp_path / "executions.log").read_text().split()
    assert [float(x) for x in executions] == [trial.parameters["x"] for trial in trials[2:]]
    assert reading.ledger.queue == {}
