"""Evaluations that were not run here: checked, and attached as completed trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from ax.api.client import Client
from ax.core.arm import Arm
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.search_space import SearchSpace
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.parameters import MISFIT, validated
from axsched_hpc.ax_bridge.trials import (
    final_values,
    finish,
    has_observations,
    next_index,
    observations,
    own_point,
    start,
)
from axsched_hpc.core.curve import finish as finish_curve
from axsched_hpc.core.errors import ConfigError, MetricsError, ParameterError
from axsched_hpc.core.evaluations import Evaluation, Source, given, left_out, mixed_sems
from axsched_hpc.core.metrics import Metrics, normalise, require


@dataclass(frozen=True)
class Finished:
    """An evaluation that can be attached: its parameters are a point of the search space."""

    where: str
    parameters: dict[str, Any]
    metrics: Metrics
    curve: Mapping[int, Metrics]


class WarmStart:
    """What enters an experiment beside Ax's own suggestions: evaluations, points of the queue, a baseline."""

    def __init__(self, experiment: Experiment, observed: Observed) -> None:
        self._experiment = experiment
        self._observed = observed

    # ------------------------------------------------------------ evaluations

    def check(
        self, required: Collection[str], evaluations: Sequence[Evaluation]
    ) -> tuple[list[Finished], list[str]]:
        """Those that can be attached, and what is wrong with the others, each by itself; nothing changes.

        Parameters
        ----------
        required
            The metrics that every trial has to have.
        """
        checked = [_finished(self._experiment.search_space, required, each) for each in evaluations]
        there: dict[str, tuple[bool, str]] = {}
        for row in self._experiment.data._data_rows:
            there.setdefault(row.metric_name, (not isnan(row.se), f"trial {row.trial_index}"))
        # One that does not fit has no say in whether there are standard errors.
        values = [found.metrics if isinstance(found, Finished) else {} for found in checked]
        mixed = mixed_sems(zip((each.where for each in evaluations), values, strict=True), there)
        checked = [mixed.get(number, found) for number, found in enumerate(checked)]
        pairs = zip(evaluations, checked, strict=True)
        bad = [f"{each.where}: {found}" for each, found in pairs if isinstance(found, str)]
        return [found for found in checked if isinstance(found, Finished)], bad

    def attach(self, evaluations: Sequence[Finished], *, time: float) -> list[int]:
        """Make each a completed trial, but where a completed trial of these parameters has these metrics
        already; the trials, in the order of the evaluations.
        """
        there = self._completed()
        added, rows, indices = list[Trial](), list[DataRow](), list[int]()
        for each in evaluations:
            same = there.setdefault(Arm.md5hash(each.parameters), [])
            index = next((index for index, known in same if has_observations(known, each.metrics)), None)
            if index is None:
                trial = self._new_trial(each.parameters, time=time)
                new = _rows(self._experiment, trial, each)
                index = trial.index
                same.append((index, new))
                added.append(trial)
                rows += new
            indices.append(index)
        self._observed.attach(rows)
        for trial in added:
            finish(trial, TrialStatus.COMPLETED, time)
        return indices

    def _completed(self) -> dict[str, list[tuple[int, Sequence[DataRow]]]]:
        """The completed trials and their data, by the signature of their arm."""
        found: dict[str, list[tuple[int, Sequence[DataRow]]]] = {}
        for index, trial in self._experiment.trials.items():
            if isinstance(trial, Trial) and trial.arm is not None and trial.status is TrialStatus.COMPLETED:
                found.setdefault(trial.arm.signature, []).append((index, self._observed.of(index)))
        return found

    # ------------------------------------------------------------ points of the queue

    def check_points(
        self, points: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Those that fit the search space, and what is wrong with the others; each with its place."""
        good, bad = list[dict[str, Any]](), list[str]()
        for where, point in points:
            try:
                good.append(validated(self._experiment.search_space, point))
            except ParameterError as error:
                bad.append(f"{where}: {str(error).removeprefix(MISFIT)}")
        return good, bad

    def take(self, point: Mapping[str, Any], on_record: Callable[[Trial], bool], *, time: float) -> Trial:
        """A running trial at a point of the queue: a new one, or of the baseline the one that the user has
        attached and left open.

        Parameters
        ----------
        on_record
            Whether a trial is accounted for.
        """
        baseline = self._experiment.status_quo
        if baseline is not None and baseline.parameters == point:
            for trial in self._experiment.trials.values():
                if not isinstance(trial, Trial) or trial.arm != baseline:
                    continue
                if trial.status.is_running and not on_record(trial):
                    return trial
        return self._new_trial(point, time=time)

    def _new_trial(self, point: Mapping[str, Any], *, time: float) -> Trial:
        """A running trial at a point that nothing generated."""
        index = next_index(self._experiment)
        trial = own_point(self._experiment, index, point, f"{index}_0")
        start(trial, time)
        return trial

    # ------------------------------------------------------------ the baseline

    @property
    def baseline(self) -> tuple[str, dict[str, Any]] | None:
        """The arm to which relative constraints refer, as its name and parameters: Ax's status quo."""
        arm = self._experiment.status_quo
        return None if arm is None else (arm.name, dict(arm.parameters))

    def set_baseline(self, parameters: Mapping[str, Any]) -> None:
        """Make a point the baseline.

        Raises
        ------
        ParameterError
            It does not fit the search space.
        ConfigError
            There is another one already.
        """
        experiment, point = self._experiment, validated(self._experiment.search_space, parameters)
        there = experiment.status_quo
        if there is not None and there.parameters == point:
            return
        if there is not None:
            raise ConfigError(
                f"The baseline is {there.parameters} already, and Ax keeps one for the whole experiment. "
                "Nothing was changed. Use another job_output_dir, and a new experiment, for another baseline."
            )
        known = Arm.md5hash(point) in experiment.arms_by_signature
        # As Client.attach_baseline calls it; else Ax finds a name.
        name = None if known or "baseline" in experiment.arms_by_name else "baseline"
        experiment.status_quo = Arm(point, name=name)


def _finished(space: SearchSpace, required: Collection[str], each: Evaluation) -> Finished | str:
    """One that can be attached, or all that is wrong with it."""
    if each.problem:
        return each.problem
    problems, point, metrics = [], dict[str, Any](), Metrics()
    try:
        point = validated(space, each.parameters)
    except ParameterError as error:
        problems.append(str(error).removeprefix(MISFIT))
    try:
        metrics = normalise(each.metrics, source="it")
        require(metrics, required, source="it")
    except MetricsError as error:
        problems.append(str(error).removeprefix("it: "))
    return " ".join(problems) or Finished(each.where, point, metrics, each.curve)


def _rows(experiment: Experiment, trial: Trial, each: Finished) -> list[DataRow]:
    if not each.curve:
        return observations(experiment, trial, each.metrics)
    curve = {step: dict(metrics) for step, metrics in each.curve.items()}
    finish_curve(curve, each.metrics)
    return [row for step in sorted(curve) for row in observations(experiment, trial, curve[step], step)]


def experiment_of(source: object) -> Experiment | None:
    """The experiment that an object of Ax holds; None where it is no such object."""
    if isinstance(source, Client):
        return source._maybe_experiment
    # An AxClient's, which Ax 1.4 drops.
    found = source if isinstance(source, Experiment) else getattr(source, "_experiment", None)
    return found if isinstance(found, Experiment) else None


def evaluations_of(experiment: Experiment, name: str, required: Collection[str]) -> Source:
    """The completed trials of another experiment, with their curves; each arm of a trial by itself."""
    observed = Observed(experiment)
    unfinished = Counter(
        trial.status.name for trial in experiment.trials.values() if trial.status is not TrialStatus.COMPLETED
    )
    return Source(name, tuple(_completed(experiment, observed, required)), left_out(name, unfinished))


def _completed(experiment: Experiment, observed: Observed, required: Collection[str]) -> Iterator[Evaluation]:
    for trial in experiment.trials.values():
        if trial.status is not TrialStatus.COMPLETED:
            continue
        for arm in trial.arms:
            rows = [row for row in observed.of(trial.index) if row.arm_name == arm.name]
            curve: dict[int, Metrics] = {}
            for row in rows:
                if row.step is not None and isfinite(row.step) and isfinite(row.mean):
                    sem = None if isnan(row.se) else row.se
                    curve.setdefault(int(row.step), {})[row.metric_name] = (row.mean, sem)
            where = f"trial {trial.index}" + (f", arm {arm.name}" if len(trial.arms) > 1 else "")
            yield Evaluation(where, dict(arm.parameters), given(final_values(rows), required), curve)
