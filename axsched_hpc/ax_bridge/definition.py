"""What makes an experiment the same experiment: its fingerprint, and the differences between two in words.

A fingerprint does not depend on the order in which things were declared, on times, on trials, nor on the
generation strategy.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from typing import Any

from ax.core.experiment import Experiment
from ax.core.outcome_constraint import OutcomeConstraint
from ax.core.parameter import Parameter
from ax.core.types import ComparisonOp
from ax.utils.common.sympy import extract_metric_weights_from_objective_expr, parse_objective_expression

from axsched_hpc.ax_bridge.encode import to_json
from axsched_hpc.ax_bridge.inputs import Handles
from axsched_hpc.ax_bridge.parameters import constraint_text
from axsched_hpc.ax_bridge.records import PARTS, Reference
from axsched_hpc.ax_bridge.snapshot import FORMAT, KEY, client_to_json, seal
from axsched_hpc.core import redefinition
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import Definition
from axsched_hpc.core.redefinition import Difference


def define(handles: Handles) -> dict[str, Any]:
    """The optimisation as it is now, in Ax's own JSON, with its seed, fingerprint and base trials."""
    experiment = handles.experiment
    ours = {
        "format": FORMAT,
        "seed": handles.seed,
        "fingerprint": fingerprint(experiment),
        "base_trials": sorted(experiment.trials),
    }
    defined: dict[str, Any] = json.loads(seal(client_to_json(experiment, handles.generation_strategy), ours))
    return defined


def fingerprint(experiment: Experiment) -> dict[str, Any]:
    """The named parts that two experiments must have in common to count as the same."""
    space, config = experiment.search_space, Reference.of(experiment).optimization_config
    status_quo = experiment.status_quo
    return {
        "parameters": {name: _parameter(parameter) for name, parameter in space.parameters.items()},
        "constraints": sorted(constraint_text(constraint) for constraint in space.parameter_constraints),
        "objective": sorted(_weights(terms) for terms in objectives(config.objective.expression)),
        "outcome_constraints": sorted(_outcome(constraint) for constraint in config.all_constraints),
        "status_quo": None if status_quo is None else to_json(dict(status_quo.parameters)),
    }


def definition_of(experiment: Experiment, reference: Reference) -> Definition:
    """What makes an experiment this one, as a change of it is recorded."""
    return Definition(plain(fingerprint(experiment)), **plain(reference.json))


def recorded(defined: Mapping[str, Any]) -> Definition:
    """The same of what :func:`define` returned; without Ax's parts where Ax itself keeps them."""
    experiment = defined.get("experiment", {})
    parts = {part: experiment.get(part, {}) for part in PARTS}
    return Definition(defined[KEY]["fingerprint"], **parts)


def redefine(experiment: Experiment, definition: Definition) -> None:
    """Let an experiment be what its definition was changed to."""
    reference = Reference.of_definition(definition)
    experiment.search_space = reference.search_space.clone()
    experiment.optimization_config = reference.optimization_config.clone()


def objectives(expression: str) -> list[list[tuple[str, float]]]:
    """The objectives of an expression, each as (metric, weight) pairs whose sum is to be maximised."""
    parsed = parse_objective_expression(expression)
    return [
        extract_metric_weights_from_objective_expr(part)
        for part in (parsed if isinstance(parsed, tuple) else (parsed,))
    ]


def compare(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[Difference]:
    """The differences between two definitions; none for the same experiment.

    Parameters
    ----------
    there, here
        Their fingerprints: of the one on record, and of the object passed in.
    """
    return redefinition.compare(plain(there), plain(here))


def plain(value: Any) -> Any:
    """A value as JSON gives it back: of a mapping from truth values, the names are texts then."""
    return json.loads(json.dumps(value))


def base_trials(definition: Mapping[str, Any]) -> frozenset[int]:
    """The trials that the experiment had before its directory was made. The journal does not record them."""
    return frozenset(definition[KEY]["base_trials"])


def check_base(
    definition: Mapping[str, Any], experiment: Experiment, *, recorded: Container[int] = ()
) -> None:
    """Check that an experiment still has the trials that it had when its directory was made.

    Parameters
    ----------
    recorded
        Ax's indices of the trials that the journal tells of; they come back from there.

    Raises
    ------
    ExperimentMismatchError
        One is missing, or has other parameters.
    """
    for index in sorted(base_trials(definition)):
        if index in recorded:
            continue
        encoded = definition["experiment"]["trials"][str(index)]
        runs = encoded["generator_runs"] if "generator_runs" in encoded else [encoded["generator_run"]]
        expected = _distinct(arm["parameters"] for run in runs for arm in run["arms"])
        trial = experiment.trials.get(index)
        found = [] if trial is None else [dict(arm.parameters) for arm in trial.arms]
        if found != expected:
            what = f"has the parameters {_points(found)}" if found else "is missing"
            raise ExperimentMismatchError(
                f"Trial {index}, attached before this experiment's directory was made, had the parameters "
                f"{_points(expected)}; in the object passed in it {what}. Attach the same trials first, open "
                "the directory with AxScheduler.resume(...), or choose another job_output_dir."
            )


def _distinct(points: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each point once: the runs of a batch trial may have an arm in common."""
    return [json.loads(text) for text in dict.fromkeys(json.dumps(point, sort_keys=True) for point in points)]


def _points(points: list[dict[str, Any]]) -> str:
    return ", ".join(map(str, points))


def _parameter(parameter: Parameter) -> dict[str, Any]:
    encoded = to_json(parameter)
    fields = {name: value for name, value in encoded.items() if name not in ("name", "__type")}
    fields["kind"] = encoded["__type"].removesuffix("Parameter").lower()
    fields["parameter_type"] = encoded["parameter_type"]["name"].lower()
    if parameter.is_disabled:
        fields["disabled_at"] = parameter.default_value
    return fields


def _weights(terms: list[tuple[str, float]]) -> str:
    """One objective in words: ``minimize loss``."""
    if len(terms) == 1:
        name, weight = terms[0]
        factor = "" if abs(weight) == 1 else f"{abs(weight):g}*"
        return f"{'minimize' if weight < 0 else 'maximize'} {factor}{name}"
    return "maximize " + " + ".join(f"{weight:g}*{name}" for name, weight in sorted(terms))


def _outcome(constraint: OutcomeConstraint) -> str:
    terms = sorted(zip(constraint.metric_names, (w for _, w in constraint.metric_weights), strict=True))
    left = " + ".join(name if weight == 1 else f"{weight:g}*{name}" for name, weight in terms)
    sign = ">=" if constraint.op is ComparisonOp.GEQ else "<="
    return (
        f"{left} {sign} {constraint.bound:g}{'% relative to the status quo' if constraint.relative else ''}"
    )
