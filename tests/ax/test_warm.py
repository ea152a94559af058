"""Evaluations from outside, and the baseline, through each kind of input, as Ax alone takes them."""

from __future__ import annotations

from typing import Any

import pytest
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from ax.core.arm import Arm

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.parameters import of_text
from axsched_hpc.ax_bridge.warm import evaluations_of
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError, ParameterError
from axsched_hpc.core.evaluations import Evaluation
from axsched_hpc.core.events import BaselineSet
from tests.ax.harness import START, Driver, branin, new_ax_client, new_bridge, new_client, new_input, saved

POINTS = [{"x": -4.0 + 2 * n, "y": 1.5 * n} for n in range(5)]


def evaluations(points: list[dict[str, Any]], sem: float | None = None) -> list[Evaluation]:
    return [Evaluation(f"item {n}", p, {"f": (branin(**p), sem)}) for n, p in enumerate(points)]


def attach(driver: Driver, found: list[Evaluation]) -> list[int]:
    good, bad = driver.bridge.warm.check(("f",), found)
    assert not bad
    indices = driver.bridge.warm.attach(good, time=driver.tick())
    driver.record_external()
    return indices


def test_the_next_points_are_those_of_ax_alone() -> None:
    alone = new_client()
    for point in POINTS:
        alone.complete_trial(alone.attach_trial(point), {"f": branin(**point)})
    driver = Driver(new_bridge("ax.Client"))
    attach(driver, evaluations(POINTS))
    # Five points would do for a beginning; Ax adds one of its own.
    for _ in range(2):
        ((index, expected),) = alone.get_next_trials(1).items()
        alone.complete_trial(index, {"f": branin(**expected)})
        assert driver.run(1) == [expected]
    runs = [trial.generator_run for trial in driver.bridge.experiment.trials.values()]
    assert [run._generation_node_name for run in runs] == [None] * 5 + ["Sobol", "MBM"]


def test_the_next_points_are_those_of_an_ax_client_alone() -> None:
    alone = new_ax_client()
    driver = Driver(new_bridge("AxClient"))
    attach(driver, evaluations(POINTS[:2]))
    for point in POINTS[:2]:
        alone.complete_trial(alone.attach_trial(point)[1], branin(**point))
    assert driver.run(1) == [alone.get_next_trial()[0]]


