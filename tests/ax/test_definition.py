"""When two experiments count as the same, and how their differences are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

from axsched_hpc.ax_bridge import definition as definitions
from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.definition import base_trials, check_base
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import DefinitionChanged
from tests.ax.harness import START, Driver, new_ax_client, new_bridge, new_client, saved

X = RangeParameterConfig(name="x", parameter_type="float", bounds=(-5, 10))
Y = RangeParameterConfig(name="y", parameter_type="float", bounds=(0, 15))


def compare(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    found = definitions.compare(there["axsched"]["fingerprint"], here["axsched"]["fingerprint"])
    return [str(each) for each in found]


def definition(**options: Any) -> dict[str, Any]:
    return AxBridge.from_input(new_client(**options)).definition()


@pytest.mark.parametrize(
    ("options", "differences"),
    [
        ({"parameters": [Y, X]}, []),
        ({"seed": 4}, []),
        (
            {"parameters": [X, RangeParameterConfig(name="y", parameter_type="float", bounds=(0, 20))]},
            ["parameter 'y': range 0.0..15.0 there, 0.0..20.0 here"],
        ),
        (
            {"parameters": [X, RangeParameterConfig(name="y", parameter_type="int", bounds=(0, 15))]},
            ["parameter 'y': range of type float there, range of type int here"],
        ),
        (
            {"parameters": [X, ChoiceParameterConfig(name="y", parameter_type="float", values=[0.0, 1.0])]},
            ["parameter 'y': range of type float there, choice of type float here"],
        ),
        (
            {"parameters": [X, RangeParameterConfig(name="z", parameter_type="float", bounds=(0, 15))]},
            ["parameter 'y' is there, not here", "parameter 'z' is here, not there"],
        ),
        (
            {"parameter_constraints": ["x + 2 * y <= 20"]},
            ["the parameter constraint 'x + 2*y <= 20' is here, not there"],
        ),
        (
            {"objective": "f"},
            [
                "the objective 'minimize f' is there, not here",
                "the objective 'maximize f' is here, not there",
            ],
        ),
        (
            {"objective": "-f, speed"},
            ["the objective 'maximize speed' is here, not there"],
        ),
        (
            {"objective": "-2 * f + speed"},
            [
                "the objective 'minimize f' is there, not here",
                "the objective 'maximize -2*f + 1*speed' is here, not there",
            ],
        ),
        (
            {"outcome_constraints": ["memory <= 4"]},
            ["the outcome constraint 'memory <= 4' is here, not there"],
        ),
    ],
)
def test_differences_are_told_in_words(options: dict[str, Any], differences: list[str]) -> None:
    assert compare(definition(), definition(**options)) == differences


def test_a_log_scale_is_a_difference() -> None:
    there = [X, RangeParameterConfig(name="y", parameter_type="float", bounds=(1, 15))]
    here = [X, RangeParameterConfig(name="y", parameter_type="float", bounds=(1, 15), scaling="log")]
    assert compare(definition(parameters=there), definition(parameters=here)) == [
        "parameter 'y': log scale False there, True here"
    ]


def test_another_status_quo_is_a_difference_and_a_new_one_is_none() -> None:
    plain = AxBridge.from_input(new_ax_client()).definition()
    with_quo = AxBridge.from_input(new_ax_client(status_quo={"x": 0.0, "y": 1.0})).definition()
    other = AxBridge.from_input(new_ax_client(status_quo={"x": 0.0, "y": 2.0})).definition()
    assert compare(plain, with_quo) == []
    there = "the status quo: {'x': 0.0, 'y': 1.0} there"
    assert compare(with_quo, plain) == [f"{there}, None here"]
    assert compare(with_quo, other) == [f"{there}, {{'x': 0.0, 'y': 2.0}} here"]


def test_both_clients_define_the_same_experiment() -> None:
    assert compare(definition(), AxBridge.from_input(new_ax_client()).definition()) == []


def test_base_trials_belong_to_the_definition(kind: str) -> None:
    bridge = new_bridge(kind)
    _, done = bridge.experiment.attach_trial([{"x": 1.0, "y": 2.0}])
    bridge.client.complete_trial(done, {"f": (1e-13, 0.125)})
    _, left = bridge.experiment.attach_trial([{"x": 2.0, "y": 2.0}])
    begun = bridge.definition()
    assert base_trials(begun) == {done, left}
    check_base(begun, bridge.experiment)

    driver = Driver(bridge)
    driver.run(2, lambda x, y: x)
    assert compare(begun, bridge.definition()) == []
    resumed = AxBridge.from_text(str_of(begun), "definition.json")
    resumed.replay(driver.events())
    assert resumed.experiment == bridge.experiment
    assert resumed.experiment.data.full_df["mean"].tolist()[0] == 1e-13
    assert resumed.ask(1, time=START).candidates[0].parameters == driver.ask()[0].parameters

    with pytest.raises(
        ExperimentMismatchError, match=r"Trial 0, attached before .* in the object passed in it is missing"
    ):
        check_base(begun, new_bridge(kind).experiment)
    check_base(begun, new_bridge(kind).experiment, recorded={done, left})
    with pytest.raises(ExperimentMismatchError, match="Trial 1, attached before"):
        check_base(begun, new_bridge(kind).experiment, recorded={done})
    other = new_bridge(kind)
    other.experiment.attach_trial([{"x": 9.0, "y": 2.0}])
    with pytest.raises(ExperimentMismatchError, match=r"it has the parameters \{'x': 9.0, 'y': 2.0\}"):
        check_base(begun, other.experiment)


def test_trials_that_the_user_had_before_come_back_from_the_journal(kind: str) -> None:
    """The driver records what is final when it opens, so that a script need not attach it again."""
    driver = Driver(new_bridge(kind))
    _, done = driver.bridge.experiment.attach_trial([{"x": 1.0, "y": 2.0}])
    driver.bridge.client.complete_trial(done, {"f": (1e-13, 0.125)})
    begun = driver.bridge.definition()
    driver.record_external()
    driver.run(2, lambda x, y: x)
    for copy in (new_bridge(kind), AxBridge.from_text(str_of(begun), "definition.json")):
        copy.experiment._time_created = driver.bridge.experiment._time_created
        check_base(begun, copy.experiment, recorded=driver.known())
        copy.replay(driver.events())
        assert copy.experiment == driver.bridge.experiment
        assert saved(copy) == saved(driver.bridge)
    assert copy.ask(1, time=START).candidates[0].parameters == driver.ask()[0].parameters


def test_a_wider_definition_is_gone_on_with_as_if_it_had_always_been_so(kind: str) -> None:
    """The trials of before are as they were, and the sequence of points goes on, in the wider range."""
    whole, before = Driver(new_bridge(kind)), Driver(new_bridge(kind))
    begun = before.bridge.definition()
    begun_at = before.bridge.experiment._time_created
    in_one_go = whole.run(4)
    assert before.run(2) == in_one_go[:2]

    wider = AxBridge.from_input(wider_input(kind), **({"seed": 3} if kind == "Experiment" else {}))
    wider.experiment._time_created = begun_at
    differences = definitions.compare(before.bridge.defined.fingerprint, wider.defined.fingerprint)
    assert all(each.sound for each in differences)
    assert [each.change for each in differences] == ["parameter 'x': range -5.0..10.0 before, -5.0..25.0 now"]
    change = DefinitionChanged(before.tick(), ("wider",), 2, definitions.recorded(begun), wider.defined)
    before.record(change)
    wider.replay(before.events())
    after = Driver(wider)
    after.lines, after.now = before.lines, before.now
    points = after.run(2)
    # The same points of the unit square: of x's range, twice the length.
    assert [(p["x"] + 5) / 2 - 5 for p in points] == pytest.approx([p["x"] for p in in_one_go[2:]])
    assert [p["y"] for p in points] == [p["y"] for p in in_one_go[2:]]

    # From the directory alone, and with a copy of the new definition.
    for copy in (
        AxBridge.from_text(str_of(begun), "definition.json", redefined=change.after),
        AxBridge.from_input(wider_input(kind), **({"seed": 3} if kind == "Experiment" else {})),
    ):
        copy.experiment._time_created = begun_at
        copy.replay(after.events())
        assert saved(copy) == saved(wider)
    assert copy.ask(1, time=START).candidates[0].parameters == after.ask()[0].parameters


def wider_input(kind: str) -> Any:
    if kind == "AxClient":
        return new_ax_client(
            parameters=[
                {"name": "x", "type": "range", "bounds": [-5.0, 25.0]},
                {"name": "y", "type": "range", "bounds": [0.0, 15.0]},
            ]
        )
    client = new_client(
        parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(-5, 25)), Y]
    )
    return client if kind == "ax.Client" else client._experiment


def test_another_strategy_is_refused_by_name() -> None:
    driver = Driver(new_bridge("AxClient"))
    driver.run(1)
    other = AxBridge.from_input(new_client())
    with pytest.raises(
        ExperimentMismatchError, match="generated by the node 'GenerationStep_0_Sobol', which the gen"
    ):
        other.replay(driver.events())


def str_of(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
