"""An experiment's data by trial, and how rows are added without a look at all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, isnan
from typing import Any

from ax.core.data import Data, DataRow
from ax.core.experiment import Experiment

#: What Ax tells rows apart by: trial, metric, arm and step.
_Key = tuple[int, str, str, float | None]


class Observed:
    """The rows of an experiment's data, by trial. It follows what others attach to the experiment."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._data: Data | None = None
        self._by_trial: dict[int, list[DataRow]] = {}
        self._keys: set[_Key] = set()
        self._last: dict[int, int] = {}

    def of(self, trial: int) -> Sequence[DataRow]:
        """The rows of one trial."""
        self._follow()
        return self._by_trial.get(trial, ())

    def last_step(self, trial: int) -> int | None:
        """The last step of a trial's curve; None where it has none."""
        self._follow()
        return self._last.get(trial)

    def has(self, rows: Sequence[DataRow]) -> bool:
        """Whether all of these rows are there, with the same values."""
        self._follow()
        there = {_key(row): _values(row) for trial in {r.trial_index for r in rows} for row in self.of(trial)}
        return all(there.get(_key(row)) == _values(row) for row in rows)

    def attach(self, rows: Sequence[DataRow]) -> None:
        """Add rows, as ``experiment.attach_data`` does: one of the same trial, arm, metric and step replaces
        the one that is there.

        That compares all rows there are, some 20 ms at 10,000 rows; where none of them is replaced there is
        nothing to compare.
        """
        if not rows:
            return
        self._follow()
        keys = set(map(_key, rows))
        if len(keys) < len(rows) or not keys.isdisjoint(self._keys):
            self._experiment.attach_data(Data(data_rows=rows))
            return
        self._data = self._experiment.data = appended(self._experiment.data, rows)
        self._take(rows)

    def cut(self, trial: int, step: int) -> None:
        """Drop a trial's rows of this step and later ones."""
        self._follow()
        rows = self._by_trial.get(trial, [])
        dropped = {id(row) for row in rows if row.step is not None and row.step >= step}
        if dropped:
            self._experiment.data = Data(
                data_rows=[row for row in self._experiment.data._data_rows if id(row) not in dropped]
            )

    @contextmanager
    def without_running(self) -> Iterator[None]:
        """Let Ax's models see no curve of a trial that still runs, which so is pending to them, as any other
        that runs: they would take its newest point for its value, and no longer count it as pending.
        """
        self._follow()
        data = self._experiment.data
        running = self._experiment.running_trial_indices & self._last.keys()
        if running:
            seen = [row for row in data._data_rows if row.trial_index not in running or _step(row) is None]
            self._experiment.data = appended(Data(), seen)
        try:
            yield
        finally:
            self._experiment.data = data

    def _follow(self) -> None:
        # Ax never changes a Data object: it makes a new one whenever something is attached.
        if self._experiment.data is not self._data:
            self._data = self._experiment.data
            self._by_trial, self._keys, self._last = {}, set(), {}
            self._take(self._data._data_rows)

    def _take(self, rows: Sequence[DataRow]) -> None:
        for row in rows:
            self._by_trial.setdefault(row.trial_index, []).append(row)
            self._keys.add(_key(row))
            if (step := _step(row)) is not None:
                self._last[row.trial_index] = max(self._last.get(row.trial_index, 0), step)


def appended(data: Data, rows: Sequence[DataRow]) -> Data:
    """What ``Data(data_rows=[*data's, *rows])`` gives, without its search of all rows for steps."""
    joined = Data()
    joined._data_rows = [*data._data_rows, *rows]
    joined.has_step_column = data.has_step_column or any(row.step is not None for row in rows)
    return joined


def moment(value: Any) -> str | None:
    """A timestamp of pandas as text; None where it is NaT, the one that is not equal to itself."""
    return str(value) if value == value else None


def _step(row: DataRow) -> int | None:
    """The step of a curve's point; None where a row is none."""
    return int(row.step) if row.step is not None and isfinite(row.step) else None


def _key(row: DataRow) -> _Key:
    step = None if row.step is None or isnan(row.step) else row.step
    return row.trial_index, row.metric_name, row.arm_name, step


def _values(row: DataRow) -> tuple[float, float | None]:
    return row.mean, None if isnan(row.se) else row.se
