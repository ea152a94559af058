"""Ax's strategies that end a whole run, for each kind of input."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from ax.core.experiment import Experiment
from ax.exceptions.core import OptimizationShouldStop
from ax.global_stopping.strategies.base import BaseGlobalStoppingStrategy
from ax.global_stopping.strategies.improvement import ImprovementGlobalStoppingStrategy

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import ConfigError
from tests.ax.harness import Driver, new_ax_client, new_bridge, new_input


def stalled() -> ImprovementGlobalStoppingStrategy:
    """Stops once four trials have brought nothing."""
    return ImprovementGlobalStoppingStrategy(min_trials=4, window_size=3, improvement_bar=0.1)


def flat(x: float, y: float) -> float:
    """Nothing to be gained beyond the first points."""
    return 0.001 * x


def until_stopped(bridge: AxBridge) -> tuple[int, str]:
    driver = Driver(bridge)
    for number in range(20):
        asked = bridge.ask(1, time=driver.tick())
        if asked.exhausted:
            return number, str(asked.reason)
        (candidate,) = asked.candidates
        driver.record(candidate.event())
        driver.complete(candidate.trial, {"f": (flat(**candidate.parameters), None)})
    raise AssertionError("never stopped")


def test_it_ends_where_ax_alone_ends(kind: str) -> None:
    alone = new_ax_client()
    alone.global_stopping_strategy = stalled()
    with pytest.raises(OptimizationShouldStop), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(20):
            parameters, index = alone.get_next_trial()
            alone.complete_trial(index, {"f": (flat(**parameters), None)})
    expected = len(alone.experiment.trials)

    if kind == "AxClient":
        own = new_ax_client()
        own.global_stopping_strategy = stalled()
        assert until_stopped(AxBridge.from_input(own))[0] == expected
    bridge = AxBridge.from_input(new_input(kind), global_stopping=stalled())
    number, reason = until_stopped(bridge)
    assert number == expected if kind == "AxClient" else number >= 4
    assert reason.startswith("Ax has no further points: The improvement in best objective")

    never = AxBridge(bridge._handles, global_stopping=False)
    assert len(never.ask(1, time=1e9).candidates) == 1


class _Broken(BaseGlobalStoppingStrategy):
    def __init__(self) -> None:
        super().__init__(min_trials=0, inactive_when_pending_trials=False)

    def _should_stop_optimization(self, experiment: Experiment) -> tuple[bool, str]:
        raise ZeroDivisionError("by zero")


def test_an_error_in_a_strategy_ends_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bridge = AxBridge.from_input(new_input("ax.Client"), global_stopping=_Broken())
    assert len(bridge.ask(3, time=1.0).candidates) == 3
    said = [record.getMessage() for record in caplog.records if "not stopped" in record.getMessage()]
    assert said == ["The run is not stopped, since _Broken fails: ZeroDivisionError: by zero."]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (ImprovementGlobalStoppingStrategy, r"is the class ImprovementGlobalStoppingStrategy; write .*\(\)"),
        (True, r"\['global_stopping'\] is True \(bool\), but takes False, None or a strategy"),
        (10, r"is 10 \(int\)"),
        (stalled(), "Improvement.*, and the client has a Improvement.* of its own"),
    ],
)
def test_what_is_no_strategy_is_refused(option: Any, message: str) -> None:
    client = new_ax_client()
    client.global_stopping_strategy = stalled()
    with pytest.raises(ConfigError, match=message):
        AxBridge.from_input(client, global_stopping=option)


def test_one_that_waits_for_running_trials_never_acts_where_slots_are_full() -> None:
    strategy = stalled()
    assert AxBridge.from_input(new_input("ax.Client"), global_stopping=strategy).stops_between_rounds
    strategy.inactive_when_pending_trials = False
    assert not AxBridge.from_input(new_input("ax.Client"), global_stopping=strategy).stops_between_rounds
    assert not new_bridge("ax.Client").stops_between_rounds
