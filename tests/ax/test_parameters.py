"""A user's own points: what is taken, in which form, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ax.api.configs import ChoiceParameterConfig, DerivedParameterConfig, RangeParameterConfig

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import ParameterError
from tests.ax.harness import START, Driver, new_ax_client, new_client

GOOD = {"rate": 0.01, "layers": 3, "width": 2.5, "optimiser": "adam", "bias": True, "heads": 4}


@pytest.fixture
def bridge() -> AxBridge:
    client = new_client(
        parameters=[
            RangeParameterConfig(name="rate", parameter_type="float", bounds=(1e-4, 0.1), scaling="log"),
            RangeParameterConfig(name="layers", parameter_type="int", bounds=(1, 10)),
            RangeParameterConfig(name="width", parameter_type="float", bounds=(0, 8)),
            ChoiceParameterConfig(name="optimiser", parameter_type="str", values=["adam", "sgd"]),
            ChoiceParameterConfig(name="bias", parameter_type="bool", values=[True, False]),
            ChoiceParameterConfig(name="heads", parameter_type="int", values=[1, 2, 4], is_ordered=True),
            DerivedParameterConfig(name="units", parameter_type="float", expression_str="2 * width + 1"),
        ],
        parameter_constraints=["layers + width <= 12"],
    )
    return AxBridge.from_input(client)


def test_a_point_is_brought_into_ax_form(bridge: AxBridge) -> None:
    given = {
        "rate": np.float32(0.0625),
        "layers": 3.0,
        "width": 2,
        "optimiser": "sgd",
        "bias": np.bool_(False),
        "heads": np.int64(2),
    }
    point = bridge.validate(given)
    expected = {
        "rate": 0.0625,
        "layers": 3,
        "width": 2.0,
        "optimiser": "sgd",
        "bias": False,
        "heads": 2,
        "units": 5.0,
    }
    assert point == expected
    assert {name: type(value) for name, value in point.items()} == {n: type(v) for n, v in expected.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 5.0}, "parameter 'rate' is 5.0; it takes a float in 0.0001..0.1"),
        ({"rate": float("nan")}, "parameter 'rate' is nan; it takes a float in"),
        ({"rate": "0.01"}, "parameter 'rate' is '0.01' (str); it takes a float in"),
        ({"rate": True}, "parameter 'rate' is True (bool); it takes a float in"),
        ({"rate": None}, "parameter 'rate' is None (NoneType); it takes a float in"),
        ({"layers": 3.5}, "parameter 'layers' is 3.5 (float); it takes an int in 1..10"),
        ({"layers": float("inf")}, "parameter 'layers' is inf (float); it takes an int in 1..10"),
        ({"layers": True}, "parameter 'layers' is True (bool); it takes an int in 1..10"),
        ({"layers": 0}, "parameter 'layers' is 0; it takes an int in 1..10"),
        ({"optimiser": "sdg"}, "parameter 'optimiser' is 'sdg'; it takes one of 'adam', 'sgd'"),
        ({"bias": 1}, "parameter 'bias' is 1 (int); it takes one of"),
        ({"heads": 3}, "parameter 'heads' is 3; it takes one of 1, 2, 4"),
        ({"units": 7.0}, "parameter 'units' is 7.0; it is derived, and 2 * width + 1 is 6.0"),
        ({"layer": 3}, "parameter 'layer' is not in the search space. Did you mean 'layers'?"),
        ({"layers": 10, "width": 3}, "the constraint layers + width <= 12 is violated (its left side is 13)"),
    ],
)
def test_what_does_not_fit_is_named(bridge: AxBridge, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        bridge.validate({**GOOD, **change})
    assert message in str(caught.value)


def test_all_problems_are_named_at_once(bridge: AxBridge) -> None:
    with pytest.raises(ParameterError) as caught:
        bridge.validate(
            {"rate": 5.0, "depth": 1, "optimiser": "adam", "bias": True, "heads": 1, "width": 1.0}
        )
    text = str(caught.value)
    assert text.count("parameter '") == 3
    assert "parameter 'layers' is missing; it takes an int in 1..10" in text


def test_something_else_than_a_mapping_is_refused(bridge: AxBridge) -> None:
    with pytest.raises(ParameterError, match="a mapping from name to value, not list"):
        bridge.validate([0.1, 3])  # type: ignore[arg-type]


def test_validation_has_no_effect(bridge: AxBridge) -> None:
    before = bridge.snapshot_text()
    bridge.validate(GOOD)
    with pytest.raises(ParameterError):
        bridge.attach({**GOOD, "rate": 1.0}, time=START)
    assert bridge.snapshot_text() == before


def test_fixed_parameters_may_be_left_out_and_not_changed() -> None:
    bridge = AxBridge.from_input(
        new_ax_client(
            parameters=[
                {"name": "x", "type": "range", "bounds": [0.0, 1.0]},
                {"name": "data", "type": "fixed", "value": "digits", "value_type": "str"},
            ]
        )
    )
    assert bridge.validate({"x": 1}) == {"x": 1.0, "data": "digits"}
    with pytest.raises(ParameterError, match="'data' is 'iris'; it takes 'digits', to which it is fixed"):
        bridge.validate({"x": 1, "data": "iris"})


def test_a_hierarchical_point_has_only_the_parameters_of_its_branch() -> None:
    bridge = AxBridge.from_input(
        new_ax_client(
            parameters=[
                {
                    "name": "model",
                    "type": "choice",
                    "values": ["linear", "tree"],
                    "is_ordered": False,
                    "value_type": "str",
                    "dependents": {"linear": ["rate"], "tree": ["depth"]},
                },
                {"name": "rate", "type": "range", "bounds": [0.001, 0.1]},
                {"name": "depth", "type": "range", "bounds": [1, 10]},
            ]
        )
    )
    assert bridge.validate({"model": "tree", "depth": 3}) == {"model": "tree", "depth": 3}
    with pytest.raises(ParameterError) as caught:
        bridge.validate({"model": "tree", "rate": 0.01})
    assert "parameter 'rate' does not belong to this branch of the search space" in str(caught.value)
    assert "parameter 'depth' is missing; it takes an int in 1..10" in str(caught.value)
    copy, driver = AxBridge.from_text(bridge.snapshot_text(), "snapshot"), Driver(bridge)
    driver.attach({"model": "linear", "rate": 0.01})
    driver.ask()
    copy.replay(driver.events())
    assert copy.experiment == bridge.experiment


def test_a_taken_arm_name_is_refused(bridge: AxBridge) -> None:
    bridge.attach(GOOD, time=START, arm_name="mine")
    with pytest.raises(ParameterError, match="The arm name 'mine' is taken by"):
        bridge.attach({**GOOD, "heads": 1}, time=START, arm_name="mine")
    with pytest.raises(ParameterError, match="already in the experiment as the arm 'mine'"):
        bridge.attach(GOOD, time=START, arm_name="yours")
    assert len(bridge.experiment.trials) == 1


def test_generated_points_of_every_type_are_made_again(bridge: AxBridge) -> None:
    text, driver = bridge.snapshot_text(), Driver(bridge)
    for candidate in driver.ask(3):
        assert bridge.validate(candidate.parameters) == candidate.parameters
        driver.complete(candidate.trial, {"f": (candidate.parameters["width"], None)})
    copy = AxBridge.from_text(text, "snapshot")
    copy.replay(driver.events())
    assert copy.experiment == bridge.experiment
    types = [{n: type(v) for n, v in t.arm.parameters.items()} for t in copy.experiment.trials.values()]
    assert types == [
        {n: type(v) for n, v in t.arm.parameters.items()} for t in bridge.experiment.trials.values()
    ]
