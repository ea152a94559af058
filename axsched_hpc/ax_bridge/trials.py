"""What is done to an experiment's trials, by the living driver and by the replay of its journal alike.

Times come from the caller, so that a replayed trial has those of the first time. Ax keeps naive local times.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import inf, isnan
from typing import Any

from ax.core.arm import Arm
from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRunType
from ax.core.metric import Metric
from ax.core.observation import ObservationFeatures
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus

from axsched_hpc.core.errors import MetricsError, ParameterError
from axsched_hpc.core.metrics import Metrics

logger = logging.getLogger(__name__)


def instant(seconds: float) -> datetime:
    """Seconds since the epoch as the naive local time that Ax keeps."""
    return datetime.fromtimestamp(seconds)  # noqa: DTZ006 - Ax compares with datetime.now()


def epoch(moment: datetime) -> float:
    """The inverse of :func:`instant`."""
    return moment.timestamp()


def next_index(experiment: Experiment) -> int:
    """The index of the next trial, without a look at all others: Ax's trials stand in their order."""
    trials = experiment.trials
    index = next(reversed(trials), -1) + 1
    return index if index not in trials else max(trials) + 1


def own_point(experiment: Experiment, index: int, parameters: Mapping[str, Any], arm: str) -> Trial:
    """A new trial of that index at a point that nothing generated, as ``experiment.attach_trial`` makes them.

    An arm of the same parameters lends its name; else it is the given one.
    """
    space = experiment.search_space
    there = experiment.arms_by_signature.get(Arm.md5hash(parameters))
    metadata = None
    if space.is_hierarchical:
        # The values of the branches that the point does not have, which models need.
        flat = space.flatten_observation_features(
            ObservationFeatures(parameters=dict(parameters)),
            inject_dummy_values_to_complete_flat_parameterization=True,
        )
        metadata = space.cast_observation_features(flat).metadata
    trial = Trial(experiment, index=index)
    trial.add_arm(Arm(parameters, name=arm if there is None else there.name), metadata)
    return trial


def settle_status_quo(trial: BatchTrial) -> None:
    """Say of a batch trial that was made from a record whether the status quo was added to it as such."""
    kinds = {run.generator_run_type for run in trial.generator_runs}
    trial.should_add_status_quo_arm = GeneratorRunType.STATUS_QUO.name in kinds


def start(trial: BaseTrial, time: float, *, new: bool = True) -> None:
    """Mark a trial as running from now on; ``new``: it was made just now, too."""
    moment = instant(time)
    trial.mark_running(no_runner_required=True)
    trial._time_run_started = moment
    if new:
        trial._time_created = moment


def again(trial: BaseTrial, time: float) -> None:
    """Mark a trial that was given up as running again. Doing it again changes nothing."""
    if trial.status in (TrialStatus.FAILED, TrialStatus.ABANDONED):
        trial.mark_running(no_runner_required=True, unsafe=True)
        trial._time_run_started, trial._time_completed = instant(time), None
        trial._status_reason = None


def finish(trial: BaseTrial, status: TrialStatus, time: float, reason: str | None = None) -> bool:
    """Bring a trial to its final status. False where it had that status already, and nothing was changed."""
    before = trial.status
    if before is status:
        return False
    if before.is_terminal:
        logger.warning(
            "Trial %d was marked %s in the experiment, but its job ended as %s: the job's outcome counts.",
            trial.index,
            before.name.lower(),
            status.name.lower(),
        )
    if status is TrialStatus.COMPLETED:
        trial.mark_completed(unsafe=True)
        trial._status_reason = None
    elif status is TrialStatus.EARLY_STOPPED:
        trial.mark_early_stopped(reason=reason, unsafe=True)
    elif status is TrialStatus.FAILED:
        trial.mark_failed(reason=reason, unsafe=True)
    else:
        trial.mark_abandoned(reason=reason, unsafe=True)
    trial._time_completed = instant(time)
    return True


def observations(
    experiment: Experiment,
    trial: BaseTrial,
    metrics: Metrics,
    step: int | None = None,
    *,
    arm: str | None = None,
) -> list[DataRow]:
    """An arm's metrics as rows of data; those that are new to the experiment become tracking metrics.

    Parameters
    ----------
    arm
        Its name; None for the only one of its trial.
    step
        That of a point of its curve; the final metrics are those of the curve's last step. None for a trial
        without a curve.
    """
    track(experiment, metrics)
    known = experiment.metrics
    name_of_arm = trial.arms[0].name if arm is None else arm
    return [
        DataRow(
            trial_index=trial.index,
            arm_name=name_of_arm,
            metric_name=name,
            metric_signature=known[name].signature,
            mean=mean,
            se=float("nan") if sem is None else sem,
            step=None if step is None else float(step),
        )
        for name, (mean, sem) in metrics.items()
    ]


def track(experiment: Experiment, names: Iterable[str]) -> None:
    """Add the metrics that the experiment does not know yet."""
    known = experiment.metrics
    for name in dict.fromkeys(names):
        if name not in known:
            experiment.add_metric(Metric(name=name))


def has_observations(rows: Iterable[DataRow], metrics: Mapping[str, tuple[float, float | None]]) -> bool:
    """Whether rows of one trial end with exactly these values."""
    there = final_values(rows)
    return all(there.get(name) == pair for name, pair in metrics.items())


def final_values(rows: Iterable[DataRow]) -> Metrics:
    """The last values of one trial's metrics, as Ax takes them: of the highest step, or without one."""
    last: dict[str, DataRow] = {}
    for row in rows:
        there = last.get(row.metric_name)
        if there is None or _step(row) >= _step(there):
            last[row.metric_name] = row
    return {name: (row.mean, None if isnan(row.se) else row.se) for name, row in last.items()}


def _step(row: DataRow) -> float:
    # What has no step comes last: to Ax that is the end.
    return inf if row.step is None or isnan(row.step) else row.step


def require_free_name(experiment: Experiment, name: str, point: Mapping[str, Any]) -> None:
    """Check that a point may be added as an arm of this name; Ax does so only once the trial is there.

    Raises
    ------
    ParameterError
        The name is another arm's, or the point has another name already.
    """
    of_name = experiment.arms_by_name.get(name)
    of_point = experiment.arms_by_signature.get(Arm.md5hash(point))
    if of_name is not None and of_name is not of_point:
        raise ParameterError(f"The arm name {name!r} is taken by {of_name.parameters}. Choose another.")
    if of_point is not None and of_point.name != name:
        raise ParameterError(
            f"The point {dict(point)} is already in the experiment as the arm {of_point.name!r}. "
            "Leave the name out."
        )


def require_one_kind_of_sem(experiment: Experiment) -> None:
    """Find a cause of failed fits: a metric whose standard error is known in some trials only.

    Raises
    ------
    MetricsError
        There is such a metric; the message names trials of both kinds.
    """
    known: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for row in experiment.data._data_rows:
        (unknown if isnan(row.se) else known).setdefault(row.metric_name, row.trial_index)
    for name in sorted(set(known) & set(unknown)):
        raise MetricsError(
            f"Ax cannot fit its model: the metric {name!r} has a standard error in some trials (such as "
            f"{known[name]}) and none in others (such as {unknown[name]}). Report it in all trials or in "
            "none."
        )
