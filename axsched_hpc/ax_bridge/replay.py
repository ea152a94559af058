"""From the journal back to the experiment and the generation strategy that wrote it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from ax.core.arm import Arm
from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.generator_run import GeneratorRun
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.arms import Arms
from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import Handles
from axsched_hpc.ax_bridge.parameters import validated
from axsched_hpc.ax_bridge.records import Reference, Runs, row_from_json, set_trial_fields
from axsched_hpc.ax_bridge.taking import EXTERNAL, index_of
from axsched_hpc.ax_bridge.trials import (
    again,
    finish,
    has_observations,
    instant,
    observations,
    own_point,
    settle_status_quo,
    start,
    track,
)
from axsched_hpc.core.collector import paused
from axsched_hpc.core.curve import extend
from axsched_hpc.core.curve import finish as finish_curve
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptSucceeded,
    BaselineSet,
    DefinitionChanged,
    Event,
    TrialAbandoned,
    TrialAdded,
    TrialEvent,
    TrialRetried,
    TrialStopped,
)
from axsched_hpc.core.ledger import CANDIDATE
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import Verdict


class Replay:
    """One pass over the events of a journal."""

    def __init__(self, handles: Handles, reference: Reference, observed: Observed, arms: Arms) -> None:
        self._experiment = handles.experiment
        self._strategy = handles.generation_strategy
        self._observed = observed
        self._arms = arms
        self._reference = reference
        self._runs = Runs(reference)
        self._references: list[Reference] = []
        self._new: dict[int, list[GeneratorRun]] = {}
        #: Ax's indices that records name, which those without a record of their own must not take.
        self._reserved: set[int] = set()
        self._batches: set[int] = set()
        self._finished: set[int] = set()
        # Attaching makes all data anew, so it is done once, at the end.
        self._rows: list[DataRow] = []
        self._curves: dict[int, dict[int, Metrics]] = {}
        self._baseline: BaselineSet | None = None
        #: How often trials are tried again in events that are still to come: no end before that counts.
        self._retries: Counter[int] = Counter()

    def run(self, events: Iterable[Event]) -> None:
        """Apply the events in their order.

        Raises
        ------
        ExperimentMismatchError
            The experiment has a trial of the same index with other parameters, or the strategy lacks a node.
        """
        with paused():
            # Let go one by one, as the trials come that they tell of: of a long journal both take much room.
            left = deque(event for event in events if type(event) in _HANDLERS)
            added = [event for event in left if isinstance(event, TrialAdded) and event.ax is not None]
            self._reserved = {index_of(event) for event in added}
            self._batches = {index_of(event) for event in added if "generator_runs" in (event.ax or {})}
            del added
            self._retries.update(event.trial for event in left if isinstance(event, TrialRetried))
            changes = [event.before for event in left if isinstance(event, DefinitionChanged)]
            self._references = [*map(Reference.of_definition, changes), self._reference]
            self._next_definition()
            while left:
                event = left.popleft()
                _HANDLERS[type(event)](self, event)
        for number, curve in self._curves.items():
            trial, _ = self._arms.find(number)
            if any(row.step is not None and row.step not in curve for row in self._observed.of(trial.index)):
                # An older copy of the experiment has points that were dropped since.
                self._observed.cut(trial.index, 0)
            for step, metrics in curve.items():
                self._rows += observations(self._experiment, trial, metrics, step)
        self._observed.attach(self._rows)
        trials = self._experiment._trials
        self._experiment._trials = dict(sorted(trials.items()))
        self._restore_baseline()
        self._restore_strategy()

    def _next_definition(self, _: DefinitionChanged | None = None) -> None:
        """Runs from here on were made under the next definition."""
        self._runs.reference = self._references.pop(0)

    def _baseline_set(self, event: BaselineSet) -> None:
        self._baseline = event

    def _added(self, event: TrialAdded) -> None:
        index, arm, lost = self._place(event)
        there = self._experiment.trials.get(index)
        trial = self._make(event, index, lost=lost) if there is None else there
        self._arms.register(event.trial, trial, self._same(event, trial, arm))
        if event.origin == EXTERNAL:
            self._finish_external(trial, event)
        elif there is None or trial.status.is_candidate:
            start(trial, event.time, new=event.origin != CANDIDATE)

    def _place(self, event: TrialAdded) -> tuple[int, str | None, bool]:
        """Ax's index of the trial, the arm's name if it is one of several, and whether its record is lost."""
        number, ax = event.trial, event.ax
        if (place := self._arms.place(number)) is not None and place[0] in self._experiment.trials:
            return *place, False
        if ax is not None:
            index = index_of(event)
            alone = "generator_run" in ax or "generator_runs" in ax or "index" not in ax
            if alone or index in self._experiment.trials:
                return index, event.arm if "index" in ax else None, False
        elif (place := self._arms.lost(event.parameters, self._batches)) is not None:
            return *place, False
        if number in self._reserved or ax is not None:
            number = next(n for n in count() if n not in self._reserved)
        self._reserved.add(number)
        return number, None, True

    def _same(self, event: TrialAdded, trial: BaseTrial, arm: str | None) -> str:
        """The name of the trial's arm, which has to have the parameters that are on record."""
        found = [each for each in trial.arms if arm in (None, each.name)]
        parameters = dict(found[0].parameters) if found else None
        if parameters != event.parameters:
            raise ExperimentMismatchError(
                f"Trial {event.trial} has the parameters {event.parameters} in the journal and {parameters} "
                "in the experiment "
                "passed in. Pass an object without trials of its own or with the same ones, or choose "
                "another "
                "job_output_dir."
            )
        return found[0].name

    def _make(self, event: TrialAdded, index: int, *, lost: bool) -> BaseTrial:
        trials = self._experiment._trials
        # At each new trial Ax searches all others for itself; here it is seen to be new by its index.
        self._experiment._trials = {}
        try:
            trial = self._lost(event, index) if lost else self._made(event.ax or {}, index)
        except Exception as error:  # Ax's decoder raises whatever the damage leads to
            raise ExperimentMismatchError(
                f"Trial {event.trial} of the journal cannot be made again: {type(error).__name__}: "
                f"{error}. Was the journal "
                "written with another version of Ax, or does the experiment passed in already have this arm?"
            ) from error
        finally:
            self._experiment._trials = trials
        for run in trial.generator_runs:
            node = run._generation_node_name
            if node is None:
                continue
            if node not in self._strategy.nodes_by_name:
                raise ExperimentMismatchError(
                    f"Trial {event.trial} was generated by the node {node!r}, which the generation "
                    "strategy passed in "
                    f"lacks (it has {', '.join(map(repr, self._strategy.nodes_by_name))}). Pass the "
                    "strategy that the "
                    "experiment was started with, or open the directory with AxScheduler.resume(...)."
                )
            self._new.setdefault(index, []).append(run)
        trials[index] = trial
        return trial

    # The index is given, since a trial that the user left unfinished has no record and leaves a gap.

    def _made(self, ax: Mapping[str, Any], index: int) -> BaseTrial:
        if "generator_runs" not in ax:
            return Trial(self._experiment, generator_run=self._runs.decode(ax["generator_run"]), index=index)
        runs = [self._runs.decode(each) for each in ax["generator_runs"]]
        trial = BatchTrial(self._experiment, generator_runs=runs, index=index)
        settle_status_quo(trial)
        if "trial" in ax:
            set_trial_fields(trial, ax["trial"])
        return trial

    def _lost(self, event: TrialAdded, index: int) -> BaseTrial:
        """A trial whose line was lost, and which was found by its files: what generated it is not known."""
        point = validated(self._experiment.search_space, event.parameters)
        trial = own_point(self._experiment, index, point, event.arm)
        for run in trial.generator_runs:
            run._time_created = instant(event.time)
        return trial

    def _finish_external(self, trial: BaseTrial, event: TrialAdded) -> None:
        if event.ax is None:
            # As in the ledger: how it ended is not known, and its owner is done with it.
            if not isinstance(trial, BatchTrial):
                finish(trial, TrialStatus.ABANDONED, event.time)
            return
        payload = event.ax
        status = TrialStatus[payload["status"]]
        if trial.status is not status:
            trial._status = status
            if "trial" in payload:
                set_trial_fields(trial, payload["trial"])
            self._finished.add(trial.index)
        elif trial.index not in self._finished:
            return
        track(self._experiment, [row["metric_name"] for row in payload["rows"]])
        self._rows += [row_from_json(row, trial=trial.index, arm=event.arm) for row in payload["rows"]]

    def _reported(self, event: AttemptReported) -> None:
        if self._arms.is_batch(event.trial):
            self._arms.report(event.trial, event.points)
            return
        track(self._experiment, [name for _, metrics in event.points for name in metrics])
        extend(self._curves.setdefault(event.trial, {}), event.points)

    def _succeeded(self, event: AttemptSucceeded) -> None:
        if self._arms.is_batch(event.trial):
            self._end(event, TrialStatus.COMPLETED, metrics=event.metrics)
            return
        trial, _ = self._arms.find(event.trial)
        changed = finish(trial, TrialStatus.COMPLETED, event.time)
        if curve := self._curves.get(event.trial):
            track(self._experiment, event.metrics)
            finish_curve(curve, event.metrics)
            return
        if changed or not has_observations(self._observed.of(trial.index), event.metrics):
            self._rows += observations(self._experiment, trial, event.metrics)

    def _stopped(self, event: TrialStopped) -> None:
        self._end(event, TrialStatus.EARLY_STOPPED, event.reason)

    def _failed(self, event: AttemptFailed) -> None:
        if event.verdict is not Verdict.RETRY and not self._retries[event.trial]:
            status = TrialStatus.FAILED if event.verdict is Verdict.FAIL else TrialStatus.ABANDONED
            self._end(event, status, event.failure.text)

    def _abandoned(self, event: TrialAbandoned) -> None:
        if not self._retries[event.trial]:
            self._end(event, TrialStatus.ABANDONED, event.reason)

    def _retried(self, event: TrialRetried) -> None:
        self._retries[event.trial] -= 1
        if not self._retries[event.trial]:
            again(self._arms.find(event.trial)[0], event.time)

    def _end(
        self,
        event: TrialEvent,
        status: TrialStatus,
        reason: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._rows += self._arms.end(event.trial, status, event.time, reason, metrics)

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
        runs += [run for index in sorted(self._new) for run in self._new[index]]
        node = runs[-1]._generation_node_name
        if node is not None:
            self._strategy._curr = self._strategy.nodes_by_name[node]


_HANDLERS: dict[type[Event], Callable[[Replay, Any], None]] = {
    DefinitionChanged: Replay._next_definition,
    BaselineSet: Replay._baseline_set,
    TrialAdded: Replay._added,
    AttemptReported: Replay._reported,
    TrialStopped: Replay._stopped,
    AttemptSucceeded: Replay._succeeded,
    AttemptFailed: Replay._failed,
    TrialAbandoned: Replay._abandoned,
    TrialRetried: Replay._retried,
}
