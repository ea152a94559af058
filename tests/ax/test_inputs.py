"""What may be passed in, and how the rest is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from ax.adapter.registry import Generators
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.core.map_metric import MapMetric
from ax.core.metric import Metric
from ax.generation_strategy.generation_node import GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.inputs import default_strategy
from axsched_hpc.core.errors import ConfigError
from tests.ax.harness import Driver, new_ax_client, new_bridge, new_client, new_input


def half_made(what: str) -> Any:
    client = Client()
    if what == "nothing":
        return client
    if what == "AxClient":
        from ax.service.ax_client import AxClient

        return AxClient()
    client.configure_experiment([RangeParameterConfig(name="x", parameter_type="float", bounds=(0, 1))])
    return client if what == "no objective" else client._experiment


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", r"call client\.configure_experiment\(\.\.\.\) first"),
        ("no objective", r"call client\.configure_optimization\(objective=\.\.\.\) first"),
        ("AxClient", r"call ax_client\.create_experiment\(\.\.\.\) first"),
        ("Experiment", r"set experiment\.optimization_config first"),
    ],
)
def test_a_missing_call_is_named(what: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AxBridge.from_input(half_made(what))


@pytest.mark.parametrize("source", [None, {"x": 1}, "experiment.json", Client])
def test_anything_else_is_refused(source: object) -> None:
    with pytest.raises(
        ConfigError, match=r"nothing to optimise: pass an ax\.Client .* an AxClient .* or an ax Exp"
    ):
        AxBridge.from_input(source)


def test_two_seeds_have_to_agree(kind: str) -> None:
    source = new_input(kind)
    if kind == "Experiment":
        assert AxBridge.from_input(source, seed=4).seed == 4
        return
    assert AxBridge.from_input(source, seed=3).seed == 3
    with pytest.raises(ConfigError, match="random_seed is 3, the config's seed 4"):
        AxBridge.from_input(source, seed=4)


def test_an_experiment_may_bring_its_strategy() -> None:
    strategy = default_strategy()
    bridge = AxBridge.from_input(new_input("Experiment"), generation_strategy=strategy, seed=3)
    assert bridge.generation_strategy is strategy
    assert Driver(bridge).run(3) == Driver(new_bridge("Experiment")).run(3)


def test_a_client_may_not_bring_a_second_strategy() -> None:
    with pytest.raises(ConfigError, match="belongs to an Experiment; a Client brings its own"):
        AxBridge.from_input(new_client(), generation_strategy=default_strategy())


def test_a_strategy_of_another_experiment_is_refused() -> None:
    strategy: GenerationStrategy = default_strategy()
    AxBridge.from_input(new_input("Experiment"), generation_strategy=strategy)
    other = new_input("Experiment")
    other.name = "other"
    with pytest.raises(ConfigError, match="was used for another experiment before"):
        AxBridge.from_input(other, generation_strategy=strategy)


def test_metrics_that_ax_cannot_save_are_refused_before_anything_runs() -> None:
    class Mine(MapMetric):
        pass

    client = new_client()
    client._experiment.update_metric(Mine(name="f"))
    with pytest.raises(ConfigError, match="Ax cannot save a part of this experiment"):
        AxBridge.from_input(client).definition()


def test_objective_and_constraint_metrics_are_required_and_others_are_not() -> None:
    client = new_client(objective="-f", outcome_constraints=["memory <= 4"])
    client._experiment.add_metric(Metric("seconds"))
    assert AxBridge.from_input(client).objective_names == ("f", "memory")


def test_waiting_and_exhaustion_are_told_apart() -> None:
    driver = Driver(
        AxBridge.from_input(new_ax_client(choose_generation_strategy_kwargs={"num_initialization_trials": 2}))
    )
    asked = driver.bridge.ask(5, time=1.0)
    assert (len(asked.candidates), asked.exhausted) == (2, False)
    assert str(asked.reason).startswith("Ax needs the results of running trials first")
    twice = GenerationStrategy(nodes=[GenerationStep(generator=Generators.SOBOL, num_trials=2)])
    asked = AxBridge.from_input(new_input("Experiment"), generation_strategy=twice).ask(5, time=1.0)
    assert (len(asked.candidates), asked.exhausted) == (2, True)
    assert str(asked.reason).startswith("Ax has no further points")


def test_a_run_through_the_bridge_writes_nothing_to_the_terminal() -> None:
    script = """
import warnings
import logging
from tests.ax.harness import Driver, new_input
source = new_input("ax.Client")
handlers = [h for h in logging.getLogger("ax").handlers]
from axsched_hpc.ax_bridge.bridge import AxBridge
import sys
print("HERE", file=sys.stderr)
driver = Driver(AxBridge.from_input(source))
driver.run(3)
driver.bridge.problem(); driver.bridge.definition(); driver.bridge.snapshot_text()
assert logging.getLogger("ax").handlers == handlers
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert run.stdout == ""
    assert run.stderr.partition("HERE\n")[2] == ""
