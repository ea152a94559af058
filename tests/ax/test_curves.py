"""Curves in Ax, through all kinds of input: told as they come, replayed from the journal, stopped early."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
from ax.api.client import Client
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy, ThresholdEarlyStoppingStrategy

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.curve import Point
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import AttemptReported, StopDecided, TrialStopped
from axsched_hpc.core.metrics import Metrics
from tests.ax.harness import Driver, branin, new_ax_client, new_bridge, new_client, new_input, saved


class Reporting(Driver):
    """A stand-in for the loop that also takes reports."""

    def report(self, trial: int, points: Iterable[Point], *, attempt: int = 1) -> None:
        event = AttemptReported(self.tick(), trial, attempt, tuple(points), 1)
        self.record(event)
        self.bridge.report([(trial, event.points)])

    def stop(self, trial: int, reason: str = "worse") -> None:
        self.record(StopDecided(self.tick(), trial, 1, reason))
        event = TrialStopped(self.tick(), trial, 1, reason)
        self.record(event)
        self.bridge.stop(trial, reason, time=event.time)

    def curve(self, trial: int, name: str = "f") -> dict[float, float]:
        frame = self.bridge.experiment.data.full_df
        rows = frame[(frame["trial_index"] == trial) & (frame["metric_name"] == name)]
        return dict(zip(rows["step"], rows["mean"], strict=True))


def _f(value: float, sem: float | None = None) -> Metrics:
    return {"f": (value, sem)}


def _falling(end: float, steps: int = 12) -> list[Point]:
    return [(step, _f(end + steps - step)) for step in range(1, steps + 1)]


def _mixed(driver: Reporting) -> None:
    """Trials with curves of all kinds, and one without, in the order in which they might happen."""
    a, b, c, d, e = (driver.ask()[0].trial for _ in range(5))
    driver.report(a, _falling(5.0)[:4])
    driver.report(b, [(1, {**_f(9.0, 0.5), "other": (1.0, None)}), (2, _f(8.0, 0.25))])
    driver.complete(c, _f(7.0))
    driver.report(a, _falling(5.0)[4:])
    driver.complete(a, {**_f(4.75), "new": (1.0, None)})
    # A second attempt goes on from a checkpoint; a third one begins anew, and comes less far.
    driver.report(b, [(2, _f(7.5)), (3, _f(7.0)), (4, _f(6.5))])
    driver.report(b, [(1, _f(8.5)), (2, _f(8.0)), (2, {"other": (2.0, None)})])
    driver.report(d, _falling(20.0)[:6])
    driver.stop(d)
    driver.complete(b, _f(6.0))
    driver.report(e, [(10, _f(3.0))])


def test_a_curve_is_what_was_reported_and_ends_with_the_final_values(kind: str) -> None:
    driver = Reporting(new_bridge(kind))
    _mixed(driver)
    assert driver.curve(0) == {**{step: pair["f"][0] for step, pair in _falling(5.0)}, 12: 4.75}
    assert driver.curve(1) == {1: 8.5, 2: 6.0}
    assert driver.curve(1, "other") == {2: 2.0}
    assert driver.curve(4) == {10: 3.0}
    statuses = [trial.status for trial in driver.bridge.experiment.trials.values()]
    done, stopped = TrialStatus.COMPLETED, TrialStatus.EARLY_STOPPED
    assert statuses == [done, done, done, stopped, TrialStatus.RUNNING]
    # What Ax takes for a trial's value is the final one.
    last = driver.bridge.experiment.data.df.set_index(["trial_index", "metric_name"])["mean"]
    assert last[0, "f"] == 4.75
    assert last[0, "new"] == 1.0
    assert last[2, "f"] == 7.0


def test_the_best_point_is_that_of_the_final_values(kind: str) -> None:
    """Not the lowest value that any curve came by, nor that of a trial that was stopped."""
    driver = Reporting(new_bridge(kind))
    first, second, third = (driver.ask()[0].trial for _ in range(3))
    driver.report(first, [(1, _f(0.5)), (2, _f(3.0))])
    driver.complete(first, _f(3.0))
    driver.report(second, [(1, _f(9.0)), (2, _f(2.5))])
    driver.complete(second, _f(2.0))
    driver.report(third, [(1, _f(0.25))])
    driver.stop(third)
    client = driver.bridge.client
    assert client.get_best_parameterization(use_model_predictions=False)[2] == second


@pytest.mark.parametrize("others", [0, 2])
def test_a_replay_gives_an_equal_experiment_and_the_same_next_point(kind: str, others: int) -> None:
    driver = Reporting(new_bridge(kind))
    _mixed(driver)
    # With the model, which is fitted to curves and single values.
    driver.run(others)
    again = new_bridge(kind)
    again.experiment._time_created = driver.bridge.experiment._time_created
    again.replay(driver.events())
    if not others:  # when it fits a model, Ax notes in its trials when they ended
        assert saved(again) == saved(driver.bridge)
    assert again.experiment.data == driver.bridge.experiment.data
    (one,) = driver.bridge.ask(1, time=1.0).candidates
    (other,) = again.ask(1, time=1.0).candidates
    assert other.parameters == pytest.approx(one.parameters, abs=1e-6)


def test_what_running_trials_have_reported_does_not_pass_for_their_values() -> None:
    """To a model they are pending, as trials without curves are."""
    plain, reporting = (Reporting(new_bridge("ax.Client")) for _ in range(2))
    for driver in (plain, reporting):
        *others, last = driver.ask(6)
        for candidate in others:
            driver.complete(candidate.trial, _f(branin(**candidate.parameters)))
    reporting.report(last.trial, _falling(1000.0))
    asked = [driver.ask()[0] for driver in (plain, reporting)]
    assert reporting.curve(last.trial) == {step: pair["f"][0] for step, pair in _falling(1000.0)}
    assert asked[0].ax["generator_run"]["generator_key"] == "BoTorch"
    assert asked[0].parameters == pytest.approx(asked[1].parameters, abs=1e-6)


def test_a_replay_into_the_object_that_wrote_the_journal_changes_nothing(kind: str) -> None:
    driver = Reporting(new_bridge(kind))
    _mixed(driver)
    before = saved(driver.bridge)
    driver.bridge.replay(driver.events())
    assert saved(driver.bridge) == before


def test_a_replay_brings_an_older_copy_up_to_date() -> None:
    """One that still has points which were dropped since."""
    driver = Reporting(new_bridge("ax.Client"))
    (candidate,) = driver.ask()
    driver.report(candidate.trial, [(1, _f(3.0)), (2, _f(2.0)), (3, _f(1.0))])
    copy = AxBridge.from_text(driver.bridge.snapshot_text(), "the copy")
    driver.report(candidate.trial, [(2, _f(2.5))])
    copy.replay(driver.events())
    assert saved(copy) == saved(driver.bridge)
    assert Reporting.curve(driver, candidate.trial) == {1: 3.0, 2: 2.5}


def test_a_snapshot_keeps_curves_and_plain_ax_opens_it(kind: str) -> None:
    driver = Reporting(new_bridge(kind))
    _mixed(driver)
    client = Client._from_json_snapshot(json.loads(driver.bridge.snapshot_text()))
    assert client._experiment.trials[3].status is TrialStatus.EARLY_STOPPED
    ours = driver.bridge.experiment.data.full_df
    assert len(client._experiment.data.full_df) == len(ours)
    assert client._experiment.data.full_df["step"].max() == 12


def test_a_trial_that_its_owner_stopped_early_counts_as_such() -> None:
    client = new_client()
    (index,) = client.get_next_trials(1)
    client.attach_data(index, {"f": 5.0}, progression=1)
    client.attach_data(index, {"f": 3.0}, progression=7)
    client.mark_trial_early_stopped(index)
    driver = Reporting(AxBridge.from_input(client))
    driver.record_external()
    (event,) = driver.events()
    assert event.ax["state"] == "early_stopped"  # type: ignore[attr-defined]
    assert event.ax["metrics"] == {"f": [3.0, None]}  # type: ignore[attr-defined]
    again = AxBridge.from_input(new_client())
    again.experiment._time_created = client._experiment._time_created
    again.replay(driver.events())
    assert saved(again) == saved(driver.bridge)


# ---------------------------------------------------------------- early stopping


def _three_of_which_one_is_bad(bridge: AxBridge) -> Reporting:
    """Two completed trials, and two running ones, the last of which is worse than all others."""
    driver = Reporting(bridge)
    for end in (1.0, 2.0, 1.5, 50.0):
        (candidate,) = driver.ask()
        driver.report(candidate.trial, _falling(end)[: 12 if end < 1.75 or end == 2.0 else 10])
    driver.complete(0, _f(1.0))
    driver.complete(1, _f(2.0))
    return driver


def _strategy() -> PercentileEarlyStoppingStrategy:
    return PercentileEarlyStoppingStrategy(min_curves=2, min_progression=3)


def test_ax_says_which_trials_to_stop(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    source = new_input(kind)
    driver = _three_of_which_one_is_bad(AxBridge.from_input(source, early_stopping=_strategy()))
    found = driver.bridge.to_stop({2, 3})
    assert list(found) == [3]
    assert found[3].startswith("Trial objective values at progressions in [10.00, 10.00] are all worse than")
    assert "\n" not in found[3]


def test_a_client_decides_alike() -> None:
    client = new_client()
    driver = _three_of_which_one_is_bad(AxBridge.from_input(client, early_stopping=_strategy()))
    assert client.should_stop_trial_early(3)
    assert not client.should_stop_trial_early(2)
    assert set(driver.bridge.to_stop([3])) == {3}


def test_the_client_s_own_strategy_is_used() -> None:
    client = new_client()
    client.set_early_stopping_strategy(_strategy())
    assert set(_three_of_which_one_is_bad(AxBridge.from_input(client)).bridge.to_stop([2, 3])) == {3}
    for option, stopped in ((True, {3}), (False, set())):
        client = new_client()
        client.set_early_stopping_strategy(_strategy())
        bridge = AxBridge.from_input(client, early_stopping=option)
        assert set(_three_of_which_one_is_bad(bridge).bridge.to_stop([2, 3])) == stopped


def test_an_ax_client_s_own_strategy_is_used() -> None:
    source = new_ax_client(support_intermediate_data=True)
    source.early_stopping_strategy = _strategy()
    assert set(_three_of_which_one_is_bad(AxBridge.from_input(source)).bridge.to_stop([2, 3])) == {3}


def test_without_a_strategy_nothing_is_stopped() -> None:
    assert _three_of_which_one_is_bad(new_bridge("ax.Client")).bridge.to_stop([2, 3]) == {}


def test_true_is_the_default_of_ax() -> None:
    client = new_client()
    AxBridge.from_input(client, early_stopping=True)
    chosen = client._early_stopping_strategy
    assert isinstance(chosen, PercentileEarlyStoppingStrategy)
    assert (chosen.min_progression, chosen.min_curves, chosen.percentile_threshold) == (10, 5, 50.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (PercentileEarlyStoppingStrategy, r"is the class PercentileEarlyStoppingStrategy; write .*\(\)"),
        ("percentile", r"is 'percentile' \(str\), but takes True, False, None or a strategy"),
        (1, r"is 1 \(int\)"),
        (ThresholdEarlyStoppingStrategy(), "Threshold.*, and the client has a Percentile.* of its own"),
    ],
)
def test_what_is_no_strategy_is_refused(option: Any, message: str) -> None:
    client = new_client()
    client.set_early_stopping_strategy(_strategy())
    with pytest.raises(ConfigError, match=message):
        AxBridge.from_input(client, early_stopping=option)


@pytest.mark.parametrize("objective", ["-f, g", "-f + 2*g"])
def test_there_is_no_default_for_several_metrics(objective: str) -> None:
    with pytest.raises(ConfigError, match="looks at one metric, and this experiment has several"):
        AxBridge.from_input(new_client(objective=objective), early_stopping=True)
    named = PercentileEarlyStoppingStrategy(metric_signatures=["f"])
    AxBridge.from_input(new_client(objective=objective), early_stopping=named)


class _Broken(PercentileEarlyStoppingStrategy):
    def _should_stop_trials_early(self, *arguments: Any, **options: Any) -> dict[int, str | None]:
        raise ZeroDivisionError("by zero")


def test_an_error_in_a_strategy_stops_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    driver = _three_of_which_one_is_bad(new_bridge("ax.Client"))
    bridge = AxBridge(driver.bridge._handles, early_stopping=_Broken())
    for _ in range(3):
        assert bridge.to_stop([3]) == {}
    said = [record.getMessage() for record in caplog.records if "early" in record.getMessage()]
    assert said == ["No trial is stopped early, since _Broken fails: ZeroDivisionError: by zero."]


def test_ax_does_not_say_at_each_look_that_it_is_too_early() -> None:
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping()
    root = logging.getLogger("ax")
    root.addHandler(handler)
    try:
        bridge = AxBridge.from_input(
            new_client(), early_stopping=PercentileEarlyStoppingStrategy(min_curves=0, min_progression=11)
        )
        driver = _three_of_which_one_is_bad(bridge)
        driver.run(1, branin)  # a trial without a curve, of which Ax warns
        records.clear()
        for _ in range(3):
            assert bridge.to_stop([2, 3]) == {}
    finally:
        root.removeHandler(handler)
    assert [record.levelname for record in records] == ["WARNING"]
    assert "NaN values in the progression column" in records[0].getMessage()
