"""Curves as a fold over reports, and which reports are kept."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from axsched_hpc.core.curve import Point, Report, extend, finish, reached, thinned
from axsched_hpc.core.metrics import Metrics


def _loss(value: float) -> Metrics:
    return {"loss": (value, None)}


def _reports(*steps: int) -> list[Report]:
    """Reports whose value is their place, each of ten bytes."""
    return [Report(step, _loss(number), 10 * number + 10) for number, step in enumerate(steps)]


def _curve(*points: Point) -> dict[int, Metrics]:
    curve: dict[int, Metrics] = {}
    extend(curve, points)
    return curve


def test_steps_are_appended() -> None:
    assert _curve((1, _loss(3)), (2, _loss(2)), (5, _loss(1))) == {1: _loss(3), 2: _loss(2), 5: _loss(1)}


def test_a_report_of_the_last_step_adds_to_its_point_and_replaces_values() -> None:
    curve = _curve((1, _loss(3)), (1, {"accuracy": (0.5, 0.1)}), (1, _loss(2)))
    assert curve == {1: {"loss": (2, None), "accuracy": (0.5, 0.1)}}


def test_who_begins_anew_drops_what_was_before() -> None:
    assert _curve(*[(n, _loss(n)) for n in range(10)], (0, _loss(99))) == {0: _loss(99)}


def test_who_goes_on_from_a_checkpoint_keeps_what_was_before_it() -> None:
    before: list[Point] = [(n, {**_loss(n), "other": (1, None)}) for n in range(5)]
    assert list(_curve(*before, (3, _loss(99)), (4, _loss(98)))) == [0, 1, 2, 3, 4]
    # A point that is reported anew has nothing of the old one.
    assert _curve(*before, (3, _loss(99)))[3] == _loss(99)


def test_final_metrics_are_those_of_the_last_step() -> None:
    curve = _curve((1, _loss(3)), (4, _loss(2)))
    finish(curve, {"loss": (1, None), "accuracy": (0.5, None)})
    assert curve == {1: _loss(3), 4: {"loss": (1, None), "accuracy": (0.5, None)}}
    nothing: dict[int, Metrics] = {}
    finish(nothing, _loss(1))
    assert nothing == {}


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab"), st.integers(0, 3)), max_size=40))
def test_the_reach_is_the_curve_s(raw: list[tuple[int, str, int]]) -> None:
    points = [(step, {name: (float(value), None)}) for step, name, value in raw]
    curve, reach = _curve(*points), reached(None, points)
    assert list(curve) == sorted(curve)
    if reach is None:
        assert not curve
        return
    assert (reach.last, reach.metrics) == (max(curve), curve[max(curve)])
    assert reach.first <= min(curve)


def test_a_curve_of_usual_length_is_kept_whole() -> None:
    kept, held = thinned(None, _reports(*range(200)))
    assert [each.step for each in kept] == list(range(200))
    assert held is None


def test_metrics_that_come_in_lines_of_their_own_end_the_curve_together() -> None:
    """Where the last step is not among those that are kept at intervals."""
    reports = [
        Report(step, {name: (float(step), None)}, 20 * step + place)
        for step in range(1001)
        for place, name in ((10, "loss"), (20, "accuracy"))
    ]
    kept, held = thinned(None, reports)
    assert all(each.metrics.keys() == {"loss", "accuracy"} for each in kept)
    assert len(kept) < 400 and kept[-1].step < 1000
    assert held == Report(1000, {"loss": (1000, None), "accuracy": (1000, None)}, 20_020)


def test_a_long_curve_is_kept_at_intervals_and_its_end_is_held() -> None:
    kept, held = thinned(None, _reports(*range(1, 100_001)))
    steps = [each.step for each in kept]
    assert steps[:150] == list(range(1, 151))
    assert 600 < len(steps) < 900
    assert all(b - a <= max(1, a // 99) for a, b in pairwise(steps))
    assert held is not None
    assert held.step == 100_000


def test_steps_that_begin_far_from_zero_are_measured_from_there() -> None:
    begin = 1_700_000_000
    kept, _ = thinned(None, _reports(*range(begin, begin + 150)))
    assert len(kept) == 150


def test_what_is_thinned_out_in_parts_is_what_is_thinned_out_at_once() -> None:
    reports = _reports(*range(0, 9_000, 3))
    whole, last = thinned(None, reports)
    parts: list[Report] = []
    held, reach = None, None
    for start in range(0, len(reports), 7):
        new, held = thinned(reach, ([held] if held else []) + reports[start : start + 7])
        reach = reached(reach, [(each.step, each.metrics) for each in new])
        parts += new
    assert (parts, held) == (whole, last)


def test_a_report_that_says_nothing_new_is_not_kept_twice() -> None:
    reach = reached(None, [(4, _loss(1)), (5, _loss(2))])
    assert thinned(reach, [Report(5, _loss(2), 10)])[0] == []
    assert len(thinned(reach, [Report(5, _loss(3), 10)])[0]) == 1
    assert len(thinned(reach, [Report(5, {"other": (1, None)}, 10)])[0]) == 1
    assert len(thinned(reach, [Report(4, _loss(1), 10)])[0]) == 1


def test_of_many_beginnings_in_one_look_only_the_last_one_counts() -> None:
    kept, _ = thinned(None, _reports(*(step for _ in range(50) for step in range(100))))
    assert len(kept) == 100


@settings(max_examples=300)
@given(
    st.lists(st.integers(0, 30), max_size=30).map(lambda steps: _reports(*steps)),
    st.lists(st.integers(0, 30), max_size=10),
)
def test_the_curve_of_what_is_kept_is_the_curve_of_all(reports: list[Report], earlier: list[int]) -> None:
    """Below a hundred steps nothing is thinned out, so that dropping what a later report drops is all."""
    before: list[Point] = [(step, _loss(-1.0 - number)) for number, step in enumerate(earlier)]
    kept, held = thinned(reached(None, before), reports)
    points = [(each.step, each.metrics) for each in kept]
    every = [(each.step, each.metrics) for each in reports]
    assert _curve(*before, *points) == _curve(*before, *every)
    assert held is None or held.metrics == _curve(*before, *every)[held.step]
