"""Curves and early stopping with real jobs: processes here, and Slurm's."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import ThresholdEarlyStoppingStrategy

from axsched_hpc import AxScheduler
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests import scripts
from tests.e2e.kit import client, runner
from tests.slurm.harness import Cluster

#: Above a half a trial is bad, and would go on for a minute; below it ends after five steps.
STRATEGY = {"metric_threshold": 0.5, "min_progression": 2, "min_curves": 0}


def train(parameters: dict[str, Any]) -> dict[str, float]:
    """Reports a constant loss, every tenth of a second."""
    import time

    from axsched_hpc import report

    for step in range(600 if parameters["x"] > 0.5 else 5):
        report(step, loss=parameters["x"], pace=(0.1, 0.01))
        time.sleep(0.1)
    return {"loss": parameters["x"]}


#: The same as a shell script.
SCRIPT = """\
set -e
. "$AXSCHED_PARAMETERS_FILE"
steps=5
case $x in 0.[5-9]*) steps=600 ;; esac
for step in $(seq 0 $((steps - 1))); do
    echo "{\\"step\\": $step, \\"loss\\": $x, \\"pace\\": [0.1, 0.01]}" >> "$AXSCHED_PROGRESS_FILE"
    sleep 0.1
done
echo "loss $x" > "$AXSCHED_METRICS_FILE"
"""


def _run(folder: Path, kind: str, objective: str) -> AxScheduler:
    """Run one good and one bad trial."""
    scheduler = AxScheduler(
        client(),
        runner(kind, 2),
        {
            "job_output_dir": folder / "run",
            "monitoring_interval": 1,
            "poll_interval": 0.2,
            "early_stopping": ThresholdEarlyStoppingStrategy(**STRATEGY),  # type: ignore[arg-type]
        },
    )
    if objective == "function":
        scheduler.set_objective_function(train)
    else:
        script = folder / "train.sh"
        script.write_text(SCRIPT)
        scheduler.set_script_objective(script, {"parameters_format": "env"})
    begun = time.monotonic()
    with scheduler.batch_trial_context() as batch:
        for x in (0.25, 0.75):
            batch.add_trial({"x": x, "y": 0.5})
    assert time.monotonic() - begun < 40
    return scheduler


def _check(scheduler: AxScheduler) -> None:
    trials = read_experiment(scheduler.directory).ledger.trials
    assert [trial.state for trial in trials.values()] == [TrialState.COMPLETED, TrialState.EARLY_STOPPED]
    in_ax = scheduler.experiment.trials
    assert [in_ax[n].status for n in (0, 1)] == [TrialStatus.COMPLETED, TrialStatus.EARLY_STOPPED]
    frame = scheduler.experiment.data.full_df
    losses = {n: frame[(frame.trial_index == n) & (frame.metric_name == "loss")] for n in (0, 1)}
    assert list(losses[0]["step"]) == [0, 1, 2, 3, 4]
    assert set(losses[1]["mean"]) == {0.75}
    assert 3 <= len(losses[1]) < 300
    assert set(frame[frame.metric_name == "pace"]["sem"]) == {0.01}
    assert scheduler.result.best_parameters == {"x": 0.25, "y": 0.5}
    assert scheduler.result.failures == ()


@pytest.mark.parametrize("objective", ["function", "script"])
def test_a_bad_trial_is_stopped_here(objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    with _run(tmp_path, "local", objective) as scheduler:
        _check(scheduler)


@pytest.mark.slurm
def test_a_bad_trial_is_stopped_on_slurm(
    slurm_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    with _run(tmp_path, "slurm", "function") as scheduler:
        _check(scheduler)
        job = read_experiment(scheduler.directory).ledger.trials[1].attempts[-1].job
        assert job is not None
        state = slurm_cluster.run("scontrol", "show", "job", job).stdout
        # Without accounting its controller forgets an ended job after 20 s.
        assert "JobState=CANCELLED" in state or not (slurm_cluster.accounting or state)


#: A driver that is killed where it is about to end the job of a trial, unless it is told to live.
DRIVER = """\
import os, sys
from ax.early_stopping.strategies import ThresholdEarlyStoppingStrategy
from axsched_hpc import AxScheduler, SlurmRunner
from tests.e2e.kit import client
from tests.e2e.test_curves import STRATEGY

class Dying(SlurmRunner):
    def cancel(self, jobs):
        if len(sys.argv) == 2:
            os.kill(os.getpid(), 9)
        super().cancel(jobs)

config = {
    "job_output_dir": sys.argv[1], "monitoring_interval": 0.5, "poll_interval": 0.1,
    "early_stopping": ThresholdEarlyStoppingStrategy(**STRATEGY),
}
with AxScheduler(client(), Dying(memory="100M", time_limit=10, max_parallel=2), config) as scheduler:
    scheduler.set_script_objective("train.sh", {"parameters_format": "env"})
    with scheduler.batch_trial_context() as batch:
        batch.add_trial({"x": 0.75, "y": 0.5})
    frame = scheduler.experiment.data.full_df
    print("in Ax:", *(int(step) for step in frame[frame.metric_name == "loss"]["step"]))
"""


@pytest.mark.slurm
def test_a_driver_that_is_killed_before_it_ends_the_job_is_followed_by_one_that_does(
    acct_cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "train.sh").write_text(SCRIPT)

    def drive(*arguments: str) -> subprocess.CompletedProcess[str]:
        return scripts.run(tmp_path / "driver.py", ["run", *arguments], folder=tmp_path)

    assert drive().returncode == -signal.SIGKILL
    ledger = read_experiment(tmp_path / "run").ledger
    attempt = ledger.trials[0].attempts[-1]
    assert ledger.trials[0].state is TrialState.RUNNING
    assert attempt.stop.startswith("Trial objective value 0.75 is worse than the metric threshold 0.5")
    before = ledger.trials[0].reach
    ended = drive("live")
    assert ended.returncode == 0, ended.stderr
    (trial,) = read_experiment(tmp_path / "run").ledger.trials.values()
    assert trial.state is TrialState.EARLY_STOPPED
    assert len(trial.attempts) == 1
    assert trial.reach is not None
    assert before is not None
    # It went on running until the next driver came, and what it reported in between is not lost.
    assert before.last < trial.reach.last < 599
    curve = [int(word) for word in ended.stdout.partition("in Ax:")[2].split()]
    assert curve[0] == 0
    assert curve[-1] == trial.reach.last
    assert len(curve) > before.last
    answer = acct_cluster.run("sacct", "-nPX", "-j", attempt.job or "", "-o", "State,ElapsedRaw").stdout
    state, elapsed = answer.strip().split("|")
    assert state.startswith("CANCELLED")
    assert int(elapsed) < 60
