"""What was run, by whom and how, and the table of all trials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from axsched_hpc.core.errors import plural
from axsched_hpc.core.machine import Trial
from axsched_hpc.reporting.account import Account, Session
from axsched_hpc.reporting.html.elements import Html, el, join, table
from axsched_hpc.reporting.html.words import (
    moment_text,
    name_text,
    parameter_names,
    some,
    uncertain,
    value_text,
)
from axsched_hpc.reporting.plain import line, shortened
from axsched_hpc.reporting.table import duration, reason

#: Cells of the table of all trials, letters of a reason, drivers.
_CELLS, _REASON, _SESSIONS = 20_000, 160, 50


def provenance_section(found: Account) -> Html:
    """Script, commit, versions, machine, drivers."""
    parts = [table("What was run", ("what", "value"), run_rows(found))]
    if found.sessions:
        parts.append(_sessions(found.sessions))
    return join(parts)


def run_rows(found: Account) -> list[tuple[str, str]]:
    """The same as pairs of what it is and its value, each in a line."""
    rows = [("directory", str(found.reading.layout.root))]
    if found.sessions:
        rows += _of_driver(found.sessions[-1])
    rows += [("objective", _objective(each.what, each.repository)) for each in found.objectives]
    problem = found.reading.problem
    for objective in problem.objectives:
        rows.append(
            ("objective of Ax", f"{'minimize' if objective.minimize else 'maximize'} {objective.name}")
        )
    rows += [("constraint", str(bound)) for bound in problem.bounds]
    return [(name, line(value)) for name, value in rows]


def _of_driver(session: Session) -> Iterable[tuple[str, str]]:
    opened = session.opened
    from_ = opened.provenance
    for name, label in (("script", "script"), ("interpreter", "Python"), ("system", "system")):
        if from_.get(name):
            yield label, str(from_[name])
    if from_.get("repository"):
        yield "commit of the script", _commit(from_["repository"])
    if from_.get("job"):
        yield "job of the driver", str(from_["job"])
    if from_.get("modules"):
        yield "modules", ", ".join(map(str, from_["modules"]))
    if opened.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in opened.versions.items())
    yield "format of the directory", str(opened.format)


def _objective(what: str, repository: dict[str, Any] | None) -> str:
    return what if not repository else f"{what}, {_commit(repository)}"


def _commit(repository: Any) -> str:
    if not isinstance(repository, dict):
        return str(repository)
    dirty = ", with changes that are not committed" if repository.get("dirty") else ""
    return f"git commit {repository.get('commit')}{dirty}"


def _sessions(sessions: list[Session]) -> Html:
    shown, less = some(sessions, _SESSIONS)
    rows = [
        (
            moment_text(each.opened.time),
            duration(each.last - each.opened.time),
            line(each.opened.host),
            str(each.opened.pid),
            f"closed{f', {each.reason}' if each.reason else ''}" if each.closed else "not closed",
        )
        for each in shown
    ]
    caption = f"{plural(len(sessions), 'driver')}{f' ({less})' if less else ''}"
    return table(caption, ("began", "heard of for", "host", "process", "end"), rows, numbers=(1, 3))


def trial_section(found: Account) -> Html:
    """All trials in a table; of very many some."""
    trials = found.trials
    if not trials:
        return el("p", "There is no trial yet.")
    names = parameter_names(trials)
    metrics = list(dict.fromkeys(n for t in trials for n in (t.metrics or {})))
    limit = max(100, min(1000, _CELLS // (len(names) + len(metrics) + 6)))
    best = [i for i, trial in enumerate(trials) if trial.number in found.best]
    shown, less = some(trials, limit, best[:limit])
    head = (
        "trial",
        "state",
        *map(name_text, metrics),
        *map(name_text, names),
        "attempts",
        "waited",
        "ran",
        "reason",
    )
    rows = [
        (
            trial.label,
            trial.word.replace("_", " ") + (" (best)" if trial.number in found.best else ""),
            *(uncertain(*trial.metrics[n]) if trial.metrics and n in trial.metrics else "-" for n in metrics),
            *(value_text(trial.parameters.get(name)) for name in names),
            str(len(trial.attempts)),
            *_times(trial),
            shortened(reason(trial, found.reading.waits), _REASON),
        )
        for trial in shown
    ]
    caption = f"{plural(len(trials), 'trial')}" + (
        f" ({less}: evenly chosen, the best among them)" if less else ""
    )
    numbers = range(2, len(head) - 1)
    note = el(
        "p",
        "For other programs: ",
        el("code", "axsched export"),
        " writes CSV, JSON or Parquet.",
        class_="note",
    )
    told = el(
        "details", el("summary", f"Show the table of {caption}"), table(caption, head, rows, numbers=numbers)
    )
    return join([told, note])


def _times(trial: Trial) -> tuple[str, str]:
    attempt = trial.attempt
    if attempt is None or attempt.started is None:
        return "-", "-"
    waited = "-" if attempt.submitted is None else duration(attempt.started - attempt.submitted)
    return waited, "-" if attempt.ended is None else duration(attempt.ended - attempt.started)
