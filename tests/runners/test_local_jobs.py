"""Local processes: told by pid and start time, found by other drivers, ended when asked."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from axsched_hpc.core.errors import SubmissionError
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim, processes
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.objectives.install import install
from axsched_hpc.runners import local_jobs
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.local_jobs import LocalJobs
from axsched_hpc.testing.runner_contract import Task, Workshop

REPOSITORY = Path(__file__).resolve().parents[2]
LONG = Task(seconds=600)

#: A driver that submits a batch of one, says so, and stays until it is killed.
DRIVER = """
import sys
from pathlib import Path
from axsched_hpc.runners.base import Batch, BatchAttempt
from axsched_hpc.runners.local_jobs import LocalJobs

token, manifest, attempt, folder, python = sys.argv[1:]
attempts = (BatchAttempt(0, 1, Path(attempt)),)
print(LocalJobs().submit(Batch(token, Path(manifest), attempts, Path(folder), python))[0], flush=True)
sys.stdin.read()
"""

#: In place of Python: stops before anything of the worker has run, and forks none.
STOPPED = """#!/bin/sh
case "$*" in *axsched_hpc.forking*) exit 1 ;; esac
kill -STOP $$
exec "{python}" "$@"
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


@pytest.fixture
def jobs(workshop: Workshop) -> Iterator[LocalJobs]:
    made = LocalJobs()
    yield made
    left = [job for found in made.find(workshop.batches).values() for job in found.values()]
    made.cancel(left)
    _until(lambda: all(status.state.final for status in made.poll(left).values()))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no worker of ours."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, "not reached within 30 s"
        time.sleep(0.02)


def _name(pid: int, *, later: int = 0, host: str | None = None) -> str:
    start = processes.start_ticks(pid)
    assert start is not None
    return f"{pid}.{start + later}@{host or processes.hostname()}"


def _end(jobs: LocalJobs, job: str) -> JobStatus:
    _until(lambda: jobs.poll([job])[job].state.final)
    return jobs.poll([job])[job]


def _claim(batch: Batch, index: int = 0) -> claim.Claim | None:
    return claim.read(AttemptFiles(batch.attempts[index].directory))


# ---------------------------------------------------------------- which process is meant


def test_a_reused_pid_is_told(sleeper: subprocess.Popen[bytes]) -> None:
    real, reused = _name(sleeper.pid), _name(sleeper.pid, later=1)
    known = LocalJobs().poll([real, reused])
    assert known[real].state is JobState.RUNNING
    assert (known[reused].state, known[reused].raw) == (JobState.FAILED, "gone")


def test_a_reused_pid_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    LocalJobs().cancel([_name(sleeper.pid, later=1)])
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.2)


def test_a_process_of_another_host_is_unknown_and_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    job = _name(sleeper.pid, host="elsewhere.example")
    jobs = LocalJobs()
    assert jobs.poll([job]) == {}
    jobs.cancel([job])
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.2)


@pytest.mark.parametrize(
    "job", ["", "12", "12_3", "1.2", "@", ".@", "a.1@{host}", "1.b@{host}", "-1.0@{host}"]
)
def test_what_is_no_job_id_is_unknown(job: str) -> None:
    name = job.format(host=processes.hostname())
    jobs = LocalJobs()
    jobs.cancel([name])
    assert jobs.poll([name]) == {}


def test_a_zombie_has_ended() -> None:
    process = subprocess.Popen(["true"])
    job = _name(process.pid)
    # Waits for the end without taking it, so that the process stays a zombie.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert LocalJobs().poll([job])[job].state is JobState.FAILED
    finally:
        process.wait()


def test_no_zombie_is_left(jobs: LocalJobs, workshop: Workshop) -> None:
    job = jobs.submit(workshop.batch(Task()))[0]
    assert _end(jobs, job) == JobStatus(JobState.SUCCEEDED, "exit 0", node=processes.hostname(), exit_code=0)
    assert processes.start_ticks(int(job.partition(".")[0])) is None


# ---------------------------------------------------------------- starting


def test_a_surrounding_job_does_not_leak(
    jobs: LocalJobs, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("JOB_ID", "77"),
        ("ARRAY_JOB_ID", "77"),
        ("ARRAY_TASK_ID", "3"),
        ("RESTART_COUNT", "2"),
    ):
        monkeypatch.setenv(f"SLURM_{name}", value)
    batch = workshop.batch(Task(), Task())
    for job in jobs.submit(batch).values():
        assert _end(jobs, job).state is JobState.SUCCEEDED
    assert workshop.executions() == [0, 1]
    for index in (0, 1):
        found = _claim(batch, index)
        assert found is not None and (found.job, found.restart) == (None, 0)


