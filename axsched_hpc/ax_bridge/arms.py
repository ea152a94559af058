"""Which arm of which of Ax's trials a number stands for, and what is kept of a batch trial until it ends.

To all that runs jobs, a trial is one arm with a number of its own. Where each of Ax's trials has one arm the
number is Ax's index; an arm of a batch trial gets the next number that is free.

Ax is given a batch trial's data and status when its last arm has ended: to Ax a trial of which some data is
there is one whose points are no longer pending, so that it might suggest an arm that still runs again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from ax.core.arm import Arm
from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.trials import finish, instant, observations
from axsched_hpc.core.curve import Point, extend
from axsched_hpc.core.curve import finish as finish_curve
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.metrics import Metrics

logger = logging.getLogger(__name__)

#: The ends at which an arm has given the model nothing.
_GIVEN_UP = (TrialStatus.FAILED, TrialStatus.ABANDONED)


@dataclass(frozen=True)
class _End:
    """How an arm of a batch trial has ended."""

    status: TrialStatus
    time: float
    reason: str | None
    metrics: Metrics


class Arms:
    """The numbers of an experiment's arms, and the batch trials that are under way."""

    def __init__(self, experiment: Experiment, observed: Observed) -> None:
        self._experiment = experiment
        self._observed = observed
        self._places: dict[int, tuple[int, str]] = {}
        self._numbers: dict[tuple[int, str], int] = {}
        self._next = 0
        self._curves: dict[int, dict[int, Metrics]] = {}
        self._ends: dict[int, _End] = {}

    # ------------------------------------------------------------ numbers

    @property
    def next(self) -> int:
        """The number that the next new trial of one arm will have."""
        return max(self._next, max(self._experiment.trials, default=-1) + 1)

    def register(self, number: int, trial: BaseTrial, arm: str) -> None:
        """Take a number that is on record."""
        place = (trial.index, arm)
        self._places[number], self._numbers[place] = place, number
        self._next = max(self._next, number + 1)

    def number(self, trial: BaseTrial, arm: str) -> int:
        """The number of an arm; it gets one where it has none."""
        known = self.known(trial, arm)
        if known is not None:
            return known
        free = not isinstance(trial, BatchTrial) and trial.index not in self._places
        number = trial.index if free else max(self._next, trial.index)
        self.register(number, trial, arm)
        return number

    def known(self, trial: BaseTrial, arm: str) -> int | None:
        """The number of an arm; None where it has none yet."""
        return self._numbers.get((trial.index, arm))

    def find(self, number: int) -> tuple[BaseTrial, Arm]:
        """The trial and the arm that a number stands for.

        Raises
        ------
        ExperimentMismatchError
            They are not there.
        """
        index, name = self._places.get(number, (number, None))
        trial = self._experiment.trials.get(index)
        if trial is not None:
            for arm in trial.arms:
                if name in (None, arm.name):
                    return trial, arm
        raise ExperimentMismatchError(
            f"Trial {number} is not in the experiment {self._experiment._name!r}, which has "
            f"{len(self._experiment.trials)} trials. "
            "Was it removed, or is this another experiment's directory?"
        )

    def place(self, number: int) -> tuple[int, str] | None:
        """Ax's index and the arm's name of a number; None for one that is not known."""
        return self._places.get(number)

    def lost(self, parameters: Mapping[str, Any], batches: Iterable[int]) -> tuple[int, str] | None:
        """The arm without a number, of one of these batch trials, that has these parameters; else None."""
        for index in sorted(batches):
            trial = self._experiment.trials.get(index)
            for arm in () if trial is None else trial.arms:
                if (index, arm.name) not in self._numbers and dict(arm.parameters) == parameters:
                    return index, arm.name
        return None

    def numbered(self, frame: Any) -> Any:
        """Ax's data frame of arms, and where there are batch trials, their numbers as its first column."""
        if has_batches(self._experiment):
            places = zip(frame["trial_index"], frame["arm_name"], strict=True)
            numbers = [self._numbers.get(place) for place in places]
            frame.insert(0, "number", pd.array(numbers, dtype="Int64"))
        return frame

    # ------------------------------------------------------------ batch trials under way

    def is_batch(self, number: int) -> bool:
        """Whether a number stands for an arm of a batch trial."""
        return isinstance(self.find(number)[0], BatchTrial)

    def report(self, number: int, points: Iterable[Point]) -> None:
        """Keep points of the curve of a batch trial's arm."""
        extend(self._curves.setdefault(number, {}), points)

    def end(
        self,
        number: int,
        status: TrialStatus,
        time: float,
        reason: str | None = None,
        metrics: Metrics | None = None,
    ) -> list[DataRow]:
        """Take the end of an arm in. Doing it again changes nothing.

        Returns
        -------
        list of DataRow
            What the experiment lacks of the data of a batch trial, where this was the last of its arms.
        """
        trial, arm = self.find(number)
        if not isinstance(trial, BatchTrial):
            finish(trial, status, time, reason)
            return []
        end = self._ends[number] = _End(status, time, reason, metrics or {})
        _mark(trial, arm.name, end)
        # What has no number and is not abandoned by its owner has lost its record; it is still to run.
        numbers = {each.name: self.known(trial, each.name) for each in trial.arms}
        ends = {n: self._ends[n] for n in numbers.values() if n in self._ends}
        left = {name for name, n in numbers.items() if n not in ends}
        if any(numbers[name] is not None or name not in trial.abandoned_arm_names for name in left):
            return []
        _finish(trial, list(ends.values()), end)
        rows = [row for n in ends for row in self._rows(trial, n)]
        return [] if self._observed.has(rows) else rows

    def _rows(self, trial: BatchTrial, number: int) -> list[DataRow]:
        arm, metrics = self._places[number][1], self._ends[number].metrics
        curve = {step: dict(values) for step, values in self._curves.get(number, {}).items()}
        finish_curve(curve, metrics)
        points: Iterable[tuple[int | None, Metrics]] = curve.items() or [(None, metrics)]
        return [
            row
            for step, values in points
            for row in observations(self._experiment, trial, values, step, arm=arm)
        ]


def has_batches(experiment: Experiment) -> bool:
    """Whether a trial is a batch trial."""
    return any(isinstance(trial, BatchTrial) for trial in experiment.trials.values())


def _mark(trial: BatchTrial, arm: str, end: _End) -> None:
    """An arm without data is abandoned, in Ax's words, so that the others count."""
    if end.status in _GIVEN_UP:
        trial.mark_arm_abandoned(arm, end.reason)
        trial._abandoned_arms_metadata[arm].time = instant(end.time)
    elif trial._abandoned_arms_metadata.pop(arm, None) is not None:
        logger.warning(
            "Arm %s of trial %d was marked abandoned in the experiment, but its job ended well: the job's "
            "outcome counts.",
            arm,
            trial.index,
        )


def _finish(trial: BatchTrial, ends: list[_End], last: _End) -> None:
    """Bring a batch trial to its final status: completed with one arm that has data."""
    statuses = {end.status for end in ends}
    if not statuses <= set(_GIVEN_UP):
        finish(trial, TrialStatus.COMPLETED, last.time)
        return
    # Ax may suggest the arms of a failed trial again, and will not those of an abandoned one.
    status = TrialStatus.FAILED if TrialStatus.FAILED in statuses else TrialStatus.ABANDONED
    reason = (
        last.reason if len(ends) == 1 else f"none of {len(ends)} arms ended well; the last: {last.reason}"
    )
    finish(trial, status, last.time, reason)
