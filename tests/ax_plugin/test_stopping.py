"""Curves in Ax, trials that Ax stops early, and trials that are taken from the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ax.core.trial_status import TrialStatus

from axsched_hpc import (
    LocalRunner,
    report,
)
from axsched_hpc.ax_plugin import FileMetric
from axsched_hpc.core.states import TrialState
from tests.ax_plugin.kit import (
    executions,
    ledger,
    losses,
    prepared,
    run,
    slow_at_the_right,
    wait_for,
)


def test_the_orchestrator_stops_unpromising_trials_early(directory: Path) -> None:
    from ax.early_stopping.strategies import ThresholdEarlyStoppingStrategy

    made = prepared(directory, LocalRunner(2), slow_at_the_right, curve=True, lower_is_better=True)
    strategy = ThresholdEarlyStoppingStrategy(
        metric_signatures=["loss"], metric_threshold=0.5, min_progression=1, min_curves=0
    )
    run(made, 4, early_stopping_strategy=strategy)
    right = {n: t.arm.parameters["x"] > 0.5 for n, t in made._experiment.trials.items()}
    assert set(right.values()) == {True, False}
    for number, trial in made._experiment.trials.items():
        expected = TrialStatus.EARLY_STOPPED if right[number] else TrialStatus.COMPLETED
        assert trial.status is expected
        frame = made._experiment.lookup_data().full_df
        steps = frame[frame.trial_index == number]["step"].tolist()
        assert len(steps) >= 2
        assert steps == sorted(set(steps))
    asked = [made._experiment.trials[n] for n, stopped in right.items() if stopped]

    def ended() -> bool:
        made._experiment.runner.poll_trial_status(asked)
        found = ledger(directory).trials
        return all(found[trial.index].state is TrialState.EARLY_STOPPED for trial in asked)

    wait_for(ended, "the jobs of stopped trials to end")


def many_reports(parameters: dict[str, Any]) -> dict[str, float]:
    for step in range(1000):
        report(step, loss=1.0 / (step + 1), speed=2.0)
    return {"loss": 0.0, "speed": 3.0}


def test_metrics_with_and_without_curves_side_by_side(directory: Path) -> None:
    made = prepared(directory, LocalRunner(1), many_reports, curve=True)
    made.configure_metrics([FileMetric("speed")])
    run(made, 1)
    frame = made._experiment.lookup_data().full_df
    speed = frame[frame["metric_name"] == "speed"]
    assert speed[["step", "mean"]].to_numpy().tolist() == [[999.0, 3.0]]
    steps = frame[frame["metric_name"] == "loss"]["step"].tolist()
    # A long curve is thinned; its end has the final value.
    assert (steps[:3], steps[-1]) == ([0.0, 1.0, 2.0], 999.0)
    assert 200 < len(steps) < 500
    assert losses(made) == {0: 0.0}


def test_only_the_metrics_with_curves_are_fetched_while_trials_run() -> None:
    groups = {FileMetric(name, curve).fetch_multi_group_by_metric for name in "ab" for curve in (True, False)}
    assert len(groups) == 2


def test_stopping_ends_what_runs_and_what_waits(directory: Path) -> None:
    made = prepared(directory, LocalRunner(1), slow_at_the_right)
    experiment, runner = made._experiment, made._experiment.runner
    trials = [experiment.attach_trial([{"x": 0.9, "y": y}])[1] for y in (0.1, 0.2)]
    trials = [experiment.trials[number] for number in trials]
    runner.run_multiple(trials)
    assert runner.poll_available_capacity() == 0
    wait_for(lambda: executions(directory)[0] == 1, "the first to run")
    for trial in trials:
        runner.stop(trial, "not wanted")

    def ended() -> bool:
        runner.poll_trial_status(trials)
        return all(trial.state.final for trial in ledger(directory).trials.values())

    wait_for(ended, "both to end")
    found = ledger(directory).trials
    assert [found[n].state for n in (0, 1)] == [TrialState.EARLY_STOPPED, TrialState.ABANDONED]
    assert {trial.reason for trial in found.values()} == {"not wanted"}
    assert executions(directory) == {0: 1}
    assert runner.poll_available_capacity() == 1
