"""What Slurm puts back into its queue: jobs whose node dies, and those that are held as well.

Each test drives a real run over it, and says in what state the trial ends, after how many attempts and starts
of the objective, and what the user was told.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.ledger import Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.outages.site import Outages
from tests.outages.test_outages import afterwards, made
from tests.slurm.harness import Cluster
from tests.storage.kit import Warnings, check_files, objective, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(200)]

NODE = "n2"


class Case:
    """A run of one trial, and what is done to its job once the objective has begun."""

    def __init__(self, folder: Path, slurm: Cluster) -> None:
        self.root = folder / "here" / "run"
        self.root.parent.mkdir()
        self.slurm = slurm
        self._starts, self._gate = folder / "starts.log", folder / "gate"
        self._executions = folder / "executions.log"
        self._starts.touch()

    def objective(self) -> Callable[[dict[str, Any]], dict[str, float]]:
        """Notes each start, with the number of times that Slurm has put the job back, and waits."""
        starts, gate = str(self._starts), str(self._gate)
        bowl = objective(self._executions)

        def run(parameters: dict[str, Any]) -> dict[str, float]:
            import os
            import time
            from pathlib import Path

            with Path(starts).open("a") as file:
                file.write(f"{os.environ.get('SLURM_RESTART_COUNT', '0')}\n")
            while not Path(gate).exists():
                time.sleep(0.1)
            return bowl(parameters)

        return run

    def go_on(self) -> None:
        """Let this start of the objective, and each that follows, come to its end."""
        self._gate.touch()

    def job(self) -> str:
        """The job that runs on the node."""
        (job,) = self.slurm.run("squeue", "-hr", "--states=RUNNING,SUSPENDED", "--format=%i").stdout.split()
        return job

    def control(self, *words: str) -> None:
        assert self.slurm.run("scontrol", *words).returncode == 0

    def shown(self, job: str, field: str = "%T") -> str:
        return self.slurm.run("squeue", "-h", "--states=all", f"--jobs={job}", f"-o{field}").stdout.strip()

    def run(self, act: Callable[[], object], *, starts: list[int], **sbatch: Any) -> Trial:
        """Run the trial, let ``act`` happen, and return the trial after its end."""
        acting = afterwards(lambda: self._starts.read_text() != "", act)
        options = {"nodelist": NODE, **sbatch}
        with made(self.root, 1, slots=1, run=self.objective(), sbatch=options) as scheduler:
            scheduler.run_optimization(max_trials=1)
        acting.join()
        assert [int(line) for line in self._starts.read_text().split()] == starts
        # Nothing that was computed was computed twice.
        assert len(self._executions.read_text().splitlines()) == 1
        check_files(self.root)
        trial = read_experiment(self.root).ledger.trials[0]
        assert trial.state is TrialState.COMPLETED
        return trial


@pytest.fixture
def case(tmp_path: Path, site: Outages, cluster: str) -> Case:
    return Case(tmp_path, site.cluster(cluster))


def test_a_node_dies_and_slurm_runs_its_job_again(
    case: Case, site: Outages, cluster: str, messages: Warnings
) -> None:
    def act() -> None:
        site.kill_node(cluster, NODE)
        site.return_node(cluster, NODE)
        case.go_on()

    trial = case.run(act, starts=[0, 1])
    assert len(trial.attempts) == 1
    assert trial.failures() == ()
    assert not messages.told("tried again")


def test_a_job_that_is_put_back_and_held_waits_for_its_release(case: Case, messages: Warnings) -> None:
    def act() -> None:
        job = case.job()
        wait_until(lambda: bool(messages.told("runs on")))
        case.control("requeuehold", job)
        wait_until(lambda: case.shown(job, "%r") == "job requeued in held state")
        # The driver has seen it wait.
        wait_until(lambda: bool(messages.told("put back into the queue")))
        case.control("release", job)
        case.go_on()

    trial = case.run(act, starts=[0, 1])
    assert len(trial.attempts) == 1
    assert trial.failures() == ()
