"""Ids of attempts that share a job, the supervisor's report, and what a pack asks Slurm for."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import Request
from axsched_hpc.core.request import Asked
from axsched_hpc.core.states import JobState
from axsched_hpc.io import atomic, claim, oom, processes
from axsched_hpc.io.packs import Report, attempt_job
from axsched_hpc.runners.allocations import inside
from axsched_hpc.runners.base import Batch, BatchAttempt, JobStatus
from axsched_hpc.runners.packed_jobs import PackBatch, attempt_status, live_places, split_id
from axsched_hpc.runners.slurm_runner import times
from axsched_hpc.runners.step_jobs import step_environment
from axsched_hpc.slurm import parse, render
from axsched_hpc.slurm.run import scrubbed


def test_the_ids_of_attempts_that_share_a_job() -> None:
    assert attempt_job("123_4", 1) == "123_4#1"
    assert split_id("123_4#1") == ("123_4", 1)
    assert split_id("123#0") == ("123", 0)
    assert [split_id(text) for text in ("123_4", "123_4#", "a#1", "1/2#3", "")] == [None] * 5
    assert inside("1234/axs-ab-0001.3") == ("1234", "axs-ab-0001.3")
    assert [inside(text) for text in ("1234", "1234/", "/x", "x/y")] == [None] * 4


def test_a_worker_claims_under_the_id_that_its_starter_gave() -> None:
    job = {"SLURM_ARRAY_JOB_ID": "123", "SLURM_ARRAY_TASK_ID": "4", "SLURM_JOB_ID": "127"}
    assert claim.job_id(job) == "123_4"
    assert claim.job_id({**job, claim.JOB_VARIABLE: "123_4#1"}) == "123_4#1"
    name = claim.job_id({claim.JOB_VARIABLE: "1234/"})
    assert name is not None and name.startswith("1234/") and name.endswith(f"@{processes.hostname()}")
    # What is submitted or started from inside is no part of it.
    outer = {claim.JOB_VARIABLE: "1234/", "AXSCHED_PARAMETER_x": "3", "HOME": "/"}
    assert scrubbed(outer) == {"HOME": "/"}


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = Report(4, {0: -9, 3: 1}, [2])
    atomic.write(tmp_path / "1_0.json", report.encode())
    assert Report.read(tmp_path / "1_0.json") == report
    (tmp_path / "bad.json").write_text('{"format": 1, "places": 1, "ended": {"x": 1}, "cancelled": []}')
    with pytest.raises(ValueError, match=r"bad\.json: 'ended'"):
        Report.read(tmp_path / "bad.json")


def test_an_attempt_is_as_its_job_unless_it_ended_before() -> None:
    running = JobStatus(JobState.RUNNING, "RUNNING", node="n1")
    report = Report(4, {0: -9, 1: 3, 3: 143}, [2])
    assert attempt_status(running, None, 0) is running
    found = [attempt_status(running, report, place) for place in range(5)]
    assert [(s.state, s.exit_code, s.signal) for s in found] == [
        (JobState.FAILED, None, 9),
        (JobState.FAILED, 3, None),
        (JobState.CANCELLED, None, None),
        (JobState.FAILED, None, 15),
        (JobState.RUNNING, None, None),
    ]
    assert live_places(4, None) == {0, 1, 2, 3}
    assert live_places(4, Report(3, {0: 1})) == {1, 2}


def test_the_jobs_of_a_batch_are_its_packs() -> None:
    attempts = tuple(BatchAttempt(number, 1, Path(f"/x/{number}")) for number in range(10))
    request = Request(memory_mb=1000, time_s=600)
    batch = Batch("t", Path("/x/t.json"), attempts, Path("/x"), request=request, python="py")
    packs = PackBatch.of(batch, 4)
    assert [each.trial for each in packs.attempts] == [0, 4, 8]
    assert packs.request == Request(memory_mb=4000, time_s=600)
    assert packs.command() == ["py", "-u", "-m", "axsched_hpc.pack", "/x/t.json", "4"]
    assert packs.command(2)[-1] == "2"


def test_kills_for_lack_of_memory_are_counted_by_either_cgroup(tmp_path: Path) -> None:
    mine, root = tmp_path / "mine", tmp_path / "cgroup"
    assert oom.kills(mine, root) is None
    mine.write_text("0::/job_7/step_batch\n")
    assert oom.kills(mine, root) is None
    (root / "job_7/step_batch").mkdir(parents=True)
    (root / "job_7/step_batch/memory.events").write_text("low 0\nmax 5\noom 2\noom_kill 1\n")
    assert oom.kills(mine, root) == 1
    mine.write_text("5:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n0::/\n")
    (root / "memory/slurm/job_7").mkdir(parents=True)
    control = root / "memory/slurm/job_7/memory.oom_control"
    control.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert oom.kills(mine, root) == 3


@pytest.mark.parametrize(
    ("size", "expected"), [("4G", "16G"), ("500M", "2000M"), ("500", "2000"), ("1gb", "4gb"), ("0", "0")]
)
def test_memory_of_four(size: str, expected: str) -> None:
    assert times(size, 4) == expected


def test_what_is_asked_for_is_that_of_one_attempt() -> None:
    packed = SlurmRunner(memory="1G", time_limit="01:00:00", trials_per_job=4, cpus_per_task=2)
    assert packed.asked == Asked(1024, 3600)
    assert (packed.pack, packed.max_parallel) == (4, 32)
    by_cpu = SlurmRunner(
        cpus_per_task=2, trials_per_job=4, config={"sbatch_options": {"mem-per-cpu": "100M"}}
    )
    assert by_cpu.asked.memory_mb == 200
    assert SlurmRunner().pack == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials_per_job": 0}, "trials_per_job is 0 .int., but takes a whole number, 1 or more"),
        ({"nodes": 0}, "nodes is 0"),
        ({"tasks_per_node": True}, "tasks_per_node is True"),
        ({"mode": "step"}, "mode is 'step', but takes 'jobs' or 'steps'"),
        ({"trials_per_job": 4, "nodes": 2}, "nodes is 2, which does not go with trials_per_job"),
        ({"trials_per_job": 4, "max_parallel": 3}, "max_parallel is 3, but counts attempts"),
        ({"mode": "steps", "tasks_per_node": 2}, "tasks_per_node is 2, which does not go with mode='steps'"),
        ({"mode": "steps", "trials_per_job": 2}, "trials_per_job does not go with mode='steps'"),
        ({"mode": "steps", "partition": "main"}, "partition does not go with mode='steps'"),
        ({"mode": "steps", "config": {"setup": ["x"]}}, r"config\['setup'\] does not go with mode='steps'"),
        ({"mode": "steps"}, r"this script is in none \(SLURM_JOB_ID is not set\).*sbatch.*salloc"),
    ],
)
def test_options_that_cannot_be_right(
    arguments: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(ConfigError, match=message):
        SlurmRunner(**arguments)  # type: ignore[arg-type]


# ---------------------------------------------------------------- steps


def test_the_command_of_a_step() -> None:
    argv = render.step(
        "12", "t.3", ["python", "a b"], cpus=2, memory_mb=100, gpus=1, time="10", exclude=["n1", "n2"]
    )
    assert argv == [
        "srun", "--jobid=12", "--job-name=t.3", "--exact", "--mem=100M", "--gres=gpu:1", "--nodes=1",
        "--ntasks=1", "--cpus-per-task=2", "--time=10", "--exclude=n1,n2", "python", "a b",
    ]  # fmt: skip
    plain = render.step("12", "t.3", ["true"], cpus=1, memory_mb=None, gpus=0, time="10")
    assert "--gres=none" in plain and not any(word.startswith("--mem") for word in plain)


def test_an_srun_knows_nothing_of_the_job_around_it() -> None:
    environment = {
        "SLURM_JOB_ID": "12", "SLURM_NTASKS": "16", "SLURM_MEM_PER_CPU": "100", "SLURM_CONF": "/c",
        "CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/h", "OMP_NUM_THREADS": "9", "SLURM_EXPORT_ENV": "NONE",
    }  # fmt: skip
    found = step_environment(environment, "12", 2, {"MINE": "1"})
    assert found == {
        "SLURM_CONF": "/c", "HOME": "/h", "OMP_NUM_THREADS": "9", "MINE": "1",
        "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "NUMEXPR_NUM_THREADS": "2",
    }  # fmt: skip


def test_steps_that_squeue_shows() -> None:
    out = "8.0|n1|axs-ab-0001.4\n8.1|n2|a name | with bars\n8.batch|n1|batch\n"
    found = parse.steps(0, out, "")
    assert [(step.id, step.job, step.node, step.name) for step in found] == [
        ("8.0", "8", "n1", "axs-ab-0001.4"),
        ("8.1", "8", "n2", "a name | with bars"),
        ("8.batch", "8", "n1", "batch"),
    ]
    assert parse.steps(1, "", "slurm_load_jobs error: Invalid job id specified") == []


@pytest.mark.parametrize(
    ("said", "state"),
    [
        # Recorded from srun and slurmstepd of Slurm 22.05.
        (
            "slurmstepd-n1: error: *** STEP 10.0 ON n1 CANCELLED AT 2026-11-25T01:14:19 DUE TO TIME LIMIT "
            "***\n"
            "srun: error: n1: task 0: Terminated\nsrun: Force Terminated StepId=10.0",
            JobState.TIMED_OUT,
        ),
        (
            "srun: Job step aborted: Waiting up to 7 seconds for job step to finish.\n"
            "slurmstepd-n1: error: *** STEP 9.2 ON n1 CANCELLED AT 2026-11-25T01:12:15 ***\n"
            "srun: error: n1: task 0: Killed",
            JobState.CANCELLED,
        ),
        ("srun: error: n2: task 0: Killed\nsrun: Force Terminated StepId=1.15", JobState.FAILED),
        ("srun: error: n2: task 0: Exited with exit code 7", JobState.FAILED),
        # By Slurm's sources: slurmstepd with task/cgroup.
        (
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=5.0. Some of your processes may have "
            "been killed by the cgroup out-of-memory handler.",
            JobState.OUT_OF_MEMORY,
        ),
        ("", JobState.FAILED),
    ],
)
def test_how_a_step_has_ended(said: str, state: JobState) -> None:
    assert parse.step_end(said) is state
