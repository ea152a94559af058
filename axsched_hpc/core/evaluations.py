"""Finished evaluations from outside: what their source says of each, before it is checked.

In a table the names of the columns say what is what. A parameter of the search space is a parameter;
``NAME_sem`` beside a column ``NAME`` is its standard error; what Ax and this package write about a trial
(:data:`BOOKKEEPING`) is no metric; everything else is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from axsched_hpc.core.metrics import Metrics

#: Columns about a trial: of ``Experiment.to_df``, and of this package's own tables.
BOOKKEEPING = frozenset(
    (
        "trial_index",
        "arm_name",
        "trial_status",
        "status_reason",
        "generation_node",
        "trial",
        "arm",
        "state",
        "origin",
        "attempts",
        "job",
        "node",
        "submitted",
        "started",
        "ended",
        "seconds",
        "cancelled",
        "reason",
    )
)

_STATUS = ("trial_status", "state")

#: What pandas calls a column that has no name in a file, such as the index that it writes.
_NAMELESS = "Unnamed:"

_SEM = "_sem"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as its source has it.

    Attributes
    ----------
    where
        Its place in the source, for messages: ``line 3``.
    metrics
        Name -> number or (mean, standard error); not checked yet.
    curve
        Step -> metrics; empty where there is none.
    problem
        Why it cannot be read; empty where it can.
    """

    where: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curve: Mapping[int, Metrics] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """What a source holds.

    Attributes
    ----------
    name
        What it is, for messages.
    remarks
        What was left out of it and is no error, a sentence each.
    reading
        How it was understood, a sentence for whoever wonders what is wrong with it.
    """

    name: str
    evaluations: tuple[Evaluation, ...]
    remarks: tuple[str, ...] = ()
    reading: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table: cells by column, None where there is nothing."""

    where: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def plainly(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Cells by the names of parameters and metrics, which this package's own tables call ``parameter.NAME``
    and ``metric.NAME`` where another column has the name.
    """
    plain = dict(cells)
    for column, value in cells.items():
        kind, dot, name = column.partition(".") if isinstance(column, str) else ("", "", "")
        if dot and name and kind in ("parameter", "metric"):
            del plain[column]
            plain[name] = value
    return plain


def of_table(
    name: str, rows: Sequence[Row], parameters: Collection[str], required: Collection[str]
) -> Source:
    """Take the rows of a table apart, by the names of the columns.

    Parameters
    ----------
    parameters
        Those of the search space.
    required
        The metrics that every evaluation must have.
    """
    there = dict.fromkeys(c for row in rows for c in row.cells)
    columns = [c for c in there if isinstance(c, str) and c not in parameters]
    statuses = [c for c in _STATUS if c in columns and c not in required]
    sems = {c for c in columns if c.endswith(_SEM) and c.removesuffix(_SEM) in columns}
    optional = [c for c in columns if c not in BOOKKEEPING and c not in sems and not c.startswith(_NAMELESS)]
    words = {m for m in optional if m not in required and any(_is_word(row.cells.get(m)) for row in rows)}
    metrics = [m for m in dict.fromkeys((*required, *optional)) if m not in words]
    evaluations, unfinished = list[Evaluation](), Counter[str]()
    for row in rows:
        cells = row.cells
        status = next((cells[c] for c in statuses if isinstance(cells.get(c), str)), "COMPLETED")
        if status.upper() != "COMPLETED":
            unfinished[status] += 1
            continue
        point = {name: cells[name] for name in parameters if not _missing(cells.get(name))}
        values = given({m: _value(cells, m) for m in metrics}, required)
        evaluations.append(Evaluation(row.where, point, values, problem=row.problem))
    remarks = [f"The column {word!r} of {name} is no metric: not all of it is numbers." for word in words]
    reading = f"Its columns were read as {_names('parameters', [n for n in parameters if n in there])} and "
    reading += f"{_names('metrics', [m for m in metrics if m in there])}. "
    return Source(name, tuple(evaluations), (*sorted(remarks), *left_out(name, unfinished)), reading)


def given(metrics: Mapping[str, Any], required: Collection[str]) -> dict[str, Any]:
    """The metrics that have a value. NaN stands for none, but where a value must be: there it is an error."""
    return {
        name: value
        for name, value in metrics.items()
        if value is not None and not (name not in required and _missing(_mean(value)))
    }


def left_out(name: str, statuses: Mapping[str, int]) -> tuple[str, ...]:
    """The remark on trials that are not completed; none where there are none."""
    if not statuses:
        return ()
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return (f"Trials of {name} that are not completed are left out ({counts}).",)


def refusal(total: str, bad: Sequence[str], way_out: str) -> str:
    """The message on bad ones of so many (``5 points``): every one by itself."""
    head = f"{len(bad)} of {total} cannot be used:"
    return "\n  ".join((head, *bad)) + f"\n{way_out}"


def mixed_sems(
    evaluations: Iterable[tuple[str, Metrics]], known: Mapping[str, tuple[bool, str]]
) -> dict[int, str]:
    """Where a metric has a standard error and elsewhere has none, which Ax's models do not take.

    Parameters
    ----------
    evaluations
        (place, metrics).
    known
        Of the metrics that are there already: whether they have one, and where that is seen.

    Returns
    -------
    dict
        Number among the evaluations -> what is wrong.
    """
    first, wrong = dict(known), {}
    for number, (where, metrics) in enumerate(evaluations):
        for name, (_, sem) in metrics.items():
            has, there = first.setdefault(name, (sem is not None, where))
            if has != (sem is not None):
                words = ("no standard error, and {} has one", "a standard error, and {} has none")
                what = words[not has].format(there)
                wrong[number] = f"metric {name!r} has {what}; Ax takes it in all trials or in none"
    return wrong


def _names(what: str, names: Sequence[str]) -> str:
    return f"{what} ({', '.join(names)})" if names else f"no {what}"


def _value(cells: Mapping[str, Any], metric: str) -> Any:
    value, sem = cells.get(metric), cells.get(metric + _SEM)
    return value if value is None or _missing(sem) else (value, sem)


def _mean(value: Any) -> Any:
    return value[0] if isinstance(value, tuple | list) and value else value


def _missing(value: Any) -> bool:
    """None, or NaN, which pandas puts where there is nothing."""
    return value is None or (isinstance(value, float) and value != value)


def _is_word(value: Any) -> bool:
    return isinstance(value, str | bool)
