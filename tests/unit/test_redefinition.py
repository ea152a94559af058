"""What changed between two definitions, and under which of them earlier trials count as they are."""

from __future__ import annotations

from typing import Any

import pytest

from axsched_hpc.core.redefinition import compare, outside

FLOAT = {"kind": "range", "parameter_type": "float", "lower": 0.0, "upper": 1.0, "log_scale": False}
WORD: dict[str, Any] = {
    "kind": "choice",
    "parameter_type": "string",
    "values": ["a", "b"],
    "is_ordered": True,
    "sort_values": False,
    "dependents": None,
}
FREE = {**WORD, "values": ["a", "b", "c"], "is_ordered": False}
FIXED = {"kind": "fixed", "parameter_type": "float", "value": 0.5, "dependents": None}


def definition(**parts: Any) -> dict[str, Any]:
    empty = {"constraints": [], "objective": ["minimize loss"], "outcome_constraints": [], "status_quo": None}
    return {"parameters": {"x": FLOAT}, **empty, **parts}


def one(fields: dict[str, Any]) -> dict[str, Any]:
    return definition(parameters={"x": fields})


def limits(*texts: str) -> dict[str, Any]:
    return definition(constraints=list(texts))


def wanted(*texts: str, objective: str = "minimize loss") -> dict[str, Any]:
    return definition(outcome_constraints=list(texts), objective=[objective])


SOUND = [
    (one(FLOAT), one({**FLOAT, "lower": -1.0}), "parameter 'x': range 0.0..1.0 before, -1.0..1.0 now"),
    (one(FLOAT), one({**FLOAT, "upper": 2.0}), "parameter 'x': range 0.0..1.0 before, 0.0..2.0 now"),
    (
        # Ax takes two texts for ordered, and three for not.
        one(WORD),
        one({**WORD, "values": ["a", "z", "b"], "is_ordered": False}),
        "parameter 'x': values ['a', 'b'] before, ['a', 'z', 'b'] now",
    ),
    (
        one({**FREE, "dependents": {"a": ["y"]}}),
        one({**FREE, "values": ["d", "c", "b", "a"], "dependents": {"a": ["y"], "d": ["y"]}}),
        "parameter 'x': values ['a', 'b', 'c'] before, ['d', 'c', 'b', 'a'] now",
    ),
    (one(FIXED), one(FLOAT), "parameter 'x': fixed at 0.5 before, range 0.0..1.0 now"),
    (limits("x + y <= 1"), limits(), "the parameter constraint 'x + y <= 1' is gone"),
    (
        limits("x + y <= 1"),
        limits("x + y <= 1.5"),
        "the parameter constraint: 'x + y <= 1' before, 'x + y <= 1.5' now",
    ),
    (wanted("m <= 4"), wanted("m <= 5"), "the outcome constraint: 'm <= 4' before, 'm <= 5' now"),
    (wanted("m <= 4"), wanted("m <= 3"), "the outcome constraint: 'm <= 4' before, 'm <= 3' now"),
    (
        wanted("m <= 4", "m >= 1"),
        wanted("m <= 4", "m >= 2"),
        "the outcome constraint: 'm >= 1' before, 'm >= 2' now",
    ),
    (wanted("m <= 4"), wanted(), "the outcome constraint 'm <= 4' is gone"),
    (
        wanted(objective="maximize 2*a + -1*b"),
        wanted("b <= 4", objective="maximize 2*a + -1*b"),
        "the outcome constraint 'b <= 4' is new",
    ),
    (
        wanted("a + -1*m <= 5% relative to the status quo"),
        wanted("a + -1*m <= 5% relative to the status quo", "m <= 1"),
        "the outcome constraint 'm <= 1' is new",
    ),
]

