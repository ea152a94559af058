"""Ax behind ask and tell. Nothing outside this package knows more of Ax than this class."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ax.api.client import Client
from ax.core.arm import Arm
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.trial import Trial
from ax.core.trial_status import TrialStatus
from ax.exceptions.core import DataRequiredError, OptimizationComplete, OptimizationShouldStop
from ax.exceptions.generation_strategy import MaxParallelismReachedException
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.utils.common.random import with_rng_seed

from axsched_hpc.ax_bridge import definition, files
from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import Handles, check_trial, handles_from
from axsched_hpc.ax_bridge.parameters import validated
from axsched_hpc.ax_bridge.problem import problem_of
from axsched_hpc.ax_bridge.records import Reference, inherit, run_to_json
from axsched_hpc.ax_bridge.replay import Replay, external_event
from axsched_hpc.ax_bridge.stopping import GlobalStopping, Stopping, settle, settle_global
from axsched_hpc.ax_bridge.trials import (
    find,
    finish,
    has_observations,
    observations,
    require_one_kind_of_sem,
    start,
)
from axsched_hpc.core.best import Problem
from axsched_hpc.core.curve import Point
from axsched_hpc.core.errors import ParameterError
from axsched_hpc.core.events import Event, TrialAdded
from axsched_hpc.core.metrics import Metrics

logger = logging.getLogger(__name__)


#: The way out of the parallelism that AxClient limits to 3 in its model-based phase.
_WIDER = (
    "An ax.Client has no such limit; AxClient.create_experiment takes another one in "
    "choose_generation_strategy_kwargs={'max_parallelism_override': ...}."
)


@dataclass(frozen=True)
class Candidate:
    """A new trial, running as far as Ax is concerned.

    Attributes
    ----------
    ax
        What makes the same trial again, as JSON values.
    """

    trial: int
    arm: str
    parameters: dict[str, Any]
    ax: dict[str, Any]
    time: float
    origin: str

    def event(self) -> TrialAdded:
        """The record of it, for the journal."""
        return TrialAdded(self.time, self.trial, self.arm, self.parameters, self.origin, self.ax)


@dataclass(frozen=True)
class Asked:
    """The answer to a request for points.

    Attributes
    ----------
    reason
        Why there are fewer than were asked for; None where there are as many.
    exhausted
        Whether there will never be more. Else there may be, once running trials have ended.
    """

    candidates: tuple[Candidate, ...]
    reason: str | None = None
    exhausted: bool = False


class AxBridge:
    """An experiment, its generation strategy and its seed: the user's own objects, changed in place.

    Attributes
    ----------
    keeps_snapshot
        Whether a snapshot is kept beside the journal.
    """

    keeps_snapshot = True

    def __init__(self, handles: Handles, *, early_stopping: Any = None, global_stopping: Any = None) -> None:
        self._handles = handles
        strategy = settle(handles.client, handles.experiment, early_stopping)
        self._stopping = None if strategy is None else Stopping(strategy)
        whole = settle_global(handles.global_stopping, global_stopping)
        self._global_stopping = None if whole is None else GlobalStopping(whole)
        self._reference = Reference.of(handles.experiment)
        self._observed = Observed(handles.experiment)
        self._reason: str | None = None

    @classmethod
    def from_input(
        cls,
        source: object,
        *,
        generation_strategy: GenerationStrategy | None = None,
        seed: int | None = None,
        early_stopping: Any = None,
        global_stopping: Any = None,
    ) -> AxBridge:
        """Take over an ``ax.Client``, an ``AxClient`` or an ``Experiment``.

        Parameters
        ----------
        generation_strategy
            For an ``Experiment``; else the client's own is used.
        seed
            Seed of generation, where the client has none.
        early_stopping, global_stopping
            As :func:`axsched_hpc.ax_bridge.stopping.settle` and ``settle_global`` take them.

        Raises
        ------
        ConfigError
            It is something else, is not configured, or uses what is not supported.
        """
        handles = handles_from(source, generation_strategy=generation_strategy, seed=seed)
        return cls(handles, early_stopping=early_stopping, global_stopping=global_stopping)

    @classmethod
    def from_text(
        cls,
        text: str,
        source: str,
        *,
        seed: int | None = None,
        early_stopping: Any = None,
        global_stopping: Any = None,
    ) -> AxBridge:
        """Read a definition, a snapshot or any file that :func:`axsched_hpc.ax_bridge.files.read_any` knows.

        Raises
        ------
        ConfigError
            It is none of them.
        """
        handles = files.read_any(text, source, seed=seed).handles
        return cls(handles, early_stopping=early_stopping, global_stopping=global_stopping)

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
        """The index that the next trial will have."""
        return max(self.experiment.trials, default=-1) + 1

    @property
    def stops_between_rounds(self) -> bool:
        """Whether the strategy that ends the whole run acts only while no trial is running."""
        return self._global_stopping is not None and self._global_stopping.waits

    def problem(self) -> Problem:
        """What is optimised, without Ax."""
        return problem_of(self.experiment, self._reference.optimization_config)

    # ------------------------------------------------------------ generation

    def ask(self, n: int, *, time: float) -> Asked:
        """Generate up to ``n`` points, each a new trial that Ax counts as running from ``time`` on.

        They come one at a time: in one request Ax would stop at the end of its current node, and an error
        would lose those before it. Only an experiment's first ones are asked for at once, as ``ax.Client``
        does it: Ax then gives as many as there are slots, and one at a time only five before there are
        results.
        """
        candidates: list[Candidate] = []
        reason, exhausted = None, False
        while len(candidates) < n and reason is None:
            try:
                first = not self.experiment.trials and self._global_stopping is None
                runs = self._generate(n if first else 1)
            except DataRequiredError as error:
                reason = f"Ax needs the results of running trials first: {error}"
            except MaxParallelismReachedException as error:
                reason = f"Slots stay idle, since Ax allows no more trials at a time: {error} {_WIDER}"
            except OptimizationComplete as error:
                reason, exhausted = f"Ax has no further points: {error}", True
            except Exception as error:
                # Earlier points are on the experiment, and have to reach the journal; the error comes again.
                if not candidates:
                    require_one_kind_of_sem(self.experiment)
                    raise
                reason = f"Ax failed: {type(error).__name__}: {error}"
            else:
                for run in runs:
                    trial = self.experiment.new_trial(generator_run=run)
                    start(trial, time)
                    candidates.append(self._candidate(trial, time, "ax"))
        if reason != self._reason and reason is not None:
            level = logging.WARNING if reason.endswith(_WIDER) else logging.INFO
            logger.log(level, "%d of %d points generated. %s", len(candidates), n, reason)
        self._reason = reason
        return Asked(tuple(candidates), reason, exhausted)

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
            self._check_arm_name(arm_name, point)
        _, index = self.experiment.attach_trial([point], arm_names=None if arm_name is None else [arm_name])
        trial = find(self.experiment, index)
        start(trial, time)
        return self._candidate(trial, time, "batch")

    # ------------------------------------------------------------ outcomes

    def report(self, curves: Iterable[tuple[int, Iterable[Point]]]) -> None:
        """Give Ax points of running trials' curves, as :func:`axsched_hpc.core.curve.extend` takes them.

        All in one call, since Ax makes its data anew whenever some is attached.
        """
        rows = list[DataRow]()
        last: dict[int, int | None] = {}
        for trial, points in curves:
            there = find(self.experiment, trial)
            for step, metrics in points:
                before = last.get(trial, self._observed.last_step(trial))
                if before is not None and step < before:
                    self._observed.attach(rows)
                    self._observed.cut(trial, step)
                    rows = []
                rows += observations(self.experiment, there, metrics, step)
                last[trial] = step
        self._observed.attach(rows)

    def complete(self, trial: int, metrics: Metrics, *, time: float) -> None:
        """Give Ax a trial's metrics, and mark it completed. Doing it again changes nothing.

        They are the end of its curve, where it has one: they take the place of what was reported there.
        """
        there = find(self.experiment, trial)
        changed = finish(there, TrialStatus.COMPLETED, time)
        rows = self._observed.of(trial)
        if changed or not has_observations(rows, metrics):
            self._observed.attach(
                observations(self.experiment, there, metrics, self._observed.last_step(trial))
            )

    def to_stop(self, trials: Collection[int]) -> dict[int, str]:
        """Which of these running trials are to be stopped early, by their curves, with the reasons."""
        if self._stopping is None:
            return {}
        return self._stopping.decide(self.experiment, self.generation_strategy, trials)

    def stop(self, trial: int, reason: str, *, time: float) -> None:
        """Mark a trial as stopped early; Ax keeps its curve, and will not suggest its arm again."""
        finish(find(self.experiment, trial), TrialStatus.EARLY_STOPPED, time, reason)

    def fail(self, trial: int, reason: str, *, time: float) -> None:
        """Mark a trial failed; Ax may suggest its arm again."""
        finish(find(self.experiment, trial), TrialStatus.FAILED, time, reason)

    def abandon(self, trial: int, reason: str, *, time: float) -> None:
        """Mark a trial abandoned; Ax will not suggest its arm again."""
        finish(find(self.experiment, trial), TrialStatus.ABANDONED, time, reason)

    # ------------------------------------------------------------ record and replay

    def definition(self) -> dict[str, Any]:
        """All that is needed to begin again, as JSON values: Ax's own snapshot, the seed, the fingerprint.

        Raises
        ------
        ConfigError
            Ax cannot save a part of it.
        """
        return definition.define(self._handles)

    def replay(self, events: Iterable[Event]) -> None:
        """Bring the experiment to where the events of its journal led.

        Trials that it already has must be the same; their statuses and data are brought up to date.

        Raises
        ------
        ExperimentMismatchError
            A trial has other parameters in the journal, or the generation strategy is another.
        """
        Replay(self._handles, self._reference, self._observed).run(events)

    def external(self, known: Iterable[int]) -> list[TrialAdded]:
        """Records of the trials that the user made and finished by himself.

        Parameters
        ----------
        known
            The trials that are accounted for: the journal's, and those of
            :func:`axsched_hpc.ax_bridge.definition.base_trials`.
        """
        accounted = set(known)
        events = []
        for index in sorted(set(self.experiment.trials) - accounted):
            trial = check_trial(self.experiment.trials[index])
            event = external_event(trial, self._observed.of(index), self._reference)
            if event is not None:
                events.append(event)
        return events

    def snapshot_text(self) -> str:
        """JSON that ``ax.Client.load_from_json_file`` opens, with the seed beside it."""
        return files.snapshot_text(self._handles)

    # ------------------------------------------------------------ results

    def trials_frame(self) -> Any:
        """A pandas data frame with one row per trial."""
        return self.experiment.to_df()

    def _generate(self, n: int) -> list[GeneratorRun]:
        """Up to ``n`` points, at least one."""
        if self._global_stopping is not None:
            reason = self._global_stopping.reason(self.experiment)
            if reason is not None:
                raise OptimizationShouldStop(reason)
        with with_rng_seed(self.seed), self._observed.without_running():
            made = self.generation_strategy.gen(experiment=self.experiment, n=1, num_trials=n)
        return [run for runs in made for run in runs]

    def _check_arm_name(self, name: str, point: dict[str, Any]) -> None:
        # Ax checks too, but only once the trial is there.
        of_name = self.experiment.arms_by_name.get(name)
        of_point = self.experiment.arms_by_signature.get(Arm(parameters=point).signature)
        if of_name is not None and of_name is not of_point:
            raise ParameterError(f"The arm name {name!r} is taken by {of_name.parameters}. Choose another.")
        if of_point is not None and of_point.name != name:
            raise ParameterError(
                f"The point {point} is already in the experiment as the arm {of_point.name!r}. "
                "Leave the name out."
            )

    def _candidate(self, trial: Trial, time: float, origin: str) -> Candidate:
        arm, run = trial.arm, trial.generator_run
        assert arm is not None and run is not None  # the trial was made with both
        encoded = run_to_json(run, self._reference)
        inherit(run, encoded["inherited"], self._reference)
        return Candidate(
            trial.index, arm.name, dict(arm.parameters), {"generator_run": encoded}, time, origin
        )
