"""Attempts inside an allocation: as steps on several nodes, as processes on one."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.errors import ConfigError, SubmissionError
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim, processes
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import script_objective
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.child_jobs import ChildJobs
from axsched_hpc.runners.step_jobs import StepJobs
from axsched_hpc.testing.runner_contract import Task, Workshop
from tests.runners.allocated import allocated
from tests.slurm.harness import Cluster

pytestmark = pytest.mark.slurm

#: What an attempt sees of its node.
_LOOK = """
. "$AXSCHED_PARAMETERS_FILE"
{
    echo "node:$SLURMD_NODENAME"
    echo "gpu:$CUDA_VISIBLE_DEVICES"
    echo "step:$SLURM_JOB_ID.$SLURM_STEP_ID"
    echo "tasks:$SLURM_NTASKS"
    grep Cpus_allowed_list /proc/self/status | tr -d '[:blank:]'
} > "$started.seen"
sleep "$seconds"
echo '{"value": 1}' > "$AXSCHED_METRICS_FILE"
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


@pytest.fixture
def looking(workshop: Workshop, tmp_path: Path) -> Workshop:
    script = tmp_path / "look.sh"
    script.write_text(_LOOK)
    objective = script_objective(script, {"parameters_format": "env", "interpreter": "sh"})
    workshop.objective = install(workshop.layout, objective)
    return workshop


def inside(**options: Any) -> SlurmRunner:
    return SlurmRunner(**{"memory": "100M", "time_limit": 10, "mode": "steps", **options})


def wait(
    runner: SlurmRunner, jobs: dict[int, str], until: Callable[[list[JobStatus]], bool]
) -> dict[int, JobStatus]:
    deadline = time.monotonic() + 60
    while True:
        known = runner.poll(list(jobs.values()))
        if len(known) == len(jobs) and until(list(known.values())):
            return {index: known[job] for index, job in jobs.items()}
        assert time.monotonic() < deadline, known
        time.sleep(0.1)


def all_ended(found: list[JobStatus]) -> bool:
    return all(status.state.final for status in found)


def begun(workshop: Workshop, batch: Batch) -> None:
    deadline = time.monotonic() + 60
    while not all(workshop.started(batch, index) for index in range(len(batch.attempts))):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def seen(workshop: Workshop, batch: Batch) -> list[dict[str, str]]:
    """What the attempts have seen; waits for those that have just begun."""
    files = [workshop.layout.trial(attempt.trial) / "started.seen" for attempt in batch.attempts]
    deadline = time.monotonic() + 60
    while not all(file.exists() and "Cpus_allowed_list" in file.read_text() for file in files):
        assert time.monotonic() < deadline, files
        time.sleep(0.05)
    texts = [file.read_text() for file in files]
    return [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]


