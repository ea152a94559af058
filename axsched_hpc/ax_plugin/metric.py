"""FileMetric: Ax's own interface to a metric, over the files that the workers publish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from ax.api.protocols.metric import IMetric
from ax.core.base_trial import BaseTrial
from ax.core.data import MAP_KEY, Data
from ax.core.metric import Metric, MetricFetchE, MetricFetchResult
from ax.utils.common.result import Err, Ok

from axsched_hpc.ax_bridge.inputs import check_trial
from axsched_hpc.core.config import boolean
from axsched_hpc.core.curve import Report, extend, finish, thinned
from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.io import atomic, outcome, progress
from axsched_hpc.io.layout import AttemptFiles, Layout

#: The step of a metric that was reported once, at the end.
ONLY_STEP = 0

#: (mean, standard error or None)
Value = tuple[float, float | None]


class FileMetric(IMetric):
    """A metric that the objectives of a :class:`~axsched_hpc.ax_plugin.SubmititAxRunner` report.

    Parameters
    ----------
    name
        As the objective reports it.
    curve
        Whether Ax is to have the intermediate values too, while trials run: needed for early stopping.
    lower_is_better
        Needed by Ax for early stopping too; it does not take it from the objective.
    """

    def __init__(self, name: str, curve: bool = False, lower_is_better: bool | None = None) -> None:
        super().__init__(name=name)
        self.curve = boolean("curve", curve)
        if lower_is_better is not None:
            self.lower_is_better = boolean("lower_is_better", lower_is_better)

    def is_available_while_running(self) -> bool:  # type: ignore[override]
        """Whether values come before a trial has ended."""
        # A class method in Ax, which calls it on instances.
        return self.curve

    @property
    def fetch_multi_group_by_metric(self) -> type[Metric]:
        """The key by which Ax fetches metrics together."""
        # Of metrics with one key Ax asks the first whether all of them come while trials run.
        return IMetric if self.curve else FileMetric

    def fetch(
        self, trial_index: int, trial_metadata: Mapping[str, Any]
    ) -> tuple[int, float | tuple[float, float]]:
        """The last step that was reported, and its value: (mean, standard error), NaN for an unknown one.

        Raises
        ------
        MetricsError
            There is no value; says why, and where it was looked for.
        """
        step, (mean, sem) = list(self._values(trial_index, trial_metadata).items())[-1]
        return step, (mean, math.nan if sem is None else sem)

    def fetch_trial_data(self, trial: BaseTrial, **kwargs: Any) -> MetricFetchResult:
        """The value of a completed trial, or with ``curve`` all values that were reported so far."""
        try:
            there = check_trial(trial)
            assert there.arm is not None  # check_trial saw it
            rows = [
                {
                    "trial_index": there.index,
                    "arm_name": there.arm.name,
                    "metric_name": self.name,
                    "metric_signature": self.signature,
                    MAP_KEY: step,
                    "mean": mean,
                    "sem": math.nan if sem is None else sem,
                }
                for step, (mean, sem) in self._values(there.index, there.run_metadata).items()
            ]
            return Ok(value=Data(df=pd.DataFrame.from_records(rows)))
        except Exception as error:
            # Of an exception Ax logs the whole traceback, at each poll until there is something to report.
            said = isinstance(error, MetricsError)
            message = f"{self.name}: {error}"
            return Err(value=MetricFetchE(message=message, exception=None if said else error))

    def _values(self, trial: int, metadata: Mapping[str, Any]) -> dict[int, Value]:
        """The values by rising steps; at least one."""
        directory = metadata.get("directory")
        if not isinstance(directory, str):
            raise MetricsError(
                f"trial {trial} was not run by a SubmititAxRunner (its run metadata name no directory), so "
                "that there is nothing to read. Complete it by client.complete_trial."
            )
        layout = Layout.at(directory)
        attempts = _attempts(layout, trial)
        final = _final(attempts)
        curve = _curve(attempts)
        reported = [*curve.values(), *([] if final is None else [final])]
        if final is not None and not any(self.name in each for each in reported):
            raise MetricsError(
                f"trial {trial} has ended without reporting {self.name!r}; {attempts[-1].metrics} has "
                f"{', '.join(map(repr, sorted(final)))}. Report it under exactly that name."
            )
        if final is not None:
            finish(curve, final)
            curve = curve or {ONLY_STEP: final}
        values = {step: metrics[self.name] for step, metrics in curve.items() if self.name in metrics}
        if not values:
            raise MetricsError(
                f"trial {trial} has reported nothing of {self.name!r} yet ({layout.trial(trial)})."
            )
        if not self.curve:
            last = max(values)
            return {last: values[last]}
        return values


def _attempts(layout: Layout, trial: int) -> list[AttemptFiles]:
    """The attempts of a trial, oldest first."""
    numbers = [
        int(number)
        for name in atomic.listing(layout.trial(trial))
        if (number := name.removeprefix("attempt-")) != name and number.isascii() and number.isdecimal()
    ]
    return [layout.attempt(trial, number) for number in sorted(numbers)]


def _final(attempts: list[AttemptFiles]) -> Metrics | None:
    """What the last attempt reported at its end, if it has ended well."""
    for files in reversed(attempts):
        if files.result.name in atomic.listing(files.root):
            return outcome.read(files.result).metrics
    return None


def _curve(attempts: list[AttemptFiles]) -> dict[int, Metrics]:
    """What the attempts reported on their way, as one curve, thinned as AxScheduler thins it."""
    reports = [
        report
        for files in attempts
        if files.progress.name in atomic.listing(files.root)
        for report in _reports(files.progress)
    ]
    kept, last = thinned(None, reports)
    curve: dict[int, Metrics] = {}
    extend(curve, [(each.step, each.metrics) for each in (*kept, *([] if last is None else [last]))])
    return curve


def _reports(path: Path) -> Iterator[Report]:
    start, more = 0, True
    while more:
        chunk = progress.read(path, start)
        yield from chunk.reports
        start, more = chunk.end, chunk.more
