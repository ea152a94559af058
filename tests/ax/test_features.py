"""Each feature of Ax through each input: what the bridge does is what Ax alone does, point by point.

Points, arms, data, statuses, the best and the next point are compared, also after the journal was replayed
into new objects and into those of the directory's definition, and after Ax's own loader has read the
snapshot. What has tests of its own elsewhere is listed in docs/ax-features.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from math import log10
from pathlib import Path
from typing import Any

import pytest
from ax.adapter.registry import Generators
from ax.api.configs import ChoiceParameterConfig, DerivedParameterConfig, RangeParameterConfig
from ax.api.utils.generation_strategy_dispatch import choose_generation_strategy
from ax.api.utils.instantiation.from_string import optimization_config_from_string
from ax.api.utils.structs import GenerationStrategyDispatchStruct
from ax.core.arm import Arm
from ax.core.data import Data
from ax.core.experiment import Experiment
from ax.core.metric import Metric
from ax.core.parameter import (
    ChoiceParameter,
    DerivedParameter,
    FixedParameter,
    Parameter,
    ParameterType,
    RangeParameter,
)
from ax.core.trial_status import TrialStatus
from ax.core.types import TParameterization
from ax.generation_strategy.center_generation_node import CenterGenerationNode
from ax.generation_strategy.external_generation_node import ExternalGenerationNode
from ax.generation_strategy.generation_node import GenerationNode, GenerationStep
from ax.generation_strategy.generation_node_input_constructors import (
    InputConstructorPurpose,
    NodeInputConstructors,
)
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.generation_strategy.generator_spec import GeneratorSpec
from ax.generation_strategy.transition_criterion import (
    AutoTransitionAfterGen,
    IsSingleObjective,
    MaxGenerationParallelism,
    MaxTrialsAwaitingData,
    MinTrials,
)
from ax.storage.json_store.registry import CORE_DECODER_REGISTRY, CORE_ENCODER_REGISTRY
from botorch.acquisition.logei import qLogNoisyExpectedImprovement

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.metrics import Metrics
from tests.ax.alone import (
    SEED,
    Made,
    Pair,
    Point,
    facts,
    new_ax_client,
    new_client,
    new_experiment,
)

FLOAT, INT = ParameterType.FLOAT, ParameterType.INT
STRING, BOOL = ParameterType.STRING, ParameterType.BOOL


def chosen(sobol: int) -> GenerationStrategy:
    """What ax.Client takes, with so many points before its model's, which are not searched for long."""
    strategy = choose_generation_strategy(
        struct=GenerationStrategyDispatchStruct(initialization_budget=sobol, initialize_with_center=False)
    )
    (spec,) = strategy.nodes_by_name["MBM"].generator_specs
    search = {"num_restarts": 2, "raw_samples": 16}
    spec.generator_gen_kwargs = {"model_gen_options": {"optimizer_kwargs": search}}
    return strategy


# ------------------------------------------------------------ parameters


