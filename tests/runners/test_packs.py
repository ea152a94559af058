"""Several attempts in one Slurm job: their shares, and what becomes of the others when one ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.states import FailureKind, JobState
from axsched_hpc.io import atomic, claim, outcome
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import script_objective
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.testing.runner_contract import Task, Workshop
from tests.slurm.fixtures import missing
from tests.slurm.harness import Cluster

pytestmark = pytest.mark.slurm

#: What an attempt sees of its node.
_LOOK = """
. "$AXSCHED_PARAMETERS_FILE"
{
    grep Cpus_allowed_list /proc/self/status | tr -d '[:blank:]'
    echo "gpu:$CUDA_VISIBLE_DEVICES"
    echo "threads:$OMP_NUM_THREADS"
    echo "memory:$AXSCHED_MEMORY_MB"
    echo "cpus:$SLURM_CPUS_PER_TASK"
} > "$started.seen"
echo '{"value": 1}' > "$AXSCHED_METRICS_FILE"
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


def packed(**options: Any) -> SlurmRunner:
    return SlurmRunner(
        **{"memory": "100M", "time_limit": 10, "max_parallel": 20, "trials_per_job": 4, **options}
    )


def wait(
    runner: SlurmRunner,
    jobs: dict[int, str],
    until: Callable[[dict[int, JobStatus]], bool],
    patience: float = 60.0,
) -> dict[int, JobStatus]:
    deadline = time.monotonic() + patience
    while True:
        known = runner.poll(list(jobs.values()))
        found = {index: known[job] for index, job in jobs.items() if job in known}
        if len(found) == len(jobs) and until(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.25)


def all_ended(found: dict[int, JobStatus]) -> bool:
    return all(status.state.final for status in found.values())


def begun(workshop: Workshop, batch: Batch, *indices: int) -> None:
    deadline = time.monotonic() + 60
    while not all(workshop.started(batch, index) for index in indices):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _seen(layout: Layout, count: int) -> list[dict[str, str]]:
    texts = [(layout.trial(number) / "started.seen").read_text() for number in range(count)]
    return [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]


def _cpus(text: str) -> set[int]:
    ends = [part.split("-") for part in text.split(",")]
    return {number for each in ends for number in range(int(each[0]), int(each[-1]) + 1)}