def test_steps_fill_both_nodes_and_have_a_share_each(
    noacct_cluster: Cluster, looking: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_gpus = "gpu" in noacct_cluster.run("sinfo", "--noheader", "--format=%G").stdout
    options = ("--gres=gpu:4",) if has_gpus else ()
    with allocated(noacct_cluster, 2, monkeypatch, *options) as job:
        runner = inside(cpus_per_task=2, gpus_per_task=1 if has_gpus else None)
        assert isinstance(runner._jobs, StepJobs)
        assert (runner.max_parallel, runner.cheap_poll) == (8, True)
        batch = looking.batch(*[Task(seconds=1)] * 8)
        jobs = runner.submit(batch)
        assert jobs == {index: f"{job}/{batch.token}.{index}" for index in range(8)}
        assert {s.state for s in wait(runner, jobs, all_ended).values()} == {JobState.SUCCEEDED}
    found = seen(looking, batch)
    by_node = Counter(each["node"] for each in found)
    assert sorted(by_node.values()) == [4, 4], "all eight at a time, on both nodes"
    assert {each["tasks"] for each in found} == {"1"}
    assert len({each["step"] for each in found}) == 8
    if has_gpus:
        for node in by_node:
            assert sorted(each["gpu"] for each in found if each["node"] == node) == ["0", "1", "2", "3"]
    else:
        assert {each["gpu"] for each in found} == {""}
    owner = claim.read(AttemptFiles(batch.attempts[3].directory))
    assert owner is not None and owner.job == jobs[3]


def test_processes_have_a_share_each_and_a_freed_one_is_used_again(
    noacct_cluster: Cluster, looking: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with allocated(noacct_cluster, 1, monkeypatch) as job:
        # What Slurm gives to a batch script of four GPUs.
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
        runner = inside(cpus_per_task=2)
        assert isinstance(runner._jobs, ChildJobs) and runner.max_parallel == 4
        first = looking.batch(Task(seconds=600), Task(), Task(seconds=600), Task(seconds=600))
        jobs = runner.submit(first)
        assert all(name.startswith(f"{job}/") for name in jobs.values())
        wait(runner, {1: jobs[1]}, all_ended)
        # Another driver, started again: it has to see which shares are taken.
        later = inside(cpus_per_task=2)
        second = looking.batch(Task())
        wait(later, later.submit(second), all_ended)
        found = seen(looking, first)
        later.cancel(list(jobs.values()))
        wait(later, jobs, all_ended)
    assert [each["gpu"] for each in found] == ["0", "1", "2", "3"]
    assert seen(looking, second)[0]["gpu"] == "1"
    usable = len(os.sched_getaffinity(0))
    assert {len(processes.usable_cpus())} == {usable}, "the driver is not bound by it"
    shares = [each["Cpus_allowed_list"] for each in found]
    assert len(set(shares)) == min(4, usable)


def test_an_allocation_that_ends_takes_its_steps_with_it(
    slurm_cluster: Cluster, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with allocated(slurm_cluster, 2, monkeypatch) as job:
        runner = inside()
        batch = workshop.batch(Task(seconds=600), Task(seconds=600))
        jobs = runner.submit(batch)
        begun(workshop, batch)
        slurm_cluster.run("scancel", job)
        ended = wait(runner, jobs, all_ended)
        assert {(s.state, s.raw) for s in ended.values()} == {(JobState.FAILED, "gone")}
        with pytest.raises(
            SubmissionError, match=rf"allocation {job} has ended.* inside a new alloc"
        ) as caught:
            runner.submit(workshop.batch(Task()))
        assert not caught.value.transient
    with allocated(slurm_cluster, 2, monkeypatch):
        later = inside()
        before = time.monotonic()
        ended = wait(later, jobs, all_ended)
        assert time.monotonic() - before < 5
        assert {(s.state, s.raw) for s in ended.values()} == {(JobState.FAILED, "gone")}
        assert later.find([batch]) == {batch.token: jobs}
    with allocated(slurm_cluster, 1, monkeypatch):
        assert {s.raw for s in wait(inside(), jobs, all_ended).values()} == {"gone"}


def test_a_step_whose_srun_is_killed_ends_and_is_no_success(
    noacct_cluster: Cluster, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with allocated(noacct_cluster, 2, monkeypatch):
        runner = inside()
        batch = workshop.batch(Task(seconds=600), Task(seconds=1))
        jobs = runner.submit(batch)
        begun(workshop, batch)
        made = runner._jobs
        assert isinstance(made, StepJobs)
        os.kill(made._steps[jobs[0]].process.pid, signal.SIGKILL)
        ended = wait(runner, jobs, all_ended)
        assert (ended[0].state, ended[0].signal) == (JobState.FAILED, signal.SIGKILL)
        assert ended[1].state is JobState.SUCCEEDED
        owner = claim.read(AttemptFiles(batch.attempts[0].directory))
        assert owner is not None
        deadline = time.monotonic() + 10
        while processes.alive(owner.host, owner.pid, owner.start, owner.boot):
            assert time.monotonic() < deadline, "the worker outlives its srun"
            time.sleep(0.1)


def test_a_process_that_takes_too_long_is_ended(
    noacct_cluster: Cluster, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with allocated(noacct_cluster, 1, monkeypatch):
        runner = inside(time_limit="00:00:02")
        jobs = runner.submit(workshop.batch(Task(seconds=600), Task()))
        ended = wait(runner, jobs, all_ended)
        assert [ended[index].state for index in (0, 1)] == [JobState.TIMED_OUT, JobState.SUCCEEDED]


def test_an_attempt_has_to_fit(noacct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with allocated(noacct_cluster, 2, monkeypatch) as job:
        message = (
            rf"Not one attempt fits into the allocation {job}\. An attempt asks for 1 CPUs, 4 GB on one "
            r"node; the allocation has \w+: 8 CPUs, 1\.6 GB; \w+: 8 CPUs, 1\.6 GB\. Lower cpus_per_task"
        )
        with pytest.raises(ConfigError, match=message):
            inside(memory="4G")
        assert inside(memory="400M").max_parallel == 8
        assert inside(max_parallel=3).max_parallel == 3
        assert inside(max_parallel=500).max_parallel == 16