def every_parameter(kind: str) -> Made:
    """A network to be trained, with a parameter of every kind that the input knows."""
    constraint = ["width + 4*drop <= 8"]
    if kind == "ax.Client":
        client = new_client(
            [
                RangeParameterConfig(name="rate", parameter_type="float", bounds=(1e-4, 0.1), scaling="log"),
                RangeParameterConfig(name="layers", parameter_type="int", bounds=(1, 10)),
                RangeParameterConfig(name="batch", parameter_type="int", bounds=(8, 512), scaling="log"),
                RangeParameterConfig(name="width", parameter_type="float", bounds=(0, 8)),
                RangeParameterConfig(name="drop", parameter_type="float", bounds=(0, 0.5)),
                RangeParameterConfig(name="decay", parameter_type="float", bounds=(0, 1), step_size=0.25),
                ChoiceParameterConfig(name="optimiser", parameter_type="str", values=["adam", "sgd", "lion"]),
                ChoiceParameterConfig(name="heads", parameter_type="int", values=[1, 2, 8], is_ordered=True),
                ChoiceParameterConfig(name="bias", parameter_type="bool", values=[True, False]),
                ChoiceParameterConfig(name="data", parameter_type="str", values=["digits"]),
                DerivedParameterConfig(name="units", parameter_type="float", expression_str="2 * width + 1"),
            ],
            "-loss",
            constraints=[*constraint, "layers + width <= 12"],
            strategy=chosen(5),
        )
        client.configure_tracking_metrics(["seconds"])
        return client, None
    if kind == "AxClient":
        ranges: list[dict[str, Any]] = [
            {"name": "rate", "type": "range", "bounds": [1e-4, 0.1], "log_scale": True},
            {"name": "layers", "type": "range", "bounds": [1, 10]},
            {"name": "batch", "type": "range", "bounds": [8, 512], "log_scale": True},
            {"name": "width", "type": "range", "bounds": [0.0, 8.0]},
            {"name": "drop", "type": "range", "bounds": [0.0, 0.5], "digits": 2},
            {"name": "epochs", "type": "range", "bounds": [1.0, 9.0], "is_fidelity": True, "target_value": 9},
        ]
        texts: dict[str, Any] = {"type": "choice", "value_type": "str"}
        choices: list[dict[str, Any]] = [
            {"name": "optimiser", "values": ["adam", "sgd", "lion"], "is_ordered": False, **texts},
            {"name": "site", "type": "choice", "values": [1, 2, 3], "is_task": True, "target_value": 1},
            {"name": "heads", "type": "choice", "values": [1, 2, 8], "is_ordered": True},
            {"name": "bias", "type": "choice", "values": [True, False]},
            {"name": "data", "type": "fixed", "value": "digits"},
        ]
        return new_ax_client(
            [*ranges, *choices],
            {"loss": {"minimize": True}},
            parameter_constraints=constraint,
            tracking_metric_names=["seconds"],
        ), None
    parameters: list[Parameter] = [
        RangeParameter("rate", FLOAT, 1e-4, 0.1, log_scale=True),
        RangeParameter("layers", INT, 1, 10),
        RangeParameter("batch", INT, 8, 512, log_scale=True),
        RangeParameter("width", FLOAT, 0, 8),
        RangeParameter("drop", FLOAT, 0.01, 0.5, logit_scale=True),
        RangeParameter("epochs", FLOAT, 1, 9, is_fidelity=True, target_value=9.0),
        ChoiceParameter("optimiser", STRING, ["adam", "sgd", "lion"], is_ordered=False, sort_values=False),
        ChoiceParameter("site", INT, [1, 2, 3], is_ordered=False, is_task=True, target_value=1),
        ChoiceParameter("heads", INT, [1, 2, 8], is_ordered=True, log_scale=True),
        ChoiceParameter("bias", BOOL, [True, False]),
        FixedParameter("data", STRING, "digits"),
        DerivedParameter("units", FLOAT, "2 * width + 1"),
    ]
    experiment = new_experiment(parameters, "-loss", constraints=constraint)
    # The canonical name that data are kept under is another than the one that is reported.
    experiment.update_metric(Metric("loss", lower_is_better=True, signature_override="validation/loss"))
    experiment.add_metric(Metric("seconds"))
    return experiment, chosen(5)


def train(point: Point) -> Metrics:
    loss = (log10(point["rate"]) + 2.5) ** 2 + 0.1 * abs(point["layers"] - 4) + 0.05 * point["width"]
    loss += {"adam": 0.0, "sgd": 0.3, "lion": 0.1}[point["optimiser"]] + (0 if point["bias"] else 0.2)
    return {"loss": (loss, None), "seconds": (0.1 * point["batch"], None)}


def test_every_kind_of_parameter(kind: str, tmp_path: Path) -> None:
    pair = Pair(partial(every_parameter, kind), train)
    pair.run(5, {1: "fail", 3: "abandon"})
    copy = pair.agree(tmp_path, node="GenerationStep_0" if kind == "AxClient" else "Sobol")
    assert "seconds" not in copy.objective_names
    for trial in copy.experiment.trials.values():
        point = trial.arms[0].parameters
        assert point["width"] + 4 * point["drop"] <= 8
        assert kind != "ax.Client" or point["layers"] + point["width"] <= 12
        assert point["data"] == "digits"
        assert point.get("units", 2 * point["width"] + 1) == 2 * point["width"] + 1


