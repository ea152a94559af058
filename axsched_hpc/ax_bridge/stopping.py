"""Which running trials are to be stopped early, and when the whole run is: Ax's decisions."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from ax.api.client import Client
from ax.core.experiment import Experiment
from ax.early_stopping.strategies import BaseEarlyStoppingStrategy
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy
from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy

from axsched_hpc.core.errors import ConfigError

logger = logging.getLogger(__name__)

#: The options, as messages call them.
OPTION = "config['early_stopping']"
GLOBAL = "config['global_stopping']"

#: Of what a strategy says, this much is kept; the rest of it is tables.
_LONGEST = 300


def settle(client: Client, experiment: Experiment, option: Any) -> BaseEarlyStoppingStrategy | None:
    """The strategy by which trials are stopped, which the client then has as well; None for no stopping.

    Parameters
    ----------
    option
        ``None``: the client's own, if it has one. ``True``: that, or else the one that ``ax.Client`` takes by
        default. ``False``: none. Or a strategy.

    Raises
    ------
    ConfigError
        It is no strategy, the client has another one, or there is no default for several objectives.
    """
    own = client._maybe_early_stopping_strategy
    if option is False:
        return None
    if option is None or (option is True and own is not None):
        return own
    if option is True:
        config = experiment.optimization_config
        if config is not None and not config.objective.is_single_objective:
            raise ConfigError(
                f"{OPTION} is True, but Ax's default strategy looks at one metric, and this experiment has "
                "several. Pass a strategy that names its metric, such as "
                "PercentileEarlyStoppingStrategy(metric_signatures=['loss']), or leave the option out."
            )
        return client._early_stopping_strategy_or_choose()
    takes = "True, False, None or a strategy of ax.early_stopping.strategies"
    strategy: BaseEarlyStoppingStrategy = _checked(OPTION, option, own, BaseEarlyStoppingStrategy, takes)
    client.set_early_stopping_strategy(strategy)
    return strategy


def settle_global(own: BaseGlobalStoppingStrategy | None, option: Any) -> BaseGlobalStoppingStrategy | None:
    """The strategy by which the whole run is stopped; None for none.

    Parameters
    ----------
    own
        That of an ``AxClient``.
    option
        ``None``: the client's own, if it has one. ``False``: none. Or a strategy.

    Raises
    ------
    ConfigError
        It is no strategy, or the client has another one.
    """
    if option is False:
        return None
    if option is None:
        return own
    takes = "False, None or a strategy of ax.global_stopping.strategies"
    strategy: BaseGlobalStoppingStrategy = _checked(GLOBAL, option, own, BaseGlobalStoppingStrategy, takes)
    return strategy


def refuse_for_batches(
    early: BaseEarlyStoppingStrategy | None, whole: BaseGlobalStoppingStrategy | None
) -> None:
    """Refuse strategies that fail where there is a batch trial, so that they would never stop anything.

    Raises
    ------
    ConfigError
        There is one.
    """
    # One of the user's own may know batch trials; of early stopping, Ax's base class does not.
    name = GLOBAL if isinstance(whole, ImprovementGlobalStoppingStrategy) else OPTION
    strategy = whole if name == GLOBAL else early
    if strategy is not None:
        raise ConfigError(
            f"There are trials of several arms, and Ax's {type(strategy).__name__} cannot handle them: it "
            f"would stop nothing. Set {name} to False, or use trials of one arm."
        )


def _checked(name: str, option: Any, own: Any, kind: Any, takes: str) -> Any:
    """The strategy that was given, where it is one and the client has no other."""
    if not isinstance(option, kind):
        forgotten = inspect.isclass(option) and issubclass(option, kind)
        raise ConfigError(
            f"{name} is the class {option.__name__}; write {option.__name__}() with parentheses."
            if forgotten
            else f"{name} is {option!r} ({type(option).__name__}), but takes {takes}."
        )
    if own is not None and own is not option:
        raise ConfigError(
            f"{name} is a {type(option).__name__}, and the client has a {type(own).__name__} of its own. "
            "Give one of them."
        )
    return option


class _Quiet(logging.Filter):
    """Lets a line of Ax's code say once what is wrong, and nothing else: it is asked again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, int]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        place = (record.pathname, record.lineno)
        if record.levelno < logging.WARNING or place in self._said:
            return False
        self._said.add(place)
        return True

    @contextmanager
    def on(self) -> Iterator[None]:
        """Applied to what Ax's strategies log."""
        names = [name for name in logging.root.manager.loggerDict if name.startswith("ax.early_stopping")]
        for name in names:
            logging.getLogger(name).addFilter(self)
        try:
            yield
        finally:
            for name in names:
                logging.getLogger(name).removeFilter(self)


class _Complaints:
    """Tells once of each error of a strategy: it may be anybody's, and is asked again and again."""

    def __init__(self, strategy: object, consequence: str) -> None:
        self._name = type(strategy).__name__
        self._consequence = consequence
        self._told: set[str] = set()

    def tell(self, error: Exception) -> None:
        """Warn, where the same was not told before."""
        text = f"{type(error).__name__}: {error}".rstrip(".")
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s, since %s fails: %s.", self._consequence, self._name, text)


class Stopping:
    """Asks a strategy, and survives it: an error in it stops no trial, and no run."""

    def __init__(self, strategy: BaseEarlyStoppingStrategy) -> None:
        self._strategy = strategy
        self._complaints = _Complaints(strategy, "No trial is stopped early")
        self._quiet = _Quiet()

    def decide(
        self, experiment: Experiment, generation: GenerationStrategy, trials: Collection[int]
    ) -> dict[int, str]:
        """Which of these running trials to stop, with Ax's reason in a sentence."""
        try:
            with self._quiet.on():
                found = self._strategy.should_stop_trials_early(
                    trial_indices=set(trials), experiment=experiment, current_node=generation._curr
                )
        except Exception as error:
            self._complaints.tell(error)
            return {}
        return {trial: _sentence(reason) for trial, reason in found.items() if trial in trials}


class GlobalStopping:
    """Asks a strategy whether the run should end, and survives it: an error in it ends nothing."""

    def __init__(self, strategy: BaseGlobalStoppingStrategy) -> None:
        self._strategy = strategy
        self._complaints = _Complaints(strategy, "The run is not stopped")

    @property
    def waits(self) -> bool:
        """Whether it says nothing while trials are running."""
        return bool(getattr(self._strategy, "inactive_when_pending_trials", False))

    def reason(self, experiment: Experiment) -> str | None:
        """Why no more points should be generated; None where they should."""
        try:
            stop, message = self._strategy.should_stop_optimization(experiment)
        except Exception as error:
            self._complaints.tell(error)
            return None
        return _sentence(message) if stop else None


def _sentence(reason: str | None) -> str:
    lines = (reason or "").strip().splitlines()
    return " ".join(lines[0].split())[:_LONGEST] if lines else "Ax gave no reason"