def test_a_worker_that_cannot_begin_says_why(jobs: LocalJobs, workshop: Workshop) -> None:
    batch = workshop.batch(Task())
    batch.manifest.unlink()
    job = jobs.submit(batch)[0]
    status = _end(jobs, job)
    assert (status.state, status.exit_code, status.signal) == (JobState.FAILED, 2, None)
    assert f"the manifest {batch.manifest} cannot be read" in jobs.log(batch, 0, job).read_text()


def test_a_program_that_cannot_be_started(jobs: LocalJobs, workshop: Workshop) -> None:
    batch = dataclasses.replace(workshop.batch(Task()), python="/no/such/python")
    with pytest.raises(SubmissionError, match="/no/such/python") as caught:
        jobs.submit(batch)
    assert not caught.value.transient


# ---------------------------------------------------------------- ending


def test_cancel_ends_the_script_too(jobs: LocalJobs, workshop: Workshop) -> None:
    batch = workshop.batch(LONG)
    job = jobs.submit(batch)[0]
    _until(lambda: workshop.started(batch, 0))
    worker = int(job.partition(".")[0])
    (script,) = _children(worker)
    jobs.cancel([job])
    status = _end(jobs, job)
    assert (status.state, status.signal) == (JobState.CANCELLED, signal.SIGTERM)
    assert processes.start_ticks(script) is None
    assert workshop.outcome(batch, 0) is None


def test_a_worker_that_ignores_the_request_is_killed(
    jobs: LocalJobs, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_jobs, "GRACE", 0.3)

    def stubborn(parameters: dict[str, object]) -> dict[str, float]:
        import signal
        import time
        from pathlib import Path

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(str(parameters["started"])).touch()
        time.sleep(600)
        return {"value": 0.0}

    workshop.objective = install(workshop.layout, stubborn)
    batch = workshop.batch(Task())
    job = jobs.submit(batch)[0]
    _until(lambda: workshop.started(batch, 0))
    jobs.cancel([job])
    assert jobs.poll([job])[job].state is JobState.RUNNING
    # Asking again gives no more time.
    jobs.cancel([job])
    status = _end(jobs, job)
    assert (status.state, status.signal, status.exit_code) == (JobState.FAILED, signal.SIGKILL, None)
    assert workshop.outcome(batch, 0) is None


def test_a_worker_killed_by_others_is_no_success(jobs: LocalJobs, workshop: Workshop) -> None:
    batch = workshop.batch(Task(seconds=1))
    job = jobs.submit(batch)[0]
    _until(lambda: workshop.started(batch, 0))
    os.kill(int(job.partition(".")[0]), signal.SIGKILL)
    status = _end(jobs, job)
    assert (status.state, status.signal, status.exit_code) == (JobState.FAILED, signal.SIGKILL, None)


# ---------------------------------------------------------------- outliving the driver


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "not yet claimed"])
def test_jobs_survive_a_killed_driver_and_are_found(
    claimed: bool, jobs: LocalJobs, workshop: Workshop, tmp_path: Path
) -> None:
    batch = workshop.batch(LONG)
    stopped = tmp_path / "stopped"
    stopped.write_text(STOPPED.format(python=sys.executable))
    stopped.chmod(0o755)
    python = batch.python if claimed else str(stopped)
    words = [batch.token, batch.manifest, batch.attempts[0].directory, batch.folder, python]
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
        text=True,
    ) as driver:
        assert driver.stdout is not None
        job = driver.stdout.readline().strip()
        pid = int(job.partition(".")[0])
        _until(lambda: workshop.started(batch, 0) if claimed else _state(pid) == "T")
        # The whole group, as a terminal that closes or the out-of-memory killer takes it.
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert (_claim(batch) is not None) is claimed
    assert jobs.find([batch]) == {batch.token: {0: job}}
    assert jobs.poll([job])[job].state is JobState.RUNNING
    if not claimed:
        os.kill(pid, signal.SIGCONT)
        _until(lambda: workshop.started(batch, 0))
    jobs.cancel([job])
    # The exit code went to the driver that is gone.
    assert _end(jobs, job).state is JobState.FAILED
    assert jobs.find([batch]) == {batch.token: {0: job}}


def test_another_batch_is_not_found(jobs: LocalJobs, workshop: Workshop) -> None:
    first, second = workshop.batch(LONG), workshop.batch(LONG)
    jobs.submit(first)
    assert jobs.find([second]) == {}


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
