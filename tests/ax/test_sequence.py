"""With one seed, the bridge suggests exactly what a plain loop over the same client suggests."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from ax.adapter.registry import Generators
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.generation_strategy.generation_node import GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.utils.common.random import with_rng_seed

from axsched_hpc.ax_bridge.asking import torch_threads
from axsched_hpc.ax_bridge.bridge import AxBridge
from tests.ax.harness import START, Driver, branin, new_ax_client, new_bridge, new_client, new_input

TRIALS = 11


def plain_ax_client(seed: int | None) -> list[dict[str, Any]]:
    client, points = new_ax_client(seed), []
    for _ in range(TRIALS):
        parameters, trial = client.get_next_trial()
        points.append(parameters)
        client.complete_trial(trial, {"f": (branin(**parameters), None)})
    return points


def plain_client(client: Client, trials: int = TRIALS) -> list[dict[str, Any]]:
    points = []
    for _ in range(trials):
        ((trial, parameters),) = client.get_next_trials(1).items()
        points.append(parameters)
        client.complete_trial(trial, {"f": branin(**parameters)})
    return points


def test_an_ax_client_gives_the_points_of_its_own_loop() -> None:
    driver = Driver(new_bridge("AxClient"))
    assert driver.run(TRIALS) == plain_ax_client(3)
    nodes = [t.generator_runs[0]._generation_node_name for t in driver.bridge.experiment.trials.values()]
    assert nodes.count("GenerationStep_1_BoTorch") >= 5


def test_a_client_gives_the_points_of_its_own_loop() -> None:
    driver = Driver(new_bridge("ax.Client"))
    assert driver.run(TRIALS) == plain_client(new_client())
    nodes = [t.generator_runs[0]._generation_node_name for t in driver.bridge.experiment.trials.values()]
    assert nodes.count("MBM") >= 5


def test_the_first_request_gives_as_many_points_as_the_clients_own_and_the_same() -> None:
    expected = new_client().get_next_trials(12)
    driver = Driver(new_bridge("ax.Client"))
    assert {each.trial: each.parameters for each in driver.ask(12)} == expected
    assert [*expected] == [*range(12)]
    copy = new_bridge("ax.Client")
    copy.replay(driver.events())
    assert copy.experiment == driver.bridge.experiment
    # What Ax does next hangs on what its strategy has counted: wait for results, then ask the model.
    for bridge in (copy, driver.bridge):
        assert not bridge.ask(1, time=START).candidates
        for trial in (0, 1):
            bridge.complete([(trial, {"f": (branin(**expected[trial]), None)}, START)])
    ours, theirs = (bridge.ask(1, time=START).candidates[0] for bridge in (driver.bridge, copy))
    assert ours.ax["generator_run"]["generator_key"] == "BoTorch"
    assert theirs.parameters == pytest.approx(ours.parameters, abs=1e-6)


def test_an_experiment_gives_the_points_of_a_client_of_the_same_seed() -> None:
    # Both phases are covered above; here the chosen strategy and the seed of the config are at stake.
    assert Driver(new_bridge("Experiment")).run(6) == plain_client(new_client(), 6)


def test_the_seed_of_the_config_serves_a_client_without_one() -> None:
    source = new_client(seed=None)
    assert Driver(AxBridge.from_input(source, seed=3)).run(4) == plain_client(new_client(), 4)


def test_generation_does_not_disturb_the_users_own_random_numbers() -> None:
    import random

    driver = Driver(new_bridge("ax.Client"))
    random.seed(7)
    expected = random.random()
    random.seed(7)
    driver.run(2)
    assert random.random() == expected


@pytest.mark.parametrize("seed", [11, 12])
def test_another_seed_gives_other_points(seed: int) -> None:
    # The first point of this strategy is the centre of the search space.
    assert Driver(new_bridge("ax.Client", seed)).run(2)[1] != Driver(new_bridge("ax.Client", 3)).run(2)[1]


def test_a_global_stopping_strategy_ends_generation() -> None:
    client = new_ax_client()

    class Enough:
        def should_stop_optimization(self, experiment: Any) -> tuple[bool, str]:
            return len(experiment.trials) >= 2, "two are enough"

    client.global_stopping_strategy = Enough()
    asked = AxBridge.from_input(client).ask(5, time=1.0)
    assert len(asked.candidates) == 2
    assert asked.exhausted
    assert "two are enough" in str(asked.reason)


def test_a_bare_strategy_outside_the_seed_would_differ() -> None:
    """The reason why points are generated within the seed, and a check that the comparison above can fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = new_input("ax.Client")
    bridge = AxBridge.from_input(source)
    bridge.ask(1, time=1.0)
    with with_rng_seed(99):
        bare = bridge.generation_strategy.gen_single_trial(experiment=bridge.experiment, n=1)
    ours = Driver(new_bridge("ax.Client")).run(2)[1]
    assert bare.arms[0].parameters != ours


