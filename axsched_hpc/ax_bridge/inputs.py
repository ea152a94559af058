"""What a user may pass in, brought to one form: an experiment, its generation strategy and its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ax.api.client import Client
from ax.api.utils.generation_strategy_dispatch import choose_generation_strategy
from ax.api.utils.structs import GenerationStrategyDispatchStruct
from ax.core.base_trial import BaseTrial
from ax.core.experiment import Experiment
from ax.core.multi_type_experiment import MultiTypeExperiment
from ax.core.trial import Trial
from ax.exceptions.core import UnsupportedError
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy

from axsched_hpc.core.errors import ConfigError


@dataclass(frozen=True)
class Handles:
    """An optimisation as Ax holds it. All fields speak of the same two objects, those of the user.

    Attributes
    ----------
    seed
        The random seed within which points are generated, as Ax's own clients do it; None for no seed.
    global_stopping
        The global stopping strategy of an AxClient that has one.
    """

    experiment: Experiment
    generation_strategy: GenerationStrategy
    seed: int | None
    client: Client
    global_stopping: BaseGlobalStoppingStrategy | None = None


def handles_from(
    source: object,
    *,
    generation_strategy: GenerationStrategy | None = None,
    seed: int | None = None,
    arms_per_trial: int = 1,
) -> Handles:
    """Take what a user passed in apart.

    Parameters
    ----------
    source
        An ``ax.Client``, an ``AxClient`` or an ``Experiment``.
    generation_strategy
        For an ``Experiment``; where it is None, the one that ``ax.Client`` would choose by default.
    seed
        Seed of generation, where the client has none.
    arms_per_trial
        How many arms its trials are to have.

    Raises
    ------
    ConfigError
        It is something else, is not configured yet (the message names the missing call), or is not supported.
    """
    if isinstance(source, Experiment):
        _check_experiment(source, "set experiment.optimization_config first")
        strategy = generation_strategy or default_strategy(batches=arms_per_trial > 1)
        return _joined(source, strategy, seed)
    if generation_strategy is not None:
        raise ConfigError(
            f"generation_strategy belongs to an Experiment; a {type(source).__name__} brings its own. "
            "Leave it out, or set it on the client."
        )
    if isinstance(source, Client):
        if arms_per_trial > 1:
            raise ConfigError(
                f"config['arms_per_trial'] is {arms_per_trial}, but an ax.Client reads trials of one arm "
                "only: its get_best_parameterization would fail. Pass an Experiment, or leave the option "
                "out; several points in one job need no batch trials, but the runner's trials_per_job."
            )
        return _from_client(source, seed)
    if _is_ax_client(source):
        return _from_ax_client(source, seed)
    raise ConfigError(
        f"{type(source).__name__} is nothing to optimise: pass an ax.Client (configure_experiment and "
        "configure_optimization called), an AxClient (create_experiment called) or an ax Experiment."
    )


def default_strategy(*, batches: bool = False) -> GenerationStrategy:
    """The strategy that ``ax.Client`` chooses where its user names none, without the line that it logs.

    ``batches``: for batch trials, without the centre of the search space, which would be a batch of its own.
    """
    return choose_generation_strategy(
        struct=GenerationStrategyDispatchStruct(initialize_with_center=not batches)
    )


def handles_of(experiment: Experiment, strategy: GenerationStrategy | None, seed: int | None) -> Handles:
    """Handles over an experiment that was read from a file."""
    _check_experiment(experiment, "it was saved before its objective was set")
    return _joined(experiment, strategy or default_strategy(), seed)


def _joined(experiment: Experiment, strategy: GenerationStrategy, seed: int | None) -> Handles:
    _bind(strategy, experiment)
    client = Client(random_seed=seed)
    client.set_experiment(experiment)
    client.set_generation_strategy(strategy)
    return Handles(experiment, strategy, seed, client)


def _from_client(client: Client, seed: int | None) -> Handles:
    experiment = client._maybe_experiment
    if experiment is None:
        raise ConfigError(
            "This ax.Client has no experiment yet: call client.configure_experiment(...) first."
        )
    _check_experiment(experiment, "call client.configure_optimization(objective=...) first")
    strategy = client._maybe_generation_strategy
    if strategy is None:
        strategy = default_strategy()
        client.set_generation_strategy(strategy)
    _bind(strategy, experiment)
    return Handles(experiment, strategy, one_seed(client._random_seed, seed), client)


def _from_ax_client(ax_client: Any, seed: int | None) -> Handles:
    experiment = ax_client._experiment
    if experiment is None:
        raise ConfigError("This AxClient has no experiment yet: call ax_client.create_experiment(...) first.")
    _check_experiment(experiment, "pass objectives=... to ax_client.create_experiment")
    strategy = ax_client.generation_strategy
    agreed = one_seed(ax_client._random_seed, seed)
    _bind(strategy, experiment)
    client = Client(random_seed=agreed)
    client.set_experiment(experiment)
    client.set_generation_strategy(strategy)
    if ax_client.early_stopping_strategy is not None:
        client.set_early_stopping_strategy(ax_client.early_stopping_strategy)
    return Handles(experiment, strategy, agreed, client, ax_client.global_stopping_strategy)


def _is_ax_client(source: object) -> bool:
    # Ax 1.4 drops the class; looking at names spares an import that may then fail.
    return any(
        cls.__name__ == "AxClient" and cls.__module__ == "ax.service.ax_client"
        for cls in type(source).__mro__
    )


def one_seed(
    given: int | None, of_config: int | None, source: str = "The client's random_seed"
) -> int | None:
    """The seed of the client or file, or else the config's.

    Raises
    ------
    ConfigError
        Both are given, and differ.
    """
    if given is not None and of_config is not None and given != of_config:
        raise ConfigError(
            f"{source} is {given}, the config's seed {of_config}. Give one of them, or the same."
        )
    return of_config if given is None else given


def _check_experiment(experiment: Experiment, remedy: str) -> None:
    if isinstance(experiment, MultiTypeExperiment):
        raise ConfigError(
            "A MultiTypeExperiment is not supported: pass an Experiment with one type of trial."
        )
    if experiment.optimization_config is None:
        raise ConfigError(f"The experiment has no objective: {remedy}.")
    for trial in experiment.trials.values():
        require_arms(trial)


def require_arms(trial: BaseTrial) -> None:
    """Refuse a trial that says of no point what is to be run.

    Raises
    ------
    ConfigError
        It has no arm.
    """
    if not trial.arms:
        raise ConfigError(f"Trial {trial.index} has no arm. Give it one, or leave it out of the experiment.")


def check_trial(trial: BaseTrial) -> Trial:
    """The trial, if it is of one arm: where Ax itself drives, no others can be run.

    Raises
    ------
    ConfigError
        It is a batch trial, or has no arm.
    """
    if not isinstance(trial, Trial):
        raise ConfigError(
            f"Trial {trial.index} is a {type(trial).__name__}; where Ax drives, only trials of one arm can "
            "be run. Make a trial of each arm, or let AxScheduler run the experiment."
        )
    require_arms(trial)
    return trial


def _bind(strategy: GenerationStrategy, experiment: Experiment) -> None:
    try:
        strategy.experiment = experiment
    except UnsupportedError as error:
        raise ConfigError(
            f"The generation strategy {strategy.name!r} was used for another experiment before "
            f"({error}). Make a new one, or take strategy.clone_reset()."
        ) from None
