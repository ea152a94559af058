"""The best observed trials, for a person and for a program: parameters, metrics, feasibility, hypervolume."""

from __future__ import annotations

from typing import Any

from axsched_hpc.core.front import Growth, growth
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.standing import standing
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.reporting.table import iso, number

#: Of what ``axsched best --json`` prints.
FORMAT = 1


def best_text(reading: Reading) -> str:
    """The best trials' parameters and metrics, whether they satisfy the constraints, and the hypervolume."""
    trials, problem = reading.ledger.trials.values(), reading.problem
    found = standing(trials, problem)
    if not found.best:
        return f"{reading.layout.root}: nothing is best. {found.text}"
    lines = [line for trial in found.best for line in _lines(trial)]
    if problem.bounds:
        lines += ["", found.text]
    grown = growth(trials, problem)
    if grown is not None:
        lines += ["", *_growth_lines(grown)]
    return "\n".join(lines)


def best_json(reading: Reading) -> dict[str, Any]:
    """The same as a JSON object, with the hypervolume after each completed trial."""
    trials, problem = reading.ledger.trials.values(), reading.problem
    found = standing(trials, problem)
    grown = growth(trials, problem)
    return {
        "format": FORMAT,
        "directory": str(reading.layout.root),
        "objectives": [
            {"name": each.name, "goal": "minimize" if each.minimize else "maximize"}
            for each in problem.objectives
        ],
        "constraints": [str(each) for each in problem.bounds],
        "feasible": found.feasible,
        "feasibility": found.text,
        "best": [
            {
                "trial": trial.number,
                "arm": trial.arm,
                "parameters": trial.parameters,
                "metrics": {
                    name: {"mean": mean, "sem": sem} for name, (mean, sem) in (trial.metrics or {}).items()
                },
            }
            for trial in found.best
        ],
        "hypervolume": None
        if grown is None
        else {
            "reference": grown.reference,
            "inferred": list(grown.inferred),
            "over_time": [
                {"trial": each.trial, "time": iso(each.time), "hypervolume": each.hypervolume}
                for each in grown.over_time
            ],
        },
    }


def _lines(trial: Trial) -> list[str]:
    lines = [f"trial {trial.number} (arm {trial.arm})"]
    lines += [f"  {name} = {value!r}" for name, value in trial.parameters.items()]
    for name, (mean, sem) in (trial.metrics or {}).items():
        lines.append(f"  -> {name} = {number(mean)}" + (f" +/- {number(sem)}" if sem is not None else ""))
    return lines


def _growth_lines(grown: Growth) -> list[str]:
    last = grown.last
    since = "" if last is None else f"; it last grew with trial {last.trial}"
    point = ", ".join(f"{name} = {number(value)}" for name, value in grown.reference.items())
    if not grown.inferred:
        rule = "the objective thresholds"
    elif len(grown.inferred) == len(grown.reference):
        rule = "a tenth beyond the front, since there are no objective thresholds"
    else:
        rule = f"{', '.join(grown.inferred)}: a tenth beyond the front, for lack of a threshold"
    return [
        f"hypervolume: {number(grown.hypervolume)} after {len(grown.over_time)} completed trials{since}",
        f"  reference point: {point} ({rule})",
    ]
