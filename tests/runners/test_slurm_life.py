"""What happens to jobs on a real cluster, apart from ending by themselves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.states import JobState
from axsched_hpc.runners.base import JobStatus
from axsched_hpc.testing.runner_contract import Task, Workshop
from tests.slurm.harness import Cluster

pytestmark = pytest.mark.slurm

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


def small(**options: object) -> SlurmRunner:
    return SlurmRunner(**{"memory": "100M", "time_limit": 10, **options})  # type: ignore[arg-type]


def wait(
    runner: SlurmRunner, job: str, until: Callable[[JobStatus], bool], patience: float = 60.0
) -> JobStatus:
    deadline = time.monotonic() + patience
    while True:
        status = runner.poll([job])[job]
        if until(status):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.25)


def ended(status: JobStatus) -> bool:
    return status.state.final


def running(workshop: Workshop, runner: SlurmRunner, seconds: float) -> str:
    batch = workshop.batch(Task(seconds=seconds))
    job = runner.submit(batch)[0]
    deadline = time.monotonic() + 60
    while not workshop.started(batch, 0):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return job


@pytest.mark.timeout(180)
def test_a_job_that_is_requeued_is_the_same_attempt(slurm_cluster: Cluster, workshop: Workshop) -> None:
    runner = small()
    job = running(workshop, runner, 3)
    assert slurm_cluster.run("scontrol", "requeue", job).returncode == 0
    wait(runner, job, lambda status: status.state is JobState.QUEUED)
    assert wait(runner, job, ended, patience=100).state is JobState.SUCCEEDED
    assert workshop.executions() == [0, 0]
    found = workshop.outcome(workshop.batches[0], 0)
    assert found is not None and found.metrics == {"value": (0.0, None)} and found.job == job


def test_a_user_cancels_a_running_job(slurm_cluster: Cluster, workshop: Workshop) -> None:
    runner = small()
    job = running(workshop, runner, 600)
    slurm_cluster.run("scancel", job)
    assert wait(runner, job, ended).state is JobState.CANCELLED
    assert workshop.outcome(workshop.batches[0], 0) is None


def test_a_user_cancels_an_array_that_waits(slurm_cluster: Cluster, workshop: Workshop) -> None:
    runner = small(config={"sbatch_options": {"hold": True}})
    jobs = list(runner.submit(workshop.batch(Task(), Task())).values())
    waiting = runner.poll(jobs)
    assert {(status.state, status.reason) for status in waiting.values()} == {
        (JobState.QUEUED, "JobHeldUser")
    }
    slurm_cluster.run("scancel", jobs[0].partition("_")[0])
    for job in jobs:
        assert wait(runner, job, ended).state is JobState.CANCELLED
    assert runner.find(workshop.batches) == {workshop.batches[0].token: dict(enumerate(jobs))}


def test_the_reason_for_which_a_job_waits(slurm_cluster: Cluster, workshop: Workshop) -> None:
    runner = small(partition="short", time_limit="1-00:00:00")
    job = runner.submit(workshop.batch(Task()))[0]
    try:
        status = wait(runner, job, lambda status: status.reason == "PartitionTimeLimit")
        assert (status.state, status.raw, status.node) == (JobState.QUEUED, "PENDING", None)
    finally:
        runner.cancel([job])
    assert wait(runner, job, ended).state is JobState.CANCELLED


_DRIVER = """
import os, sys, time
from pathlib import Path
from axsched_hpc import SlurmRunner
from axsched_hpc.testing.runner_contract import Task, Workshop

workshop = Workshop.at(Path(sys.argv[1]))
options = {"setup": ["env > " + sys.argv[1] + "/env.txt", "srun --mem=50M true || exit 1"]}
runner = SlurmRunner(memory="100M", time_limit=2, cpus_per_task=2, config=options)
runner.prepare(workshop.layout.submitit)
batch = workshop.batch(Task())
job = runner.submit(batch)[0]
while not runner.poll([job])[job].state.final:
    time.sleep(0.2)
print(workshop.outcome(batch, 0).job == job, job != os.environ["SLURM_JOB_ID"])
"""


def test_a_driver_inside_a_job(acct_cluster: Cluster, tmp_path: Path) -> None:
    """With the memory variables of both jobs in its environment, the inner job's srun would fail."""
    script, output = tmp_path / "driver.py", tmp_path / "driver.out"
    script.write_text(_DRIVER)
    done = acct_cluster.run(
        "sbatch",
        "--wait",
        "--mem-per-cpu=200M",
        "--comment=of the driver",
        "--time=5",
        f"--output={output}",
        f"--export=ALL,PYTHONPATH={REPOSITORY},SRUN_DEBUG=2",
        "--wrap",
        f"'{sys.executable}' '{script}' '{tmp_path}'",
    )
    assert (done.returncode, output.read_text()) == (0, "True True\n")
    inner = dict(line.partition("=")[::2] for line in (tmp_path / "env.txt").read_text().splitlines())
    assert "SLURM_MEM_PER_CPU" not in inner and inner["SLURM_MEM_PER_NODE"] == "100"
    assert inner["SRUN_CPUS_PER_TASK"] == "2" and "SRUN_DEBUG" not in inner


def test_what_the_job_is_given(slurm_cluster: Cluster, tmp_path: Path) -> None:
    """Options and variables arrive as they were written, whatever signs are in them."""
    workshop = Workshop.at(tmp_path)
    odd = 'it\'s $HOME "quoted" `id`\nand a second line; \\ end'
    runner = small(
        cpus_per_task=2,
        config={
            "environment": {"ODD": odd, "LEVEL": 3},
            "setup": [
                f"printf %s \"$ODD\" > '{tmp_path}/odd'",
                f"scontrol show job $SLURM_JOB_ID > '{tmp_path}/job'",
                f"echo $LEVEL >> '{tmp_path}/job'",
            ],
            "sbatch_options": {"comment": "two words", "mem-per-cpu": "40M", "no-requeue": True, "nice": 5},
        },
    )
    job = runner.submit(workshop.batch(Task()))[0]
    assert wait(runner, job, ended).state is JobState.SUCCEEDED
    assert (tmp_path / "odd").read_text() == odd
    told = (tmp_path / "job").read_text()
    assert "Comment=two words" in told and "MinMemoryCPU=40M" in told and "Requeue=0" in told
    assert "CPUs/Task=2" in told and "TimeLimit=00:10:00" in told and told.endswith("\n3\n")
    assert f"JobName={workshop.batches[0].token}" in told


def test_a_module_that_cannot_be_loaded_ends_the_job(slurm_cluster: Cluster, workshop: Workshop) -> None:
    runner = small(config={"modules": ["no such/1.0"]})
    batch = workshop.batch(Task())
    job = runner.submit(batch)[0]
    assert wait(runner, job, ended).state is JobState.FAILED
    assert workshop.executions() == []
    log = runner.log(batch, 0, job)
    assert log is not None and "module" in log.read_text()