UNSOUND = [
    (one(FLOAT), one({**FLOAT, "lower": 0.5}), "parameter 'x': range 0.0..1.0 there, 0.5..1.0 here"),
    (
        one(FLOAT),
        one({**FLOAT, "lower": -1.0, "upper": 0.9}),
        "parameter 'x': range 0.0..1.0 there, -1.0..0.9 here",
    ),
    (one(FLOAT), one({**FLOAT, "log_scale": True}), "parameter 'x': log scale False there, True here"),
    (
        one(FLOAT),
        one({**FLOAT, "parameter_type": "int"}),
        "parameter 'x': range of type float there, range of type int here",
    ),
    (one(FLOAT), one(FIXED), "parameter 'x': range of type float there, fixed of type float here"),
    (
        one(FIXED),
        one({**FLOAT, "lower": 0.6}),
        "parameter 'x': fixed of type float there, range of type float here",
    ),
    (
        one(WORD),
        one({**WORD, "values": ["a", "c"]}),
        "parameter 'x': values ['a', 'b'] there, ['a', 'c'] here",
    ),
    (
        one(WORD),
        one({**WORD, "values": ["b", "a"]}),
        "parameter 'x': values ['a', 'b'] there, ['b', 'a'] here",
    ),
    (one(WORD), one({**WORD, "is_ordered": False}), "parameter 'x': is ordered True there, False here"),
    (
        # Trials with b have no y.
        one({**FREE, "dependents": {"a": ["y"]}}),
        one({**FREE, "values": ["a", "b", "c", "d"], "dependents": {"a": ["y"], "b": ["y"]}}),
        "parameter 'x': values ['a', 'b', 'c'] there, ['a', 'b', 'c', 'd'] here",
    ),
    (
        one(FLOAT),
        definition(parameters={"x": FLOAT, "y": FLOAT}),
        "parameter 'y' is here, not there",
    ),
    (definition(parameters={"x": FLOAT, "y": FLOAT}), one(FLOAT), "parameter 'y' is there, not here"),
    (limits(), limits("x + y <= 1"), "the parameter constraint 'x + y <= 1' is here, not there"),
    (
        limits("x + y <= 1"),
        limits("x + y <= 0.5"),
        "the parameter constraint: 'x + y <= 1' there, 'x + y <= 0.5' here",
    ),
    (
        limits("x + y == 1"),
        limits("x + y == 2"),
        "the parameter constraint: 'x + y == 1' there, 'x + y == 2' here",
    ),
    (wanted(), wanted("m <= 4"), "the outcome constraint 'm <= 4' is here, not there"),
]


@pytest.mark.parametrize(("old", "new", "text"), SOUND)
def test_trials_count_under_what_is_wider(old: dict[str, Any], new: dict[str, Any], text: str) -> None:
    (found,) = compare(old, new)
    assert (found.change, found.sound) == (text, True)
    assert compare(old, old) == []


@pytest.mark.parametrize(("old", "new", "text"), UNSOUND)
def test_trials_do_not_count_under_anything_else(old: dict[str, Any], new: dict[str, Any], text: str) -> None:
    found = compare(old, new)
    assert str(found[0]) == text
    assert not any(each.sound for each in found)


def test_another_objective_is_another_experiment() -> None:
    found = compare(wanted(), wanted(objective="maximize loss"))
    assert [str(each) for each in found] == [
        "the objective 'minimize loss' is there, not here",
        "the objective 'maximize loss' is here, not there",
    ]
    assert not any(each.sound for each in found)


def test_the_trials_outside_of_a_definition() -> None:
    new = definition(
        parameters={"x": FLOAT, "word": WORD, "n": {**FIXED, "value": 3}}, constraints=["x + -1*y <= 0.25"]
    )
    points: dict[int, dict[str, Any]] = {
        0: {"x": 0.5, "y": 0.25, "word": "a", "n": 3},
        1: {"x": 1.5, "y": 2.0, "word": "a", "n": 3},
        2: {"x": 0.5, "y": 0.25, "word": "c", "n": 3},
        3: {"x": 0.5, "y": 0.0, "word": "b", "n": 3},
        4: {"x": 0.5, "y": 0.25, "word": "b", "n": 4},
        5: {"word": "b", "renamed": 7},
    }
    assert outside(new, points) == [1, 2, 3, 4]
