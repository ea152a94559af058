"""Batch trials: each arm is run as a trial of its own, and Ax sees what it would see alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ax.api.client import Client
from ax.api.utils.generation_strategy_dispatch import choose_generation_strategy
from ax.api.utils.structs import GenerationStrategyDispatchStruct
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus
from ax.core.utils import extract_pending_observations
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy
from ax.utils.common.random import with_rng_seed

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.definition import check_base
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError
from axsched_hpc.core.events import AttemptReported, Event, TrialAdded
from axsched_hpc.core.states import Verdict
from tests.ax.harness import START, Driver, branin, new_ax_client, new_client, new_input, saved


def strategy(sobol: int) -> GenerationStrategy:
    """So many batches of Sobol, then a model."""
    return choose_generation_strategy(
        struct=GenerationStrategyDispatchStruct(initialization_budget=sobol, initialize_with_center=False)
    )


def new_driver(arms: int = 3, experiment: Experiment | None = None, sobol: int = 20) -> Driver:
    source = new_input("Experiment") if experiment is None else experiment
    options = {"generation_strategy": strategy(sobol), "seed": 3, "arms_per_trial": arms}
    return Driver(AxBridge.from_input(source, **options))


def replayed(driver: Driver, events: list[Event] | None = None, into: Experiment | None = None) -> Driver:
    copy = new_driver(experiment=into, sobol=2)
    copy.bridge.experiment._time_created = driver.bridge.experiment._time_created
    copy.bridge.replay(driver.events() if events is None else events)
    copy.lines, copy.now = list(driver.lines), driver.now
    return copy


NONE = "none of 3 arms ended well; the last: "


def complete(driver: Driver, candidate: Any) -> None:
    driver.complete(candidate.trial, {"f": (branin(**candidate.parameters), None)})


def arm(x: float, y: float, name: str | None = None) -> Arm:
    return Arm({"x": x, "y": y}, name=name)


def with_own_batches() -> Experiment:
    """One that the user has finished, one to be run, one with a status quo of another weight, one open."""
    experiment: Experiment = new_input("Experiment")
    experiment.status_quo = arm(0.0, 0.0)
    done = experiment.new_batch_trial()
    done.add_arms_and_weights([arm(1.0, 1.0), arm(2.0, 1.0), arm(3.0, 1.0)], weights=[1.0, 2.0, 3.0])
    done.mark_running(no_runner_required=True)
    done.mark_arm_abandoned("0_1", "the visitors complained")
    outcomes = {"0_0": {"f": (1.5, 0.1)}, "0_2": {"f": (2.5, 0.1)}}
    experiment.attach_data(done._raw_evaluations_to_data(outcomes))
    done.mark_completed()
    experiment.new_batch_trial().add_arms_and_weights([arm(4.0, 1.0), arm(5.0, 1.0)], weights=[3.0, 1.0])
    last = experiment.new_batch_trial()
    last.add_status_quo_arm(weight=2.0)
    last.should_add_status_quo_arm = True  # which Ax's own files do not tell
    last.add_arm(arm(6.0, 1.0, "mine"))
    experiment.new_batch_trial().add_arm(arm(7.0, 1.0)).mark_running(no_runner_required=True)
    return experiment


# ---------------------------------------------------------------- generation and outcomes


@pytest.fixture(scope="module")
def generated() -> Driver:
    """Three batches, the last of them from a model; one arm of the second has failed."""
    driver = new_driver(sobol=2)
    for _ in range(2):
        for number, candidate in enumerate(driver.ask(3)):
            if candidate.trial == 4:
                driver.fail(candidate.trial, Verdict.FAIL, "exit code 3")
            else:
                assert number < 3
                complete(driver, candidate)
    driver.ask(3)
    return driver


def test_the_arms_are_numbered_one_after_the_other(generated: Driver) -> None:
    added = [event for event in generated.events() if isinstance(event, TrialAdded)]
    assert [event.trial for event in added] == list(range(9))
    assert [event.arm for event in added] == [f"{i}_{n}" for i in range(3) for n in range(3)]
    assert [sorted(event.ax or ()) for event in added[:2]] == [["generator_runs", "index"], ["index"]]
    assert generated.bridge.next_trial == 9
    frame = generated.bridge.trials_frame()
    assert list(frame["number"]) == list(range(9))
    assert list(frame["trial_index"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_next_points_are_those_of_ax_alone(generated: Driver) -> None:
    experiment, alone = new_input("Experiment"), strategy(2)
    for index in range(3):
        with with_rng_seed(3):
            (runs,) = alone.gen(experiment=experiment, n=3, num_trials=1)
        batch = experiment.new_batch_trial(generator_runs=runs).mark_running(no_runner_required=True)
        if index == 1:
            batch.mark_arm_abandoned("1_1")
        if index < 2:
            batch.attach_batch_trial_data(
                {a.name: {"f": (branin(**a.parameters), None)} for a in batch.active_arms}
            )
            batch.mark_completed()
    ours = generated.bridge.experiment
    assert ours.trials[2].generator_runs[0]._generator_key == "BoTorch"
    for index, trial in experiment.trials.items():
        here = ours.trials[index]
        assert here.status is trial.status
        assert here.abandoned_arm_names == trial.abandoned_arm_names
        for mine, theirs in zip(here.arms, trial.arms, strict=True):
            assert mine.name == theirs.name
            assert mine.parameters == pytest.approx(theirs.parameters, abs=1e-6)
    assert list(ours.data.df["mean"]) == pytest.approx(list(experiment.data.df["mean"]), abs=1e-6)


def test_a_replay_gives_an_equal_experiment(generated: Driver) -> None:
    copy = replayed(generated)
    there, here = generated.bridge, copy.bridge
    assert here.experiment == there.experiment
    assert saved(here) == saved(there)
    assert [t._num_arms_created for t in here.experiment.trials.values()] == [3, 3, 3]
    runs = [b.generation_strategy._generator_runs for b in (there, here)]
    assert runs[0] == runs[1]
    assert here.generation_strategy.current_node_name == there.generation_strategy.current_node_name
    text = there.snapshot_text()
    there.replay(generated.events())
    assert there.snapshot_text() == text
    # A resumed driver tells the end of an arm by the number that the one before gave it.
    for driver in (generated, copy):
        driver.now = START + 1e6
    here.complete([(number, {"f": (1.0, None)}, START + number) for number in (6, 7, 8)])
    assert here.experiment.trials[2].status is TrialStatus.COMPLETED


def test_the_snapshot_opens_in_ax_and_here(generated: Driver, tmp_path: Any) -> None:
    path = tmp_path / "experiment.json"
    path.write_text(generated.bridge.snapshot_text())
    experiment = generated.bridge.experiment
    assert Client.load_from_json_file(str(path))._experiment == experiment
    older = AxBridge.from_text(path.read_text(), str(path))
    assert older.experiment == experiment
    older.replay(generated.events())
    assert older.experiment == experiment


def test_arms_that_run_stay_pending_until_the_last_has_ended() -> None:
    driver = new_driver()
    first, second, third = driver.ask(3)
    experiment = driver.bridge.experiment
    complete(driver, third)
    driver.fail(first.trial, Verdict.FAIL)
    assert experiment.data.empty
    assert len((extract_pending_observations(experiment) or {})["f"]) == 3
    assert experiment.trials[0].status is TrialStatus.RUNNING
    complete(driver, second)
    assert extract_pending_observations(experiment) is None
    assert sorted(experiment.data.df["arm_name"]) == ["0_1", "0_2"]
    assert experiment.trials[0].time_completed.timestamp() == driver.now


@pytest.mark.parametrize(
    ("verdicts", "status", "reason"),
    [
        ([None, Verdict.FAIL, Verdict.ABANDON], "COMPLETED", None),
        (
            [Verdict.ABANDON, Verdict.FAIL, Verdict.ABANDON],
            "FAILED",
            f"{NONE}e2",
        ),
        ([Verdict.ABANDON] * 3, "ABANDONED", f"{NONE}e2"),
    ],
)
def test_how_a_batch_ends_follows_from_its_arms(
    verdicts: list[Verdict | None], status: str, reason: str | None
) -> None:
    driver = new_driver()
    for number, (candidate, verdict) in enumerate(zip(driver.ask(3), verdicts, strict=True)):
        if verdict is None:
            complete(driver, candidate)
        else:
            driver.fail(candidate.trial, Verdict.RETRY, "once more")
            driver.fail(candidate.trial, verdict, f"e{number}")
    for each in (driver, replayed(driver)):
        (trial,) = each.bridge.experiment.trials.values()
        assert (trial.status.name, trial.status_reason) == (status, reason)
        given_up = {f"0_{n}": f"e{n}" for n, verdict in enumerate(verdicts) if verdict is not None}
        assert {a.name: a.reason for a in trial.abandoned_arms_metadata} == given_up
        assert trial.time_completed.timestamp() == driver.now
    assert replayed(driver).bridge.experiment == driver.bridge.experiment


def test_whole_batches_are_asked_for_and_fewer_arms_at_the_end_of_the_budget() -> None:
    bridge = new_driver(3).bridge
    asked = bridge.ask(4, time=START, most=8)
    assert [c.arm for c in asked.candidates] == ["0_0", "0_1", "0_2", "1_0", "1_1", "1_2"]
    assert [c.arm for c in bridge.ask(2, time=START, most=2).candidates] == ["2_0", "2_1"]


def test_the_curves_of_arms_are_data_once_the_batch_has_ended() -> None:
    driver = new_driver(2)
    first, second = driver.ask(2)
    for candidate, points in (
        (first, ((1, {"f": (9.0, None)}), (2, {"f": (8.0, None)}))),
        (second, ((1, {"f": (7.0, None)}),)),
    ):
        event = AttemptReported(driver.tick(), candidate.trial, 1, points, 10)
        driver.record(event)
        driver.bridge.report([(candidate.trial, points)])
    assert driver.bridge.experiment.data.empty
    driver.complete(first.trial, {"f": (8.5, None)})
    driver.fail(second.trial, Verdict.FAIL)
    rows = [(r.arm_name, r.step, r.mean) for r in driver.bridge.experiment.data._data_rows]
    assert rows == [("0_0", 1.0, 9.0), ("0_0", 2.0, 8.5), ("0_1", 1.0, 7.0)]
    assert replayed(driver).bridge.experiment == driver.bridge.experiment


# ---------------------------------------------------------------- batch trials of the user's own


def test_what_the_user_left_to_be_run_is_run_and_what_he_finished_is_recorded() -> None:
    driver = new_driver(experiment=with_own_batches())
    definition = driver.bridge.definition()
    experiment = driver.bridge.experiment
    driver.record_external()
    added = [event for event in driver.events() if isinstance(event, TrialAdded)]
    assert [(e.trial, e.arm, e.origin, (e.ax or {}).get("state")) for e in added] == [
        (0, "0_0", "external", "completed"),
        (1, "0_1", "external", "abandoned"),
        (2, "0_2", "external", "completed"),
        (3, "1_0", "candidate", None),
        (4, "1_1", "candidate", None),
        (5, "status_quo", "candidate", None),
        (6, "mine", "candidate", None),
    ]
    assert added[0].ax is not None
    assert added[0].ax["metrics"] == {"f": [1.5, 0.1]}
    assert [experiment.trials[n].status.name for n in range(4)] == [
        "COMPLETED",
        "RUNNING",
        "RUNNING",
        "RUNNING",
    ]
    for number in (3, 4, 5, 6):
        driver.complete(number, {"f": (float(number), 0.5)})
    assert experiment.trials[2].status is TrialStatus.COMPLETED
    driver.record_external()
    assert len(driver.known()) == 7  # the last batch is his to finish
    assert [c.trial for c in driver.ask(3)] == [7, 8, 9]

    # From the directory alone, from the object as the script makes it, and from one without any trials.
    copies = [AxBridge.from_text(json.dumps(definition), "definition.json")]
    copies[0].replay(driver.events())
    fresh = with_own_batches()
    check_base(definition, fresh)
    copies.append(replayed(driver, into=fresh).bridge)
    empty = new_input("Experiment")
    empty.status_quo = arm(0.0, 0.0)
    copies.append(replayed(driver, into=empty).bridge)
    for copy in copies:
        assert copy.next_trial == 10
        for index in (0, 1, 2, 4):
            there, here = experiment.trials[index], copy.experiment.trials[index]
            assert here.status is there.status
            assert here.arm_weights == there.arm_weights
            assert here.abandoned_arms == there.abandoned_arms
            assert here.should_add_status_quo_arm == there.should_add_status_quo_arm
        assert copy.experiment.data == driver.bridge.experiment.data
    assert copies[0].experiment == experiment
    assert [copies[2].experiment.trials[n] for n in (0, 1)] == [experiment.trials[n] for n in (0, 1)]


def test_a_snapshot_keeps_weights_and_adds_no_status_quo() -> None:
    bridge = AxBridge.from_input(with_own_batches())
    copy = AxBridge.from_text(bridge.snapshot_text(), "experiment.json")
    assert copy.experiment == bridge.experiment
    assert copy.experiment.arms_by_name["status_quo"] == bridge.experiment.status_quo


def test_a_batch_without_one_of_its_arms_is_another_experiment() -> None:
    definition = AxBridge.from_input(with_own_batches()).definition()
    other = new_input("Experiment")
    other.status_quo = arm(0.0, 0.0)
    batch = other.new_batch_trial()
    batch.add_arms_and_weights([arm(1.0, 1.0), arm(2.0, 1.0)])
    with pytest.raises(ExperimentMismatchError, match=r"Trial 0, .* had the parameters .*'x': 3.0.* in the"):
        check_base(definition, other)


def test_single_trials_and_batches_do_not_share_numbers() -> None:
    driver = new_driver(2)
    first = driver.ask(2)
    assert driver.bridge.next_trial == 2
    own = driver.attach({"x": 1.0, "y": 2.0})
    assert (own.trial, own.arm, own.ax["index"]) == (2, "1_0", 1)
    # The user's own trial has an index of Ax that is an arm's number here.
    _, done = driver.bridge.experiment.attach_trial([{"x": 2.0, "y": 2.0}])
    driver.bridge.client.complete_trial(done, {"f": branin(2.0, 2.0)})
    driver.record_external()
    for candidate in (*first, own):
        complete(driver, candidate)
    assert done == 2
    assert driver.known() == {0, 1, 2, 3}
    copy = replayed(driver)
    assert copy.bridge.experiment == driver.bridge.experiment
    assert [list(map(len, (t.arms, t.lookup_data().df))) for t in copy.bridge.experiment.trials.values()] == [
        [2, 2],
        [1, 1],
        [1, 1],
    ]


# ---------------------------------------------------------------- journals that have lost something


def test_an_arm_whose_record_was_cut_off_is_recorded_again() -> None:
    driver = new_driver()
    candidates = driver.ask(3)
    copy = replayed(driver, driver.events()[:-1])
    copy.lines = driver.lines[:-1]
    for candidate in candidates[:2]:
        complete(copy, candidate)
    copy.record_external()
    last = copy.events()[-1]
    assert isinstance(last, TrialAdded)
    assert (last.trial, last.arm, last.parameters) == (2, "0_2", candidates[2].parameters)
    assert copy.bridge.experiment.trials[0].status is TrialStatus.RUNNING
    complete(copy, candidates[2])
    assert copy.bridge.experiment.trials[0].status is TrialStatus.COMPLETED
    assert len(replayed(copy).bridge.experiment.data.df) == 3


@pytest.mark.parametrize("lost", [0, 1, 4])
def test_an_arm_whose_record_is_lost_comes_back_from_its_parameters(lost: int) -> None:
    driver = new_driver()
    for _ in range(2):
        for candidate in driver.ask(3):
            complete(driver, candidate)
    events: list[Event] = [
        replace(event, ax=None) if isinstance(event, TrialAdded) and event.trial == lost else event
        for event in driver.events()
    ]
    copies = [replayed(driver, events).bridge for _ in range(2)]
    assert saved(copies[0]) == saved(copies[1])
    experiment = copies[0].experiment
    # What its first record tells of a batch is not in the others: its arms become trials of their own.
    assert [len(t.arms) for t in experiment.trials.values()] == ([3, 1, 1, 1] if lost == 0 else [3, 3])
    assert all(t.status is TrialStatus.COMPLETED for t in experiment.trials.values())
    points = {json.dumps(a.parameters) for t in driver.bridge.experiment.trials.values() for a in t.arms}
    assert {json.dumps(a.parameters) for t in experiment.trials.values() for a in t.arms} == points
    assert sorted(experiment.data.df["mean"]) == sorted(driver.bridge.experiment.data.df["mean"])
    text = copies[0].snapshot_text()
    copies[0].replay(events)
    assert copies[0].snapshot_text() == text
    assert copies[0].next_trial == 6


# ---------------------------------------------------------------- what is refused


def test_what_ax_cannot_do_with_batch_trials_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"arms_per_trial'\] is 2, but an ax.Client reads trials of one"):
        AxBridge.from_input(new_client(), arms_per_trial=2)
    assert (
        AxBridge.from_input(new_ax_client(), arms_per_trial=2).ask(2, time=START).candidates[1].arm == "0_1"
    )
    stopping = PercentileEarlyStoppingStrategy(metric_signatures=["f"])
    with pytest.raises(ConfigError, match="Ax's PercentileEarlyStoppingStrategy cannot"):
        AxBridge.from_input(new_input("Experiment"), arms_per_trial=2, early_stopping=stopping)
    with pytest.raises(ConfigError, match=r"Set config\['early_stopping'\] to False"):
        AxBridge.from_input(with_own_batches(), early_stopping=True)
    whole = ImprovementGlobalStoppingStrategy(min_trials=2)
    with pytest.raises(ConfigError, match=r"Set config\['global_stopping'\] to False"):
        AxBridge.from_input(new_input("Experiment"), arms_per_trial=2, global_stopping=whole)
    experiment = new_input("Experiment")
    experiment.new_batch_trial()
    with pytest.raises(ConfigError, match="Trial 0 has no arm"):
        AxBridge.from_input(experiment)
