"""What a notebook shows of an experiment: a small table in HTML, on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from axsched_hpc.core.best import Problem
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.standing import standing
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.plain import harmless, line, shortened, without_directories
from axsched_hpc.reporting.table import number

#: Rows of a front, and letters of a reason; there is more in `scheduler.result`.
_FRONT, _REASON = 10, 200

#: (name, value); a name that begins with a blank belongs to what stands above it.
Fact = tuple[str, str]

# Colours are the page's own, so that they fit a dark one too.
_CELL = (
    "text-align: left; vertical-align: top; padding: 0.15em 0.8em; "
    "border-bottom: 1px solid rgba(128, 128, 128, 0.35)"
)
_TABLE = "border-collapse: collapse; margin: 0.3em 0; color: inherit; background: transparent"


def experiment_facts(ledger: Ledger, problem: Problem) -> list[Fact]:
    """How many trials stand where, what is best, and the latest failure."""
    counts = ", ".join(f"{count} {word}" for word, count in ledger.tally().items())
    facts = [("trials", counts or "none yet")]
    found = standing(ledger.trials.values(), problem)
    if len(problem.objectives) < 2 and found.best:
        (best,) = found.best
        facts += best_facts(best.number, best.metrics or {}, best.parameters)
    if problem.bounds or not found.best:
        facts.append(("feasibility", found.text))
    failed = [each for each in ledger.trials.values() if each.state is TrialState.FAILED]
    if failed:
        last = max(failed, key=lambda each: each.ended or each.added)
        facts.append((f"failure of trial {last.label}", without_directories(last.reason)))
    return facts


def best_facts(trial: int | None, metrics: Metrics, parameters: Mapping[str, Any]) -> list[Fact]:
    """The best trial: its metrics and parameters."""
    values = ", ".join(
        f"{name} = {number(mean)}" + (f" ± {number(sem)}" if sem is not None else "")
        for name, (mean, sem) in metrics.items()
    )
    return [
        ("best", f"{values} in trial {trial}"),
        *((f" {name}", value_text(value)) for name, value in parameters.items()),
    ]


def front_rows(trials: Iterable[Trial]) -> list[tuple[str, Metrics, Mapping[str, Any]]]:
    """The trials of a front, as :func:`notebook_html` takes them."""
    return [(trial.arm, trial.metrics or {}, trial.parameters) for trial in trials]


def notebook_html(
    title: str, facts: Iterable[Fact], front: Sequence[tuple[str, Metrics, Mapping[str, Any]]] = ()
) -> str:
    """The table.

    Parameters
    ----------
    front
        (arm, metrics, parameters) of each trial of a Pareto front, for a table of its own.
    """
    rows = "".join(_row("th", [name], [shortened(line(value), _REASON)]) for name, value in facts)
    parts = [
        f'<table style="{_TABLE}"><caption style="{_CELL}"><b>{_text(title)}</b></caption>{rows}</table>'
    ]
    if front:
        metrics, parameters = list(front[0][1]), list(front[0][2])
        head = _row("th", ["arm", *metrics, *parameters], [])
        body = "".join(
            _row(
                "th",
                [arm],
                [
                    *(number(found[name][0]) if name in found else "" for name in metrics),
                    *(value_text(point.get(name)) for name in parameters),
                ],
            )
            for arm, found, point in front[:_FRONT]
        )
        more = len(front) - _FRONT
        label = f"Pareto front: {len(front)} trials" + (f", {_FRONT} of them here" if more > 0 else "")
        parts.append(
            f'<table style="{_TABLE}"><caption style="{_CELL}">{label}</caption>{head}{body}</table>'
        )
    return f"<div>{''.join(parts)}</div>"


def value_text(value: Any) -> str:
    """A parameter's value as people read it."""
    return number(value) if isinstance(value, float) else str(value)


def _row(kind: str, names: Sequence[str], values: Sequence[str]) -> str:
    scope = "row" if values else "col"
    cells = [
        f'<{kind} scope="{scope}" style="{_CELL}{"; padding-left: 2em" if each[:1] == " " else ""}">'
        f"{_text(each)}</{kind}>"
        for each in names
    ]
    cells += [f'<td style="{_CELL}">{_text(each)}</td>' for each in values]
    return f"<tr>{''.join(cells)}</tr>"


def _text(text: str) -> str:
    return escape(harmless(text).strip())
