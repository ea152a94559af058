"""The ways of running that quality.py compares, in virtual time.

Evaluations take no time of the machine; how long a trial would take is drawn for its index, so that it is the
same in all ways. The time that Ax takes to suggest points is real, and counts nothing.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import ax.orchestration.orchestrator as ax_orchestrator
from ax.api.client import Client
from ax.api.protocols.metric import IMetric
from ax.api.protocols.runner import IRunner
from ax.core.trial_status import TrialStatus
from ax.utils.common.random import with_rng_seed

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.events import ObjectiveSet
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.loop import Goal, Loop
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from axsched_hpc.reporting.curves import read_curves
from benchmarks.problems import Problem, Values
from tests.loop.simulated import Fate, SimulatedRunner, VirtualClock

#: Seconds that half of the trials are below, and the spread of their logarithms: a tenth takes less than 4.6
#: minutes, a tenth more than 22.
MEDIAN, SPREAD = 600.0, 0.6


@dataclass(frozen=True)
class Ran:
    """One trial as it went.

    Attributes
    ----------
    ended
        Seconds after the run's begin.
    values
        Its metrics; None where it was stopped early, or cut off when the time was over.
    epochs
        How far its curve came.
    """

    trial: int
    parameters: dict[str, Any]
    ended: float
    values: Values | None
    epochs: int = 0


def seconds_of(problem: Problem, seed: int, trial: int) -> float:
    """How long a trial takes: from a lognormal distribution, which has a long tail."""
    return random.Random(f"{problem.name} {seed} {trial}").lognormvariate(math.log(MEDIAN), SPREAD)


def ours(
    problem: Problem,
    client: Client,
    seed: int,
    *,
    slots: int,
    trials: int = 10**6,
    limit: float | None = None,
    synchronous: bool = False,
) -> list[Ran]:
    """The stack below AxScheduler, on a simulated runner and clock, for so many trials or so many seconds."""

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        point, runs = problem.point(parameters), seconds_of(problem, seed, trial)
        curve = problem.curve(point) if problem.curve is not None else []
        reports = tuple(
            (runs * epoch / len(curve), json.dumps({"step": epoch, "loss": loss}))
            for epoch, loss in enumerate(curve, 1)
        )
        metrics = {name: (value, None) for name, value in problem.evaluate(point).items()}
        return Fate(runs=runs, queued=0.0, metrics=metrics, reports=reports)

    clock = VirtualClock()
    # A seed, since the pauses between two polls are jittered.
    with with_rng_seed(seed), tempfile.TemporaryDirectory() as folder:
        # Snapshots take no virtual time, and would be made far too often.
        config = SchedulerConfig.from_dict({"job_output_dir": folder, "save_interval": 1e9})
        session = Session.open(Layout.at(folder), AxBridge.from_input(client), config, clock)
        begun = clock.now()
        session.record(ObjectiveSet(begun, "none", problem.name))
        deadline = None if limit is None else clock.monotonic() + limit
        goal = Goal(trials, synchronous=synchronous, deadline=deadline)
        Loop(session, SimulatedRunner(clock, fate, slots)).run(goal, Interrupts())
        curves = read_curves(folder)
        found = [
            Ran(
                number,
                trial.parameters,
                min((trial.attempts[-1].ended or clock.now()) - begun, limit or math.inf),
                None if trial.metrics is None else {name: pair[0] for name, pair in trial.metrics.items()},
                max(curves.get(number, {0: None})),
            )
            for number, trial in session.ledger.trials.items()
        ]
        session.close(orderly=True)
    return found


def rounds(problem: Problem, client: Client, seed: int, *, slots: int, trials: int) -> list[Ran]:
    """Ax alone, as its tutorials do it: ask for as many as there are slots, wait for all, ask again."""
    found: list[Ran] = []
    now = 0.0
    while len(found) < trials:
        asked = client.get_next_trials(max_trials=min(slots, trials - len(found)))
        curves = {
            trial: problem.curve(problem.point(parameters)) if problem.curve is not None else []
            for trial, parameters in asked.items()
        }
        steps = sorted(
            (now + seconds_of(problem, seed, trial) * step / max(1, len(curve)), trial, step)
            for trial, curve in curves.items()
            for step in range(1, max(1, len(curve)) + 1)
        )
        over: dict[int, Ran] = {}
        for time, trial, step in steps:
            if trial in over:
                continue
            parameters, curve, values = dict(asked[trial]), curves[trial], None
            if step < len(curve):
                client.attach_data(trial, {"loss": curve[step - 1]}, progression=step)
                if not client.should_stop_trial_early(trial):
                    continue
                client.mark_trial_early_stopped(trial)
            else:
                values = problem.evaluate(problem.point(parameters))
                client.complete_trial(trial, values, progression=step if curve else None)
            over[trial] = Ran(trial, parameters, time, values, step if curve else 0)
        found += over.values()
        now = max(each.ended for each in over.values())
    return found


class _Runner(IRunner):
    """Gives a trial its end when it begins."""

    def __init__(self, problem: Problem, seed: int, clock: VirtualClock) -> None:
        self._problem, self._seed, self._clock = problem, seed, clock
        super().__init__()

    def run_trial(self, trial_index: int, parameterization: Mapping[str, Any]) -> dict[str, Any]:
        values = self._problem.evaluate(self._problem.point(parameterization))
        return {"end": self._clock.time + seconds_of(self._problem, self._seed, trial_index), **values}

    def poll_trial(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> TrialStatus:
        return TrialStatus.COMPLETED if self._clock.time >= trial_metadata["end"] else TrialStatus.RUNNING

    def stop_trial(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"trial {trial_index} was to be stopped, which nobody has asked for")


class _Metric(IMetric):
    """Finds the value where the runner has put it, once the trial has ended."""

    def fetch(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> tuple[int, float]:
        return 0, trial_metadata[self.name]


def orchestrator(problem: Problem, client: Client, seed: int, *, slots: int, trials: int) -> list[Ran]:
    """Ax's Orchestrator, as ``Client.run_trials`` drives it, which fills a slot when it sees it free.

    Its pauses pass on a virtual clock; nothing else of it is touched.
    """
    clock = VirtualClock()
    begun = clock.time
    client.configure_runner(_Runner(problem, seed, clock))
    names = list(client._experiment.metrics)
    client.configure_metrics([_Metric(name) for name in names])
    # It generates outside the client's seed, from what the process has.
    with with_rng_seed(seed), patch.object(ax_orchestrator, "sleep", clock.wait):
        client.run_trials(max_trials=trials, parallelism=slots)
    return [
        Ran(
            number,
            dict(trial.arm.parameters),
            trial.run_metadata["end"] - begun,
            {name: trial.run_metadata[name] for name in names},
        )
        for number, trial in client._experiment.trials.items()
    ]