def random_client(digits: int | None = None) -> Client:
    client = Client(random_seed=5)
    bounds = {"parameter_type": "float", "bounds": (0.0, 1.0)}
    client.configure_experiment(parameters=[RangeParameterConfig(name=name, **bounds) for name in "xy"])
    client.configure_optimization(objective="-f")
    client.configure_generation_strategy(method="random_search")
    for parameter in client._experiment.search_space.parameters.values():
        parameter._digits = digits
    return client


def test_random_points_come_together_and_are_those_that_come_one_by_one() -> None:
    alone = random_client()
    expected = [parameters for _ in range(9) for parameters in alone.get_next_trials(1).values()]
    bridge = AxBridge.from_input(random_client())
    begun = bridge.ask(2, time=START).candidates
    together = bridge.ask(7, time=START, whole=False)
    assert together.reason is None
    assert [each.parameters for each in (*begun, *together.candidates)] == expected


@pytest.mark.parametrize("generator", [Generators.SOBOL, Generators.UNIFORM])
@pytest.mark.parametrize("constraints", [(), ("x0 + x1 <= 0.7",)], ids=["free", "constrained"])
def test_points_of_one_run_are_those_of_as_many_runs(
    generator: Generators, constraints: tuple[str, ...]
) -> None:
    def sampled() -> Client:
        client = Client()
        parameters = [
            RangeParameterConfig(name=f"x{n}", parameter_type="float", bounds=(0, 1)) for n in (0, 1)
        ]
        client.configure_experiment(parameters=parameters, parameter_constraints=constraints)
        client.configure_optimization("-f")
        step = GenerationStep(generator, num_trials=-1, generator_kwargs={"seed": 3})
        client.set_generation_strategy(GenerationStrategy(nodes=[step]))
        return client

    alone = sampled()
    expected = [p for _ in range(12) for p in alone.get_next_trials(1).values()]
    bridge, copy = (AxBridge.from_input(sampled()) for _ in range(2))
    made = [each for n in (4, 1, 5) for each in bridge.ask(n, time=START).candidates]
    assert [each.parameters for each in made] == expected[:10]
    runs = [trial.generator_runs for trial in bridge.experiment.trials.values()]
    assert [len(each) for each in runs] == [1] * 10 and all(len(run.arms) == 1 for (run,) in runs)
    strategy = bridge._handles.generation_strategy
    assert strategy._generator_runs == [run for (run,) in runs], "as if it had been asked for each"
    theirs = alone._experiment.trials[9].generator_runs[0]
    assert runs[9][0]._generator_state_after_gen == theirs._generator_state_after_gen
    copy.replay([each.event() for each in made])
    assert copy.experiment == bridge.experiment
    assert copy._handles.generation_strategy._generator_runs == strategy._generator_runs
    for each in (bridge, copy):
        assert [c.parameters for c in each.ask(2, time=START).candidates] == expected[10:]


def test_a_sampler_that_allows_so_many_trials_at_a_time_is_obeyed() -> None:
    client = random_client()
    step = GenerationStep(Generators.SOBOL, num_trials=-1, max_parallelism=3)
    client.set_generation_strategy(GenerationStrategy(nodes=[step]))
    bridge = AxBridge.from_input(client)
    assert not bridge.blind
    asked = bridge.ask(5, time=START)
    assert len(asked.candidates) == 3 and asked.reason is not None


def test_points_that_may_be_made_twice_come_one_by_one() -> None:
    bridge = AxBridge.from_input(random_client(digits=1))
    bridge.ask(2, time=START)
    assert len(bridge.ask(7, time=START, whole=False).candidates) == 1


def test_points_of_a_model_come_one_by_one_where_they_need_not_be_whole() -> None:
    driver = Driver(new_bridge("ax.Client"))
    driver.run(5)
    assert len(driver.bridge.ask(3, time=START, whole=False).candidates) == 1
    assert len(driver.bridge.ask(2, time=START).candidates) == 2


def test_torch_is_held_to_the_drivers_cores() -> None:
    before = torch.get_num_threads()
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    with torch_threads(1000):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
