"""How values, moments and trials are written in a report."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from axsched_hpc.core.machine import Trial
from axsched_hpc.io.parameters import as_text
from axsched_hpc.reporting.html.marks import DETAILED
from axsched_hpc.reporting.html.scale import thinned
from axsched_hpc.reporting.plain import line, shortened
from axsched_hpc.reporting.table import number

#: Letters of a name or a value; the tables of other commands have all of them.
LONG = 60


def value_text(value: Any) -> str:
    """A parameter's value."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return number(value)
    return shortened(line(as_text(value)), LONG)


def name_text(name: str) -> str:
    """A name, in one line and not without end."""
    return shortened(line(name), LONG)


def uncertain(mean: float, sem: float | None) -> str:
    """A value with its standard error."""
    return number(mean) if sem is None else f"{number(mean)} ± {number(sem)}"


def moment_text(seconds: float) -> str:
    """A moment in the time zone of the machine that makes the report."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds)).rstrip()
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s"


def parameters_text(trial: Trial, limit: int = 8) -> str:
    """Some parameters in a line, for what is shown under the pointer."""
    shown = list(trial.parameters.items())[:limit]
    more = ", …" if len(trial.parameters) > limit else ""
    return ", ".join(f"{name_text(name)} = {value_text(value)}" for name, value in shown) + more


def parameter_names(trials: Iterable[Trial]) -> list[str]:
    """All of them, in the experiment's order."""
    return list(dict.fromkeys(name for trial in trials for name in trial.parameters))


def some(rows: Sequence[Any], limit: int = DETAILED, keep: Iterable[int] = ()) -> tuple[list[Any], str]:
    """Rows for a table, evenly chosen where there are too many; and what to say of that."""
    chosen = thinned(len(rows), limit, keep)
    if len(chosen) == len(rows):
        return list(rows), ""
    return [rows[i] for i in chosen], f"{len(chosen)} of {len(rows)} rows"
