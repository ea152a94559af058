"""AxScheduler as a user's script or notebook sees it, with local processes."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, LocalRunner, ObjectiveError, SubmititRunner
from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.states import TrialState
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.store import journal
from tests import scripts
from tests.e2e.kit import bowl, client

Make = Callable[..., AxScheduler]

KINDS = ("AxClient", "Client", "Experiment", "Experiment with strategy")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[AxScheduler] = []

    def scheduler(
        source: Any = None,
        runner: BaseRunner | None = None,
        objective: Any = bowl,
        strategy: Any = None,
        **options: Any,
    ) -> AxScheduler:
        options = {"job_output_dir": tmp_path / "run", "poll_interval": 0.1, **options}
        made.append(
            AxScheduler(
                client(initial=20) if source is None else source,
                runner or LocalRunner(max_parallel=2),
                options,
                generation_strategy=strategy,
            )
        )
        if objective is not None:
            made[-1].set_objective_function(objective)
        return made[-1]

    yield scheduler
    for each in made:
        each.close()


def ax_client(seed: int = 5, initial: int = 20) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ax.service.ax_client import AxClient
        from ax.service.utils.instantiation import ObjectiveProperties

        made = AxClient(random_seed=seed, verbose_logging=False)
        made.create_experiment(
            parameters=[{"name": name, "type": "range", "bounds": [0.0, 1.0]} for name in "xy"],
            objectives={"loss": ObjectiveProperties(minimize=True)},
            choose_generation_strategy_kwargs={"num_initialization_trials": initial},
        )
    return made


def source_of(kind: str) -> tuple[Any, Any]:
    """What the user passes in: the object, and the generation_strategy argument."""
    if kind == "AxClient":
        return ax_client(), None
    configured = client(initial=20)
    if kind == "Client":
        return configured, None
    strategy = configured._generation_strategy if kind == "Experiment with strategy" else None
    return configured._experiment, strategy


def statuses(scheduler: AxScheduler) -> list[str]:
    return [trial.status.name for trial in scheduler.experiment.trials.values()]


def points(experiment: Any) -> list[dict[str, Any]]:
    return [dict(trial.arm.parameters) for trial in experiment.trials.values()]


def log_lines(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name == "axsched_hpc")


# ---------------------------------------------------------------- inputs and what comes back


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_visible_through_the_object_that_was_passed_in(make: Make, kind: str) -> None:
    source, strategy = source_of(kind)
    scheduler = make(source, strategy=strategy, synchronous=False, seed=5)
    best = scheduler.run_optimization(max_trials=4)
    experiment = {"AxClient": "experiment", "Client": "_experiment"}.get(kind)
    experiment = source if experiment is None else getattr(source, experiment)
    assert scheduler.experiment is experiment
    assert statuses(scheduler) == ["COMPLETED"] * 4
    frame = experiment.to_df()
    assert list(frame["trial_status"]) == ["COMPLETED"] * 4
    lowest = frame.sort_values("loss").iloc[0]
    assert best == {"x": lowest["x"], "y": lowest["y"]}
    assert bowl(best)["loss"] == pytest.approx(lowest["loss"])
    if kind == "AxClient":
        assert source.get_best_parameters()[0] == best
        assert source.generation_strategy is scheduler.generation_strategy
    if kind == "Client":
        assert scheduler.client is source
        assert source.get_best_parameterization(use_model_predictions=False)[0] == best
    if strategy is not None:
        assert scheduler.generation_strategy is strategy


@pytest.mark.parametrize("rounds", [True, False])
def test_synchronous_rounds_and_asynchronous_refill(make: Make, tmp_path: Path, rounds: bool) -> None:
    others, seen = tmp_path / "others", tmp_path / "seen"
    others.mkdir()

    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        if parameters == {"x": 0.5, "y": 0.5}:  # the centre comes first
            deadline = time.monotonic() + 40
            while len(list(others.iterdir())) < (1 if rounds else 5) and time.monotonic() < deadline:
                time.sleep(0.02)
            # Time in which a slot that is filled at once would have been.
            time.sleep(1.0 if rounds else 0.0)
            seen.write_text(str(len(list(others.iterdir()))))
        else:
            (others / str(parameters["x"])).touch()
        return bowl(parameters)

    # The argument of the call goes before the config.
    scheduler = make(objective=objective, synchronous=not rounds)
    scheduler.run_optimization(max_trials=6, synchronous=rounds)
    assert int(seen.read_text()) == (1 if rounds else 5)
    assert statuses(scheduler) == ["COMPLETED"] * 6


def test_the_result(make: Make) -> None:
    def sometimes(parameters: dict[str, Any]) -> dict[str, float]:
        if parameters == {"x": 0.5, "y": 0.5}:
            raise RuntimeError("diverged")
        time.sleep(0.05)
        return bowl(parameters)

    scheduler = make(objective=sometimes)
    empty = scheduler.result
    assert (empty.best_parameters, empty.best_values, empty.best_trial, empty.stopped) == ({}, {}, None, "")
    assert empty.failures == ()
    best = scheduler.run_optimization(max_trials=4)
    result = scheduler.result
    assert result.best_parameters == best == points(scheduler.experiment)[result.best_trial or -1]
    assert result.best_values == {"loss": (pytest.approx(bowl(best)["loss"]), None)}
    assert result.front == {}
    assert list(result.trials["trial_status"]) == ["FAILED"] + ["COMPLETED"] * 3
    (failure,) = result.failures
    assert (failure.trial, failure.parameters, failure.attempts) == (0, {"x": 0.5, "y": 0.5}, 1)
    assert failure.reason.startswith("RuntimeError: diverged (in sometimes, ")
    assert result.stopped == "budget"
    assert result.seconds.generating > 0
    assert 0.15 <= result.seconds.running < 10
    assert 0 < result.seconds.waiting < 30


def test_properties(make: Make, tmp_path: Path) -> None:
    source = client()
    scheduler = make(source)
    assert scheduler.directory == tmp_path / "run"
    assert scheduler.experiment is source._experiment
    assert scheduler.generation_strategy is source._generation_strategy
    assert scheduler.client is source
    assert not (tmp_path / "run").exists()


def test_several_objectives_give_a_front(make: Make) -> None:
    source = client(initial=20)
    source.configure_optimization(objective="-loss, -cost")
    scheduler = make(source, objective=lambda p: {"loss": p["x"], "cost": 1 - p["x"] + p["y"]})
    front = scheduler.run_optimization(max_trials=6)
    trials = list(scheduler.experiment.trials.values())
    assert front
    assert set(front) <= {trial.arm.name for trial in trials}
    values = {
        t.arm.name: (t.arm.parameters["x"], 1 - t.arm.parameters["x"] + t.arm.parameters["y"]) for t in trials
    }
    expected = {
        name
        for name, (a, b) in values.items()
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in values.values())
    }
    assert set(front) == expected
    result = scheduler.result
    assert (result.front, result.best_parameters, result.best_trial) == (front, {}, None)
    losses = {arm: found["loss"] for arm, found in result.front_values.items()}
    assert losses == {arm: (values[arm][0], None) for arm in front}
    assert result.hypervolume is not None
    volumes = [step.hypervolume for step in result.hypervolume.over_time]
    assert len(volumes) == 6
    assert volumes == sorted(volumes)
    assert result.feasible


def test_where_no_trial_satisfies_the_constraints(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = client(initial=20)
    source.configure_optimization(objective="-loss", outcome_constraints=["l2norm <= 1.25"])
    scheduler = make(source, objective=lambda p: {**bowl(p), "l2norm": 1.375 + p["x"]})
    with scheduler.batch_trial_context() as batch:
        batch.add_trial({"x": 0.5, "y": 0.0})
    assert scheduler.run_optimization(max_trials=1) == {}
    why = "No completed trial satisfies the constraint l2norm <= 1.25; the nearest is trial "
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith(f"Nothing is best. {why}")
    result = scheduler.result
    assert (result.best_parameters, result.best_trial, result.feasible) == ({}, None, False)
    assert f"Nothing is best. {result.feasibility}" == said
    assert scheduler.best_by_model().reason.startswith("Ax has no model yet: ")
    scheduler.export(tmp_path / "trials.jsonl")
    first, second = map(json.loads, (tmp_path / "trials.jsonl").read_text().splitlines())
    assert (first["origin"], first["x"], first["l2norm"]) == ("batch", 0.5, 1.875)
    assert second["state"] == "completed"
    scheduler.export(tmp_path / "curves.csv", curves=True)
    assert (tmp_path / "curves.csv").read_text() == "trial,step,metric,mean,sem\n"


@pytest.mark.parametrize("value", ["number", "numpy", "pair", "unknown sem"])
def test_forms_of_a_metric(make: Make, value: str) -> None:
    def objective(parameters: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        forms = {
            "number": 2,
            "numpy": np.float32(2.0),
            "pair": (2.0, np.float64(0.25)),
            "unknown sem": (2.0, None),
        }
        return {"loss": forms[value]}

    scheduler = make(objective=objective, runner=LocalRunner(max_parallel=1))
    scheduler.run_optimization(max_trials=1)
    (row,) = scheduler.experiment.lookup_data().df.to_dict("records")
    assert row["mean"] == 2.0
    assert row["sem"] == 0.25 if value == "pair" else row["sem"] != row["sem"]
    assert scheduler.result.best_values == {"loss": (2.0, 0.25 if value == "pair" else None)}


def test_metrics_beyond_the_objective_are_kept(make: Make, tmp_path: Path) -> None:
    scheduler = make(objective=lambda p: {**bowl(p), "hours": 1.5, "memory": (3.0, 0.5)})
    scheduler.run_optimization(max_trials=2)
    data = scheduler.experiment.lookup_data().df
    assert sorted(data["metric_name"]) == ["hours", "hours", "loss", "loss", "memory", "memory"]
    assert scheduler.result.best_values["memory"] == (3.0, 0.5)
    assert scheduler.result.best_values["hours"] == (1.5, None)


# ---------------------------------------------------------------- the sequence


def _plain_client(trials: int) -> list[dict[str, Any]]:
    plain, found = client(), []
    for _ in range(trials):
        ((index, parameters),) = plain.get_next_trials(1).items()
        found.append(dict(parameters))
        plain.complete_trial(index, bowl(dict(parameters)))
    return found


def _plain_ax_client(trials: int) -> list[dict[str, Any]]:
    plain, found = ax_client(initial=5), []
    for _ in range(trials):
        parameters, index = plain.get_next_trial()
        found.append(parameters)
        plain.complete_trial(index, {"loss": (bowl(parameters)["loss"], None)})
    return found


@pytest.mark.usefixtures("short_searches")
@pytest.mark.parametrize("kind", ["Client", "AxClient"])
def test_one_slot_gives_the_sequence_of_a_plain_loop(make: Make, kind: str) -> None:
    trials = 9
    source = client() if kind == "Client" else ax_client(initial=5)
    scheduler = make(source, runner=LocalRunner(max_parallel=1))
    scheduler.run_optimization(max_trials=trials)
    assert points(scheduler.experiment) == (_plain_client if kind == "Client" else _plain_ax_client)(trials)
    nodes = [t.generator_runs[0]._generation_node_name for t in scheduler.experiment.trials.values()]
    assert len(set(nodes[:5])) <= 2
    assert set(nodes[6:]) <= {"MBM", "GenerationStep_1_BoTorch"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_journal_of_a_finished_run_replays_to_an_equal_experiment(make: Make, kind: str) -> None:
    source, strategy = source_of(kind)

    def objective(parameters: dict[str, Any]) -> dict[str, Any]:
        if parameters["x"] > 0.8:
            raise ValueError("too far")
        return {"loss": (bowl(parameters)["loss"], 0.1), "hours": (2.0, 0.5)}

    scheduler = make(source, strategy=strategy, objective=objective, seed=5, failure_rate=1.0)
    scheduler.run_optimization(max_trials=6, synchronous=False)
    with scheduler.batch_trial_context() as batch:
        batch.add_trial({"x": 0.25, "y": 0.75})
        batch.add_trial({"x": 0.9, "y": 0.75})
    scheduler.close()
    assert {"COMPLETED", "FAILED"} == set(statuses(scheduler))
    layout = Layout.at(scheduler.directory)
    bridge = AxBridge.from_text(layout.definition.read_text(), "definition")
    bridge.replay(journal.events(journal.read(layout.journal)))
    assert bridge.experiment == scheduler.experiment


# ---------------------------------------------------------------- calls


def test_the_end_of_a_calls_time_cancels(make: Make) -> None:
    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        time.sleep(0.0 if parameters == {"x": 0.5, "y": 0.5} else 60.0)
        return bowl(parameters)

    scheduler = make(objective=objective)
    started = time.monotonic()
    best = scheduler.run_optimization(max_trials=6, timeout=2.0)
    assert time.monotonic() - started < 15
    assert best == {"x": 0.5, "y": 0.5}
    assert statuses(scheduler) == ["COMPLETED", "ABANDONED"]
    assert scheduler.result.stopped == "timeout"
    assert [f.reason for f in scheduler.result.failures] == ["the time of the call was over"]
    # What was cancelled is not tried again, and the next call counts anew.
    scheduler.set_objective_function(bowl)
    scheduler.run_optimization(max_trials=2)
    assert statuses(scheduler) == ["COMPLETED", "ABANDONED", "COMPLETED", "COMPLETED"]


def test_the_end_of_a_calls_time_leaves_what_runs(make: Make, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        deadline = time.monotonic() + 60
        while not gate.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return bowl(parameters)

    scheduler = make(objective=objective, on_timeout="leave")
    assert scheduler.run_optimization(max_trials=2, timeout=1.0) == {}
    assert statuses(scheduler) == ["RUNNING", "RUNNING"]
    gate.touch()
    scheduler.run_optimization(max_trials=1)
    assert statuses(scheduler) == ["COMPLETED"] * 3
    assert {len(t.attempts) for t in read_experiment(tmp_path / "run").ledger.trials.values()} == {1}


def test_each_call_runs_so_many_more_trials(make: Make) -> None:
    scheduler = make()
    scheduler.run_optimization(max_trials=2)
    with scheduler.batch_trial_context() as batch:
        assert batch.add_trial({"x": 0.25, "y": 0.5}) == 2
    scheduler.run_optimization(max_trials=3)
    assert statuses(scheduler) == ["COMPLETED"] * 6
    assert points(scheduler.experiment)[2] == {"x": 0.25, "y": 0.5}
    before = scheduler.result.best_parameters
    assert scheduler.run_optimization(max_trials=0) == before
    assert len(scheduler.experiment.trials) == 6


def test_a_batch_waits_where_rounds_are_asked_for(make: Make) -> None:
    scheduler = make(synchronous=True)
    with scheduler.batch_trial_context() as batch:
        indices = [batch.add_trial({"x": 0.1 * n, "y": 0.5}) for n in range(5)]
    assert indices == list(range(5))
    assert statuses(scheduler) == ["COMPLETED"] * 5
    assert points(scheduler.experiment) == [{"x": 0.1 * n, "y": 0.5} for n in range(5)]


def test_a_batch_returns_at_once_where_they_are_not(make: Make, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        deadline = time.monotonic() + 60
        while not gate.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return bowl(parameters)

    scheduler = make(objective=objective, synchronous=False)
    with scheduler.batch_trial_context() as batch:
        for n in range(3):
            batch.add_trial({"x": 0.1 * n, "y": 0.5})
    assert statuses(scheduler) == ["RUNNING"] * 3
    scheduler.wait(timeout=0.5)
    assert statuses(scheduler) == ["RUNNING"] * 3
    gate.touch()
    scheduler.wait()
    assert statuses(scheduler) == ["COMPLETED"] * 3


def test_trials_that_the_user_completed_himself(make: Make, tmp_path: Path) -> None:
    source = client(initial=20)
    scheduler = make(source)
    scheduler.run_optimization(max_trials=1)
    index = source.attach_trial({"x": 0.3, "y": 0.7})
    source.complete_trial(index, {"loss": -1.0})
    # His own trial is no part of the budget, and the best.
    assert scheduler.run_optimization(max_trials=2) == {"x": 0.3, "y": 0.7}
    assert statuses(scheduler) == ["COMPLETED"] * 4
    scheduler.close()
    ledger = read_experiment(tmp_path / "run").ledger
    assert [t.origin for t in ledger.trials.values()] == ["ax", "external", "ax", "ax"]
    again = make(client(initial=20))
    assert again.run_optimization(max_trials=1) == {"x": 0.3, "y": 0.7}
    assert len(again.experiment.trials) == 5


# ---------------------------------------------------------------- saving, loading, going on


@pytest.mark.parametrize("form", ["ours", "AxClient", "Client", "Experiment"])
def test_saved_files_are_opened_and_gone_on_with(make: Make, tmp_path: Path, form: str) -> None:
    source: Any = ax_client() if form == "AxClient" else client(initial=20)
    first = make(source, job_output_dir=tmp_path / "first")
    first.run_optimization(max_trials=2)
    file = tmp_path / "saved.json"
    match form:
        case "ours":
            first.save_experiment(file)
            from ax.api.client import Client

            opened = Client.load_from_json_file(str(file))
            assert opened._experiment == first.experiment
        case "AxClient" | "Client":
            source.save_to_json_file(str(file))
        case _:
            from ax.storage.json_store.save import save_experiment

            save_experiment(first.experiment, str(file))
    second = make(job_output_dir=tmp_path / "second")
    second.load_experiment(file)
    assert points(second.experiment) == points(first.experiment)
    second.run_optimization(max_trials=2)
    assert statuses(second) == ["COMPLETED"] * 4
    assert len(first.experiment.trials) == 2
    assert len(second.result.trials) == 4
    assert second.client._experiment is second.experiment


def test_resume_without_the_objects(make: Make, tmp_path: Path) -> None:
    first = make()
    first.run_optimization(max_trials=2)
    first.close()
    with AxScheduler.resume(tmp_path / "run", LocalRunner(max_parallel=2), {"poll_interval": 0.1}) as again:
        assert again.experiment == first.experiment
        assert again.experiment is not first.experiment
        # The objective is that of before.
        best = again.run_optimization(max_trials=2)
        assert statuses(again) == ["COMPLETED"] * 4
        assert bowl(best)["loss"] == min(bowl(p)["loss"] for p in points(again.experiment))


def test_resume_into_a_fresh_object(make: Make) -> None:
    first = make()
    first.run_optimization(max_trials=3)
    first.close()
    fresh = client(initial=20)
    again = make(fresh)
    again.run_optimization(max_trials=2)
    assert len(fresh._experiment.trials) == 5
    assert points(fresh._experiment)[:3] == points(first.experiment)
    # The Sobol sequence goes on, as it does without an interruption.
    whole = client(initial=20)
    assert points(fresh._experiment) == [dict(whole.get_next_trials(1).popitem()[1]) for _ in range(5)]


def test_the_same_object_and_directory_again_as_in_a_notebook(make: Make) -> None:
    source = client(initial=20)
    first = make(source)
    first.run_optimization(max_trials=2)
    first.close()
    second = make(source)
    second.run_optimization(max_trials=2)
    assert statuses(second) == ["COMPLETED"] * 4
    second.close()
    # A closed scheduler can be used again.
    first.run_optimization(max_trials=1)
    assert len(source._experiment.trials) == 5


def test_the_with_statement_gives_the_directory_back(make: Make) -> None:
    with make() as scheduler:
        scheduler.run_optimization(max_trials=1)
    other = make()
    other.run_optimization(max_trials=1)
    assert len(other.experiment.trials) == 2


def test_another_objective_than_before_is_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    def run_again(objective: Any) -> AxScheduler:
        caplog.clear()
        scheduler = make(objective=objective)
        scheduler.run_optimization(max_trials=1)
        scheduler.close()
        return scheduler

    run_again(bowl)
    run_again(bowl)
    assert "has changed" not in log_lines(caplog)
    again = run_again(lambda p: {"loss": 7.0})
    (said,) = (line for line in log_lines(caplog).splitlines() if "has changed" in line)
    assert "The objective has changed since trial 1: function tests.e2e.kit.bowl before, function " in said
    assert again.experiment.lookup_data().df["mean"].iloc[-1] == 7.0
    files = sorted((again.directory / "objective").rglob("*"))
    with pytest.raises(ObjectiveError, match=r"'changed_objective'\] is 'refuse'. Nothing was changed"):
        make(objective=bowl, changed_objective="refuse").run_optimization(max_trials=1)
    assert sorted((again.directory / "objective").rglob("*")) == files


# ---------------------------------------------------------------- runners and files


def test_the_debug_executor_runs_in_this_process(make: Make) -> None:
    scheduler = make(runner=SubmititRunner("debug", 2), objective=lambda p: {"loss": float(os.getpid())})
    scheduler.run_optimization(max_trials=3)
    assert set(scheduler.experiment.lookup_data().df["mean"]) == {float(os.getpid())}


@pytest.mark.parametrize("cleanup", [True, False])
def test_what_stays_after_completion(make: Make, tmp_path: Path, cleanup: bool) -> None:
    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        sys.stdout.write("said\n")
        if parameters == {"x": 0.5, "y": 0.5}:
            raise ValueError("not here")
        return bowl(parameters)

    scheduler = make(
        objective=objective, runner=LocalRunner(max_parallel=1), cleanup_after_completion=cleanup
    )
    scheduler.run_optimization(max_trials=2)
    failed, done = (tmp_path / "run" / "trials" / f"0000{n}" for n in (0, 1))
    kept = {path.name for path in (done / "attempt-1").iterdir()}
    assert {"metrics.json", "result.json", "claim.json"} <= kept
    assert ({"stdout.log", "stderr.log"} <= kept) is not cleanup
    assert json.loads((done / "parameters.json").read_text()) == points(scheduler.experiment)[1]
    assert (failed / "attempt-1" / "stdout.log").read_text() == "said\n"
    assert "ValueError: not here" in (failed / "attempt-1" / "stderr.log").read_text()
    manifests = list((tmp_path / "run" / "submitit").glob("*.json"))
    assert len(manifests) == (1 if cleanup else 2)
    assert not list((tmp_path / "run" / "inbox").iterdir())


# ---------------------------------------------------------------- functions of all kinds


def test_a_lambda_a_closure_a_partial_and_an_object(make: Make, tmp_path: Path) -> None:
    height = 4.0

    def closure(parameters: dict[str, Any]) -> dict[str, float]:
        return {"loss": height}

    def shifted(by: float, parameters: dict[str, Any]) -> dict[str, float]:
        return {"loss": by}

    class Model:
        def __init__(self) -> None:
            self.offset = 6.0

        def __call__(self, parameters: dict[str, Any]) -> dict[str, float]:
            return {"loss": self.offset}

        def evaluate(self, parameters: dict[str, Any]) -> dict[str, float]:
            return {"loss": self.offset + 1}

    scheduler = make(runner=LocalRunner(max_parallel=1))
    objectives = [lambda p: {"loss": 3.0}, closure, partial(shifted, 5.0), Model(), Model().evaluate]
    for objective in objectives:
        scheduler.set_objective_function(objective)
        scheduler.run_optimization(max_trials=1)
    assert list(scheduler.experiment.lookup_data().df["mean"]) == [3.0, 4.0, 5.0, 6.0, 7.0]


def test_an_object_that_cannot_be_pickled_is_named(make: Make) -> None:
    guard = threading.Lock()
    scheduler = make(objective=lambda p: {"loss": float(guard.locked())})
    with pytest.raises(ObjectiveError, match=r"it uses 'guard', a _thread\.lock, which cannot be pickled"):
        scheduler.run_optimization(max_trials=1)


MAIN = """
import sys
import helper
from tests.e2e.kit import client
from axsched_hpc import AxScheduler, LocalRunner

OFFSET = 10.0

class Shape:
    height = 5.0

def objective(parameters):
    return {"loss": helper.value(parameters) + OFFSET + Shape.height}

if __name__ == "__main__":
    options = {"job_output_dir": "run", "poll_interval": 0.1}
    with AxScheduler(client(), LocalRunner(max_parallel=1), options) as scheduler:
        scheduler.set_objective_function(objective)
        scheduler.run_optimization(max_trials=1)
        print(scheduler.result.best_values["loss"][0])
        scheduler.set_objective_function(helper.evaluate)
        scheduler.run_optimization(max_trials=1)
        print(scheduler.experiment.lookup_data().df["mean"].iloc[-1])
"""

HELPER = """
def value(parameters):
    return 100.0

def evaluate(parameters):
    return {"loss": value(parameters) + 1}
"""


def test_a_function_of_a_script_and_of_a_module_beside_it(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "main.py").write_text(MAIN)
    (folder / "helper.py").write_text(HELPER)
    done = scripts.run(folder / "main.py", folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["115.0", "101.0"]
    trials = read_experiment(elsewhere / "run").ledger.trials
    assert {t.state for t in trials.values()} == {TrialState.COMPLETED}
