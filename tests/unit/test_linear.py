"""Linear inequalities as people write them."""

from __future__ import annotations

import pytest

from axsched_hpc.core.linear import Inequality, parse


@pytest.mark.parametrize(
    ("text", "weights", "op", "bound"),
    [
        ("x <= 1", {"x": 1}, "<=", 1),
        ("a + 2*b <= 10", {"a": 1, "b": 2}, "<=", 10),
        ("-a - .5 * b>=1e-3", {"a": -1, "b": -0.5}, ">=", 1e-3),
        ("3 <= x/4 + 1", {"x": -0.25}, "<=", -2),
        ("b*2*3 >= a", {"b": 6, "a": -1}, ">=", 0),
        ("x + y - y + 1. <= 2", {"x": 1}, "<=", 1),
        ("memory <= 1.2 * baseline", {"memory": 1, "baseline": -1.2}, "<=", 0),
    ],
)
def test_a_formula_is_a_weighted_sum_and_a_bound(
    text: str, weights: dict[str, float], op: str, bound: float
) -> None:
    assert parse(text) == Inequality(weights, op, bound)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "takes one <= or >= between two sides"),
        ("x <= 1 <= y", "takes one <= or >= between two sides"),
        ("x == 1", "takes one <= or >= between two sides"),
        ("<= 1", "has nothing on one side"),
        ("1 <= 2", "has no name in it, or names that cancel"),
        ("x - x <= 2", "has no name in it, or names that cancel"),
        ("x*y <= 1", "is not linear in y"),
        ("1/x <= 1", "is not linear in x"),
        ("x/0 <= 1", "divides by 0"),
        ("2 x <= 1", r"has no \+ or - before x"),
        ("x + <= 1", r"has no number or name after \+"),
        ("* x <= 1", r"begins with \*"),
        ("x^2 <= 1", r"has '\^2' in it"),
        ("1e999*x <= 1", "has the number 1e999, which is too large"),
        ("__import__('os') <= 1", "which is neither a number nor a name"),
    ],
)
def test_what_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)
