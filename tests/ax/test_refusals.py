"""What Ax has and a run could not keep, or would ignore, is refused by name before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ax.adapter.registry import Generators
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig, StorageConfig
from ax.core.auxiliary import AuxiliaryExperiment, AuxiliaryExperimentPurpose
from ax.core.derived_metric import ExpressionDerivedMetric
from ax.core.metric import Metric
from ax.core.multi_type_experiment import MultiTypeExperiment
from ax.core.objective import Objective
from ax.core.optimization_config import OptimizationConfig, PreferenceOptimizationConfig
from ax.core.outcome_constraint import ScalarizedOutcomeConstraint
from ax.core.parameter import ChoiceParameter, ParameterType, RangeParameter
from ax.core.search_space import SearchSpace
from ax.core.types import ComparisonOp
from ax.generation_strategy.generation_node import GenerationNode, GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.generation_strategy.generator_spec import GeneratorSpec
from ax.generation_strategy.transition_criterion import AutoTransitionAfterGen
from ax.runners.synthetic import SyntheticRunner
from ax.storage.json_store.save import save_experiment
from ax.storage.sqa_store.structs import DBSettings

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError
from tests.ax.harness import Driver, new_ax_client, new_client, new_input
from tests.ax.test_features import Corners

SOBOL = GeneratorSpec(Generators.SOBOL)


def with_a_runner() -> Any:
    client = new_client()
    client._experiment.runner = SyntheticRunner()
    return client


def with_a_database() -> Any:
    client = Client(storage_config=StorageConfig(url="sqlite://"))
    client._maybe_experiment = new_client()._experiment
    return client


def with_a_database_of_old() -> Any:
    from ax.service.ax_client import AxClient

    made = new_ax_client()
    client = AxClient(db_settings=DBSettings(url="sqlite://"))
    client._experiment, client._generation_strategy = made.experiment, made.generation_strategy
    return client


def with_a_derived_metric() -> Any:
    client = new_client()
    client._experiment.add_metric(ExpressionDerivedMetric("log_f", ["f"], "log(f)"))
    return client


def with_an_auxiliary_experiment() -> Any:
    experiment = new_input("Experiment")
    other = AuxiliaryExperiment(new_input("Experiment"))
    experiment.auxiliary_experiments_by_purpose = {AuxiliaryExperimentPurpose.BO_EXPERIMENT: [other]}
    return experiment


def with_preferences() -> Any:
    experiment = new_input("Experiment")
    experiment.add_metric(Metric("g"))
    objective = Objective(expression="f, g", metric_name_to_signature={"f": "f", "g": "g"})
    experiment.optimization_config = PreferenceOptimizationConfig(objective, "judges")
    return experiment


def disabled() -> Any:
    client = new_ax_client(immutable_search_space_and_opt_config=False)
    client.disable_parameters({"x": 1.0})
    return client


def added_later() -> Any:
    client = new_ax_client()
    later = RangeParameter("z", ParameterType.FLOAT, 0, 1, backfill_value=0.5)
    client.experiment.add_parameters_to_search_space([later])
    return client


def minimises(name: str) -> Any:
    from ax.service.ax_client import ObjectiveProperties

    return new_ax_client(objectives={name: ObjectiveProperties(minimize=True)})


def of_many_types() -> Any:
    experiment = new_input("Experiment")
    return MultiTypeExperiment(
        name="both",
        search_space=experiment.search_space,
        default_trial_type="short",
        default_runner=None,
        optimization_config=None,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_a_runner, r"has a runner, SyntheticRunner, .* Set experiment\.runner = None, or let Ax drive"),
        (with_a_database, r"This Client keeps its experiment in a database, .* without storage_config"),
        (with_a_database_of_old, r"This AxClient keeps its experiment in a database"),
        (
            with_a_derived_metric,
            r"'log_f' is of the class ExpressionDerivedMetric, .* Let the objective report it",
        ),
        (with_an_auxiliary_experiment, r"has auxiliary experiments \(bo_experiment\), .* can be attached"),
        (with_preferences, r"Preference exploration is not supported"),
        (disabled, r"the parameter 'x', .* that it is disabled, at 1\.0; make it a FixedParameter"),
        (added_later, r"the parameter 'z', .* its backfill_value 0\.5; begin with a new experiment"),
        (lambda: minimises("E"), r"cannot read its own JSON of the objective .* Rename the metric\."),
        (lambda: minimises("lambda"), r"cannot read its own JSON of the objective .* Rename the metric\."),
        (lambda: minimises("a,b"), r"cannot read its own JSON of the objective .* Rename the metric\."),
        (of_many_types, r"A MultiTypeExperiment is not supported"),
    ],
)
def test_an_experiment_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AxBridge.from_input(make())


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [
                GenerationNode(
                    "A",
                    [SOBOL],
                    transition_criteria=[
                        AutoTransitionAfterGen(transition_to="B", continue_trial_generation=True)
                    ],
                ),
                GenerationNode("B", [SOBOL]),
            ],
            r"The node 'A' .* lets another node add arms to its trial \(continue_trial_generation\)",
        ),
        (
            [GenerationNode("A", [SOBOL], fallback_specs={ValueError: SOBOL})],
            "the node 'A', .* its fallback_specs",
        ),
        ([Corners()], r"Object Corners.* CORE_ENCODER_REGISTRY and CORE_DECODER_REGISTRY"),
    ],
)
def test_a_generation_strategy_is_refused(nodes: list[GenerationNode], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AxBridge.from_input(new_input("Experiment"), generation_strategy=GenerationStrategy(nodes=nodes))


def test_a_generator_of_whole_batches_is_refused_by_the_name_of_its_node() -> None:
    experiment = new_input("Experiment")
    levels = [
        ChoiceParameter(name, ParameterType.FLOAT, [0.0, 1.0, 2.0], is_ordered=True, sort_values=True)
        for name in ("x", "y")
    ]
    experiment.search_space = SearchSpace(levels)
    strategy = GenerationStrategy(nodes=[GenerationStep(Generators.FACTORIAL, num_trials=-1)])
    bridge = AxBridge.from_input(experiment, generation_strategy=strategy)
    with pytest.raises(ConfigError, match=r"'GenerationStep_0_Factorial' .* makes 9 arms at once"):
        bridge.ask(1, time=1.0)
    assert not experiment.trials


def test_a_file_of_ax_is_refused_alike(tmp_path: Path) -> None:
    path = tmp_path / "experiment.json"
    save_experiment(with_a_runner()._experiment, str(path))
    with pytest.raises(ConfigError, match="has a runner, SyntheticRunner"):
        AxBridge.from_text(path.read_text(), str(path))


def test_nothing_is_made_for_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a runner"):
        AxScheduler(with_a_runner(), LocalRunner(1), {"job_output_dir": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_a_constraint_on_a_sum_of_the_deprecated_class_is_kept() -> None:
    """Ax's own JSON of it cannot be read again."""
    experiment = new_input("Experiment")
    metrics = [Metric("a"), Metric("b")]
    for metric in metrics:
        experiment.add_metric(metric)
    constraint = ScalarizedOutcomeConstraint(
        metrics, ComparisonOp.LEQ, 3.0, relative=False, weights=[1.0, 2.0]
    )
    objective = Objective(expression="-f", metric_name_to_signature={"f": "f"})
    experiment.optimization_config = OptimizationConfig(objective, [constraint])
    driver = Driver(AxBridge.from_input(experiment))
    copy = AxBridge.from_text(driver.bridge.snapshot_text(), "snapshot")
    config = copy.experiment.optimization_config
    assert config is not None
    (kept,) = config.outcome_constraints
    assert kept.metric_weights == constraint.metric_weights
    assert (kept.op, kept.bound, kept.relative) == (ComparisonOp.LEQ, 3.0, False)


def test_a_parameter_that_is_disabled_in_between_is_told() -> None:
    client = new_ax_client(immutable_search_space_and_opt_config=False)
    bridge = AxBridge.from_input(client)
    client.disable_parameters({"x": 1.0})
    with pytest.raises(ExperimentMismatchError, match=r"parameter 'x': disabled at None there, 1.0 here"):
        bridge.external((), time=1.0)


def test_another_strategy_in_between_is_told() -> None:
    client = new_client()
    bridge = AxBridge.from_input(client)
    client.configure_generation_strategy(initialization_budget=9)
    with pytest.raises(ExperimentMismatchError, match="another experiment or generation strategy after"):
        bridge.external((), time=1.0)


def test_parameters_that_a_client_calls_by_odd_names_are_kept() -> None:
    odd = [RangeParameterConfig(name="layer.1/rate", parameter_type="float", bounds=(0, 1))]
    bridge = AxBridge.from_input(new_client(parameters=odd, objective="-val/loss"))
    assert bridge.objective_names == ("val/loss",)
    assert AxBridge.from_text(bridge.snapshot_text(), "snapshot").experiment == bridge.experiment
