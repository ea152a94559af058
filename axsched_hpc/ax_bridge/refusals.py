"""What Ax has and a run here could not keep, or would ignore: refused by name, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ax.core.derived_metric import DerivedMetric
from ax.core.experiment import Experiment
from ax.core.optimization_config import OptimizationConfig
from ax.core.parameter import Parameter
from ax.core.search_space import SearchSpace
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.utils.common.constants import Keys

from axsched_hpc.ax_bridge.encode import from_json, to_json
from axsched_hpc.ax_bridge.inputs import Handles
from axsched_hpc.core.errors import ConfigError

_BY_AX = "let Ax drive (docs/ax-plugin.md)"


def refuse_database(source: object) -> None:
    """Refuse a client that keeps its experiment in a database, before anything is written there.

    Raises
    ------
    ConfigError
        It does.
    """
    if getattr(source, "db_settings_set", False) is True:  # of the class itself it is a property
        raise ConfigError(
            f"This {type(source).__name__} keeps its experiment in a database, where nothing of the run "
            "would arrive: AxScheduler keeps it in files. Make the client without storage_config or "
            f"db_settings, or {_BY_AX}."
        )


def refuse_unsupported(handles: Handles) -> None:
    """Refuse what would be ignored, or be lost when the run is resumed.

    Raises
    ------
    ConfigError
        There is something of that kind; the message names it, and what to do instead.
    """
    experiment, strategy = handles.experiment, handles.generation_strategy
    for complaint in (
        *_other_runner(experiment),
        *_other_objectives(experiment),
        *_several_nodes(strategy),
        *_lost_in_json(experiment, strategy),
    ):
        raise ConfigError(complaint)


def _other_runner(experiment: Experiment) -> Iterator[str]:
    runner = experiment.runner
    # Where Ax drove before by the plugin, its runner is still there: it was the same directory's driver.
    if runner is not None and not type(runner).__module__.startswith("axsched_hpc."):
        yield (
            f"The experiment has a runner, {type(runner).__name__}, by which Ax itself would run its trials; "
            f"AxScheduler runs them by its own. Set experiment.runner = None, or {_BY_AX}."
        )


def _other_objectives(experiment: Experiment) -> Iterator[str]:
    if experiment.is_bope_problem or Keys.PAIRWISE_PREFERENCE_QUERY.value in experiment.metrics:
        yield (
            "Preference exploration is not supported: its trials compare arms by a person's judgement. Give "
            "the experiment an objective that a job can compute."
        )
    there = [purpose for purpose, some in experiment.auxiliary_experiments_by_purpose.items() if some]
    if there:
        yield (
            f"The experiment has auxiliary experiments ({', '.join(map(str, there))}), which Ax's JSON does "
            "not keep: a resumed run would suggest other points. Leave them out; trials of an earlier "
            "experiment can be attached to this one."
        )
    for metric in experiment.metrics.values():
        if isinstance(metric, DerivedMetric):
            yield (
                f"The metric {metric.name!r} is of the class {type(metric).__name__}, which Ax computes only "
                "where it fetches data itself. Let the objective report it, as a plain Metric of that name."
            )


def _several_nodes(strategy: GenerationStrategy) -> Iterator[str]:
    for node in strategy._nodes:
        if any(criterion.continue_trial_generation for criterion in node.transition_criteria):
            yield (
                f"The node {node.name!r} of the generation strategy lets another node add arms to its trial "
                "(continue_trial_generation), but trials have one arm here. Leave that out."
            )


def _lost_in_json(experiment: Experiment, strategy: GenerationStrategy) -> Iterator[str]:
    """What is another after Ax has written and read it: a directory could not be resumed as it was."""
    yield from _lost_parameters(experiment.search_space)
    config = experiment.optimization_config
    if config is not None:
        yield from _lost_config(config)
    for name, metric in experiment.metrics.items():
        if from_json(to_json(metric)) != metric:
            yield _lost(f"the metric {name!r}", "some of its fields")
    for node in strategy._nodes:
        if from_json(to_json(node)).fallback_specs != node.fallback_specs:
            yield _lost(f"the node {node.name!r}", "its fallback_specs")


def _lost_parameters(space: SearchSpace) -> Iterator[str]:
    kept = from_json(to_json(space))
    for name, parameter in space.parameters.items():
        if kept.parameters.get(name) != parameter:
            yield _lost(f"the parameter {name!r}", _lost_fields(parameter))
    if kept.parameter_constraints != space.parameter_constraints:
        yield _lost("the parameter constraints", "a part of them")


def _lost_fields(parameter: Parameter) -> str:
    if parameter.is_disabled:
        return f"that it is disabled, at {parameter.default_value!r}; make it a FixedParameter of that value"
    if parameter.backfill_value is not None:
        return (
            f"its backfill_value {parameter.backfill_value!r}; begin with a new experiment that has it, and "
            "attach the earlier trials with that value"
        )
    return "some of its fields"


def _lost_config(config: OptimizationConfig) -> Iterator[str]:
    try:
        kept = from_json(to_json(config))
    except Exception as error:  # SymPy and Ax's constructors raise whatever a name leads them to
        yield (
            "Ax cannot read its own JSON of the objective and outcome constraints again, so no run could be "
            f"resumed: {' '.join(str(error).split())[:300]} Rename the metric."
        )
        return
    if _plain(kept) != _plain(config):
        yield _lost("the objective and outcome constraints", f"a part of {config}")


def _plain(config: OptimizationConfig) -> list[Any]:
    constraints = [*config.outcome_constraints, *config.objective_thresholds]
    return [
        type(config),
        config.pruning_target_parameterization,
        config.objective._parsed[1],
        [(c.metric_names, c.metric_weights, c.op, c.bound, c.relative) for c in constraints],
    ]


def _lost(part: str, what: str) -> str:
    return f"Ax's JSON does not keep all of {part}, so a resumed run would be another one. It loses {what}."
