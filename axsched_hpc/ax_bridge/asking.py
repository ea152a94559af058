"""Ax asked for points, as its own clients ask it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from ax.adapter.registry import Generators
from ax.core.base_trial import BaseTrial
from ax.core.generator_run import GeneratorRun
from ax.core.parameter import ParameterType
from ax.exceptions.core import DataRequiredError, OptimizationComplete, OptimizationShouldStop
from ax.exceptions.generation_strategy import MaxParallelismReachedException
from ax.utils.common.random import with_rng_seed

from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import Handles
from axsched_hpc.ax_bridge.stopping import GlobalStopping
from axsched_hpc.ax_bridge.taking import Candidate
from axsched_hpc.ax_bridge.trials import require_one_kind_of_sem, start
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.io import cores

logger = logging.getLogger(__name__)

#: The way out of the parallelism that AxClient limits to 3 in its model-based phase.
_WIDER = (
    "An ax.Client has no such limit. AxClient.create_experiment takes another one, -1 for none, in "
    "choose_generation_strategy_kwargs={'max_parallelism_override': ...}; a strategy of your own has it as "
    "max_parallelism of its GenerationStep, or MaxGenerationParallelism of its node."
)


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


class Asking:
    """Asks a generation strategy for points.

    Parameters
    ----------
    take
        Makes the candidates of a trial that runs since a time.
    arms_per_trial
        With more than one, points come as batch trials of so many arms.
    stopping
        May end the whole run.
    """

    def __init__(
        self,
        handles: Handles,
        observed: Observed,
        take: Callable[[BaseTrial, float], list[Candidate]],
        *,
        arms_per_trial: int,
        stopping: GlobalStopping | None,
    ) -> None:
        self._handles = handles
        self._observed = observed
        self._take = take
        self._arms_per_trial = arms_per_trial
        self._stopping = stopping
        self._reason: str | None = None

    @property
    def stops_between_rounds(self) -> bool:
        """Whether the strategy that ends the whole run acts only while no trial is running."""
        return self._stopping is not None and self._stopping.waits

    def ask(self, n: int, *, time: float, most: int, whole: bool) -> Asked:
        """Generate ``n`` points or somewhat more, each an arm of a new trial that Ax counts as running from
        ``time`` on.

        The trials come one at a time: in one request Ax would stop at the end of its current node, and an
        error would lose those before it. At once come an experiment's first ones, as ``ax.Client`` does it:
        Ax then gives as many as there are slots, and one at a time only five before there are results. And
        those that look at no results, as the arms of one generator run: for each run Ax looks at all points
        that there are. Where trials have several arms each, the last one is made whole, for as long as there
        are no more than ``most`` points.

        Where the points need not be ``whole``, it is over with those that have come together: the next may be
        chosen with the results that have come in by then.
        """
        candidates: list[Candidate] = []
        reason, exhausted = None, False
        while len(candidates) < n and reason is None and (whole or not candidates):
            try:
                trials = self._generate(n - len(candidates), most - len(candidates))
            except DataRequiredError as error:
                reason = f"Ax needs the results of running trials first: {error}"
            except MaxParallelismReachedException as error:
                why = str(error).partition(". ")[0]
                reason = f"Slots stay idle, since Ax allows no more trials at a time: {why}. {_WIDER}"
            except OptimizationComplete as error:
                reason, exhausted = f"Ax has no further points: {error}", True
            except Exception as error:
                # Earlier points are on the experiment, and have to reach the journal; the error comes again.
                if not candidates:
                    require_one_kind_of_sem(self._handles.experiment)
                    raise
                reason = f"Ax failed: {type(error).__name__}: {error}"
            else:
                for trial in trials:
                    start(trial, time)
                    candidates += self._take(trial, time)
        if reason != self._reason and reason is not None:
            level = logging.WARNING if reason.endswith(_WIDER) else logging.INFO
            logger.log(level, "%d of %d points generated. %s", len(candidates), n, reason)
        # Told once: between two refusals for the same reason there are points for the slots that got free.
        self._reason = reason or self._reason
        return Asked(tuple(candidates), reason, exhausted)

    @property
    def blind(self) -> bool:
        """Whether the rest of the experiment is sampled at random, as many points at a time as one likes, in
        a space that has room for all: where there are few, Ax would make some of them twice.
        """
        node = self._handles.generation_strategy.current_node
        parameters = self._handles.experiment.search_space.range_parameters.values()
        return (
            self._arms_per_trial == 1
            and self._stopping is None
            and not (node.transition_criteria or node.pausing_criteria or node.input_constructors)
            and [spec.generator_enum for spec in node.generator_specs]
            in ([Generators.SOBOL], [Generators.UNIFORM])
            and any(each.parameter_type is ParameterType.FLOAT and each.digits is None for each in parameters)
        )

    def _generate(self, wanted: int, most: int) -> list[BaseTrial]:
        """New trials, at least one: the first ones, and random ones, as many as are wanted."""
        experiment, strategy = self._handles.experiment, self._handles.generation_strategy
        if self._stopping is not None and (reason := self._stopping.reason(experiment)) is not None:
            raise OptimizationShouldStop(reason)
        batches, blind = self._arms_per_trial > 1, self.blind
        at_once = not (batches or self._stopping or blind or experiment.trials)
        with with_rng_seed(self._handles.seed), self._observed.without_running(), torch_threads(cores.own()):
            made = strategy.gen(
                experiment=experiment,
                n=wanted if blind else min(self._arms_per_trial, most),
                num_trials=wanted if at_once else 1,
            )
        if batches:
            # As Ax's Orchestrator does it: several nodes may contribute to one trial.
            return [experiment.new_batch_trial(generator_runs=runs) for runs in made]
        singles = [run for runs in made for run in runs]
        if blind:
            singles = [single for run in singles for single in split(run)]
            strategy._generator_runs[-len(made) :] = singles
        for run in singles:
            if len(run.arms) != 1:
                raise ConfigError(
                    f"The node {run._generation_node_name!r} of the generation strategy makes "
                    f"{len(run.arms)} arms at once, but trials have one arm here. Take a generator that "
                    "suggests single points, or set config['arms_per_trial']."
                )
        return [experiment.new_trial(generator_run=run) for run in singles]


def split(run: GeneratorRun) -> list[GeneratorRun]:
    """A generator run of several arms as runs of one arm each, as if the generator had been asked for one
    after the other. All have the state that the generator has after the last of them.
    """
    metadata = run.candidate_metadata_by_arm_signature or {}
    singles: list[GeneratorRun] = []
    for arm, weight in zip(run.arms, run.weights, strict=True):
        mine = {arm.signature: metadata[arm.signature]} if arm.signature in metadata else None
        single = GeneratorRun(
            arms=[arm],
            weights=[weight],
            optimization_config=run.optimization_config,
            search_space=run.search_space,
            type=run.generator_run_type,
            fit_time=(run.fit_time or 0.0) if not singles else 0.0,
            gen_time=(run.gen_time or 0.0) / len(run.arms),
            generator_key=run._generator_key,
            generator_kwargs=run._generator_kwargs,
            adapter_kwargs=run._adapter_kwargs,
            gen_metadata=run.gen_metadata,
            generator_state_after_gen=run._generator_state_after_gen,
            candidate_metadata_by_arm_signature=mine,
            generation_node_name=run._generation_node_name,
            suggested_experiment_status=run.suggested_experiment_status,
        )
        single._time_created = run._time_created
        singles.append(single)
    return singles


@contextmanager
def torch_threads(most: int) -> Iterator[None]:
    """Hold torch to so many threads: left alone it takes one for each core of the machine, whoever else works
    there.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)
