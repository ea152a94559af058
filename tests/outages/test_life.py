"""What a cluster does to jobs that run: users cancel and requeue, nodes die, others take the place.

Each attempt has a node of its own, so that what happens to it can be aimed. The objective waits for a file of
its trial, and counts its executions.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, SlurmRunner
from axsched_hpc.core.events import Failure
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import client
from tests.outages.site import Outages
from tests.slurm.layout import CPUS

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


class Run:
    """An experiment of the user's own points, driven from here step by step."""

    def __init__(self, folder: Path, trials: int, slots: int, *, cpus: int = CPUS, **runner: Any) -> None:
        self.folder = folder
        self.scheduler = AxScheduler(
            client(initial=trials),
            SlurmRunner(memory="100M", time_limit=10, cpus_per_task=cpus, max_parallel=slots, **runner),
            {
                "job_output_dir": folder / "run",
                "monitoring_interval": 1,
                "poll_interval": 0.2,
                "synchronous": False,
                "failure_rate": 1.0,
            },
        )
        self.scheduler.set_objective_function(waiting_for_a_file(folder))
        with self.scheduler.batch_trial_context() as batch:
            for number in range(trials):
                batch.add_trial({"x": number / 10, "y": 0.5})

    def trial(self, number: int) -> Trial:
        return read_experiment(self.folder / "run").ledger.trials[number]

    def job(self, number: int) -> str:
        job = self.trial(number).attempts[-1].job
        assert job is not None
        return job

    def node(self, number: int) -> str:
        node = self.trial(number).attempts[-1].node
        assert node is not None
        return node

    def until(self, condition: Callable[[], bool], patience: float = 120) -> None:
        """Drive on until something holds."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, [
                (trial.number, trial.state, trial.reason)
                for trial in read_experiment(self.folder / "run").ledger.trials.values()
            ]
            self.scheduler.wait(0.5)

    def running(self, *numbers: int) -> bool:
        """Whether the driver knows that they run, and their objectives have begun."""
        known = all(self.trial(number).state is TrialState.RUNNING for number in numbers)
        return known and all(self.executions(number) for number in numbers)

    def release(self, *numbers: int) -> None:
        """Let the objective of trials come to its end."""
        for number in numbers:
            (self.folder / f"go-{number / 10}").touch()

    def executions(self, number: int) -> int:
        log = self.folder / "log"
        return log.read_text().split().count(str(number / 10)) if log.exists() else 0


def waiting_for_a_file(folder: Path) -> Callable[[dict[str, Any]], dict[str, float]]:
    place = str(folder)

    def run(parameters: dict[str, Any]) -> dict[str, float]:
        import time
        from pathlib import Path

        with Path(place, "log").open("a") as log:
            log.write(f"{parameters['x']}\n")
        while not Path(place, f"go-{parameters['x']}").exists():
            time.sleep(0.1)
        return {"loss": parameters["x"]}

    return run


def slurm(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def take_over(node: str) -> str:
    """A job of higher priority that needs the whole node; its id."""
    whole = ["--exclusive", f"--nodelist={node}", "--time=10", "--output=/dev/null", "--wrap=sleep 300"]
    return slurm("sbatch", "--parsable", "--partition=high", *whole)


def failures(trial: Trial) -> list[Failure]:
    return list(trial.failures())


def test_what_users_and_slurm_do_to_running_jobs(tmp_path: Path, site: Outages, cluster: str) -> None:
    run = Run(tmp_path, 4, 4, partition="low")
    cancelled, requeued, suspended, preempted = range(4)
    run.until(lambda: run.running(0, 1, 2, 3))
    jobs = [run.job(number) for number in range(4)]

    slurm("scancel", jobs[cancelled])
    slurm("scontrol", "requeue", jobs[requeued])
    slurm("scontrol", "suspend", jobs[suspended])
    other = take_over(run.node(preempted))

    put_back = set[int]()

    def were_put_back() -> bool:
        # Not at one moment: on a busy machine the one runs again before the other is put back.
        put_back.update(n for n in (requeued, preempted) if run.trial(n).state is TrialState.QUEUED)
        return put_back == {requeued, preempted}

    run.until(lambda: run.trial(cancelled).state is TrialState.ABANDONED)
    run.until(were_put_back)
    # Long enough for a suspended job to be taken for an ended one.
    assert run.running(suspended)
    slurm("scancel", other)
    slurm("scontrol", "resume", jobs[suspended])
    run.release(0, 1, 2, 3)
    run.until(lambda: all(run.trial(number).state.final for number in range(4)))

    abandoned = run.trial(cancelled)
    assert [failure.kind for failure in failures(abandoned)] == [FailureKind.CANCELLED]
    assert abandoned.reason.startswith(f"job {jobs[cancelled]} on n")
    assert "it was cancelled from outside (state CANCELLED" in abandoned.reason
    for number in (requeued, suspended, preempted):
        trial = run.trial(number)
        assert (trial.state, len(trial.attempts), trial.attempts[0].job) == (
            TrialState.COMPLETED,
            1,
            jobs[number],
        )
    assert [run.executions(number) for number in range(4)] == [1, 2, 1, 2]


def test_nodes_that_die_and_jobs_that_are_preempted_for_good(
    tmp_path: Path, site: Outages, cluster: str
) -> None:
    """Slurm does not requeue these, so the attempts are repeated; the dead node is avoided."""
    run = Run(tmp_path, 2, 2, partition="scavenge", config={"sbatch_options": {"no-requeue": True}})
    dead, preempted = range(2)
    run.until(lambda: run.running(0, 1))
    node, before = run.node(dead), run.job(preempted)
    site.kill_node(cluster, node)
    other = take_over(run.node(preempted))
    run.until(lambda: len(run.trial(preempted).attempts) == 2 and len(run.trial(dead).attempts) == 2)
    slurm("scancel", other)
    site.return_node(cluster, node)
    run.until(lambda: run.running(0, 1))
    run.release(0, 1)
    run.until(lambda: run.trial(0).state.final and run.trial(1).state.final)

    first, second = run.trial(dead), run.trial(preempted)
    assert (first.state, second.state) == (TrialState.COMPLETED, TrialState.COMPLETED)
    (failure,) = failures(first)
    assert (failure.kind, failure.node) == (FailureKind.NODE_FAILED, node)
    assert f" on {node}: its node failed (state NODE_FAIL)" in failure.text
    assert failure.elapsed_s is not None and failure.limit_s == 600
    assert first.attempts[1].request.exclude == (node,) and first.attempts[1].node != node
    (failure,) = failures(second)
    assert failure.kind is FailureKind.PREEMPTED
    assert failure.message.startswith(f"job {before} on n") and "it was preempted" in failure.message
    assert second.attempts[1].request.exclude == ()
    assert [run.executions(number) for number in range(2)] == [2, 2]


@pytest.mark.parametrize("cluster", ["acct"], indirect=True)
def test_a_limit_on_the_number_of_jobs(
    tmp_path: Path, site: Outages, cluster: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Three jobs at the most (QOS `tight`), where eight slots are to be filled."""
    with caplog.at_level(logging.INFO, "axsched_hpc"):
        run = Run(tmp_path, 8, 8, cpus=1, config={"sbatch_options": {"qos": "tight"}})
        run.until(lambda: sum(run.running(number) for number in range(8)) == 3)
        run.scheduler.wait(5)
        assert len(slurm("squeue", "--noheader", "--array", "--qos=tight").splitlines()) == 3
        run.release(*range(8))
        run.until(lambda: all(run.trial(number).state.final for number in range(8)))
    assert all(run.trial(number).state is TrialState.COMPLETED for number in range(8))
    assert [run.executions(number) for number in range(8)] == [1] * 8
    assert "8 jobs at once are more than the scheduler takes: Slurm takes no more jobs for now" in caplog.text
    assert "QOSMaxSubmitJobPerUserLimit" in caplog.text
