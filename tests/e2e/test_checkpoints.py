"""Objectives that go on from checkpoints: after preemption, the end of a job's time, a killed worker."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, ContinueLater, LocalRunner, SlurmRunner, checkpoint_directory, warned
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.io import claim
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners.base import BaseRunner, Batch
from tests.e2e.kit import client
from tests.slurm.harness import Cluster
from tests.unit.memory_cgroup import limited

#: Steps of a second each, until it is told to save; every step that was computed stands in a log.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path

log, steps = Path(sys.argv[1]), int(sys.argv[2])
state = Path(os.environ["AXSCHED_CHECKPOINT_DIR"], "step")
told = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, _: told.append(number))
step = int(state.read_text()) if state.exists() else 0
while step < steps:
    if told:
        state.write_text(str(step))
        sys.exit(75)
    time.sleep(1)
    step += 1
    with log.open("a") as file:
        file.write(f"{step} {os.environ['AXSCHED_RESTART_COUNT']}\\n")
Path(os.environ["AXSCHED_METRICS_FILE"]).write_text(f"loss {step}")
"""


def scheduler(tmp_path: Path, runner: BaseRunner, **options: Any) -> AxScheduler:
    config = {"job_output_dir": tmp_path / "run", "monitoring_interval": 1, "poll_interval": 0.5, **options}
    return AxScheduler(client(), runner, config)


def small(**options: Any) -> SlurmRunner:
    return SlurmRunner(**{"memory": "100M", "time_limit": 10, "max_parallel": 1, **options})


def counting(tmp_path: Path, runner: BaseRunner, steps: int, **options: Any) -> Trial:
    """Run one trial of the script to its end, and check that no step was computed twice."""
    script = tmp_path / "count.py"
    script.write_text(SCRIPT)
    with scheduler(tmp_path, runner) as run:
        given = {"args": [str(tmp_path / "log"), steps], "checkpointable": True, **options}
        run.set_script_objective(script, given)
        run.run_optimization(max_trials=1)
    assert [step for step, _ in computed(tmp_path)] == list(range(1, steps + 1))
    return the_trial(tmp_path)


def computed(tmp_path: Path) -> list[tuple[int, int]]:
    """(step, restart count) of every step that was computed."""
    lines = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    return [(int(step), int(count)) for step, count in map(str.split, lines)]


def the_trial(tmp_path: Path) -> Trial:
    trial = read_experiment(tmp_path / "run").ledger.trials[0]
    assert trial.state is TrialState.COMPLETED
    return trial


class Meanwhile(threading.Thread):
    """Does something once the first attempt has come so far, while the test's own thread drives."""

    def __init__(self, ready: Callable[[], bool], act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._ready, self._act = ready, act
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 60
        while not self._ready():
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)
        self._act()
        self.done.set()


def first_job(tmp_path: Path) -> str:
    found = claim.read(Layout.at(tmp_path / "run").attempt(0, 1))
    assert found is not None and found.job is not None
    return found.job


def warn(cluster: Cluster, tmp_path: Path) -> None:
    """What Slurm does some time before the end of a job's time, now."""
    assert cluster.run("scancel", "--signal=USR1", "--batch", first_job(tmp_path)).returncode == 0


# ---------------------------------------------------------------- on Slurm


@pytest.mark.slurm
@pytest.mark.timeout(240)
def test_a_script_that_needs_longer_than_its_time_limit(acct_cluster: Cluster, tmp_path: Path) -> None:
    """The real end of a job's time: a minute, of which Slurm leaves more than ten seconds for saving."""
    trial = counting(tmp_path, small(time_limit=1), 65, warning=10)
    failures = trial.failures()
    assert failures and all(each.kind is FailureKind.CHECKPOINTED and each.progressed for each in failures)
    assert [count for _, count in computed(tmp_path)] == sorted(count for _, count in computed(tmp_path))
    assert computed(tmp_path)[-1] == (65, len(failures))


@pytest.mark.slurm
def test_a_script_that_is_told_goes_on_in_the_next_job(slurm_cluster: Cluster, tmp_path: Path) -> None:
    told = Meanwhile(lambda: bool(computed(tmp_path)), lambda: warn(slurm_cluster, tmp_path))
    trial = counting(tmp_path, small(), 12)
    assert told.done.is_set()
    (failure,) = trial.failures()
    assert (failure.kind, failure.exit_code) == (FailureKind.CHECKPOINTED, 75)
    assert {count for _, count in computed(tmp_path)} == {0, 1}
    # The trial is completed, so its checkpoint is of no use any more.
    assert not Layout.at(tmp_path / "run").checkpoint(0).exists()


