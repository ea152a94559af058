"""One problem through the bridge and by Ax alone, through each kind of input, and the two compared.

Ax alone means the input's own calls to ask and to complete, or for a bare Experiment those of its generation
strategy; what it suggests, keeps and calls best is what the bridge has to suggest, keep and call best.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from ax.api.client import Client
from ax.api.utils.instantiation.from_string import optimization_config_from_string
from ax.core.arm import Arm
from ax.core.experiment import Experiment
from ax.core.metric import Metric
from ax.core.parameter import Parameter
from ax.core.parameter_constraint import ParameterConstraint
from ax.core.search_space import SearchSpace
from ax.core.trial import Trial
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.utils.common.random import with_rng_seed

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import Verdict
from tests.ax.ax_best import core_best_of
from tests.ax.harness import Driver

SEED = 3
Point = Mapping[str, Any]
#: What a user's script builds anew at each start: the object, and the strategy of a bare Experiment.
Made = tuple[Any, GenerationStrategy | None]
Measure = Callable[[Point], Metrics]


def new_ax_client(
    parameters: list[dict[str, Any]],
    objectives: Mapping[str, Mapping[str, Any]],
    *,
    strategy: GenerationStrategy | None = None,
    **options: Any,
) -> Any:
    """An AxClient; without a strategy it chooses one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ax.service.ax_client import AxClient, ObjectiveProperties

        client = AxClient(random_seed=SEED, generation_strategy=strategy)
        client.create_experiment(
            name="problem",
            parameters=parameters,
            objectives={name: ObjectiveProperties(**how) for name, how in objectives.items()},
            **options,
        )
    return client


def new_client(
    parameters: list[Any],
    objective: str,
    *,
    constraints: list[str] | None = None,
    outcome_constraints: list[str] | None = None,
    strategy: GenerationStrategy | None = None,
) -> Client:
    """An ax.Client; without a strategy it chooses one."""
    client = Client(random_seed=SEED)
    client.configure_experiment(parameters, parameter_constraints=constraints, name="problem")
    client.configure_optimization(objective, outcome_constraints=outcome_constraints)
    if strategy is not None:
        client.set_generation_strategy(strategy)
    return client


def new_experiment(
    parameters: list[Parameter],
    objective: str,
    *,
    constraints: list[str] | None = None,
    outcome_constraints: list[str] | None = None,
    status_quo: Point | None = None,
) -> Experiment:
    """An Experiment of Ax's core classes."""
    return Experiment(
        SearchSpace(parameters, [ParameterConstraint(inequality=text) for text in constraints or []]),
        name="problem",
        optimization_config=optimization_config_from_string(objective, outcome_constraints),
        status_quo=None if status_quo is None else Arm(parameters=dict(status_quo)),
    )


class Alone:
    """Ax without this package."""

    def __init__(self, made: Made) -> None:
        source, strategy = made
        self.source = source
        if isinstance(source, Client):
            self.experiment = source._experiment
            self.strategy = source._generation_strategy_or_choose()
        elif isinstance(source, Experiment):
            assert strategy is not None
            self.experiment, self.strategy = source, strategy
        else:
            self.experiment, self.strategy = source.experiment, source.generation_strategy

    def ask(self) -> tuple[int, dict[str, Any]]:
        if isinstance(self.source, Client):
            ((index, parameters),) = self.source.get_next_trials(1).items()
            return index, dict(parameters)
        if not isinstance(self.source, Experiment):
            parameters, index = self.source.get_next_trial()
            return index, parameters
        with with_rng_seed(SEED):
            run = self.strategy.gen_single_trial(experiment=self.experiment, n=1)
        trial = self.experiment.new_trial(generator_run=run).mark_running(no_runner_required=True)
        return trial.index, run.arms[0].parameters

    def complete(self, index: int, metrics: Metrics) -> None:
        for name in metrics:
            if name not in self.experiment.metrics:  # an ax.Client does this by itself
                self.experiment.add_tracking_metric(Metric(name))
        raw = {name: mean if sem is None else (mean, sem) for name, (mean, sem) in metrics.items()}
        if isinstance(self.source, Experiment):
            trial = self.experiment.trials[index]
            assert isinstance(trial, Trial)
            trial.update_trial_data(raw)
            trial.mark_completed()
        else:
            self.source.complete_trial(index, raw)

    def fail(self, index: int) -> None:
        if isinstance(self.source, Client):
            self.source.mark_trial_failed(index)
        elif isinstance(self.source, Experiment):
            self.experiment.trials[index].mark_failed()
        else:
            self.source.log_trial_failure(index)

    def abandon(self, index: int) -> None:
        if isinstance(self.source, Client):
            self.source.mark_trial_abandoned(index)
        elif isinstance(self.source, Experiment):
            self.experiment.trials[index].mark_abandoned()
        else:
            self.source.abandon_trial(index)

    def attach(self, point: Point) -> int:
        if isinstance(self.source, Experiment):
            return self.experiment.attach_trial([dict(point)])[1]
        attached = self.source.attach_trial(dict(point))
        return attached if isinstance(attached, int) else int(attached[1])

    def best(self) -> list[int]:
        """The best trials by what was observed, in Ax's own words."""
        config = self.experiment.optimization_config
        assert config is not None
        if isinstance(self.source, Experiment):
            client = Client()
            client.set_experiment(self.experiment)
            client.set_generation_strategy(self.strategy)
            return Alone((client, None)).best()
        if isinstance(self.source, Client):
            if config.is_moo_problem:
                return sorted(best[2] for best in self.source.get_pareto_frontier(False))
            return [self.source.get_best_parameterization(False)[2]]
        if config.is_moo_problem:
            return sorted(self.source.get_pareto_optimal_parameters(use_model_predictions=False))
        return [self.source.get_best_trial(use_model_predictions=False)[0]]


