"""Objectives and constraints of a project file, as the formulas that Ax takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axsched_hpc.core import linear
from axsched_hpc.core.best import Constraint, Objective, Problem
from axsched_hpc.core.linear import Inequality
from axsched_hpc.project.findings import Findings, way_text
from axsched_hpc.project.model import Goal, Project
from axsched_hpc.project.space import check_name, formula, texts

#: Stands for the baseline's value of a metric, in a constraint.
BASELINE = "baseline"


def goals(findings: Findings, data: Mapping[str, Any]) -> tuple[Goal, ...]:
    """The objectives, as far as they are right by themselves."""
    given = data.get("objectives")
    if not isinstance(given, dict):
        return ()
    found = []
    for metric, value in given.items():
        check_metric(findings, ("objectives", metric), metric)
        if not findings.good("objectives", metric):
            continue
        more = value if isinstance(value, dict) else {"goal": value}
        found.append(Goal(metric, more["goal"] == "minimize", more.get("weight"), more.get("threshold")))
    weighted = [goal.metric for goal in found if goal.weight is not None]
    for goal in found:
        if weighted and goal.weight is None:
            findings.add(
                ("objectives", goal.metric),
                f"objectives.{goal.metric} has no weight, and {weighted[0]} has one; give all of them a "
                "weight (their weighted sum counts) or none (their Pareto front is looked for).",
            )
        if goal.threshold is not None and (weighted or len(given) == 1):
            what = "one objective" if len(given) == 1 else "a weighted sum"
            findings.add(
                ("objectives", goal.metric, "threshold"),
                f"objectives.{goal.metric}.threshold belongs to a Pareto front of several objectives, and "
                f"this is {what}. Leave it out.",
            )
    return tuple(found)


def check_metric(findings: Findings, way: Any, metric: str) -> None:
    """Note a name that cannot be a metric's."""
    if metric == BASELINE:
        findings.add(way, f"{BASELINE!r} stands for the baseline in constraints; choose another name.")
    else:
        check_name(findings, way, metric)


def constraints(findings: Findings, data: Mapping[str, Any], wanted: tuple[Goal, ...]) -> tuple[str, ...]:
    """The constraints on metrics, as Ax takes them."""
    found = []
    front = len(wanted) > 1 and all(goal.weight is None for goal in wanted)
    names = {goal.metric for goal in wanted}
    for way, text in texts(findings, data, "constraints"):
        inequality = formula(findings, way, text)
        if inequality is None:
            continue
        said = f"{way_text(way)}, {text!r},"
        metrics = [name for name in inequality.weights if name != BASELINE]
        if BASELINE in inequality.weights:
            if len(metrics) != 1 or inequality.bound:
                findings.add(
                    way, f"{said} is not of the form metric <= 1.2 * baseline, which Ax takes of one metric."
                )
                continue
            if "baseline" not in data:
                findings.add(
                    way,
                    f"{said} compares with a baseline, and there is none. Give its parameters at the top: "
                    "baseline: {...}.",
                )
        judged = [metric for metric in metrics if metric in names]
        if judged and front and len(metrics) == 1:
            findings.add(way, f"{said} is about an objective. Say it as objectives.{judged[0]}.threshold.")
        elif judged:
            findings.add(way, f"{said} is about the objective {judged[0]!r}, which Ax does not take.")
        if findings.good(*way):
            found.append(_text(inequality, metrics))
    return tuple(found)


def _text(inequality: Inequality, metrics: list[str]) -> str:
    """A constraint as Ax reads it."""
    weights, op, bound = inequality.weights, inequality.op, inequality.bound
    if len(metrics) == 1:
        weight = weights[metrics[0]]
        if weight < 0:
            op = ">=" if op == "<=" else "<="
        if BASELINE in weights:
            return f"{metrics[0]} {op} {-weights[BASELINE] / weight!r} * {BASELINE}"
        return f"{metrics[0]} {op} {bound / weight!r}"
    left = " + ".join(f"{weights[metric]!r}*{metric}" for metric in metrics)
    return f"{left} {op} {bound!r}"


def tracked(findings: Findings, data: Mapping[str, Any], wanted: tuple[Goal, ...]) -> tuple[str, ...]:
    """The metrics that are recorded only."""
    seen = {goal.metric: "an objective" for goal in wanted}
    found = texts(findings, data, "tracked_metrics")
    for way, metric in found:
        check_metric(findings, way, metric)
        if metric in seen:
            findings.add(way, f"{way_text(way)}, {metric!r}, is {seen[metric]} already; leave it out here.")
        seen[metric] = "tracked"
    return tuple(metric for _, metric in found)


def objective_text(wanted: tuple[Goal, ...]) -> str:
    """The objectives as Ax reads them: ``-loss``; ``-0.5*a + b``; ``-a, b``."""
    parts = []
    for goal in wanted:
        factor = "" if goal.weight is None else f"{goal.weight!r}*"
        parts.append(f"{'-' if goal.minimize else ''}{factor}{goal.metric}")
    return (" + " if wanted[0].weight is not None else ", ").join(parts)


def threshold_texts(wanted: tuple[Goal, ...]) -> list[str]:
    """The thresholds as Ax reads them: as constraints on objectives."""
    return [
        f"{goal.metric} {'<=' if goal.minimize else '>='} {float(goal.threshold)!r}"
        for goal in wanted
        if goal.threshold is not None
    ]


def problem(project: Project, *, baseline: str | None = None) -> Problem:
    """What the project optimises, as far as trials can be judged by it without Ax.

    Parameters
    ----------
    baseline
        The arm with which relative constraints compare.
    """
    goals = project.goals
    if goals[0].weight is not None:
        weights = {goal.metric: (-1 if goal.minimize else 1) * (goal.weight or 0.0) for goal in goals}
        wanted: tuple[Objective, ...] = (Objective(weights, minimize=False),)
    else:
        wanted = tuple(Objective({goal.metric: 1.0}, goal.minimize) for goal in goals)
    return Problem(
        wanted,
        tuple(_constraint(linear.parse(text)) for text in project.constraints),
        tuple(_constraint(linear.parse(text)) for text in threshold_texts(goals)),
        baseline,
    )


def _constraint(inequality: Inequality) -> Constraint:
    weights = dict(inequality.weights)
    factor = weights.pop(BASELINE, None)
    if factor is None:
        return Constraint(weights, inequality.op, inequality.bound)
    # In a project it has the form metric <= factor * baseline.
    return Constraint(weights, inequality.op, 100.0 * (-factor - 1.0), relative=True)