def hierarchical(kind: str) -> Made:
    dependents: dict[str, list[str]] = {"linear": ["penalty"], "tree": ["depth"]}
    if kind == "ax.Client":
        return new_client(
            [
                ChoiceParameterConfig(
                    name="model",
                    parameter_type="str",
                    values=["linear", "tree"],
                    dependent_parameters=dependents,  # type: ignore[arg-type] - its mapping is invariant
                ),
                RangeParameterConfig(name="penalty", parameter_type="float", bounds=(0.01, 1), scaling="log"),
                RangeParameterConfig(name="depth", parameter_type="int", bounds=(1, 12)),
            ],
            "error",
            strategy=chosen(4),
        ), None
    if kind == "AxClient":
        model = {"name": "model", "type": "choice", "values": ["linear", "tree"], "value_type": "str"}
        return new_ax_client(
            [
                {**model, "dependents": dependents},
                {"name": "penalty", "type": "range", "bounds": [0.01, 1.0], "log_scale": True},
                {"name": "depth", "type": "range", "bounds": [1, 12]},
            ],
            {"error": {"minimize": False}},
            strategy=chosen(8),
        ), None
    parameters: list[Parameter] = [
        ChoiceParameter("model", STRING, ["linear", "tree"], dependents=dependents, sort_values=False),  # type: ignore[arg-type]
        RangeParameter("penalty", FLOAT, 0.01, 1, log_scale=True),
        RangeParameter("depth", INT, 1, 12),
    ]
    return new_experiment(parameters, "error"), chosen(8)


def accuracy(point: Point) -> Metrics:
    if point["model"] == "tree":
        return {"error": (0.9 - 0.01 * (point["depth"] - 6) ** 2, None)}
    return {"error": (0.8 - 0.1 * (log10(point["penalty"]) + 1) ** 2, None)}


def test_hierarchical_parameters(kind: str, tmp_path: Path) -> None:
    pair = Pair(partial(hierarchical, kind), accuracy)
    pair.run(4)
    node = "MBM" if kind == "ax.Client" else "Sobol"
    pair.agree(tmp_path, node=node, copies=1)


# ------------------------------------------------------------ objectives and outcome constraints


def sheet(kind: str) -> list[Any]:
    """A metal sheet: how thick, and how wide its ribs."""
    if kind == "ax.Client":
        return [
            RangeParameterConfig(name=name, parameter_type="float", bounds=(0, 1))
            for name in ("thick", "rib")
        ]
    if kind == "AxClient":
        return [{"name": name, "type": "range", "bounds": [0.0, 1.0]} for name in ("thick", "rib")]
    return [RangeParameter(name, FLOAT, 0, 1) for name in ("thick", "rib")]


def press(point: Point) -> Metrics:
    """What a noisy measurement of the sheet gives."""
    thick, rib = point["thick"], point["rib"]
    mass = 2 * thick + rib
    stress = 3 - 2 * thick - rib + thick * rib
    return {
        "mass": (mass, 0.01),
        "cost": (1 + thick**2 + 3 * rib**2, 0.02),
        "stress": (stress, 0.05),
        "noise": (1 + rib - 0.5 * thick, 0.03),
        "hours": (0.5, None),
    }


def press_twice(point: Point) -> Metrics:
    """The metrics that its models are to fit, and no others."""
    metrics = press(point)
    return {name: metrics[name] for name in ("mass", "stress")}


SUM, WITHIN = "-mass - 0.5 * cost", ["stress <= 2.4", "stress + 2 * noise <= 4.8"]


def weighted(kind: str) -> Made:
    if kind == "ax.Client":
        return new_client(sheet(kind), SUM, outcome_constraints=WITHIN, strategy=chosen(4)), None
    if kind == "AxClient":
        # Its own calls know neither sums of objectives nor constraints on sums of metrics.
        client = new_ax_client(sheet(kind), {"mass": {"minimize": True}}, strategy=chosen(8))
        for name in ("cost", "stress", "noise"):
            client.experiment.add_metric(Metric(name))
        client.experiment.optimization_config = optimization_config_from_string(SUM, WITHIN)
        return client, None
    return new_experiment(sheet(kind), SUM, outcome_constraints=WITHIN), chosen(8)