def facts(experiment: Experiment, digits: int = 17) -> dict[int, Any]:
    """What there is of each trial: status, arm, point, node, and what was observed, in so many digits."""
    rows: dict[int, set[Any]] = {}
    for row in experiment.data._data_rows:
        value = f"{row.mean:.{digits}g}", None if isnan(row.se) else f"{row.se:.{digits}g}"
        rows.setdefault(row.trial_index, set()).add(
            (row.arm_name, row.metric_name, row.metric_signature, *value)
        )
    return {
        index: (
            trial.status.name,
            [(arm.name, arm.parameters) for arm in trial.arms],
            [run._generation_node_name for run in trial.generator_runs],
            rows.get(index, set()),
        )
        for index, trial in experiment.trials.items()
    }


class Pair:
    """The same problem twice."""

    def __init__(self, make: Callable[[], Made], measure: Measure) -> None:
        self._make, self._measure = make, measure
        self.ours = Driver(self.bridge())
        self._definition = json.dumps(self.ours.bridge.definition())
        # The user's script may have done something before it handed the object over.
        self.ours.record_external()
        self.alone = Alone(make())

    def bridge(self) -> AxBridge:
        """A bridge over a new object, as a script that is started again has it."""
        source, strategy = self._make()
        seed = SEED if isinstance(source, Experiment) else None
        return AxBridge.from_input(source, generation_strategy=strategy, seed=seed)

    def run(self, n: int, fates: Mapping[int, str] | None = None) -> None:
        """Run so many trials; ``fates``: which of them, by index, ``fail`` or are to ``abandon``."""
        for _ in range(n):
            (candidate,) = self.ours.ask()
            index, point = self.alone.ask()
            assert (candidate.trial, candidate.parameters) == (index, point)
            self.end(index, point, (fates or {}).get(index, ""))

    def attach(self, point: Point) -> None:
        """The same point of the user's own in both."""
        candidate, index = self.ours.attach(dict(point)), self.alone.attach(point)
        assert candidate.trial == index
        self.end(index, candidate.parameters)

    def end(self, index: int, point: Point, fate: str = "") -> None:
        """Let a trial end in both."""
        if fate == "fail":
            self.ours.fail(index, Verdict.FAIL)
            self.alone.fail(index)
        elif fate == "abandon":
            self.ours.abandon(index, "cancelled")
            self.alone.abandon(index)
        else:
            metrics = self._measure(point)
            self.ours.complete(index, metrics)
            self.alone.complete(index, metrics)

    def agree(self, tmp_path: Path, *, node: str, copies: int = 3) -> AxBridge:
        """Compare everything, then the next point of all; returns what the definition's copy became.

        Parameters
        ----------
        node
            The start of the name of the node that the next point comes from.
        copies
            Of how many copies the next point is asked too: a model's takes its time.
        """
        bridge, events = self.ours.bridge, self.ours.events()
        there = facts(self.alone.experiment)
        assert facts(bridge.experiment) == there
        assert core_best_of(bridge) == self.alone.best() != []

        again = self.bridge()
        again.replay(events)
        of_directory = AxBridge.from_text(self._definition, "definition.json")
        of_directory.replay(events)
        snapshot = tmp_path / "experiment.json"
        snapshot.write_text(bridge.snapshot_text())
        by_ax = Client.load_from_json_file(str(snapshot))
        by_ax._random_seed = SEED  # Ax's JSON has none
        assert facts(again.experiment) == facts(of_directory.experiment) == there
        # Ax's loader is satisfied with 15 digits.
        assert facts(by_ax._experiment, 14) == facts(bridge.experiment, 14)
        assert core_best_of(again) == core_best_of(of_directory) == core_best_of(bridge)

        (candidate,) = self.ours.ask()
        assert (candidate.trial, candidate.parameters) == self.alone.ask()
        used = bridge.experiment.trials[candidate.trial].generator_runs[0]._generation_node_name
        assert used is not None
        assert used.startswith(node)
        for copy in (of_directory, again, AxBridge.from_input(by_ax))[:copies]:
            assert copy.ask(1, time=0.0).candidates[0].parameters == same(candidate.parameters)
        return of_directory


def same(point: Point) -> Any:
    """Equal, but for the last digits of a fit; exactly equal where nothing is fitted."""
    return {
        name: pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
        for name, value in point.items()
    }
