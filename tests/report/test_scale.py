"""Axes: values keep their order, ticks are round and lie on them, whatever the values."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from axsched_hpc.reporting.html.scale import fitted, thinned, tick_text, ticks, time_ticks, without_far

VALUES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20)


@given(VALUES)
@example([1 / 3])  # of which the last tick is 70 times 0.005, a last digit beyond the axis
@settings(max_examples=80, deadline=None)
def test_any_values_lie_within_their_axis_in_their_order(values: list[float]) -> None:
    scale = fitted(values, 50, 450)
    places = [scale(value) for value in sorted(values)]
    assert all(50 - 1e-6 <= place <= 450 + 1e-6 for place in places)
    assert all(a <= b + 1e-6 for a, b in pairwise(places))
    found = ticks(scale)
    assert len(found) <= 15
    assert all(scale.holds(value) and math.isfinite(value) for value, _ in found)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 64.0, ["0", "10", "20", "30", "40", "50", "60"]),
        (0.9031, 0.9049, ["0.9035", "0.9040", "0.9045"]),
        (1e-6, 1.0, ["1e-6", "1e-4", "0.01", "1"]),
        (0.0, 3e6, ["0", "5e5", "1.0e6", "1.5e6", "2.0e6", "2.5e6", "3.0e6"]),
    ],
)
def test_ticks_are_round_and_told_apart(low: float, high: float, wanted: list[str]) -> None:
    found = [text for _, text in ticks(fitted([low, high], 0, 100))]
    assert len(set(found)) == len(found)
    assert set(wanted) <= set(found) or found == wanted, found


def test_a_tick_has_the_digits_that_its_neighbours_need() -> None:
    assert tick_text(0.30000000000000004, 0.1) == "0.3"
    assert tick_text(100.0, 50.0) == "100"
    assert tick_text(1.5e6, 1e5) == "1.5e6"


@pytest.mark.parametrize(
    ("seconds", "some"),
    [(40, "10 s"), (600, "5 min"), (5400, "1:00 h"), (40_000, "3 h"), (9e5, "2 d"), (1e9, "2000 d")],
)
def test_spans_of_time_are_told_in_their_unit(seconds: float, some: str) -> None:
    scale = fitted([0.0, seconds], 0, 100, log=False)
    assert some in [text for _, text in time_ticks(scale)], time_ticks(scale)


def test_what_is_far_off_does_not_hide_the_rest() -> None:
    near = [1.0 + i / 10 for i in range(20)]
    assert without_far([*near, 1e9]) == near
    assert without_far([*near, 3.5]) == [*near, 3.5]
    assert without_far([5.0] * 9 + [6.0]) == [5.0] * 9 + [6.0]


def test_thinning_keeps_the_ends_and_what_it_has_to() -> None:
    chosen = thinned(10_000, 100, [77])
    assert chosen[0] == 0
    assert chosen[-1] == 9_999
    assert 77 in chosen
    assert len(chosen) in (100, 101)
    assert thinned(5, 100) == [0, 1, 2, 3, 4]