def test_a_weighted_sum_of_noisy_metrics_within_outcome_constraints(kind: str, tmp_path: Path) -> None:
    pair = Pair(partial(weighted, kind), press)
    pair.run(4)
    node = "MBM" if kind == "ax.Client" else "Sobol"
    copy = pair.agree(tmp_path, node=node, copies=1)
    # Ax's own JSON keeps of a constraint on a sum its first metric alone.
    config = copy.experiment.optimization_config
    assert config is not None
    assert config == pair.alone.experiment.optimization_config
    assert [c.metric_weights for c in config.outcome_constraints] == [
        [("stress", 1.0)],
        [("stress", 1.0), ("noise", 2.0)],
    ]
    assert set(copy.objective_names) == {"mass", "cost", "stress", "noise"}


THRESHOLDS, GOALS = ["mass <= 2.5", "stress <= 2.8"], "-mass, -stress"


def several(kind: str) -> Made:
    if kind == "ax.Client":
        return new_client(sheet(kind), GOALS, outcome_constraints=THRESHOLDS, strategy=chosen(8)), None
    if kind == "AxClient":
        objectives = {
            "mass": {"minimize": True, "threshold": 2.5},
            "stress": {"minimize": True, "threshold": 2.8},
        }
        return new_ax_client(sheet(kind), objectives, strategy=chosen(4)), None
    return new_experiment(sheet(kind), GOALS, outcome_constraints=THRESHOLDS), chosen(8)


def test_several_objectives_with_thresholds(kind: str, tmp_path: Path) -> None:
    pair = Pair(partial(several, kind), press_twice)
    pair.run(4)
    by_model = kind == "AxClient"
    node = "MBM" if by_model else "Sobol"
    copy = pair.agree(tmp_path, node=node, copies=0 if by_model else 3)
    assert len(copy.problem().thresholds) == 2


NOW = {"thick": 0.5, "rib": 0.5}


def against_a_baseline(kind: str) -> Made:
    """The sheet that is made now is the status quo, and a new one may have 10 % more stress."""
    if kind == "ax.Client":
        client = new_client(
            sheet(kind), "-mass", outcome_constraints=["stress <= 1.1 * baseline"], strategy=chosen(8)
        )
        trial = client.attach_baseline(NOW)
        client.complete_trial(trial, press_twice(NOW))  # type: ignore[arg-type] - it knows all errors
        return client, None
    if kind == "AxClient":
        return new_ax_client(
            sheet(kind),
            {"mass": {"minimize": True}},
            outcome_constraints=["stress <= 10%"],
            status_quo=NOW,
            strategy=chosen(4),
        ), None
    experiment = new_experiment(
        sheet(kind), "-mass", outcome_constraints=["stress <= 1.1 * baseline"], status_quo=NOW
    )
    return experiment, chosen(8)


def test_outcome_constraints_relative_to_a_baseline(kind: str, tmp_path: Path) -> None:
    pair = Pair(partial(against_a_baseline, kind), press_twice)
    if kind != "ax.Client":
        pair.attach(NOW)
    pair.run(4)
    by_model = kind == "AxClient"
    copy = pair.agree(tmp_path, node="MBM" if by_model else "Sobol", copies=0 if by_model else 3)
    (constraint,) = copy.problem().constraints
    assert constraint.relative
    assert constraint.bound == pytest.approx(10.0)
    quo = copy.experiment.status_quo
    assert quo is not None
    assert quo.parameters == NOW
    assert copy.experiment.trials[0].arms[0].name == quo.name == copy.problem().status_quo


# ------------------------------------------------------------ generation strategies and nodes


def graph() -> GenerationStrategy:
    """The centre, two Sobol points, then uniform and Sobol points in turn, with all kinds of criteria."""
    done = [TrialStatus.COMPLETED]
    sobol = GenerationNode(
        "Sobol",
        [GeneratorSpec(Generators.SOBOL, generator_kwargs={"seed": 5}, generator_gen_kwargs={})],
        transition_criteria=[
            MinTrials(
                threshold=2, transition_to="Uniform", only_in_statuses=done, count_only_trials_with_data=True
            ),
            IsSingleObjective(transition_to="Uniform"),
        ],
        pausing_criteria=[
            MaxTrialsAwaitingData(threshold=3),
            MaxGenerationParallelism(threshold=2, only_in_statuses=[TrialStatus.RUNNING]),
        ],
        should_deduplicate=True,
    )
    uniform = GenerationNode(
        "Uniform",
        [GeneratorSpec(Generators.UNIFORM, generator_key_override="anywhere")],
        transition_criteria=[AutoTransitionAfterGen(transition_to="Again", continue_trial_generation=False)],
        input_constructors={InputConstructorPurpose.N: NodeInputConstructors.ALL_N},
    )
    again = GenerationNode(
        "Again",
        [GeneratorSpec(Generators.SOBOL)],
        transition_criteria=[
            AutoTransitionAfterGen(transition_to="Uniform", continue_trial_generation=False)
        ],
    )
    return GenerationStrategy(nodes=[CenterGenerationNode("Sobol"), sobol, uniform, again], name="in turn")