@pytest.mark.slurm
def test_a_function_that_is_told_goes_on_in_the_next_job(slurm_cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def objective(parameters: dict[str, Any]) -> dict[str, Any]:
        import os

        state = checkpoint_directory() / "step"
        step = int(state.read_text()) if state.exists() else 0
        while step < 20:
            if warned():
                state.write_text(str(step))
                raise ContinueLater
            time.sleep(0.25)
            step += 1
            with log.open("a") as file:
                file.write(f"{step} {os.environ['AXSCHED_RESTART_COUNT']}\n")
        return {"loss": step}

    told = Meanwhile(lambda: bool(computed(tmp_path)), lambda: warn(slurm_cluster, tmp_path))
    with scheduler(tmp_path, small()) as run:
        run.set_objective_function(objective, checkpointable=True)
        run.run_optimization(max_trials=1)
    assert told.done.is_set()
    assert [step for step, _ in computed(tmp_path)] == list(range(1, 21))
    assert [each.kind for each in the_trial(tmp_path).failures()] == [FailureKind.CHECKPOINTED]


def preempted(cluster: Cluster, tmp_path: Path, **options: Any) -> Trial:
    """The trial of a job whose memory another job of higher priority takes after its first step."""
    big = {"memory": "40000M", "config": {"sbatch_options": {"nodelist": "n3", **options}}}

    def preempt() -> None:
        done = cluster.run(
            "sbatch",
            "--partition=high",
            "--nodelist=n3",
            "--mem=40000M",
            "--output=/dev/null",
            "--wrap=sleep 1",
        )
        assert done.returncode == 0, done.stderr

    done = Meanwhile(lambda: bool(computed(tmp_path)), preempt).done
    trial = counting(tmp_path, small(partition="low", **big), 8)
    assert done.is_set()
    return trial


@pytest.mark.slurm
@pytest.mark.timeout(240)
def test_a_preempted_job_goes_on_when_it_is_requeued(slurm_cluster: Cluster, tmp_path: Path) -> None:
    trial = preempted(slurm_cluster, tmp_path)
    # Slurm itself starts the job again: the same attempt, by a claim of its own.
    assert len(trial.attempts) == 1
    assert (tmp_path / "run/trials/00000/attempt-1/claim-restart-1.json").exists()
    assert {count for _, count in computed(tmp_path)} == {0, 1}


@pytest.mark.slurm
def test_a_preempted_job_that_slurm_does_not_requeue(acct_cluster: Cluster, tmp_path: Path) -> None:
    trial = preempted(acct_cluster, tmp_path, **{"no-requeue": True})
    (failure,) = trial.failures()
    assert failure.kind is FailureKind.PREEMPTED and failure.progressed
    assert {count for _, count in computed(tmp_path)} == {0, 1}


@pytest.mark.slurm
def test_what_a_user_cancels_is_abandoned_whatever_it_saved(acct_cluster: Cluster, tmp_path: Path) -> None:
    cancelled = Meanwhile(
        lambda: bool(computed(tmp_path)), lambda: acct_cluster.run("scancel", first_job(tmp_path))
    )
    script = tmp_path / "count.py"
    script.write_text(SCRIPT)
    with scheduler(tmp_path, small()) as run:
        run.set_script_objective(script, {"args": [str(tmp_path / "log"), 60], "checkpointable": True})
        run.run_optimization(max_trials=1)
    assert cancelled.done.is_set()
    trial = read_experiment(tmp_path / "run").ledger.trials[0]
    assert trial.state is TrialState.ABANDONED
    (failure,) = trial.failures()
    assert failure.kind is FailureKind.CANCELLED and failure.progressed
    assert (tmp_path / "run/trials/00000/checkpoint/step").exists()


# ---------------------------------------------------------------- on this machine


def test_a_killed_worker_loses_only_what_was_not_saved(tmp_path: Path) -> None:
    log = shlex.quote(str(tmp_path / "log"))
    script = tmp_path / "count.sh"
    script.write_text(f"""
state="$AXSCHED_CHECKPOINT_DIR/step"
step=$(cat "$state" 2>/dev/null || echo 0)
while [ $step -lt 9 ]; do
    step=$((step + 1))
    echo "$step $AXSCHED_RESTART_COUNT" >> {log}
    echo $step > "$state.new" && mv "$state.new" "$state"
    # More often than a killed worker's attempt is repeated that has saved nothing.
    [ $((step % 2)) = 1 ] || {{ kill -KILL $PPID; exit; }}
done
echo "loss $step" > "$AXSCHED_METRICS_FILE"
""")
    with scheduler(tmp_path, LocalRunner(max_parallel=1), cleanup_after_completion=False) as run:
        run.set_script_objective(script, {"checkpointable": True})
        run.run_optimization(max_trials=1)
    assert computed(tmp_path) == [(step, (step - 1) // 2) for step in range(1, 10)]
    trial = the_trial(tmp_path)
    assert [each.kind for each in trial.failures()] == [FailureKind.WORKER_KILLED] * 4
    assert (tmp_path / "run/trials/00000/checkpoint/step").read_text() == "9\n"


def test_going_on_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = tmp_path / "twice.sh"
    script.write_text("""
[ -e "$AXSCHED_CHECKPOINT_DIR/half" ] && { echo loss 1 > "$AXSCHED_METRICS_FILE"; exit; }
echo 1 > "$AXSCHED_CHECKPOINT_DIR/half"
exit 75
""")
    caplog.set_level("INFO", logger="axsched_hpc")
    with scheduler(tmp_path, LocalRunner(max_parallel=1), retries={"infrastructure": 0}) as run:
        run.set_script_objective(script, {"checkpointable": True})
        run.run_optimization(max_trials=1)
    assert [each.kind for each in the_trial(tmp_path).failures()] == [FailureKind.CHECKPOINTED]
    (line,) = [each for each in caplog.records if "saved its state in" in each.getMessage()]
    assert line.levelname == "INFO"
    # Completed: what it has saved is of no use any more.
    assert not Layout.at(tmp_path / "run").checkpoint(0).exists()


def test_the_journal_says_when_an_objective_is_told(tmp_path: Path) -> None:
    with scheduler(tmp_path, LocalRunner(max_parallel=1)) as run:
        for options in ({}, {"checkpointable": True}, {"checkpointable": True, "warning": 7}):
            run.set_objective_function(lambda p: {"loss": p["x"]}, **options)
            run.run_optimization(max_trials=1)
    events = [json.loads(line) for line in (tmp_path / "run/journal/00001.jsonl").read_text().splitlines()]
    told = [each["warning"] for each in events if each.get("kind") == "objective_set"]
    assert told == [None, 120, 7]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpointable": 1}, "set_objective_function's checkpointable is 1 (int), but takes True"),
        ({"checkpointable": True, "warning": "2m"}, "set_objective_function's warning is '2m' (str)"),
        ({"warning": 60}, "Set set_objective_function's checkpointable to True as well"),
    ],
)
def test_wrong_options_of_a_function(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with scheduler(tmp_path, LocalRunner(max_parallel=1)) as run, pytest.raises(ConfigError) as caught:
        run.set_objective_function(lambda p: {"loss": 1}, **options)
    assert words in str(caught.value)


def test_code_75_without_a_checkpoint_fails(tmp_path: Path) -> None:
    script = tmp_path / "lazy.sh"
    script.write_text("exit 75\n")
    with scheduler(tmp_path, LocalRunner(max_parallel=1)) as run:
        run.set_script_objective(script, {"checkpointable": True})
        run.run_optimization(max_trials=1)
        (failed,) = run.result.failures
    assert "but it saved nothing in " in failed.reason


class _Limited(LocalRunner):
    """Local processes, each in a memory cgroup as Slurm makes one for a job."""

    python: str = ""

    def submit(self, batch: Batch) -> Any:
        return super().submit(replace(batch, python=self.python))


def test_a_script_that_takes_too_much_memory_is_told_so(tmp_path: Path) -> None:
    import sys

    script, python = tmp_path / "greedy.py", tmp_path / "python"
    script.write_text("b = bytearray(400 << 20)\n")
    with limited(200) as place, scheduler(tmp_path, _Limited(max_parallel=1)) as run:
        python.write_text(f"#!/bin/sh\necho $$ > '{place}/cgroup.procs'\nexec '{sys.executable}' \"$@\"\n")
        python.chmod(0o755)
        run._runner.python = str(python)
        run.set_script_objective(script)
        run.run_optimization(max_trials=1)
        (failed,) = run.result.failures
    (failure,) = read_experiment(tmp_path / "run").ledger.trials[0].failures()
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert "ran out of memory: the kernel killed a process of it" in failed.reason
    assert failure.used_mb is not None and 100 < failure.used_mb < 210
    assert "raise memory" in failure.hint
