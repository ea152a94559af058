"""The best by Ax's model, and hypervolumes, against Ax's and BoTorch's own answers."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from botorch.utils.multi_objective.hypervolume import Hypervolume, infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.model import BestByModel
from axsched_hpc.core.best import Objective, Problem
from axsched_hpc.core.front import growth
from axsched_hpc.core.hypervolume import hypervolume
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import TrialState
from axsched_hpc.scheduler.result import by_model
from tests.ax.harness import START, new_bridge, new_client

POINTS = [(x, y) for x in (-4.0, 0.0, 4.0, 8.0) for y in (1.0, 6.0, 14.0)]


def smooth(x: float, y: float) -> Metrics:
    return {"f": (x + y / 2, 0.1), "g": (y / 2 - x, 0.1), "c": (x, 0.0)}


def told(bridge: AxBridge, *names: str, values: list[float] | None = None) -> AxBridge:
    """Twelve completed trials of a smooth function, or with these values."""
    for i, (x, y) in enumerate(POINTS):
        candidate = bridge.attach({"x": x, "y": y}, time=START)
        metrics = {name: smooth(x, y)[name] for name in names}
        found = {"f": (values[i], 0.1)} if values else metrics
        bridge.complete([(candidate.trial, found, START + i)])
    return bridge


def test_the_best_by_the_model_is_ax_s(kind: str) -> None:
    bridge = told(new_bridge(kind), "f")
    # Nothing was suggested yet: Ax has fitted no model, and goes by the observations.
    assert bridge.generation_strategy.adapter is None
    found = bridge.best_by_model()
    assert bridge.generation_strategy.adapter is None
    bridge.generation_strategy.fit(bridge.experiment)
    parameters, prediction, trial, _ = bridge.client.get_best_parameterization()
    assert (found.best_parameters, found.best_trial, found.reason) == (parameters, trial, "")
    assert found.best_trial == 0
    mean, sem = found.best_values["f"]
    assert sem is not None
    # Ax calls the variance the standard error.
    assert (mean, sem**2) == pytest.approx(prediction["f"], rel=1e-4)
    assert mean == pytest.approx(-3.5, abs=0.1)
    assert mean != -3.5
    assert (found.front, found.predictions) == ({}, (found.best_values,))


def test_asking_for_it_changes_no_suggestion() -> None:
    plain, asked = (told(new_bridge("Experiment"), "f") for _ in range(2))
    assert asked.best_by_model().best_trial is not None
    for bridge in (plain, asked):
        (candidate,) = bridge.ask(1, time=START).candidates
        value = smooth(**candidate.parameters)["f"]
        bridge.complete([(candidate.trial, {"f": value}, START)])
    assert asked.best_by_model().best_trial is not None
    suggestions = [bridge.ask(1, time=START).candidates[0].parameters for bridge in (plain, asked)]
    assert suggestions[0] == suggestions[1]


def test_the_front_by_the_model_is_ax_s() -> None:
    bridge = told(
        AxBridge.from_input(
            new_client(objective="-f, -g", outcome_constraints=["c <= 5", "f <= 9", "g <= 9"])
        ),
        *"fgc",
    )
    found = bridge.best_by_model()
    bridge.generation_strategy.fit(bridge.experiment)
    front = bridge.client.get_pareto_frontier()
    assert found.front == {arm: parameters for parameters, _, _, arm in front}
    assert len(found.front) > 1
    for _, prediction, _, arm in front:
        for name, (mean, variance) in prediction.items():  # type: ignore[misc]
            value, sem = found.front_values[arm][name]
            assert sem is not None
            assert (value, sem**2) == pytest.approx((mean, variance), rel=1e-3)
    assert (found.best_parameters, found.best_trial, found.reason) == ({}, None, "")
    # Ax finds no front where only some objectives have a threshold.
    source = new_client(objective="-f, -g", outcome_constraints=["f <= 9"])
    some = told(AxBridge.from_input(source), "f", "g").best_by_model()
    assert (some.front, source.get_pareto_frontier()) == ({}, [])
    assert "only some objectives have a threshold" in some.reason


@pytest.mark.parametrize(("bound", "feasible"), [(5, True), (-20, False)])
def test_whether_the_predictions_satisfy_the_constraints(bound: int, feasible: bool) -> None:
    # Ax names a best point where none satisfies them, too, and does not tell.
    bridge = told(AxBridge.from_input(new_client(outcome_constraints=[f"c <= {bound}"])), "f", "c")
    found = by_model(Ledger(), bridge, bridge.problem())
    assert found.best_trial is not None
    assert found.feasible is feasible


def test_why_there_is_none() -> None:
    bridge = new_bridge("ax.Client")
    assert bridge.best_by_model() == BestByModel(reason="No trial is completed yet.")
    there = bridge.attach({"x": 1.0, "y": 1.0}, time=START).trial
    bridge.complete([(there, {"f": (1.0, 0.1)}, START)])
    assert bridge.best_by_model().reason.startswith("Ax has no model yet: its strategy is at Sobol")
    rough = [(-1.0) ** i for i in range(len(POINTS))]
    found = told(new_bridge("ax.Client"), values=rough).best_by_model()
    assert found == BestByModel(
        reason="Ax's model predicts the objective poorly (by cross-validation): Ax goes by observations."
    )


def test_a_model_that_fails_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = told(new_bridge("Experiment"), "f")

    def fit(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no Cholesky factor")

    monkeypatch.setattr("ax.generation_strategy.generator_spec.GeneratorSpec.fit", fit)
    assert "no Cholesky factor" in bridge.best_by_model().reason


# ---------------------------------------------------------------- hypervolumes


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_hypervolumes_are_botorch_s(dimensions: int) -> None:
    chance = random.Random(dimensions)
    for _ in range(3):
        points = [tuple(chance.choice([chance.random(), 0.5]) for _ in range(dimensions)) for _ in range(30)]
        gains = -torch.tensor(points, dtype=torch.double)
        theirs = Hypervolume(torch.full((dimensions,), -0.9, dtype=torch.double))
        expected = theirs.compute(gains[is_non_dominated(gains)])
        assert hypervolume(points, (0.9,) * dimensions) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_inferred_reference_point_is_botorch_s(count: int) -> None:
    chance = random.Random(count)
    rows = [(chance.gauss(0, 1), chance.gauss(5, 1)) for _ in range(count)]
    problem = Problem((Objective({"f": 1.0}, minimize=True), Objective({"g": 1.0}, minimize=False)))
    trials = [
        Trial(i, f"{i}_0", {}, "ax", 0.0, TrialState.COMPLETED, metrics={"f": (f, None), "g": (g, None)})
        for i, (f, g) in enumerate(rows)
    ]
    grown = growth(trials, problem)
    assert grown is not None
    gains = torch.tensor([(-f, g) for f, g in rows], dtype=torch.double)
    f, g = infer_reference_point(gains[is_non_dominated(gains)]).tolist()
    assert grown.reference == pytest.approx({"f": -f, "g": g})
