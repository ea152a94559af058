"""A project in Ax: its client, and the strategies that stop trials and runs."""

from __future__ import annotations

from typing import Any

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from ax.core.arm import Arm
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy, ThresholdEarlyStoppingStrategy
from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy

from axsched_hpc.ax_bridge.parameters import validated
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.project import goals
from axsched_hpc.project.model import Parameter, Project, Stopping

#: Ax's strategies, by the names that a project file has for them.
STRATEGIES = {
    "percentile": PercentileEarlyStoppingStrategy,
    "threshold": ThresholdEarlyStoppingStrategy,
    "improvement": ImprovementGlobalStoppingStrategy,
}


def client_of(project: Project) -> Client:
    """A new client with the project's experiment.

    Raises
    ------
    ConfigError
        Ax refuses something; has its words.
    """
    client = Client(random_seed=project.config.get("seed"))
    try:
        client.configure_experiment(
            name=project.name,
            parameters=[_parameter(each, project) for each in project.parameters],
            parameter_constraints=list(project.parameter_constraints),
        )
        client.configure_optimization(
            objective=goals.objective_text(project.goals),
            outcome_constraints=[*project.constraints, *goals.threshold_texts(project.goals)],
        )
        if project.tracked_metrics:
            client.configure_tracking_metrics(list(project.tracked_metrics))
        if project.baseline is not None:
            experiment = client._experiment
            point = validated(experiment.search_space, project.baseline)
            experiment.status_quo = Arm(parameters=point, name=goals.BASELINE)
    except ConfigError:
        raise
    except Exception as error:
        # What is checked before is what people do wrong; of the rest Ax knows best.
        raise ConfigError(f"Ax refuses the experiment: {type(error).__name__}: {error}") from error
    return client


def stopping_of(project: Project) -> dict[str, Any]:
    """The scheduler's options ``early_stopping`` and ``global_stopping``.

    Raises
    ------
    ConfigError
        Ax refuses a setting; has its words.
    """
    pending = {"inactive_when_pending_trials": bool(project.config.get("synchronous", True))}
    return {
        "early_stopping": _strategy("early_stopping", project.early_stopping),
        "global_stopping": _strategy("global_stopping", project.global_stopping, pending),
    }


def _parameter(each: Parameter, project: Project) -> RangeParameterConfig | ChoiceParameterConfig:
    if each.type in ("float", "int"):
        cast = float if each.type == "float" else int
        return RangeParameterConfig(
            name=each.name,
            bounds=(cast(each.lower), cast(each.upper)),
            parameter_type="float" if each.type == "float" else "int",
            step_size=each.step,
            scaling="log" if each.log else None,
        )
    below: dict[Any, list[str]] = {}
    for other in project.parameters:
        if other.when is not None and other.when[0] == each.name:
            below.setdefault(other.when[1], []).append(other.name)
    return ChoiceParameterConfig(
        name=each.name,
        values=list(each.values),
        parameter_type=_type(each.values[0]),
        is_ordered=each.ordered,
        dependent_parameters=below or None,
    )


def _type(value: Any) -> Any:
    # bool is an int to Python.
    return {bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


def _strategy(name: str, given: bool | Stopping | None, defaults: dict[str, Any] | None = None) -> Any:
    if not isinstance(given, Stopping):
        return given
    settings = {**(defaults or {}), **given.settings}
    if "metric" in settings:
        settings["metric_signatures"] = [settings.pop("metric")]
    try:
        return STRATEGIES[given.strategy](**settings)
    except Exception as error:
        raise ConfigError(f"{name}: Ax refuses the settings: {error}") from error
