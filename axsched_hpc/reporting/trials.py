"""Trials as a table: which ones, in which order, with which columns, in the room that there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from axsched_hpc.core.errors import ConfigError, did_you_mean
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.plain import broken, line, parts, shortened, without_directories
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.reporting.table import duration, number, reason

#: A column that has to be narrower than its cells or its heading keeps so many letters.
_NARROW = 16

#: A heading is broken between its words, and within one that is longer than this.
_WORD = 12


class Column(Record):
    """What is shown, and sorted by.

    Attributes
    ----------
    value
        Of a trial; None where it has none.
    text
        How a value is written, and whether in full; None for plain numbers and texts.
    own
        Whether it is the experiment's own: a metric or parameter.
    """

    name: str
    value: Callable[[Trial], Any]
    text: Callable[[Any], str] | None = None
    own: bool = False

    def cell(self, trial: Trial, *, exact: bool) -> str:
        """The text of its cell in the row of a trial; ``exact``: with all digits."""
        value = self.value(trial)
        if value is None or value == "":
            return "-"
        if self.text is not None:
            return self.text(value)
        if exact:
            return line(str(value)) or "-"
        if self.own:
            return number(value) if isinstance(value, float) else line(str(value)) or "-"
        return without_directories(str(value))


def columns(reading: Reading, *, now: float) -> dict[str, Column]:
    """All columns that an experiment has, by name: those of every experiment, its metrics, its parameters.

    A metric or parameter whose name is taken is called ``metric.NAME`` or ``parameter.NAME``.

    Parameters
    ----------
    now
        Seconds since the epoch, for what is not over.
    """
    found = {column.name: column for column in _common(now, reading.waits)}
    for kind, names, value in (
        ("metric", metric_names(reading), _mean),
        ("parameter", parameter_names(reading), _parameter),
    ):
        for name in names:
            free = _free(line(name), kind, found)
            found[free] = Column(free, value(name), own=True)
    for name in metric_names(reading):
        sem = f"{line(name)}_sem"
        if sem not in found:
            found[sem] = Column(sem, _sem(name))
    return found


def usual(columns: Mapping[str, Column]) -> list[Column]:
    """The columns that are shown where none are named."""
    own = [name for name, each in columns.items() if each.own]
    return [columns[name] for name in ("trial", "state", *own, "step", "ran", "reason")]


def named(columns: Mapping[str, Column], names: Iterable[str]) -> list[Column]:
    """The columns of these names.

    Raises
    ------
    ConfigError
        There is no column of a name.
    """
    return [_named(columns, name) for name in names]


def metric_names(reading: Reading) -> list[str]:
    """The experiment's metrics: those that it optimises and constrains first."""
    names = dict.fromkeys(reading.problem.required)
    for trial in reading.ledger.trials.values():
        names |= dict.fromkeys(trial.metrics or {})
        if trial.reach is not None:
            names |= dict.fromkeys(trial.reach.metrics)
    return list(names)


def parameter_names(reading: Reading) -> list[str]:
    """The experiment's parameters, in its order."""
    return list(dict.fromkeys(n for trial in reading.ledger.trials.values() for n in trial.parameters))


def chosen(
    reading: Reading, columns: Mapping[str, Column], words: Collection[str], keys: Sequence[str]
) -> list[Trial]:
    """The trials that stand where these words say (anywhere where there are none), sorted.

    Parameters
    ----------
    keys
        Names of columns, the first one counts most; ``-`` before it for falling values. What has no value
        comes last either way.

    Raises
    ------
    ConfigError
        There is no column of that name.
    """
    trials = [t for t in reading.ledger.trials.values() if not words or t.word in words]
    for key in reversed(keys):
        falling = key.startswith("-") and key not in columns
        column = _named(columns, key.removeprefix("-") if falling else key)
        has = [trial for trial in trials if column.value(trial) is not None]
        has_not = [trial for trial in trials if column.value(trial) is None]
        trials = sorted(has, key=lambda t: _order(column.value(t)), reverse=falling) + has_not
    return trials


def lines_in_full(trials: Iterable[Trial], columns: Sequence[Column]) -> list[str]:
    """Rows below a line of headings, with nothing cut: aligned for the eye, with tabs between the cells for
    ``cut``.
    """
    rows = [[column.name for column in columns]]
    rows += [[column.cell(trial, exact=True) for column in columns] for trial in trials]
    widths = [*(max(map(len, cells)) for cells in list(zip(*rows, strict=True))[:-1]), 0]
    return [
        "\t".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(" ")
        for row in rows
    ]


