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
from axsched_hpc.ax_bridge.records import Reference
from axsched_hpc.ax_bridge.snapshot import FORMAT, KEY, client_to_json, seal
from axsched_hpc.core.errors import ExperimentMismatchError

_PARTS = {
    "constraints": "parameter constraint",
    "objective": "objective",
    "outcome_constraints": "outcome constraint",
}


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


def objectives(expression: str) -> list[list[tuple[str, float]]]:
    """The objectives of an expression, each as (metric, weight) pairs whose sum is to be maximised."""
    parsed = parse_objective_expression(expression)
    return [
        extract_metric_weights_from_objective_expr(part)
        for part in (parsed if isinstance(parsed, tuple) else (parsed,))
    ]


def compare(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The differences between two definitions, one sentence each; none for the same experiment.

    Parameters
    ----------
    there, here
        What :func:`define` returned: the one on record, and that of the object passed in.
    """
    old, new = there[KEY]["fingerprint"], here[KEY]["fingerprint"]
    differences = _compare_parameters(old["parameters"], new["parameters"])
    for part, word in _PARTS.items():
        differences += [f"the {word} '{text}' is there, not here" for text in _without(old[part], new[part])]
        differences += [f"the {word} '{text}' is here, not there" for text in _without(new[part], old[part])]
    # One that was set later is in the journal.
    if old["status_quo"] not in (None, new["status_quo"]):
        differences.append(f"the status quo is {old['status_quo']} there, {new['status_quo']} here")
    return differences


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


def _compare_parameters(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    differences = [f"parameter {name!r} is there, not here" for name in _without(old, new)]
    differences += [f"parameter {name!r} is here, not there" for name in _without(new, old)]
    for name in sorted(set(old) & set(new)):
        differences += [f"parameter {name!r}: {text}" for text in _compare_fields(old[name], new[name])]
    return differences


def _compare_fields(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    if old["kind"] != new["kind"] or old["parameter_type"] != new["parameter_type"]:
        return [
            f"{old['kind']} of type {old['parameter_type']} there, "
            f"{new['kind']} of type {new['parameter_type']} here"
        ]
    texts = []
    if (old.get("lower"), old.get("upper")) != (new.get("lower"), new.get("upper")):
        texts.append(f"range {old['lower']}..{old['upper']} there, {new['lower']}..{new['upper']} here")
    for field in sorted((set(old) | set(new)) - {"lower", "upper"}):
        if old.get(field) != new.get(field):
            texts.append(f"{field.replace('_', ' ')} {old.get(field)} there, {new.get(field)} here")
    return texts


def _without(names: Any, others: Any) -> list[str]:
    return sorted(set(names) - set(others))


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
