"""What squeue and sacct say together: which of them is believed, and what happens where one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError
from axsched_hpc.core.states import JobState
from axsched_hpc.runners.base import Batch, BatchAttempt
from axsched_hpc.runners.slurm_jobs import SlurmJobs
from axsched_hpc.slurm.run import Completed

Answer = Completed | Exception


class Slurm:
    """Gives prepared answers, and remembers what was asked."""

    def __init__(self, squeue: str = "", sacct: str | Answer = "") -> None:
        self.squeue: Answer = Completed(0, squeue, "")
        self.sacct: Answer = Completed(0, sacct, "") if isinstance(sacct, str) else sacct
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str]) -> Completed:
        self.asked.append(argv[0])
        answer = {"squeue": self.squeue, "sacct": self.sacct, "scancel": Completed(0, "", "")}[argv[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def shown(job: str, state: str, reason: str = "None") -> str:
    return f"{job}|{state}|{reason}|n1|2026-11-23T22:17:36|2026-11-23T22:17:36|name\n"


def kept(job: str, state: str, code: str = "0:0") -> str:
    return f"{job}|{state}|{code}|n1|2026-11-23T22:17:36|Unknown|Unknown|name|None\n"


def states(slurm: Slurm, *jobs: str) -> dict[str, JobState]:
    return {job: status.state for job, status in SlurmJobs({}, execute=slurm).poll(jobs).items()}


def test_what_squeue_knows_needs_no_sacct() -> None:
    slurm = Slurm(shown("5_0", "RUNNING") + shown("5_1", "COMPLETED"))
    assert states(slurm, "5_0", "5_1") == {"5_0": JobState.RUNNING, "5_1": JobState.SUCCEEDED}
    assert slurm.asked == ["squeue"]


def test_sacct_has_the_exit_code_of_a_failure() -> None:
    slurm = Slurm(shown("5_0", "FAILED", "NonZeroExitCode"), kept("5_0", "FAILED", "3:0"))
    status = SlurmJobs({}, execute=slurm).poll(["5_0"])["5_0"]
    assert (status.state, status.exit_code, status.signal) == (JobState.FAILED, 3, None)


def test_a_requeued_job_waits_whatever_sacct_says() -> None:
    assert states(Slurm(shown("5_0", "PENDING"), kept("5_0", "PREEMPTED")), "5_0") == {"5_0": JobState.QUEUED}


def test_what_squeue_has_forgotten_is_in_the_records() -> None:
    slurm = Slurm("", kept("5_0", "TIMEOUT") + kept("5_1", "OUT_OF_MEMORY", "0:125"))
    assert states(slurm, "5_0", "5_1") == {"5_0": JobState.TIMED_OUT, "5_1": JobState.OUT_OF_MEMORY}


@pytest.mark.parametrize("word", ["PENDING", "RUNNING", "COMPLETING"])
def test_a_record_of_a_job_that_squeue_no_longer_has_is_out_of_date(word: str) -> None:
    assert states(Slurm("", kept("5_0", word)), "5_0") == {}


def test_the_bare_id_stands_for_tasks_that_were_cancelled_while_they_waited() -> None:
    slurm = Slurm(shown("5", "CANCELLED") + shown("5_0", "COMPLETED"))
    assert states(slurm, "5_0", "5_1") == {"5_0": JobState.SUCCEEDED, "5_1": JobState.CANCELLED}
    assert states(Slurm("", kept("5", "CANCELLED by 0")), "5_1") == {"5_1": JobState.CANCELLED}


def test_the_record_of_a_task_is_believed_before_the_bare_id() -> None:
    slurm = Slurm(shown("5", "CANCELLED"), kept("5_0", "COMPLETED"))
    assert states(slurm, "5_0", "5_1") == {"5_0": JobState.SUCCEEDED, "5_1": JobState.CANCELLED}


def test_what_was_cancelled_and_is_forgotten_is_cancelled() -> None:
    slurm = Slurm(shown("5_1", "PENDING"))
    jobs = SlurmJobs({}, execute=slurm)
    assert "5_0" not in jobs.poll(["5_0", "5_1"])
    jobs.cancel(["5_0"])
    assert jobs.poll(["5_0", "5_1"])["5_0"].state is JobState.CANCELLED


def test_ids_that_are_none_of_slurm_s_are_not_asked_for() -> None:
    slurm = Slurm()
    jobs = SlurmJobs({}, execute=slurm)
    assert jobs.poll(["host:17", "5_x", "--me", ""]) == {}
    jobs.cancel(["host:17", "--me", ""])
    assert slurm.asked == []


def test_a_site_without_records_is_not_asked_each_time() -> None:
    slurm = Slurm("", Completed(1, "", "Slurm accounting storage is disabled\n"))
    jobs = SlurmJobs({}, execute=slurm)
    for _ in range(3):
        assert jobs.poll(["5_0"]) == {}
    assert slurm.asked == ["squeue", "sacct", "squeue", "squeue"]


@pytest.mark.parametrize(
    "failure",
    [
        ClusterUnavailableError("sacct did not answer within 60 s.", transient=True),
        ClusterUnavailableError("sacct is not on PATH"),
        Completed(1, "", "sacct: error: Problem talking to the database: Connection refused\n"),
    ],
)
def test_without_the_database_the_controller_is_enough(
    failure: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    slurm = Slurm(shown("5_0", "RUNNING"), failure)
    jobs = SlurmJobs({}, execute=slurm)
    for _ in range(3):
        assert {job: status.state for job, status in jobs.poll(["5_0", "6_0"]).items()} == {
            "5_0": JobState.RUNNING
        }
    assert slurm.asked.count("sacct") == 1
    assert "accounting did not answer" in caplog.text


def test_without_the_controller_nothing_is_said() -> None:
    slurm = Slurm("", kept("5_0", "COMPLETED"))
    slurm.squeue = Completed(1, "", "slurm_load_jobs error: Unable to contact slurm controller\n")
    with pytest.raises(ClusterUnavailableError):
        states(slurm, "5_0")
    assert slurm.asked == ["squeue"]


@pytest.mark.parametrize("number", [1, 30, 3000])
def test_the_number_of_questions_is_that_of_no_jobs(number: int) -> None:
    slurm = Slurm()
    SlurmJobs({}, execute=slurm).poll([f"{5 + task % 7}_{task}" for task in range(number)])
    SlurmJobs({}, execute=slurm).poll([str(task) for task in range(1, number + 1)])
    assert slurm.asked == ["squeue", "sacct"] * 2


def batch(folder: Path, size: int, token: str = "name") -> Batch:
    attempts = tuple(BatchAttempt(number, 1, folder / str(number)) for number in range(size))
    return Batch(token, folder / f"{token}.json", attempts, folder)


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., dict[str, dict[int, str]]]:
    def ask(slurm: Slurm, size: int, most: int = 1000) -> dict[str, dict[int, str]]:
        return SlurmJobs({}, max_array_size=most, execute=slurm).find([batch(tmp_path, size)])

    return ask


def test_find_by_name(find: Callable[..., dict[str, dict[int, str]]]) -> None:
    slurm = Slurm(shown("5_0", "RUNNING") + shown("5_1", "PENDING"))
    assert find(slurm, 2) == {"name": {0: "5_0", 1: "5_1"}}
    assert slurm.asked == ["squeue"]
    slurm = Slurm(shown("5_1", "RUNNING"), kept("5_0", "COMPLETED"))
    assert find(slurm, 2) == {"name": {0: "5_0", 1: "5_1"}}
    assert slurm.asked == ["squeue", "sacct"]


def test_find_a_batch_of_several_arrays(find: Callable[..., dict[str, dict[int, str]]]) -> None:
    second = shown("6_0", "PENDING").replace("|name", "|name-2")
    assert find(Slurm(shown("5_0", "RUNNING") + shown("5_1", "RUNNING") + second), 3, 2) == {
        "name": {0: "5_0", 1: "5_1", 2: "6_0"}
    }
    # The bare id stands for the tasks of its own array only.
    assert find(Slurm(shown("5", "CANCELLED") + second), 3, 2) == {"name": {0: "5_0", 1: "5_1", 2: "6_0"}}


def test_find_nothing(find: Callable[..., dict[str, dict[int, str]]]) -> None:
    assert find(Slurm(shown("5_0", "RUNNING").replace("|name", "|other")), 1) == {}


def test_a_folder_whose_name_slurm_would_change(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose a job_output_dir without %"):
        SlurmJobs({}, execute=Slurm()).prepare(tmp_path / "100%j")