def fitted(trials: Sequence[Trial], columns: Sequence[Column], width: int, *, all_of: bool) -> list[str]:
    """Rows below a line of headings, none longer than ``width``.

    Headings give way first, then long texts; then whole columns: steps, parameters and metrics, from the
    right. A line after the table names those. A column without any value is left out.

    Parameters
    ----------
    all_of
        Whether each column was asked for: none is left out.
    """
    filled = [
        (column, cells)
        for column in columns
        if (cells := [column.cell(trial, exact=False) for trial in trials])
        and (all_of or column.name in ("trial", "state") or any(cell != "-" for cell in cells))
    ]
    left_out: list[str] = []
    if not all_of:
        spare = [column for column, _ in filled if column.own or column.name == "step"][1:]
        while spare and sum(_floors(filled, width)) - 2 > width:
            gone = spare.pop()
            left_out.insert(0, gone.name)
            filled = [each for each in filled if each[0] is not gone]
    widths = _widths(filled, width)
    heads = [broken(column.name, size) for (column, _), size in zip(filled, widths, strict=True)]
    # All headings end in the same line.
    high = max(map(len, heads))
    heads = [[""] * (high - len(head)) + head for head in heads]
    rows = [*zip(*heads, strict=True), *zip(*(cells for _, cells in filled), strict=True)]
    lines = [
        "  ".join(shortened(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines = [shortened(each, width) for each in lines]
    if left_out:
        lines += ["", f"No room for {', '.join(left_out)}: a wider terminal or --columns shows them."]
    return lines


Filled = Sequence[tuple[Column, Sequence[str]]]


def _floors(filled: Filled, width: int) -> list[int]:
    """The least that each column needs of a line, with the gap beside it. Reasons need a quarter."""
    floors = []
    for column, cells in filled:
        most = max(_NARROW, width // 4) if column.name == "reason" else _NARROW
        heading = min(max(map(len, parts(column.name))), _WORD)
        floors.append(max(min(max(map(len, cells)), most), heading) + 2)
    return floors


def _widths(filled: Filled, width: int) -> list[int]:
    """What each column gets: what it needs, or less, the widest first."""
    widths = [max(len(column.name), *map(len, cells)) for column, cells in filled]
    floors = [floor - 2 for floor in _floors(filled, width)]
    over = sum(size + 2 for size in widths) - 2 - width
    while over > 0:
        wide = [i for i, (size, floor) in enumerate(zip(widths, floors, strict=True)) if size > floor]
        if not wide:
            break
        widths[max(wide, key=lambda i: widths[i])] -= 1
        over -= 1
    return widths


def _common(now: float, waits: Mapping[int, str]) -> list[Column]:
    """The columns of every experiment."""

    def last(value: Callable[[Attempt], Any]) -> Callable[[Trial], Any]:
        return lambda trial: None if trial.attempt is None else value(trial.attempt)

    def queued(trial: Trial) -> float | None:
        attempt = trial.attempt
        if attempt is None or attempt.submitted is None:
            return None
        until = attempt.started or attempt.ended or (None if trial.state.final else now)
        return None if until is None else max(0.0, until - attempt.submitted)

    def ran(trial: Trial) -> float | None:
        attempt = trial.attempt
        if attempt is None or attempt.started is None:
            return None
        until = attempt.ended or (now if trial.state is TrialState.RUNNING else trial.ended)
        return None if until is None else max(0.0, until - attempt.started)

    def told(trial: Trial) -> str | None:
        text = "" if trial.state is TrialState.COMPLETED else reason(trial, waits)
        return None if text in ("", "-") else text

    return [
        Column("trial", lambda trial: trial.number),
        Column("arm", lambda trial: trial.arm),
        Column("state", lambda trial: trial.word),
        Column("origin", lambda trial: trial.origin),
        Column("step", lambda trial: None if trial.reach is None else trial.reach.last),
        Column("attempts", lambda trial: len(trial.attempts) or None),
        Column("job", last(lambda attempt: attempt.job)),
        Column("node", last(lambda attempt: attempt.node)),
        Column("added", lambda trial: trial.added, moment),
        Column("submitted", last(lambda attempt: attempt.submitted), moment),
        Column("started", last(lambda attempt: attempt.started), moment),
        Column("ended", lambda trial: trial.ended or last(lambda attempt: attempt.ended)(trial), moment),
        Column("queued", queued, duration),
        Column("ran", ran, duration),
        Column("age", lambda trial: max(0.0, now - trial.added), duration),
        Column("reason", told),
    ]


def moment(seconds: float) -> str:
    """A moment on this machine's clock and calendar."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _parameter(name: str) -> Callable[[Trial], Any]:
    return lambda trial: trial.parameters.get(name)


def _mean(name: str) -> Callable[[Trial], Any]:
    return lambda trial: _pair(trial, name)[0]


def _sem(name: str) -> Callable[[Trial], Any]:
    return lambda trial: _pair(trial, name)[1]


def _pair(trial: Trial, name: str) -> tuple[float | None, float | None]:
    """A metric's mean and standard error: the final ones, or the last that were reported."""
    values = trial.metrics
    if values is None and trial.reach is not None:
        values = trial.reach.metrics
    return (values or {}).get(name, (None, None))


def _free(name: str, kind: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"{kind}.{name}"
    return name


def _named(columns: Mapping[str, Column], name: str) -> Column:
    if name not in columns:
        raise ConfigError(f"There is no column {name!r}.{did_you_mean(name, list(columns))}")
    return columns[name]


def _order(value: Any) -> tuple[bool, Any]:
    # Numbers before texts: a choice may mix them.
    return (True, value) if isinstance(value, str) else (False, value)
