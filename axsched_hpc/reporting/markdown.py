"""The report in short, as Markdown: for an issue, a wiki, a laboratory notebook. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from axsched_hpc.core.errors import plural
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html.record import run_rows
from axsched_hpc.reporting.html.summary import certainty, hours, state_text
from axsched_hpc.reporting.html.words import name_text, parameter_names, uncertain, value_text
from axsched_hpc.reporting.plain import harmless, line, shortened
from axsched_hpc.reporting.progress import error
from axsched_hpc.reporting.savings import saved_text
from axsched_hpc.reporting.table import duration, number

#: What Markdown, or the HTML that it allows, would take for markup; and what begins a cell.
_MARKUP = re.compile(r"([\\`*_{}\[\]#|~])")

#: Rows of a front or of improvements.
_ROWS = 50


def report_markdown(found: Account) -> str:
    """Summary, best, improvements, jobs, failures, and what was run."""
    ledger, used = found.reading.ledger, found.use
    counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in ledger.tally().items())
    parts = [
        f"# {_safe(found.reading.layout.root.name)}",
        _safe(state_text(found)),
        _safe(f"{plural(len(ledger.trials), 'trial')}{f': {counts}' if counts else ''}."),
        "## Best",
        *_best(found),
        "## Jobs",
        _safe(
            f"{hours(used.hours)} job hours, {hours(used.node_hours)} node-hours, {hours(used.wasted_hours)} "
            f"of the hours lost to failures; at most {plural(used.peak, 'job')} at a time"
            + ("" if used.median_wait is None else f"; median wait {duration(used.median_wait)}")
            + "."
        ),
    ]
    spared = saved_text(found.saved)
    if spared is not None:
        parts.append(_safe(f"{spared[0].upper()}{spared[1:]}."))
    if found.faults:
        rows = [
            (
                str(fault.kind).replace("_", " "),
                str(fault.attempts),
                str(fault.lost),
                shortened(line(f"{fault.message} {fault.hint}"), 240),
            )
            for fault in found.faults
        ]
        head = ("kind", "attempts", "trials without result", "the latest, and what to do")
        parts += ["## Failures", _table(head, rows)]
    parts += ["## What was run", _table(("what", "value"), run_rows(found))]
    return "\n\n".join(parts) + "\n"


def _best(found: Account) -> list[str]:
    stands, problem = found.standing, found.reading.problem
    if not stands.best:
        return [_safe(f"Nothing is best yet. {stands.text}")]
    objectives = problem.objectives
    several = len(objectives) > 1
    names = parameter_names(stands.best)
    rows = [
        (
            trial.label,
            *(uncertain(o.value(trial.metrics or {}), error(o, trial)) for o in objectives),
            *(value_text(trial.parameters.get(name)) for name in names),
        )
        for trial in stands.best[:_ROWS]
    ]
    head = ("trial", *(name_text(o.name) for o in objectives), *map(name_text, names))
    parts = [_table(head, rows)]
    if len(stands.best) > _ROWS:
        parts.append(f"{_ROWS} of {len(stands.best)} trials of the front.")
    if problem.bounds:
        parts.append(_safe(stands.text))
    if found.growth is not None:
        parts.append(_safe(f"Hypervolume {number(found.growth.hypervolume)}."))
    if not several:
        parts.append(_safe(certainty(found, stands.best[0], objectives[0])))
        better = [step for step in found.steps if step.better]
        parts += [
            "How the best value came to be:",
            _table(
                ("trial", "after", name_text(objectives[0].name)),
                [
                    (step.label, duration(step.time - found.began), uncertain(step.value, step.sem))
                    for step in better[-_ROWS:]
                ],
            ),
        ]
    return parts


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell if cell == '---' else _safe(line(cell)) for cell in cells)} |" for cells in lines
    )


def _safe(words: str) -> str:
    """Somebody's text, so that it stays text."""
    return escape(_MARKUP.sub(r"\\\1", harmless(words)), quote=False)
