"""What holds for an AxClient, an ax.Client and an Experiment alike."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.definition import base_trials, compare
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import Event, TrialAdded
from axsched_hpc.core.states import TrialState, Verdict
from tests.ax.ax_best import best_of
from tests.ax.harness import START, Driver, branin, new_ax_client, new_bridge, new_input, saved


def replayed(kind: str, driver: Driver) -> AxBridge:
    bridge = new_bridge(kind)
    # Ax compares creation times; two objects made from the same code differ in it by how long the test took.
    bridge.experiment._time_created = driver.bridge.experiment._time_created
    bridge.replay(driver.events())
    return bridge


def eventful(driver: Driver) -> None:
    """A history with every kind of outcome."""
    bridge = driver.bridge
    first, second, third = driver.ask(3)
    driver.complete(second.trial, {"f": (branin(**second.parameters), None), "seconds": (12.0, 0.5)})
    driver.fail(first.trial, Verdict.RETRY)
    driver.fail(first.trial, Verdict.FAIL, "exit code 3")
    driver.abandon(third.trial, "the call's time was over")
    own = driver.attach({"x": 1, "y": 2.5}, arm_name="mine")
    again = driver.attach({"x": 1.0, "y": 2.5})
    driver.fail(again.trial, Verdict.ABANDON, "it failed three times")
    driver.complete(own.trial, {"f": (1e-14, None)})
    # What the user does by himself between two calls.
    _, left = bridge.experiment.attach_trial([{"x": 0.0, "y": 0.0}])
    _, done = bridge.experiment.attach_trial([{"x": 2.0, "y": 2.0}])
    bridge.client.complete_trial(done, {"f": branin(2.0, 2.0), "memory": (3.5, 0.1)})
    driver.record_external()
    assert left not in driver.known()
    (fourth,) = driver.ask()
    driver.complete(fourth.trial, {"f": (branin(**fourth.parameters), None)})
    # Now the user finishes the trial that he had left open.
    bridge.client.mark_trial_failed(left)
    driver.record_external()
    driver.ask()


def test_it_speaks_of_the_objects_that_were_passed_in(kind: str) -> None:
    source = new_input(kind)
    bridge = AxBridge.from_input(source)
    of_kind = {"AxClient": "experiment", "ax.Client": "_experiment"}
    experiment = getattr(source, of_kind[kind]) if kind in of_kind else source
    assert bridge.experiment is experiment
    assert bridge.client._experiment is experiment
    assert bridge.client._generation_strategy is bridge.generation_strategy
    assert (bridge.client is source) == (kind == "ax.Client")
    assert bridge.seed == (None if kind == "Experiment" else 3)
    assert bridge.objective_names == ("f",)
    assert bridge.parameter_names == ("x", "y")


def test_what_is_told_is_visible_through_the_users_object(kind: str) -> None:
    source = new_input(kind)
    driver = Driver(AxBridge.from_input(source))
    points = driver.run(3)
    experiment = driver.bridge.experiment
    assert [t.status for t in experiment.trials.values()] == [TrialStatus.COMPLETED] * 3
    best = min(points, key=lambda p: branin(**p))
    if kind == "AxClient":
        assert source.get_best_parameters(use_model_predictions=False)[0] == best
    elif kind == "ax.Client":
        assert source.get_best_parameterization(use_model_predictions=False)[0] == best
    else:
        assert source.to_df().loc[lambda frame: frame["f"].idxmin(), "x"] == best["x"]
    assert best_of(driver.bridge) == best


def test_a_replay_gives_an_equal_experiment_and_the_same_next_point(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    eventful(driver)
    copy = replayed(kind, driver)
    assert copy.experiment == driver.bridge.experiment
    assert sorted(copy.experiment.trials) == sorted(driver.bridge.experiment.trials)
    for index, trial in driver.bridge.experiment.trials.items():
        assert copy.experiment.trials[index] == trial
        assert copy.experiment.trials[index]._num_arms_created == trial._num_arms_created
    assert saved(copy) == saved(driver.bridge)
    assert copy.generation_strategy.current_node_name == driver.bridge.generation_strategy.current_node_name
    assert copy.ask(1, time=START).candidates[0].parameters == driver.ask()[0].parameters


def test_a_replay_in_the_model_phase_gives_the_same_next_point(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(7)
    copy = replayed(kind, driver)
    assert copy.experiment == driver.bridge.experiment
    ours, theirs = driver.ask()[0], copy.ask(1, time=START).candidates[0]
    assert ours.ax["generator_run"]["generator_key"] == "BoTorch"
    assert theirs.parameters == pytest.approx(ours.parameters, abs=1e-6)


def test_a_replay_into_the_object_that_wrote_the_journal_changes_nothing(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    eventful(driver)
    bridge = driver.bridge
    strategy = bridge.generation_strategy
    text, runs, node = bridge.snapshot_text(), list(strategy._generator_runs), strategy.current_node_name
    bridge.replay(driver.events())
    assert bridge.snapshot_text() == text
    assert strategy._generator_runs == runs
    assert strategy.current_node_name == node


def test_a_replay_brings_an_older_copy_up_to_date(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(2)
    (open_trial,) = driver.ask()
    older = AxBridge.from_text(driver.bridge.snapshot_text(), "experiment.json")
    driver.complete(open_trial.trial, {"f": (4.0, None)})
    driver.run(1)
    older.replay(driver.events())
    assert older.experiment == driver.bridge.experiment
    assert older.ask(1, time=START).candidates[0].parameters == driver.ask()[0].parameters


def test_a_replay_refuses_other_parameters_under_the_same_index(kind: str) -> None:
    driver, other = Driver(new_bridge(kind)), new_bridge(kind)
    driver.run(1)
    other.attach({"x": 0.5, "y": 0.5}, time=START)
    message = r"Trial 0 has the parameters .* in the journal and \{'x': 0.5"
    with pytest.raises(ExperimentMismatchError, match=message):
        other.replay(driver.events())


@pytest.mark.parametrize("payload", [{}, {"generator_run": {"inherited": []}}])
def test_a_record_that_ax_cannot_read_is_named(payload: dict[str, Any]) -> None:
    event = TrialAdded(START, 0, "0_0", {"x": 0.0, "y": 0.0}, "ax", payload)
    with pytest.raises(
        ExperimentMismatchError, match=r"Trial 0 of the journal cannot be made again: \w+Error"
    ):
        new_bridge("ax.Client").replay([event])


def lost(driver: Driver, trial: int) -> list[Event]:
    """The journal's events where the line that added a trial was lost and made again from its parameters."""
    events = driver.events()
    return [
        replace(event, ax=None) if isinstance(event, TrialAdded) and event.trial == trial else event
        for event in events
    ]