def test_they_are_in_the_users_object_and_in_the_journal(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    assert attach(driver, evaluations(POINTS[:2])) == [0, 1]
    # What is there is not added again, whoever computed it, and however often the source has it.
    (first,) = driver.run(1)
    assert attach(driver, evaluations([POINTS[1], first, POINTS[2], POINTS[2]])) == [1, 2, 3, 3]
    again = new_bridge(kind)
    again.experiment._time_created = driver.bridge.experiment._time_created
    again.replay(driver.events())
    assert saved(again) == saved(driver.bridge)
    assert [event.origin for event in driver.events() if hasattr(event, "origin")] == [
        "external",
        "external",
        "ax",
        "external",
    ]
    assert again.experiment.trials[0].arm.name == "0_0"


def test_curves_come_along() -> None:
    curve = {0: {"f": (9.0, None)}, 5: {"f": (8.0, None), "rate": (0.5, None)}}
    driver = Driver(new_bridge("ax.Client"))
    attach(driver, [Evaluation("item 0", POINTS[0], {"f": 7.0}, curve)])
    (found,) = evaluations_of(driver.bridge.experiment, "it", ("f",)).evaluations
    assert found.curve == {0: {"f": (9.0, None)}, 5: {"f": (7.0, None), "rate": (0.5, None)}}
    assert found.metrics == {"f": (7.0, None), "rate": (0.5, None)}
    (row,) = [event for event in driver.events() if hasattr(event, "ax")]
    assert row.ax["metrics"] == {"f": [7.0, None], "rate": [0.5, None]}


def test_every_bad_one_is_named_with_all_that_is_wrong() -> None:
    bridge = new_bridge("ax.Client")
    bridge.warm.attach(bridge.warm.check(("f",), evaluations(POINTS[:1]))[0], time=START)
    before = saved(bridge)
    good, bad = bridge.warm.check(
        ("f",),
        [
            Evaluation("line 2", {"x": 99.0, "z": 1}, {"g": 1.0}),
            Evaluation("line 3", POINTS[1], {"f": float("nan")}),
            Evaluation("line 4", POINTS[1], {"f": "0.5"}),
            Evaluation("line 5", POINTS[1], {"f": (0.5, 0.1)}),
            Evaluation("line 6", POINTS[1], {"f": 0.5}),
            Evaluation("line 7", problem="it has 3 cells, and the first line 4"),
        ],
    )
    assert [each.where for each in good] == ["line 6"]
    assert [line.split(":")[0] for line in bad] == ["line 2", "line 3", "line 4", "line 5", "line 7"]
    for word in ("'z' is not in the search space", "'x' is 99.0", "'y' is missing", "lacks 'f'"):
        assert word in bad[0]
    assert ("is nan" in bad[1], "a string ('0.5')" in bad[2], "trial 0 has none" in bad[3]) == (True,) * 3
    assert saved(bridge) == before


def test_cells_are_converted_by_the_parameters_types() -> None:
    client = new_client(
        parameters=[
            RangeParameterConfig(name="x", parameter_type="float", bounds=(0, 10)),
            RangeParameterConfig(name="n", parameter_type="int", bounds=(0, 10)),
            ChoiceParameterConfig(name="b", parameter_type="bool", values=[True, False]),
            ChoiceParameterConfig(name="s", parameter_type="str", values=["1", "true"]),
        ]
    )
    bridge = AxBridge.from_input(client)
    space = bridge.experiment.search_space
    for cells, point in [
        ({"x": "1", "n": "3", "b": "True", "s": "1"}, {"x": 1.0, "n": 3, "b": True, "s": "1"}),
        (
            {"x": "2.5e-1", "n": "3.0", "b": "false", "s": "true"},
            {"x": 0.25, "n": 3, "b": False, "s": "true"},
        ),
    ]:
        found = bridge.validate(of_text(space, cells))
        assert found == point
        assert [type(value) for value in found.values()] == [float, int, bool, str]
    with pytest.raises(ParameterError) as error:
        bridge.validate(of_text(space, {"x": "1_0", "n": "3.5", "b": "1", "s": " 1"}))
    for word in ("'x' is '1_0' (str)", "'n' is 3.5", "'b' is '1' (str)", "'s' is ' 1'"):
        assert word in str(error.value)


# ---------------------------------------------------------------- the baseline


def test_a_baseline_is_kept_and_is_one(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(1)
    driver.bridge.warm.set_baseline({"x": 1, "y": 2})
    driver.bridge.warm.set_baseline({"x": 1.0, "y": 2.0})
    with pytest.raises(ConfigError, match=r"baseline is .* already"):
        driver.bridge.warm.set_baseline({"x": 1, "y": 3})
    assert driver.bridge.warm.baseline == ("baseline", {"x": 1.0, "y": 2.0})
    driver.record(BaselineSet(START, *driver.bridge.warm.baseline))
    candidate = driver.bridge.take(0, {"x": 1.0, "y": 2.0}, time=START, known=driver.known())
    assert (candidate.arm, candidate.origin, candidate.place) == ("baseline", "enqueued", 0)
    driver.record(candidate.event())
    again = new_bridge(kind)
    again.experiment._time_created = driver.bridge.experiment._time_created
    again.replay(driver.events())
    assert saved(again) == saved(driver.bridge)
    other = new_bridge(kind)
    other.warm.set_baseline({"x": 0, "y": 0})
    with pytest.raises(ExperimentMismatchError, match="The baseline is"):
        other.replay(driver.events())


@pytest.mark.parametrize("kind", ["AxClient", "ax.Client", "Experiment"])
def test_a_baseline_that_the_user_left_open_is_run_itself(kind: str) -> None:
    source, point = new_input(kind), {"x": 1.0, "y": 2.0}
    if kind == "AxClient":
        source.set_status_quo(point)
        _, index = source.attach_trial(point)
    elif kind == "ax.Client":
        index = source.attach_baseline(point)
    else:
        source.status_quo = Arm(point)
        source.new_trial().add_arm(source.status_quo).mark_running(no_runner_required=True)
        index = 0
    bridge = AxBridge.from_input(source)
    assert bridge.external((), time=1.0) == []
    assert bridge.take(0, point, time=START, known=()).trial == index
    # One that is accounted for is another evaluation of it.
    assert bridge.take(0, point, time=START, known=(index,)).trial == index + 1
