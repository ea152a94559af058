"""An experiment as a table for other programs: one row per trial, or one per point of the trials' curves.

A column is called what it holds: a fixed name, a parameter, a metric, a metric with ``_sem``. Where two would
be called the same, a fixed column keeps its name before a parameter, a parameter before a metric, and a
metric before another one's standard error. What gives way is called ``parameter.NAME`` or ``metric.NAME``, a
metric's standard error always as its metric with ``_sem``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axsched_hpc.core.best import Problem
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import atomic
from axsched_hpc.io.parameters import as_text
from axsched_hpc.reporting.table import iso


class Moment(float):
    """A type of columns: seconds since the epoch, written as a date."""


#: What a column can hold, beside None: bool, int, float, str, Moment, or object for a mixture.
Kind = type[Any]

_FIRST: dict[str, Kind] = {"trial": int, "arm": str, "state": str, "origin": str}
_LAST: dict[str, Kind] = {
    "attempts": int,
    "job": str,
    "node": str,
    "submitted": Moment,
    "started": Moment,
    "ended": Moment,
    "seconds": float,
    "cancelled": bool,
    "reason": str,
}
_CURVES: dict[str, Kind] = {"trial": int, "step": int, "metric": str, "mean": float, "sem": float}

#: Integers that a column of 64 bits holds.
_WHOLE = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Table:
    """Rows of values, one per column, None where there is none."""

    columns: dict[str, Kind]
    rows: list[tuple[Any, ...]]


def trial_table(trials: Iterable[Trial], problem: Problem) -> Table:
    """One row per trial: what it is, its parameters, its metrics, its latest attempt, why it was given up."""
    trials = list(trials)
    parameters = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    metrics = list(dict.fromkeys([*problem.required, *(n for trial in trials for n in trial.metrics or {})]))
    columns = dict(_FIRST)
    for name in parameters:
        kind = _kind(trial.parameters.get(name) for trial in trials)
        columns[_free(name, "parameter", {*columns, *_LAST})] = kind
    for name in metrics:
        of_another = name.endswith("_sem") and name[:-4] in metrics
        start = f"metric.{name}" if of_another else name
        shown = _free(start, "metric", {*columns, *_LAST}, "_sem")
        columns[shown] = columns[f"{shown}_sem"] = float
    columns |= _LAST
    return Table(columns, [_row(trial, parameters, metrics) for trial in trials])


def curve_table(curves: Mapping[int, Mapping[int, Metrics]]) -> Table:
    """One row per trial, step and metric that was reported on the way."""
    return Table(
        dict(_CURVES),
        [
            (trial, step, name, mean, sem)
            for trial in sorted(curves)
            for step, metrics in curves[trial].items()
            for name, (mean, sem) in metrics.items()
        ],
    )


def format_of(path: str | Path, named: str | None = None) -> str:
    """The format of a file: the named one, or that of its ending.

    Raises
    ------
    ConfigError
        There is no such format.
    """
    form = (Path(path).suffix[1:] if named is None else named).lower()
    if form not in RENDERERS:
        raise ConfigError(
            f"The format of {path} is not known. Let its name end with {_choice('.')}, or name the format: "
            f"{_choice()}."
        )
    return form


def write(path: str | Path, table: Table, form: str | None = None) -> None:
    """Write a table to a file, as a whole.

    Parameters
    ----------
    form
        One of :data:`RENDERERS`; by default as the file's name ends.

    Raises
    ------
    ConfigError
        There is no such format, what it needs is not installed, or the file cannot be written.
    """
    put(path, RENDERERS[format_of(path, form)](table))


def put(path: str | Path, data: bytes) -> None:
    """Let a file of a user's choice appear as a whole.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    target = Path(path).expanduser().resolve()
    if target.exists() and not target.is_file():
        raise ConfigError(f"{target} is no file that could be replaced. Name another.")
    try:
        atomic.write(target, data)
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be written ({error.strerror or error}). What was there is unchanged; choose a "
            "path in a directory that exists and that is yours."
        ) from error


def _row(trial: Trial, parameters: Iterable[str], metrics: Iterable[str]) -> tuple[Any, ...]:
    attempt = trial.attempt
    observed = trial.metrics or {}
    values = [value for name in metrics for value in observed.get(name, (None, None))]
    began = attempt.started if attempt else None
    stopped = attempt.ended if attempt else None
    return (
        trial.number,
        trial.arm,
        str(trial.state),
        trial.origin,
        *(trial.parameters.get(name) for name in parameters),
        *values,
        len(trial.attempts),
        attempt.job if attempt else None,
        attempt.node if attempt else None,
        attempt.submitted if attempt else None,
        began,
        trial.ended if stopped is None else stopped,
        None if began is None or stopped is None else round(max(0.0, stopped - began), 3),
        trial.cancelled,
        # A completed trial keeps the reason of an earlier attempt's failure.
        None if trial.state is TrialState.COMPLETED else " ".join(trial.reason.split()) or None,
    )


def _kind(values: Iterable[Any]) -> Kind:
    """What a column of parameters holds."""
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if kinds == {int, float}:
        return float
    if len(kinds) != 1 or (kinds == {int} and not all(value in _WHOLE for value in there)):
        return object
    return kinds.pop()


def _free(name: str, prefix: str, taken: set[str], *suffixes: str) -> str:
    while any(f"{name}{suffix}" in taken for suffix in ("", *suffixes)):
        name = f"{prefix}.{name}"
    return name


def _choice(before: str = "") -> str:
    *first, last = [f"{before}{form}" for form in RENDERERS]
    return f"{', '.join(first)} or {last}"


# ---------------------------------------------------------------- the formats


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([as_text(value) for value in row] for row in _dated(table))
    return _encoded(text.getvalue())


def _json(table: Table) -> bytes:
    return _encoded("[\n" + ",\n".join(_objects(table)) + "\n]\n" if table.rows else "[]\n")


def _jsonl(table: Table) -> bytes:
    return _encoded("".join(f"{line}\n" for line in _objects(table)))


def _parquet(table: Table) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed here: pip install 'axsched-hpc[parquet]'. "
            "CSV and JSON need nothing."
        ) from error
    types = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        Moment: pa.timestamp("ms", tz="UTC"),
        str: pa.string(),
        object: pa.string(),
    }
    arrays = []
    for i, kind in enumerate(table.columns.values()):
        values = [row[i] for row in table.rows]
        if kind is Moment:
            values = [None if value is None else round(value * 1000) for value in values]
        elif kind is object or kind is str:
            values = [None if value is None else _encoded(as_text(value)) for value in values]
        elif kind is float:
            values = [None if value is None else float(value) for value in values]
        arrays.append(pa.array(values, types[kind]))
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(table.columns)), sink)
    return sink.getvalue()


def _objects(table: Table) -> Iterable[str]:
    for row in _dated(table):
        yield json.dumps(dict(zip(table.columns, row, strict=True)), ensure_ascii=False, allow_nan=False)


def _dated(table: Table) -> Iterable[list[Any]]:
    moments = [kind is Moment for kind in table.columns.values()]
    for row in table.rows:
        yield [
            iso(value) if moment and value is not None else value
            for value, moment in zip(row, moments, strict=True)
        ]


def _encoded(text: str) -> bytes:
    # A forged record, or a path that is no UTF-8, can hold what no encoding takes.
    return text.encode(errors="backslashreplace")


#: Format -> what makes a file of a table.
RENDERERS = {"csv": _csv, "json": _json, "jsonl": _jsonl, "parquet": _parquet}
