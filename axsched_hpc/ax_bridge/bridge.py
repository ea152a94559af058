"""Ax behind ask and tell. Nothing outside this package knows more of Ax than this class."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ax.api.client import Client
from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus
from ax.generation_strategy.generation_strategy import GenerationStrategy

from axsched_hpc.ax_bridge import definition, files
from axsched_hpc.ax_bridge.arms import Arms, has_batches
from axsched_hpc.ax_bridge.asking import Asked, Asking
from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import Handles, handles_from
from axsched_hpc.ax_bridge.model import BestByModel, best_by_model
from axsched_hpc.ax_bridge.parameters import validated
from axsched_hpc.ax_bridge.problem import problem_of
from axsched_hpc.ax_bridge.records import Reference
from axsched_hpc.ax_bridge.refusals import refuse_database, refuse_unsupported
from axsched_hpc.ax_bridge.replay import Replay
from axsched_hpc.ax_bridge.stopping import (
    GlobalStopping,
    Stopping,
    refuse_for_batches,
    settle,
    settle_global,
)
from axsched_hpc.ax_bridge.taking import ENQUEUED, OWN_POINT, SUGGESTED, Candidate, found, taken
from axsched_hpc.ax_bridge.trials import (
    again,
    finish,
    has_observations,
    observations,
    require_free_name,
    start,
)
from axsched_hpc.ax_bridge.unchanged import Unchanged
from axsched_hpc.ax_bridge.warm import WarmStart
from axsched_hpc.core.best import Problem
from axsched_hpc.core.curve import Point
from axsched_hpc.core.events import Definition, Event, TrialAdded
from axsched_hpc.core.metrics import Metrics


class AxBridge:
    """An experiment, its generation strategy and its seed: the user's own objects, changed in place.

    Attributes
    ----------
    keeps_snapshot
        Whether a snapshot is kept beside the journal.
    warm
        What enters the experiment beside Ax's suggestions.
    """

    keeps_snapshot = True

    def __init__(
        self,
        handles: Handles,
        *,
        arms_per_trial: int = 1,
        early_stopping: Any = None,
        global_stopping: Any = None,
    ) -> None:
        self._handles = handles
        strategy = settle(handles.client, handles.experiment, early_stopping)
        self._stopping = None if strategy is None else Stopping(strategy)
        whole = settle_global(handles.global_stopping, global_stopping)
        if arms_per_trial > 1 or has_batches(handles.experiment):
            refuse_for_batches(strategy, whole)
        self._reference = Reference.of(handles.experiment)
        self._unchanged = Unchanged(handles)
        self._observed = Observed(handles.experiment)
        self._arms = Arms(handles.experiment, self._observed)
        self.warm = WarmStart(handles.experiment, self._observed)
        self._asking = Asking(
            handles,
            self._observed,
            partial(self._taken, origin=SUGGESTED),
            arms_per_trial=arms_per_trial,
            stopping=None if whole is None else GlobalStopping(whole),
        )

    @classmethod
    def from_input(
        cls,
        source: object,
        *,
        generation_strategy: GenerationStrategy | None = None,
        seed: int | None = None,
        arms_per_trial: int = 1,
        **stopping: Any,
    ) -> AxBridge:
        """Take over an ``ax.Client``, an ``AxClient`` or an ``Experiment``.

        Parameters
        ----------
        generation_strategy
            For an ``Experiment``; else the client's own is used.
        seed
            Seed of generation, where the client has none.
        arms_per_trial
            With more than one, points are generated as batch trials of so many arms.
        **stopping
            ``early_stopping`` and ``global_stopping``, as :func:`axsched_hpc.ax_bridge.stopping.settle` and
            ``settle_global`` take them.

        Raises
        ------
        ConfigError
            It is something else, is not configured, or uses what is not supported.
        """
        refuse_database(source)
        handles = handles_from(
            source, generation_strategy=generation_strategy, seed=seed, arms_per_trial=arms_per_trial
        )
        refuse_unsupported(handles)
        return cls(handles, arms_per_trial=arms_per_trial, **stopping)

    @classmethod
    def from_text(
        cls,
        text: str,
        source: str,
        *,
        seed: int | None = None,
        redefined: Definition | None = None,
        **options: Any,
    ) -> AxBridge:
        """Read a definition, a snapshot or any file that :func:`axsched_hpc.ax_bridge.files.read_any` knows.

        ``redefined`` is what a definition was changed to; ``options`` are those of the constructor.

        Raises
        ------
        ConfigError
            It is none of them.
        """
        handles = files.read_any(text, source, seed=seed).handles
        if redefined is not None:
            definition.redefine(handles.experiment, redefined)
        return cls(handles, **options)

    @property
    def experiment(self) -> Experiment:
        """The experiment that was passed in."""
        return self._handles.experiment

    @property
    def generation_strategy(self) -> GenerationStrategy:
        """Its generation strategy."""
        return self._handles.generation_strategy

    @property
    def client(self) -> Client:
        """An ``ax.Client`` over the same two objects; the one that was passed in, if it was one."""
        return self._handles.client

    @property
    def seed(self) -> int | None:
        """The seed within which points are generated."""
        return self._handles.seed

    @property
    def objective_names(self) -> tuple[str, ...]:
        """The metrics that every trial has to report: of the objectives, then of the outcome constraints."""
        config = self._reference.optimization_config
        names = [*config.objective.metric_names]
        names += [name for constraint in config.all_constraints for name in constraint.metric_names]
        return tuple(dict.fromkeys(names))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters of the search space."""
        return tuple(self.experiment.search_space.parameters)

    @property
    def next_trial(self) -> int:
        """The number that the next trial of one arm will have."""
        return self._arms.next

    @property
    def stops_between_rounds(self) -> bool:
        """Whether the strategy that ends the whole run acts only while no trial is running."""
        return self._asking.stops_between_rounds

    @property
    def defined(self) -> Definition:
        """What makes it this experiment, as a change of that is recorded."""
        return definition.definition_of(self.experiment, self._reference)

    def problem(self) -> Problem:
        """What is optimised, without Ax."""
        return problem_of(self.experiment, self._reference.optimization_config)

    # ------------------------------------------------------------ generation

    @property
    def blind(self) -> bool:
        """Whether all further points are random ones, for which results do not matter."""
        return self._asking.blind

    def ask(self, n: int, *, time: float, most: int | None = None, whole: bool = True) -> Asked:
        """Generate ``n`` points or somewhat more, each an arm of a new trial that Ax counts as running from
        ``time`` on; or where they need not be whole, as many as it makes in one go.

        Where trials have several arms each, the last one is made whole, for as long as there are no more than
        ``most`` points (default: ``n``).
        """
        return self._asking.ask(n, time=time, most=n if most is None else most, whole=whole)

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check a point against the search space, without any effect, and bring it into Ax's form.

        Raises
        ------
        ParameterError
            It does not fit; the message names every parameter that does not, its value and what is allowed.
        """
        return validated(self.experiment.search_space, parameters)

    def attach(self, parameters: Mapping[str, Any], *, time: float, arm_name: str | None = None) -> Candidate:
        """Add a point of the user's own as a running trial.

        Raises
        ------
        ParameterError
            It does not fit the search space, or the arm's name is taken.
        """
        point = self.validate(parameters)
        if arm_name is not None:
            require_free_name(self.experiment, arm_name, point)
        _, index = self.experiment.attach_trial([point], arm_names=None if arm_name is None else [arm_name])
        trial = self.experiment.trials[index]
        start(trial, time)
        (candidate,) = self._taken(trial, time, OWN_POINT)
        return candidate

    def take(self, place: int, point: Mapping[str, Any], *, time: float, known: Collection[int]) -> Candidate:
        """Make a point of the queue a running trial, as :meth:`~axsched_hpc.ax_bridge.warm.WarmStart.take`
        does.
        """

        def on_record(trial: Trial) -> bool:
            return self._arms.known(trial, trial.arms[0].name) in known

        trial = self.warm.take(point, on_record, time=time)
        (candidate,) = self._taken(trial, time, ENQUEUED)
        return replace(candidate, place=place)

    def number(self, index: int) -> int:
        """The number of Ax's trial of this index, which has one arm."""
        trial = self.experiment.trials[index]
        return self._arms.number(trial, trial.arms[0].name)

    # ------------------------------------------------------------ outcomes

    def report(self, curves: Iterable[tuple[int, Iterable[Point]]]) -> None:
        """Give Ax points of running trials' curves, as :func:`axsched_hpc.core.curve.extend` takes them.

        All in one call, since Ax makes its data anew whenever some is attached.
        """
        rows = list[DataRow]()
        last: dict[int, int | None] = {}
        for number, points in curves:
            if self._arms.is_batch(number):
                self._arms.report(number, points)
                continue
            trial, _ = self._arms.find(number)
            for step, metrics in points:
                before = last.get(number, self._observed.last_step(trial.index))
                if before is not None and step < before:
                    self._observed.attach(rows)
                    self._observed.cut(trial.index, step)
                    rows = []
                rows += observations(self.experiment, trial, metrics, step)
                last[number] = step
        self._observed.attach(rows)

    def complete(self, ends: Iterable[tuple[int, Metrics, float]]) -> None:
        """Give Ax trials' metrics, and mark them completed at their times. Doing it again changes nothing.

        The metrics are the end of a trial's curve, where it has one: they take the place of what was reported
        there. All in one call, since Ax makes its data anew whenever some is attached.
        """
        rows = list[DataRow]()
        for number, metrics, time in ends:
            trial, _ = self._arms.find(number)
            if isinstance(trial, BatchTrial):
                rows += self._arms.end(number, TrialStatus.COMPLETED, time, metrics=metrics)
                continue
            changed = finish(trial, TrialStatus.COMPLETED, time)
            if changed or not has_observations(self._observed.of(trial.index), metrics):
                rows += observations(self.experiment, trial, metrics, self._observed.last_step(trial.index))
        self._observed.attach(rows)

    def to_stop(self, trials: Collection[int]) -> dict[int, str]:
        """Which of these running trials are to be stopped early, by their curves, with the reasons."""
        if self._stopping is None:
            return {}
        numbers = {self._arms.find(number)[0].index: number for number in trials}
        found = self._stopping.decide(self.experiment, self.generation_strategy, numbers)
        return {numbers[index]: reason for index, reason in found.items()}

    def stop(self, trial: int, reason: str, *, time: float) -> None:
        """Mark a trial as stopped early; Ax keeps its curve, and will not suggest its arm again."""
        self._end(trial, TrialStatus.EARLY_STOPPED, time, reason)

    def fail(self, trial: int, reason: str, *, time: float) -> None:
        """Mark a trial failed; Ax may suggest its arm again."""
        self._end(trial, TrialStatus.FAILED, time, reason)

    def abandon(self, trial: int, reason: str, *, time: float) -> None:
        """Mark a trial abandoned; Ax will not suggest its arm again."""
        self._end(trial, TrialStatus.ABANDONED, time, reason)

    def retry(self, trial: int, *, time: float) -> None:
        """Mark a trial that was given up as running again."""
        again(self._arms.find(trial)[0], time)

    def may_be_retried(self, trial: int) -> bool:
        """Whether :meth:`retry` takes it: no arm of a batch trial, which ends in Ax as a whole."""
        return not self._arms.is_batch(trial)

    # ------------------------------------------------------------ record and replay

    def definition(self) -> dict[str, Any]:
        """All that is needed to begin again, as JSON values: Ax's own snapshot, the seed, the fingerprint.

        Raises
        ------
        ConfigError
            Ax cannot save a part of it.
        ExperimentMismatchError
            The user has changed it since it was taken over.
        """
        self._unchanged.check()
        return definition.define(self._handles)

    def replay(self, events: Iterable[Event]) -> None:
        """Bring the experiment to where the events of its journal led.

        Trials that it already has must be the same; their statuses and data are brought up to date.

        Raises
        ------
        ExperimentMismatchError
            A trial has other parameters in the journal, or the generation strategy is another.
        """
        Replay(self._handles, self._reference, self._observed, self._arms).run(events)

    def external(self, known: Collection[int], *, time: float) -> list[TrialAdded]:
        """Records of what the user made by himself: trials that he finished, and batch trials that he left to
        be run, which count as running from ``time`` on.

        Parameters
        ----------
        known
            The trials that the journal has.

        Raises
        ------
        ExperimentMismatchError
            The user has changed the experiment's search space, objective or constraints meanwhile.
        """
        self._unchanged.check()
        return found(self.experiment, self._arms, self._observed, self._reference, known, time=time)

    def snapshot_text(self) -> str:
        """JSON that ``ax.Client.load_from_json_file`` opens, with the seed beside it."""
        return files.snapshot_text(self._handles)

    # ------------------------------------------------------------ results

    def trials_frame(self) -> Any:
        """A pandas data frame with one row per arm of a trial.

        Where there are batch trials the first column, ``number``, has the number of each arm.
        """
        return self._arms.numbered(self.experiment.to_df())

    def best_by_model(self) -> BestByModel:
        """The best points by Ax's model, which is fitted for this."""
        return best_by_model(self.experiment, self.generation_strategy, self.seed)

    def _end(
        self,
        number: int,
        status: TrialStatus,
        time: float,
        reason: str,
    ) -> None:
        self._observed.attach(self._arms.end(number, status, time, reason))

    def _taken(self, trial: BaseTrial, time: float, origin: str) -> list[Candidate]:
        return taken(trial, self._arms, self._reference, time=time, origin=origin)
