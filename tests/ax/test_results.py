"""The best point and the Pareto front, as observed."""

from __future__ import annotations

from typing import Any

import pytest

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import Verdict
from tests.ax.ax_best import Best, best_of, core_best_of, detail_of
from tests.ax.harness import START, Driver, branin, new_ax_client, new_bridge, new_client, saved


def told(source: Any, outcomes: list[Metrics]) -> AxBridge:
    """An experiment with one completed trial per outcome, at x = 0, 1, 2, …"""
    bridge = AxBridge.from_input(source)
    for i, metrics in enumerate(outcomes):
        candidate = bridge.attach({"x": float(i), "y": 0.0}, time=START)
        bridge.complete([(candidate.trial, metrics, START + i)])
    return bridge


def agrees(bridge: AxBridge) -> bool:
    """Whether the definition of the best without Ax, which status and best use, names the same trials."""
    return core_best_of(bridge) == [point.trial for point in detail_of(bridge)]


def xs(best: dict[str, Any]) -> list[float]:
    return [point["x"] for point in best.values()]


@pytest.mark.parametrize(("objective", "best"), [("-f", 1.0), ("f", 2.0)])
def test_it_minimises_and_maximises(objective: str, best: float) -> None:
    bridge = told(
        new_client(objective=objective), [{"f": (2.0, None)}, {"f": (1.0, 0.5)}, {"f": (3.0, None)}]
    )
    assert best_of(bridge) == {"x": best, "y": 0.0}
    assert bridge.client.get_best_parameterization(use_model_predictions=False)[0] == best_of(bridge)
    (detail,) = detail_of(bridge)
    value = {1.0: (1.0, 0.5), 2.0: (3.0, None)}[best]
    assert agrees(bridge)
    assert detail == Best(int(best), f"{int(best)}_0", best_of(bridge), {"f": value})


def test_nothing_is_best_before_anything_is_completed(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    assert best_of(driver.bridge) == {}
    (candidate,) = driver.ask()
    driver.fail(candidate.trial, Verdict.FAIL)
    assert best_of(driver.bridge) == {}
    assert detail_of(driver.bridge) == []


def test_outcome_constraints_rule_points_out() -> None:
    client = new_client(outcome_constraints=["memory <= 4"])
    outcomes: list[Metrics] = [
        {"f": (1.0, None), "memory": (8.0, None)},
        {"f": (3.0, None), "memory": (4.0, None)},
        {"f": (2.0, None), "memory": (4.5, 1.0)},
        {"f": (0.0, None)},
    ]
    # The third may well satisfy the constraint, given its error; the fourth lacks a metric.
    bridge = told(client, outcomes)
    assert best_of(bridge) == {"x": 2.0, "y": 0.0}
    assert agrees(bridge)
    assert best_of(told(new_client(outcome_constraints=["memory <= 1"]), outcomes[:2])) == {}


def test_a_constraint_relative_to_the_status_quo() -> None:
    client = new_ax_client(status_quo={"x": 0.0, "y": 0.0}, outcome_constraints=["speed >= -10%"])
    outcomes: list[Metrics] = [
        {"f": (5.0, 0.0), "speed": (100.0, 0.0)},
        {"f": (1.0, 0.0), "speed": (50.0, 0.0)},
        {"f": (2.0, 0.0), "speed": (95.0, 0.0)},
    ]
    bridge = told(client, outcomes)
    assert best_of(bridge) == {"x": 2.0, "y": 0.0}
    assert agrees(bridge)


def test_a_weighted_sum_is_one_objective() -> None:
    client = new_client(objective="-f - 2 * cost")
    outcomes: list[Metrics] = [
        {"f": (1.0, None), "cost": (5.0, None)},
        {"f": (4.0, None), "cost": (1.0, None)},
    ]
    bridge = told(client, outcomes)
    assert best_of(bridge) == {"x": 1.0, "y": 0.0}
    assert best_of(bridge) == client.get_best_parameterization(use_model_predictions=False)[0]
    assert agrees(bridge)


def test_several_objectives_have_a_front() -> None:
    outcomes: list[Metrics] = [
        {"f": (1.0, None), "speed": (10.0, None)},
        {"f": (2.0, None), "speed": (30.0, None)},
        {"f": (3.0, None), "speed": (20.0, None)},  # dominated by the second
        {"f": (9.0, None), "speed": (90.0, None)},
    ]
    bridge = told(new_client(objective="-f, speed"), outcomes)
    assert xs(best_of(bridge)) == [0.0, 1.0, 3.0]
    assert list(best_of(bridge)) == ["0_0", "1_0", "3_0"]
    assert [point.trial for point in detail_of(bridge)] == [0, 1, 3]
    bounded = told(new_client(objective="-f, speed", outcome_constraints=["f <= 5", "speed >= 20"]), outcomes)
    assert xs(best_of(bounded)) == [1.0]
    assert agrees(bridge)
    assert agrees(bounded)


def test_several_objectives_of_an_ax_client_and_their_replay() -> None:
    def client() -> Any:
        from ax.service.ax_client import ObjectiveProperties

        return new_ax_client(
            objectives={
                "f": ObjectiveProperties(minimize=True, threshold=150.0),
                "g": ObjectiveProperties(minimize=False),
            }
        )

    driver = Driver(AxBridge.from_input(client()))
    assert driver.bridge.objective_names == ("f", "g")
    for _ in range(6):
        (candidate,) = driver.ask()
        point = candidate.parameters
        driver.complete(candidate.trial, {"f": (branin(**point), None), "g": (point["x"], None)})
    copy = AxBridge.from_input(client())
    copy.experiment._time_created = driver.bridge.experiment._time_created
    copy.replay(driver.events())
    # Ax's comparison asks a tensor in such a generator run for its truth: no run equals another.
    run = driver.bridge.experiment.trials[5].generator_runs[0]
    assert run != run.clone()
    assert saved(copy) == saved(driver.bridge)
    assert best_of(copy) == best_of(driver.bridge) != {}
    assert copy.ask(1, time=START).candidates[0].parameters == pytest.approx(
        driver.ask()[0].parameters, abs=1e-6
    )


def test_trials_come_as_a_frame(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    driver.run(2)
    frame = driver.bridge.trials_frame()
    assert frame["trial_status"].tolist() == ["COMPLETED", "COMPLETED"]
    assert {"x", "y", "f", "arm_name"} <= set(frame.columns)


def test_a_standard_error_in_some_trials_only_is_named_as_the_cause(kind: str) -> None:
    driver = Driver(new_bridge(kind))
    with pytest.raises(
        MetricsError, match=r"'f' has a standard error in some trials \(such as 1\) and none .* 0\)"
    ):
        for i in range(7):
            (candidate,) = driver.ask()
            driver.complete(candidate.trial, {"f": (float(i), 0.5 if i % 2 else None)})
