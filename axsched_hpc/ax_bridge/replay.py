"""From the journal back to the experiment and the generation strategy that wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from ax.core.arm import Arm
from ax.core.data import DataRow
from ax.core.generator_run import GeneratorRun
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.collector import paused
from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import Handles, check_trial
from axsched_hpc.ax_bridge.parameters import validated
from axsched_hpc.ax_bridge.records import (
    Reference,
    Runs,
    row_from_json,
    row_to_json,
    run_to_json,
    set_trial_fields,
    trial_fields_to_json,
)
from axsched_hpc.ax_bridge.trials import (
    epoch,
    final_values,
    find,
    finish,
    has_observations,
    instant,
    observations,
    own_point,
    start,
    track,
)
from axsched_hpc.core.curve import extend
from axsched_hpc.core.curve import finish as finish_curve
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptSucceeded,
    BaselineSet,
    Event,
    TrialAbandoned,
    TrialAdded,
    TrialStopped,
)
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import TrialState, Verdict

_STATES = {
    TrialStatus.COMPLETED: TrialState.COMPLETED,
    TrialStatus.EARLY_STOPPED: TrialState.EARLY_STOPPED,
    TrialStatus.FAILED: TrialState.FAILED,
    TrialStatus.ABANDONED: TrialState.ABANDONED,
    TrialStatus.STALE: TrialState.ABANDONED,
}


def external_event(trial: Trial, rows: Iterable[DataRow], reference: Reference) -> TrialAdded | None:
    """The record of a trial that the user made and finished himself; None while it is his to finish."""
    state = _STATES.get(trial.status)
    if state is None:
        return None
    arm, run = check_trial(trial).arm, trial.generator_run
    assert (
        arm is not None and run is not None
    )  # check_trial saw the arm, and an arm comes with a generator run
    rows = list(rows)
    values = {name: list(pair) for name, pair in final_values(rows).items() if isfinite(pair[0])}
    payload = {
        "generator_run": run_to_json(run, reference),
        "trial": trial_fields_to_json(trial),
        "status": trial.status.name,
        "state": state.value,
        "rows": [row_to_json(row) for row in rows],
        "metrics": values,
    }
    ended = epoch(trial.time_completed or trial.time_created)
    return TrialAdded(ended, trial.index, arm.name, dict(arm.parameters), "external", payload)


class Replay:
    """One pass over the events of a journal."""

    def __init__(self, handles: Handles, reference: Reference, observed: Observed) -> None:
        self._experiment = handles.experiment
        self._strategy = handles.generation_strategy
        self._observed = observed
        self._runs = Runs(reference)
        self._new: dict[int, GeneratorRun] = {}
        # Attaching makes all data anew, so it is done once, at the end.
        self._rows: list[DataRow] = []
        self._curves: dict[int, dict[int, Metrics]] = {}
        self._baseline: BaselineSet | None = None

    def run(self, events: Iterable[Event]) -> None:
        """Apply the events in their order.

        Raises
        ------
        ExperimentMismatchError
            The experiment has a trial of the same index with other parameters, or the strategy lacks a node.
        """
        with paused():
            for event in events:
                handler = _HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)
        for index, curve in self._curves.items():
            trial = find(self._experiment, index)
            if any(row.step is not None and row.step not in curve for row in self._observed.of(index)):
                # An older copy of the experiment has points that were dropped since.
                self._observed.cut(index, 0)
            for step, metrics in curve.items():
                self._rows += observations(self._experiment, trial, metrics, step)
        self._observed.attach(self._rows)
        trials = self._experiment._trials
        self._experiment._trials = dict(sorted(trials.items()))
        self._restore_baseline()
        self._restore_strategy()

    def _baseline_set(self, event: BaselineSet) -> None:
        self._baseline = event

    def _added(self, event: TrialAdded) -> None:
        if event.trial in self._experiment.trials:
            trial = self._same(event)
        else:
            trial = self._make(event)
            if event.origin != "external":
                start(trial, event.time)
        if event.origin == "external":
            self._finish_external(trial, event)

    def _same(self, event: TrialAdded) -> Trial:
        trial = find(self._experiment, event.trial)
        found = None if trial.arm is None else dict(trial.arm.parameters)
        if found != event.parameters:
            raise ExperimentMismatchError(
                f"Trial {event.trial} has the parameters {event.parameters} in the journal and {found} "
                "in the experiment "
                "passed in. Pass an object without trials of its own or with the same ones, or choose "
                "another "
                "job_output_dir."
            )
        return trial

    def _make(self, event: TrialAdded) -> Trial:
        trials = self._experiment._trials
        # At each new trial Ax searches all others for itself; here it is seen to be new by its index.
        self._experiment._trials = {}
        try:
            trial = self._made(event)
        except Exception as error:  # Ax's decoder raises whatever the damage leads to
            raise ExperimentMismatchError(
                f"Trial {event.trial} of the journal cannot be made again: {type(error).__name__}: "
                f"{error}. Was the journal "
                "written with another version of Ax, or does the experiment passed in already have this arm?"
            ) from error
        finally:
            self._experiment._trials = trials
        run = trial.generator_run
        assert run is not None  # the trial was made with one
        node = run._generation_node_name
        if node is not None:
            if node not in self._strategy.nodes_by_name:
                raise ExperimentMismatchError(
                    f"Trial {event.trial} was generated by the node {node!r}, which the generation "
                    "strategy passed in "
                    f"lacks (it has {', '.join(map(repr, self._strategy.nodes_by_name))}). Pass the "
                    "strategy that the "
                    "experiment was started with, or open the directory with AxScheduler.resume(...)."
                )
            self._new[event.trial] = run
        trials[event.trial] = trial
        return trial

    def _made(self, event: TrialAdded) -> Trial:
        # The index is given, since a trial that the user left unfinished has no record and leaves a gap.
        if event.ax is None:
            # Its line was lost, and it was found again by its files: what generated it is not known.
            point = validated(self._experiment.search_space, event.parameters)
            trial = own_point(self._experiment, event.trial, point, event.arm)
            for run in trial.generator_runs:
                run._time_created = instant(event.time)
            return trial
        decoded = self._runs.decode(event.ax["generator_run"])
        return Trial(self._experiment, generator_run=decoded, index=event.trial)

    def _finish_external(self, trial: Trial, event: TrialAdded) -> None:
        if event.ax is None:
            # As in the ledger: how it ended is not known, and its owner is done with it.
            finish(trial, TrialStatus.ABANDONED, event.time)
            return
        payload = event.ax
        status = TrialStatus[payload["status"]]
        if trial.status is status:
            return
        trial._status = status
        set_trial_fields(trial, payload["trial"])
        track(self._experiment, [row["metric_name"] for row in payload["rows"]])
        self._rows += [row_from_json(row, trial=trial.index, arm=event.arm) for row in payload["rows"]]

    def _reported(self, event: AttemptReported) -> None:
        track(self._experiment, [name for _, metrics in event.points for name in metrics])
        extend(self._curves.setdefault(event.trial, {}), event.points)

    def _succeeded(self, event: AttemptSucceeded) -> None:
        trial = find(self._experiment, event.trial)
        changed = finish(trial, TrialStatus.COMPLETED, event.time)
        if curve := self._curves.get(event.trial):
            track(self._experiment, event.metrics)
            finish_curve(curve, event.metrics)
            return
        if changed or not has_observations(self._observed.of(event.trial), event.metrics):
            self._rows += observations(self._experiment, trial, event.metrics)

    def _stopped(self, event: TrialStopped) -> None:
        finish(find(self._experiment, event.trial), TrialStatus.EARLY_STOPPED, event.time, event.reason)

    def _failed(self, event: AttemptFailed) -> None:
        if event.verdict is Verdict.RETRY:
            return
        status = TrialStatus.FAILED if event.verdict is Verdict.FAIL else TrialStatus.ABANDONED
        finish(find(self._experiment, event.trial), status, event.time, event.failure.text)

    def _abandoned(self, event: TrialAbandoned) -> None:
        finish(find(self._experiment, event.trial), TrialStatus.ABANDONED, event.time, event.reason)

    def _restore_baseline(self) -> None:
        event, there = self._baseline, self._experiment.status_quo
        if event is None:
            return
        if there is None:
            known = self._experiment.arms_by_signature.get(Arm.md5hash(event.parameters))
            name = event.arm if known is None else known.name
            self._experiment.status_quo = Arm(event.parameters, name=name)
        elif dict(there.parameters) != event.parameters:
            raise ExperimentMismatchError(
                f"The baseline is {event.parameters} in the journal and {dict(there.parameters)} in the "
                "experiment passed in. Pass an object with the same baseline or with none, or choose another "
                "job_output_dir."
            )

    def _restore_strategy(self) -> None:
        if not self._new:
            return
        # By trial, not by record: what the user generated early and finished late stands where it was made.
        runs = self._strategy._generator_runs
        runs += [self._new[index] for index in sorted(self._new)]
        node = runs[-1]._generation_node_name
        if node is not None:
            self._strategy._curr = self._strategy.nodes_by_name[node]


_HANDLERS: dict[type[Event], Callable[[Replay, Any], None]] = {
    BaselineSet: Replay._baseline_set,
    TrialAdded: Replay._added,
    AttemptReported: Replay._reported,
    TrialStopped: Replay._stopped,
    AttemptSucceeded: Replay._succeeded,
    AttemptFailed: Replay._failed,
    TrialAbandoned: Replay._abandoned,
}
