"""Hypervolumes, their growth, and whether constraints are met: pure functions."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest

from axsched_hpc.core.best import Constraint, Objective, Problem, best
from axsched_hpc.core.front import growth
from axsched_hpc.core.hypervolume import added, hypervolume, nondominated
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.standing import standing
from axsched_hpc.core.states import TrialState

FRONT = Problem((Objective({"f": 1.0}, minimize=True), Objective({"g": 1.0}, minimize=False)))


def cells(points: list[tuple[float, ...]], size: int, dimensions: int) -> int:
    """The unit cells below ``size`` that whole points dominate."""
    return sum(
        any(all(c >= x for c, x in zip(cell, point, strict=True)) for point in points)
        for cell in product(range(size), repeat=dimensions)
    )


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5])
def test_a_hypervolume_is_the_number_of_cells(dimensions: int) -> None:
    chance = random.Random(dimensions)
    for count in (0, 1, 2, 5, 12):
        # Few values, so that coordinates are equal, and some points on the reference point or beyond.
        points = [tuple(float(chance.randint(0, 5)) for _ in range(dimensions)) for _ in range(count)]
        reference = (4.0,) * dimensions
        assert hypervolume(points, reference) == cells(points, 4, dimensions)
        before = 0.0
        for i, point in enumerate(points):
            before += added(point, nondominated(points[:i]), reference)
        assert before == cells(points, 4, dimensions)


def trial(number: int, metrics: Metrics | None, ended: float | None = None, arm: str = "") -> Trial:
    state = TrialState.COMPLETED if metrics else TrialState.FAILED
    end = float(number) if ended is None else ended
    return Trial(number, arm or f"{number}_0", {}, "ax", 0.0, state, metrics=metrics, ended=end)


def of(*values: tuple[float, ...], names: Iterable[str] = "fg", sem: float | None = None) -> list[Trial]:
    return [
        trial(i, {name: (value, sem) for name, value in zip(names, row, strict=True)})
        for i, row in enumerate(values)
    ]


def test_the_hypervolume_grows_in_the_order_of_completion() -> None:
    bounds = (Constraint({"f": 1.0}, "<=", 10.0), Constraint({"g": 1.0}, ">=", 0.0))
    problem = Problem(FRONT.objectives, thresholds=bounds)
    trials = [
        trial(0, {"f": (8.0, None), "g": (1.0, None)}, ended=5.0),
        trial(1, {"f": (5.0, None), "g": (4.0, None)}, ended=2.0),
        trial(2, None, ended=1.0),
        trial(3, {"f": (6.0, None), "g": (9.0, None)}, ended=3.0),
        trial(4, {"f": (11.0, None), "g": (99.0, None)}, ended=4.0),  # beyond a threshold
    ]
    grown = growth(trials, problem)
    assert grown is not None
    assert (grown.reference, grown.inferred) == ({"f": 10.0, "g": 0.0}, ())
    steps = [(step.trial, step.time, step.hypervolume) for step in grown.over_time]
    assert steps == [(1, 2.0, 20.0), (3, 3.0, 40.0), (4, 4.0, 40.0), (0, 5.0, 40.0)]
    assert grown.hypervolume == 40.0
    assert grown.last is not None
    assert grown.last.trial == 3


def test_the_reference_point_without_thresholds() -> None:
    grown = growth(of((1.0, 10.0), (2.0, 30.0), (9.0, 5.0)), FRONT)
    assert grown is not None
    # The front is the first two: f from 1 to 2, g from 10 to 30; the third lies beyond.
    assert grown.reference == pytest.approx({"f": 2.1, "g": 8.0})
    assert grown.inferred == ("f", "g")
    assert [step.hypervolume for step in grown.over_time] == pytest.approx([2.2, 4.2, 4.2])
    alone = growth(of((-4.0, 0.0)), FRONT)
    assert alone is not None
    assert alone.reference == pytest.approx({"f": -3.6, "g": -1e-8})


def test_a_threshold_for_one_objective_and_one_relative_to_the_status_quo() -> None:
    bound = Constraint({"g": 1.0}, ">=", -10.0, relative=True)
    problem = Problem(FRONT.objectives, thresholds=(bound,), status_quo="1_0")
    grown = growth(of((1.0, 30.0), (2.0, 20.0)), problem)
    assert grown is not None
    assert grown.reference == pytest.approx({"f": 1.1, "g": 18.0})
    assert grown.inferred == ("f",)


def test_nothing_grows_with_one_objective_or_without_a_front() -> None:
    assert growth(of((1.0,), names="f"), Problem(FRONT.objectives[:1])) is None
    assert growth([trial(0, None)], FRONT) is None
    unmet = Problem(FRONT.objectives, (Constraint({"f": 1.0}, "<=", 0.0),))
    assert growth(of((1.0, 1.0)), unmet) is None


def test_infeasible_trials_leave_the_hypervolume_as_it_was() -> None:
    problem = Problem(FRONT.objectives, (Constraint({"c": 1.0}, "<=", 0.0),))
    grown = growth(of((1.0, 1.0, 1.0), (3.0, 2.0, 0.0), (2.0, 1.0, -1.0), names="fgc"), problem)
    assert grown is not None
    assert [step.hypervolume > 0 for step in grown.over_time] == [False, True, True]


def test_a_thousand_trials_with_three_objectives() -> None:
    chance = random.Random(1)
    objectives = tuple(Objective({name: 1.0}, minimize=True) for name in "fgh")
    rows = [tuple(chance.random() for _ in range(3)) for _ in range(1000)]
    grown = growth(of(*rows, names="fgh"), Problem(objectives))
    assert grown is not None
    reference = tuple(grown.reference.values())
    assert grown.hypervolume == pytest.approx(hypervolume(rows, reference), rel=1e-12)
    heights = [step.hypervolume for step in grown.over_time]
    assert heights == sorted(heights)


def test_the_front_is_the_same_as_by_comparing_all_with_all() -> None:
    chance = random.Random(2)
    trials = of(*[(float(chance.randint(0, 9)), float(chance.randint(0, 9))) for _ in range(60)])
    pairs = [(t.metrics["f"][0], -t.metrics["g"][0]) for t in trials if t.metrics]
    beaten = [any(c <= a and d <= b and (c, d) != (a, b) for c, d in pairs) for a, b in pairs]
    expected = [i for i, lost in enumerate(beaten) if not lost]
    assert [each.number for each in best(trials, FRONT)] == expected


# ---------------------------------------------------------------- feasibility

NORM = Constraint({"l2norm": 1.0}, "<=", 1.25)


def judged(constraints: tuple[Constraint, ...], trials: list[Trial], **more: Any) -> tuple[Any, str]:
    found = standing(trials, Problem(FRONT.objectives[:1], constraints, **more))
    assert found.feasible is None or found.feasible == bool(found.best)
    return found.feasible, found.text


def test_the_best_satisfies_the_constraints() -> None:
    trials = of((1.0, 1.5), (2.0, 1.25), (3.0, 1.0), names=("f", "l2norm"))
    said = "Trial 1 satisfies the constraint l2norm <= 1.25; 2 of 3 completed trials do."
    assert judged((NORM,), trials) == (True, said)
    cost = Constraint({"f": 2.0, "l2norm": -1.0}, ">=", 0.0)
    assert judged((NORM, cost), trials)[1] == (
        "Trial 1 satisfies all constraints (l2norm <= 1.25, 2*f - 1*l2norm >= 0); 2 of 3 completed trials do."
    )


def test_no_trial_satisfies_the_constraints() -> None:
    trials = of((1.0, 1.5), (2.0, 1.38), (3.0, 9.0), names=("f", "l2norm"))
    assert judged((NORM,), trials) == (
        False,
        "No completed trial satisfies the constraint l2norm <= 1.25; the nearest is trial 1, which violates "
        "l2norm <= 1.25 by 0.13.",
    )
    # Units do not matter: of l2norm, trial 0 misses 3 %, of f (in thousands) all that there is to miss.
    f = Constraint({"f": 1.0}, ">=", 4000.0)
    trials = of((1000.0, 1.5), (3900.0, 2.0), (3000.0, 9.0), names=("f", "l2norm"))
    assert judged((NORM, f), trials)[1] == (
        "No completed trial satisfies all constraints (l2norm <= 1.25, f >= 4000); the nearest is trial 1, "
        "which violates l2norm <= 1.25 by 0.75 and f >= 4000 by 100."
    )


def test_what_holds_only_within_its_error_is_said() -> None:
    trials = of((1.0, 1.27), names=("f", "l2norm"), sem=0.1)
    assert judged((NORM,), trials) == (
        True,
        "Trial 0 satisfies the constraint l2norm <= 1.25; 1 of 1 completed trials do. That trial 0 satisfies "
        "l2norm <= 1.25 is not certain: its mean is 0.02 beyond, which is within its error (95 %).",
    )


def test_a_relative_constraint_before_its_baseline_is_there() -> None:
    relative = Constraint({"f": 1.0}, "<=", 10.0, relative=True)
    feasible, text = judged((relative,), of((1.0,), names="f"), status_quo="other")
    assert feasible is None
    assert text.endswith(" f <= baseline + 10% cannot be judged before the baseline is completed.")


def test_thresholds_are_constraints_of_the_front() -> None:
    problem = Problem(FRONT.objectives, thresholds=(Constraint({"f": 1.0}, "<=", 1.0),))
    assert standing(of((2.0, 1.0), (1.5, 0.0)), problem).text == (
        "No completed trial satisfies the constraint f <= 1; the nearest is trial 1, which violates f <= 1 "
        "by 0.5."
    )
    assert standing(of((1.0, 1.0), (0.5, 0.0)), problem).text.startswith("All 2 trials of the front satisfy ")


def test_nothing_to_judge() -> None:
    assert judged((NORM,), [trial(0, None)]) == (None, "No trial is completed yet.")
    assert judged((NORM,), of((1.0,), names="f")) == (None, "No completed trial has all of f, l2norm.")
    assert judged((), of((1.0,), names="f")) == (True, "There are no constraints to satisfy.")
