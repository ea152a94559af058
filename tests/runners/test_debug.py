"""The debug executor: attempts inside this process, one per look."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from axsched_hpc import ConfigError, SubmititRunner
from axsched_hpc.core.states import JobState
from axsched_hpc.testing.runner_contract import Task, Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


def test_each_look_runs_the_first_that_waits(workshop: Workshop) -> None:
    runner = SubmititRunner("debug", 3)
    jobs = list(runner.submit(workshop.batch(Task(), Task(exit_code=7), Task())).values())
    assert workshop.executions() == []
    ended, failed, waits = JobState.SUCCEEDED, JobState.FAILED, JobState.QUEUED
    for count, expected in enumerate(
        ([ended, waits, waits], [ended, failed, waits], [ended, failed, ended]), start=1
    ):
        assert [status.state for status in runner.poll(jobs).values()] == expected
        assert workshop.executions() == list(range(count))
    assert runner.poll(jobs)[jobs[1]].exit_code == 1


def test_what_is_cancelled_does_not_run(workshop: Workshop) -> None:
    runner = SubmititRunner("debug", 2)
    first, second = runner.submit(workshop.batch(Task(), Task())).values()
    runner.cancel([first])
    assert [status.state for status in runner.poll([first, second]).values()] == [
        JobState.CANCELLED,
        JobState.SUCCEEDED,
    ]
    assert workshop.executions() == [1]


def test_jobs_of_a_process_that_is_gone_have_ended(workshop: Workshop) -> None:
    code = (
        "import sys; from pathlib import Path; from axsched_hpc import SubmititRunner\n"
        "from axsched_hpc.testing.runner_contract import Task, Workshop\n"
        "print(SubmititRunner('debug', 1).submit(Workshop.at(Path(sys.argv[1])).batch(Task()))[0])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(workshop.layout.root.parent)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    job = done.stdout.strip()
    status = SubmititRunner("debug", 1).poll([job])[job]
    assert (status.state, status.reason) == (JobState.FAILED, "the process that ran it has ended")


def test_a_parameter_that_submitit_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Unknown argument 'partitions' for executor 'slurm'"):
        SubmititRunner("debug", 1, slurm_partitions="main").prepare(tmp_path)