def with_strategy(kind: str, make: Callable[[], GenerationStrategy]) -> Made:
    if kind == "ax.Client":
        client = new_client(sheet(kind), "-mass")
        client.set_generation_strategy(make())
        return client, None
    if kind == "AxClient":
        return new_ax_client(sheet(kind), {"mass": {"minimize": True}}, strategy=make()), None
    return new_experiment(sheet(kind), "-mass"), make()


def test_a_strategy_of_ones_own_nodes(kind: str, tmp_path: Path) -> None:
    pair = Pair(partial(with_strategy, kind, graph), press)
    pair.run(6)
    copy = pair.agree(tmp_path, node="Again")
    nodes = [t.generator_runs[0]._generation_node_name for t in copy.experiment.trials.values()]
    assert nodes == ["CenterOfSearchSpace", "Sobol", "Sobol", "Uniform", "Again", "Uniform", "Again"]
    criteria = copy.generation_strategy.nodes_by_name["Sobol"].pausing_criteria
    assert [type(c) for c in criteria] == [MaxTrialsAwaitingData, MaxGenerationParallelism]


def test_a_model_of_ones_own_choice(tmp_path: Path) -> None:
    def make() -> GenerationStrategy:
        options = {"botorch_acqf_class": qLogNoisyExpectedImprovement}
        search = {"model_gen_options": {"optimizer_kwargs": {"num_restarts": 1, "raw_samples": 8}}}
        return GenerationStrategy(
            nodes=[
                GenerationStep(Generators.SOBOL, num_trials=3, generator_kwargs={"seed": 1}),
                GenerationStep(
                    Generators.BOTORCH_MODULAR,
                    num_trials=-1,
                    generator_kwargs=options,
                    generator_gen_kwargs=search,
                ),
            ]
        )

    pair = Pair(partial(with_strategy, "Experiment", make), press)
    pair.run(3)
    pair.agree(tmp_path, node="GenerationStep_1", copies=0)