@pytest.mark.parametrize("trial", [0, 2])
def test_a_trial_whose_record_was_lost_comes_back_from_its_parameters(kind: str, trial: int) -> None:
    driver = Driver(new_bridge(kind))
    points = driver.run(3)
    events = lost(driver, trial)
    copies = []
    for _ in range(2):
        copy = new_bridge(kind)
        copy.experiment._time_created = driver.bridge.experiment._time_created
        copy.replay(events)
        copies.append(copy)
    assert saved(copies[0]) == saved(copies[1])
    experiment = copies[0].experiment
    assert [dict(t.arm.parameters) for t in experiment.trials.values()] == points
    assert [t.status for t in experiment.trials.values()] == [TrialStatus.COMPLETED] * 3
    assert experiment.trials[trial].arm.name == f"{trial}_0"
    assert experiment.trials[trial].generator_run.generator_run_type == "MANUAL"
    assert experiment.data == driver.bridge.experiment.data
    assert experiment.trials[1] == driver.bridge.experiment.trials[1]
    # What was generated is not generated again.
    (asked,) = copies[0].ask(1, time=START).candidates
    assert asked.trial == 3
    assert asked.parameters not in points
    copies[0].replay(events)
    assert list(experiment.trials) == [0, 1, 2, 3]


def test_a_lost_trial_of_the_users_own_comes_back_as_it_was(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.attach({"x": 1, "y": 2.5}, arm_name="mine")
    driver.attach({"x": 1, "y": 2.5})
    driver.attach({"x": 2, "y": 2.5})
    copy = new_bridge(kind)
    copy.replay([replace(event, ax=None) for event in driver.events() if isinstance(event, TrialAdded)])
    there, here = driver.bridge.experiment.trials, copy.experiment.trials
    for trial in there.values():
        trial.generator_run._time_created = here[trial.index].generator_run._time_created
    assert here == there


@pytest.mark.parametrize("parameters", [{"x": 99.0, "y": 0.0}, {"x": 1.0}, {"x": "a", "y": 0.0}])
def test_a_lost_trial_that_does_not_fit_is_named(parameters: dict[str, Any]) -> None:
    bridge = new_bridge("ax.Client")
    with pytest.raises(
        ExperimentMismatchError,
        match=r"Trial 4 of the journal cannot be made again: ParameterError: .*'[xy]'",
    ):
        bridge.replay([TrialAdded(START, 4, "4_0", parameters, "ax")])
    assert not bridge.experiment.trials


def test_a_lost_trial_in_a_hierarchical_space_has_what_ax_gives_an_attached_one() -> None:
    def hierarchical() -> AxBridge:
        return AxBridge.from_input(
            new_ax_client(
                parameters=[
                    {
                        "name": "kind",
                        "type": "choice",
                        "values": ["a", "b"],
                        "value_type": "str",
                        "dependents": {"a": ["x"], "b": ["y"]},
                    },
                    {"name": "x", "type": "range", "bounds": [-5.0, 10.0]},
                    {"name": "y", "type": "range", "bounds": [0.0, 15.0]},
                ]
            )
        )

    attached, copy = hierarchical(), hierarchical()
    event = attached.attach({"kind": "a", "x": 1.5}, time=START).event()
    copy.replay([replace(event, ax=None)])
    (there,), (here,) = (b.experiment.trials[0].generator_runs for b in (attached, copy))
    assert there.candidate_metadata_by_arm_signature
    there_metadata, here_metadata = (r.candidate_metadata_by_arm_signature for r in (there, here))
    assert there_metadata.keys() == here_metadata.keys()
    (mine,), (yours,) = there_metadata.values(), here_metadata.values()
    assert mine.keys() == yours.keys()
    assert [p.keys() for p in mine.values()] == [p.keys() for p in yours.values()]


def test_an_external_trial_without_its_record_is_abandoned_as_in_the_ledger() -> None:
    bridge = new_bridge("ax.Client")
    bridge.replay([TrialAdded(START, 0, "0_0", {"x": 0.0, "y": 0.0}, "external")])
    assert bridge.experiment.trials[0].status is TrialStatus.ABANDONED


def test_outcomes_are_told_once(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    done, failed, dropped = (c.trial for c in driver.ask(3))
    for _ in range(2):
        driver.bridge.complete([(done, {"f": (1.0, None)}, START)])
        driver.bridge.fail(failed, "exit code 1", time=START)
        driver.bridge.abandon(dropped, "cancelled", time=START)
    trials = driver.bridge.experiment.trials
    assert [trials[i].status.name for i in (done, failed, dropped)] == ["COMPLETED", "FAILED", "ABANDONED"]
    assert trials[failed].status_reason == "exit code 1"
    assert trials[done].time_completed.timestamp() == START
    assert len(driver.bridge.experiment.data.full_df) == 1


def test_the_ends_of_several_trials_are_told_together(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    first, second = (c.trial for c in driver.ask(2))
    ends = [(first, {"f": (1.0, None)}, START), (second, {"f": (2.0, None)}, START + 1)]
    driver.bridge.complete(ends[:1])
    driver.bridge.complete(ends)
    experiment = driver.bridge.experiment
    assert [row.mean for row in experiment.data._data_rows] == [1.0, 2.0]
    told = [experiment.trials[index].time_completed for index in (first, second)]
    assert [moment.timestamp() for moment in told if moment] == [START, START + 1]
    before = experiment.data
    driver.bridge.complete(ends)
    assert experiment.data is before


def test_the_jobs_outcome_counts_where_the_user_marked_the_trial_meanwhile(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    driver = Driver(new_bridge(kind))
    (candidate,) = driver.ask()
    driver.bridge.experiment.trials[candidate.trial].mark_failed(reason="by hand")
    driver.complete(candidate.trial, {"f": (2.0, None)})
    assert driver.bridge.experiment.trials[candidate.trial].status is TrialStatus.COMPLETED
    assert "marked failed in the experiment, but its job ended as completed" in caplog.text
    assert replayed(kind, driver).experiment == driver.bridge.experiment


def test_a_point_that_the_user_generated_early_and_finished_late_keeps_its_place(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(1)
    ((theirs, _),) = driver.bridge.client.get_next_trials(1).items()
    driver.run(1)
    driver.record_external()
    assert theirs not in driver.known()
    unfinished = replayed(kind, driver)
    driver.bridge.client.complete_trial(theirs, {"f": 1.0})
    driver.record_external()
    finished = replayed(kind, driver)
    assert finished.experiment == driver.bridge.experiment
    points = [bridge.ask(1, time=START).candidates[0] for bridge in (unfinished, finished, driver.bridge)]
    assert points[0].parameters == points[1].parameters == points[2].parameters
    assert [point.trial for point in points] == [3, 3, 3]


def test_an_unknown_trial_is_an_error_that_names_it(kind: str) -> None:
    with pytest.raises(ExperimentMismatchError, match="Trial 7 is not in the experiment"):
        new_bridge(kind).complete([(7, {"f": (1.0, None)}, START)])


def test_external_trials_are_found_once_final(kind: str) -> None:
    bridge = new_bridge(kind)
    _, base = bridge.experiment.attach_trial([{"x": 0.0, "y": 0.0}])
    definition = bridge.definition()
    for x in (1.0, 2.0, 3.0):
        bridge.experiment.attach_trial([{"x": x, "y": 0.0}])
    bridge.client.complete_trial(1, {"f": (1.5, 0.1)})
    bridge.client.mark_trial_abandoned(2)
    known = base_trials(definition)
    assert known == {base}
    completed, abandoned = bridge.external(known, time=START)
    assert (completed.trial, completed.origin, completed.ax["state"]) == (1, "external", TrialState.COMPLETED)
    assert completed.ax["metrics"] == {"f": [1.5, 0.1]}
    assert (abandoned.trial, abandoned.ax["state"]) == (2, TrialState.ABANDONED)
    assert bridge.external({0, 1, 2}, time=START) == []


def test_its_definition_depends_on_neither_object_nor_trials(kind: str) -> None:
    first, second = new_bridge(kind), Driver(new_bridge(kind))
    second.run(2)
    mine, yours = first.definition(), second.bridge.definition()
    assert compare(mine["axsched"]["fingerprint"], yours["axsched"]["fingerprint"]) == []
    stored = json.loads(json.dumps(mine, allow_nan=False))
    assert stored == mine
    loaded = AxBridge.from_text(json.dumps(stored), "definition.json")
    assert compare(stored["axsched"]["fingerprint"], loaded.definition()["axsched"]["fingerprint"]) == []
    assert loaded.seed == first.seed


def test_a_definition_begins_the_same_optimisation_again(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    text = json.dumps(driver.bridge.definition())
    eventful(driver)
    resumed = AxBridge.from_text(text, "definition.json")
    resumed.replay(driver.events())
    assert resumed.experiment == driver.bridge.experiment
    assert resumed.ask(1, time=START).candidates[0].parameters == driver.ask()[0].parameters