def test_each_attempt_has_its_share_of_cpus_and_a_gpu_of_its_own(
    slurm_cluster: Cluster, workshop: Workshop, tmp_path: Path
) -> None:
    if "gpu" not in slurm_cluster.run("sinfo", "--noheader", "--format=%G").stdout:
        missing("the Slurm found here has no GPUs, not even such that are nothing but files.")
    script = tmp_path / "look.sh"
    script.write_text(_LOOK)
    objective = script_objective(script, {"parameters_format": "env", "interpreter": "sh"})
    workshop.objective = install(workshop.layout, objective)
    runner = packed(cpus_per_task=2, gpus_per_task=1)
    batch = workshop.batch(*[Task()] * 4)
    jobs = runner.submit(batch)
    assert len({job.split("#")[0] for job in jobs.values()}) == 1
    assert {status.state for status in wait(runner, jobs, all_ended).values()} == {JobState.SUCCEEDED}
    seen = _seen(workshop.layout, 4)
    assert [each["gpu"] for each in seen] == ["0", "1", "2", "3"]
    assert {each["memory"] for each in seen} == {"100"}
    mine = [_cpus(each["Cpus_allowed_list"]) for each in seen]
    usable = os.sched_getaffinity(0)
    # The test Slurm's nodes pretend to have more CPUs than the machine: then two attempts share one.
    assert set.union(*mine) == usable or len(usable) > 4
    assert {len(each) for each in mine} == {max(1, len(usable) // 4)}
    if len(usable) >= 4:
        assert sum(map(len, mine)) == len(set.union(*mine))
    assert {each["threads"] for each in seen} == {str(min(2, max(1, len(usable) // 4)))}


def test_one_that_is_killed_fails_alone_and_at_once(acct_cluster: Cluster, workshop: Workshop) -> None:
    runner = packed()
    batch = workshop.batch(Task(seconds=600), Task(seconds=4), Task(), Task(exit_code=7))
    jobs = runner.submit(batch)
    begun(workshop, batch, 0, 1, 2, 3)
    owner = claim.read(AttemptFiles(batch.attempts[0].directory))
    assert owner is not None and owner.job == jobs[0]
    os.kill(owner.pid, signal.SIGKILL)
    found = wait(runner, jobs, lambda found: found[0].state.final and found[3].state.final)
    assert (found[0].state, found[0].signal) == (JobState.FAILED, signal.SIGKILL)
    assert (found[3].state, found[3].exit_code) == (JobState.FAILED, 1)
    assert found[1].state is JobState.RUNNING
    # It was announced while the others run.
    notice = outcome.read(workshop.layout.notice(batch.attempts[0].trial, 1))
    assert notice.failure is not None and notice.failure.kind is FailureKind.WORKER_KILLED
    assert notice.failure.signal == signal.SIGKILL and jobs[0] in notice.failure.message
    ended = wait(runner, jobs, all_ended)
    assert [ended[index].state for index in range(4)] == [
        JobState.FAILED, JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.FAILED,
    ]  # fmt: skip
    assert [(found := workshop.outcome(batch, index)) and found.metrics for index in range(4)] == [
        None, {"value": (1.0, None)}, {"value": (2.0, None)}, None,
    ]  # fmt: skip
    assert workshop.executions() == [0, 1, 2, 3]


@pytest.mark.timeout(120)
def test_a_requeued_pack_repeats_only_what_has_no_result(noacct_cluster: Cluster, workshop: Workshop) -> None:
    runner = packed()
    batch = workshop.batch(Task(seconds=5), Task(), Task(exit_code=7))
    jobs = runner.submit(batch)
    begun(workshop, batch, 0, 1, 2)
    deadline = time.monotonic() + 30
    while workshop.outcome(batch, 1) is None or workshop.outcome(batch, 2) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert noacct_cluster.run("scontrol", "requeue", jobs[0].split("#")[0]).returncode == 0
    wait(runner, jobs, lambda found: found[0].state is JobState.QUEUED)
    wait(runner, jobs, all_ended, patience=90)
    assert workshop.executions() == [0, 0, 1, 2]
    again = workshop.outcome(batch, 0)
    assert again is not None and again.metrics == {"value": (0.0, None)} and again.job == jobs[0]
    failed = workshop.outcome(batch, 2)
    assert failed is not None and failed.failure is not None


def test_an_attempt_that_is_cancelled_before_its_pack_starts_is_never_begun(
    noacct_cluster: Cluster, workshop: Workshop
) -> None:
    runner = packed(config={"sbatch_options": {"begin": "now+600"}})
    batch = workshop.batch(Task(), Task(), Task())
    jobs = runner.submit(batch)
    wait(runner, jobs, lambda found: {each.state for each in found.values()} == {JobState.QUEUED})
    # Another driver cancels, which knows the jobs by their ids only.
    later = packed()
    later.cancel([jobs[1]])
    root = jobs[0].split("#")[0]
    assert noacct_cluster.run("scontrol", "update", f"JobId={root}", "StartTime=now").returncode == 0
    ended = wait(later, jobs, all_ended)
    assert [ended[index].state for index in range(3)] == [
        JobState.SUCCEEDED, JobState.CANCELLED, JobState.SUCCEEDED,
    ]  # fmt: skip
    assert workshop.executions() == [0, 2]
    assert workshop.outcome(batch, 1) is None
    assert not atomic.listing(batch.attempts[1].directory)


def test_a_supervisor_that_is_killed_takes_its_workers_with_it(
    noacct_cluster: Cluster, workshop: Workshop
) -> None:
    runner = packed()
    batch = workshop.batch(Task(seconds=600), Task(seconds=600))
    jobs = runner.submit(batch)
    begun(workshop, batch, 0, 1)
    owner = claim.read(AttemptFiles(batch.attempts[0].directory))
    assert owner is not None
    parent = int(Path(f"/proc/{owner.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    ended = wait(runner, jobs, all_ended)
    assert {status.state for status in ended.values()} == {JobState.FAILED}
    deadline = time.monotonic() + 10
    while Path(f"/proc/{owner.pid}").exists():
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.1)