class Corners(ExternalGenerationNode):
    """A user's own way to suggest points: the corners in turn."""

    def __init__(self, first: int = 0) -> None:
        super().__init__(name="Corners", should_deduplicate=False)
        self.first = self.number = first

    def update_generator_state(self, experiment: Experiment, data: Data) -> None:
        self.number = self.first + len(experiment.trials)

    def get_next_candidate(self, pending_parameters: list[TParameterization]) -> TParameterization:
        return {"thick": float(self.number % 2), "rib": float(self.number // 2 % 2)}


def test_a_node_of_ones_own_class_is_kept_once_ax_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> GenerationStrategy:
        return GenerationStrategy(nodes=[Corners(first=1)])

    monkeypatch.setitem(
        CORE_ENCODER_REGISTRY, Corners, lambda node: {"__type": "Corners", "first": node.first}
    )
    monkeypatch.setitem(CORE_DECODER_REGISTRY, "Corners", Corners)
    pair = Pair(partial(with_strategy, "Experiment", make), press)
    pair.run(3)
    pair.agree(tmp_path, node="Corners")


# ------------------------------------------------------------ failed, abandoned and pending


def six_points(kind: str) -> Made:
    """A space of six points, none of which is to be suggested twice."""

    def make() -> GenerationStrategy:
        spec = GeneratorSpec(Generators.SOBOL, generator_kwargs={"seed": 2})
        return GenerationStrategy(nodes=[GenerationNode("Sobol", [spec], should_deduplicate=True)])

    if kind == "ax.Client":
        whole = RangeParameterConfig(name="n", parameter_type="int", bounds=(0, 5))
        client = new_client([whole], "score")
        client.set_generation_strategy(make())
        return client, None
    if kind == "AxClient":
        ranges = [{"name": "n", "type": "range", "bounds": [0, 5]}]
        return new_ax_client(ranges, {"score": {"minimize": False}}, strategy=make()), None
    return new_experiment([RangeParameter("n", INT, 0, 5)], "score"), make()


def test_failed_points_come_again_and_abandoned_and_pending_ones_do_not(kind: str) -> None:
    pair = Pair(partial(six_points, kind), lambda point: {"score": (float(point["n"]), None)})
    points: list[int] = []
    for _ in range(5):
        (candidate,) = pair.ours.ask()
        assert (candidate.trial, candidate.parameters) == pair.alone.ask()
        points.append(candidate.parameters["n"])
    # Five trials are pending, and nothing comes twice.
    assert len(set(points)) == 5
    pair.end(0, {"n": points[0]}, "abandon")
    pair.end(1, {"n": points[1]}, "fail")
    (missing,) = set(range(6)) - set(points)
    later = []
    for index in (5, 6):
        (candidate,) = pair.ours.ask()
        assert (candidate.trial, candidate.parameters) == pair.alone.ask()
        assert candidate.trial == index
        later.append(candidate.parameters["n"])
    assert later == [missing, points[1]] or later[0] == points[1]
    assert points[0] not in later


def test_an_ax_client_has_three_points_pending_and_says_the_way_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make(**options: Any) -> Made:
        how = {"num_initialization_trials": 3, **options}
        mass = {"mass": {"minimize": True}}
        return new_ax_client(sheet("AxClient"), mass, choose_generation_strategy_kwargs=how), None

    pair = Pair(make, press)
    pair.run(3)
    asked = pair.ours.bridge.ask(8, time=1.0)
    alone, complete = pair.alone.source.get_next_trials(8)
    assert [candidate.parameters for candidate in asked.candidates] == list(alone.values())
    assert len({tuple(point.items()) for point in alone.values()}) == 3
    assert (asked.exhausted, complete) == (False, False)
    # Until one of them ends, it is asked in vain; what is to be said is said once.
    assert not pair.ours.bridge.ask(5, time=1.0).candidates
    (said,) = [record.message for record in caplog.records if "Slots stay idle" in record.message]
    assert said.startswith(
        "3 of 8 points generated. Slots stay idle, since Ax allows no more trials at a time:"
    )
    assert "choose_generation_strategy_kwargs={'max_parallelism_override': ...}" in said

    # The way out that it names; -1 is for no limit.
    assert pair.alone.source.get_max_concurrency()[-1] == (-1, 3)
    assert make(max_parallelism_override=-1)[0].get_max_concurrency()[-1] == (-1, -1)


# ------------------------------------------------------------ an experiment that is changed


def test_a_changed_experiment_is_refused_and_goes_on_in_a_directory_of_its_own() -> None:
    pair = Pair(partial(with_strategy, "Experiment", partial(chosen, 8)), press)
    pair.run(2)
    bridge = pair.ours.bridge
    narrower: list[Parameter] = [RangeParameter("thick", FLOAT, 0, 0.5), RangeParameter("rib", FLOAT, 0, 1)]
    bridge.experiment.search_space = new_experiment(narrower, "-mass").search_space
    with pytest.raises(ExperimentMismatchError) as caught:
        bridge.external(pair.ours.known(), time=1.0)
    assert "took it: parameter 'thick': range 0.0..1.0 there, 0.0..0.5 here" in str(caught.value)
    assert "a new AxScheduler with a job_output_dir of its own" in str(caught.value)
    with pytest.raises(ExperimentMismatchError, match="took it"):
        bridge.definition()
    changed = AxBridge.from_input(
        bridge.experiment, generation_strategy=bridge.generation_strategy, seed=SEED
    )
    copy = AxBridge.from_text(json.dumps(changed.definition()), "definition.json")
    assert facts(copy.experiment) == facts(changed.experiment)
    mine, yours = (b.ask(1, time=2e9).candidates[0].parameters for b in (changed, copy))
    assert mine == yours
    assert mine["thick"] <= 0.5


def test_a_status_quo_may_come_later() -> None:
    bridge = Pair(partial(several, "Experiment"), press_twice).ours.bridge
    bridge.experiment.status_quo = Arm(parameters=dict(NOW))
    assert bridge.external((), time=1.0) == []
