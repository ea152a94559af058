"""How often Slurm is asked, and what follows from its answers: counted where the commands are run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.states import JobState
from axsched_hpc.runners import slurm_jobs
from axsched_hpc.runners.base import Batch, BatchAttempt
from axsched_hpc.runners.slurm_jobs import SlurmJobs
from axsched_hpc.slurm.run import Completed
from tests.unit.test_slurm_parse import recorded

NO_ACCOUNTING = Completed(1, "", "Slurm accounting storage is disabled\n")
NOTHING = Completed(0, "", "")


class Slurm:
    """Answers squeue and sacct with the given lines, and counts."""

    def __init__(self, squeue: Completed = NOTHING, sacct: Completed = NOTHING) -> None:
        self.answers = {"squeue": squeue, "sacct": sacct, "scancel": NOTHING}
        self.asked: list[list[str]] = []

    def __call__(self, argv: Sequence[str]) -> Completed:
        self.asked.append(list(argv))
        return self.answers[argv[0]]

    @property
    def programs(self) -> list[str]:
        return [argv[0] for argv in self.asked]


def _squeue(*rows: tuple[str, str]) -> Completed:
    lines = [f"{job}|{state}|None|n1|2026-11-23T22:17:36|2026-11-23T22:17:36|name" for job, state in rows]
    return Completed(0, "\n".join(lines), "")


def _sacct(*rows: tuple[str, str, str]) -> Completed:
    lines = [f"{job}|{state}|{code}|n1|Unknown|Unknown|Unknown|name|None" for job, state, code in rows]
    return Completed(0, "\n".join(lines), "")


def _answer(command: str, name: str) -> Completed:
    said = recorded(f"{command}-{name}")
    return Completed(said.code, said.out, said.err)


def _arrays(count: int, size: int) -> list[str]:
    return [f"{1000 + number // size}_{number % size}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 100, 1000, 5000])
@pytest.mark.parametrize("size", [1, 100], ids=["alone", "in arrays"])
def test_one_squeue_where_it_knows_all(count: int, size: int) -> None:
    jobs = _arrays(count, size)
    slurm = Slurm(_squeue(*((job, "RUNNING") for job in jobs)))
    known = SlurmJobs({}, execute=slurm).poll(jobs)
    assert {status.state for status in known.values()} == {JobState.RUNNING}
    assert list(known) == jobs
    assert slurm.programs == ["squeue"]
    assert max(len(word) for argv in slurm.asked for word in argv) < 100_000


@pytest.mark.parametrize("count", [1, 100, 1000, 5000])
def test_one_sacct_where_squeue_leaves_questions(count: int) -> None:
    jobs = _arrays(count, 100)
    slurm = Slurm(sacct=_sacct(*((job, "COMPLETED", "0:0") for job in jobs)))
    known = SlurmJobs({}, execute=slurm).poll(jobs)
    assert list(known) == jobs
    assert {status.state for status in known.values()} == {JobState.SUCCEEDED}
    assert slurm.programs == ["squeue", "sacct"]


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_find_asks_once_whatever_the_number_of_batches(count: int, tmp_path: Path) -> None:
    slurm = Slurm()
    batches = [_batch(tmp_path, f"token-{number}", 1) for number in range(count)]
    assert SlurmJobs({}, execute=slurm).find(batches) == {}
    assert slurm.programs == ["squeue", "sacct"]


def test_nothing_is_asked_for_nothing() -> None:
    slurm = Slurm()
    jobs = SlurmJobs({}, execute=slurm)
    assert jobs.poll([]) == {} and jobs.find([]) == {} and jobs.poll(["host:12"]) == {}
    jobs.cancel([])
    assert slurm.asked == []


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (500, 1), (501, 2)])
def test_cancel_names_hundreds_of_jobs_at_a_time(count: int, calls: int) -> None:
    slurm = Slurm()
    jobs = _arrays(count, 100)
    SlurmJobs({}, execute=slurm).cancel(jobs)
    assert [word for argv in slurm.asked for word in argv if word[0].isdecimal()] == jobs
    assert slurm.programs == ["scancel"] * calls


def test_a_site_without_accounting_is_asked_again_only_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(sacct=NO_ACCOUNTING)
    jobs = SlurmJobs({}, execute=slurm)
    for _ in range(3):
        assert jobs.poll(["7"]) == {} and jobs.find([_batch(tmp_path, "token", 1)]) == {}
    assert slurm.programs.count("sacct") == 1
    # As if that time were over.
    monkeypatch.setattr(slurm_jobs, "ASK_AGAIN", 0.0)
    again = SlurmJobs({}, execute=slurm)
    again.poll(["7"])
    slurm.answers["sacct"] = _sacct(("7", "COMPLETED", "0:0"))
    assert again.poll(["7"])["7"].state is JobState.SUCCEEDED
    assert slurm.programs.count("sacct") == 3


_ARRAY = _squeue(("7_0", "RUNNING"), ("7_1", "PENDING"), ("7_2", "PENDING"))


@pytest.mark.parametrize(
    ("before", "after", "age", "seen"),
    [
        (_ARRAY, _squeue(("7_0", "RUNNING"), ("7_2", "PENDING")), 300, JobState.CANCELLED),
        # It can have run and been forgotten since.
        (_ARRAY, _squeue(("7_0", "RUNNING"), ("7_2", "PENDING")), 0, None),
        (_squeue(("7_0", "RUNNING"), ("7_1", "RUNNING")), _squeue(("7_0", "RUNNING")), 300, None),
        # The controller has lost the whole array.
        (_ARRAY, NOTHING, 300, None),
        (_ARRAY, _squeue(("8", "RUNNING")), 300, None),
    ],
)
def test_a_waiting_task_that_vanishes_was_cancelled(
    before: Completed, after: Completed, age: int, seen: JobState | None
) -> None:
    slurm = Slurm(before, NO_ACCOUNTING)
    slurm.answers["scontrol"] = Completed(0, f"MaxJobCount = 9\nMinJobAge               = {age} sec\n", "")
    jobs = SlurmJobs({}, execute=slurm)
    jobs.poll(["7_0", "7_1"])
    slurm.answers["squeue"] = after
    for _ in range(2):
        status = jobs.poll(["7_0", "7_1"]).get("7_1")
        assert (status.state if status is not None else None) is seen


def test_accounting_that_does_not_answer_is_asked_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm = Slurm(sacct=_answer("sacct", "database-down"))
    now = [1000.0]
    monkeypatch.setattr(slurm_jobs.time, "monotonic", lambda: now[0])
    jobs = SlurmJobs({}, execute=slurm)
    asked = []
    for _ in range(3600):
        before = slurm.programs.count("sacct")
        jobs.poll(["7"])
        if slurm.programs.count("sacct") > before:
            asked.append(now[0])
        now[0] += 1
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses[:7] == [60, 120, 240, 480, 600, 600, 600]
    slurm.answers["sacct"] = _sacct(("7", "COMPLETED", "0:0"))
    now[0] += 600
    assert jobs.poll(["7"])["7"].state is JobState.SUCCEEDED
    slurm.answers["sacct"] = _answer("sacct", "database-down")
    jobs.poll(["7"])
    now[0] += 60
    slurm.asked.clear()
    jobs.poll(["7"])
    assert slurm.programs == ["squeue", "sacct"]


@pytest.mark.parametrize("kind", ["preempted-requeued", "node-fail-requeued"])
def test_squeue_is_right_about_a_requeued_job(kind: str) -> None:
    slurm = Slurm(_answer("squeue", kind), _answer("sacct", kind))
    (job,) = [line.partition("|")[0] for line in slurm.answers["squeue"].out.splitlines()]
    assert SlurmJobs({}, execute=slurm).poll([job])[job].state is JobState.QUEUED
    assert slurm.programs == ["squeue"]


@pytest.mark.parametrize("sacct", [NO_ACCOUNTING, _answer("sacct", "database-down"), NOTHING])
def test_a_failed_job_without_accounting(sacct: Completed) -> None:
    slurm = Slurm(_answer("squeue", "failed"), sacct)
    status = SlurmJobs({}, execute=slurm).poll(["36"])["36"]
    assert (status.state, status.exit_code, status.reason) == (JobState.FAILED, None, "NonZeroExitCode")


@pytest.mark.parametrize(
    "ask",
    [
        lambda jobs, batch: jobs.poll(["4"]),
        lambda jobs, batch: jobs.find([batch]),
        lambda jobs, batch: jobs.cancel(["4"]),
    ],
    ids=["poll", "find", "cancel"],
)
def test_a_controller_that_is_down_decides_nothing(
    ask: Callable[[SlurmJobs, Batch], object], tmp_path: Path
) -> None:
    slurm = Slurm(_answer("squeue", "controller-down"))
    slurm.answers["scancel"] = _answer("scancel", "controller-down")
    with pytest.raises(ClusterUnavailableError, match="Unable to contact slurm controller") as caught:
        ask(SlurmJobs({}, execute=slurm), _batch(tmp_path, "token", 1))
    assert caught.value.transient


def _batch(folder: Path, token: str, count: int) -> Batch:
    attempts = tuple(BatchAttempt(number, 1, folder / str(number)) for number in range(count))
    return Batch(token, folder / f"{token}.json", attempts, folder)
