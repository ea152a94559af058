"""Claims: one process per attempt, take-over by a requeued job, closing by the driver."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from axsched_hpc.io import claim, processes
from axsched_hpc.io.claim import Claim, Claimer
from axsched_hpc.io.layout import AttemptFiles


@pytest.fixture
def files(tmp_path: Path) -> AttemptFiles:
    return AttemptFiles(tmp_path)


def worker(job: str | None = "41", restart: int = 0, token: str = "t") -> Claim:
    environment = {"SLURM_RESTART_COUNT": str(restart)} | ({"SLURM_JOB_ID": job} if job else {})
    return claim.mine(token, Claimer.WORKER, environment=environment)


def test_the_first_claim_counts(files: AttemptFiles) -> None:
    assert claim.read(files) is None
    first = worker()
    assert claim.take(files, first)
    assert not claim.take(files, worker("42"))
    assert not claim.take(files, worker(None))
    assert claim.read(files) == first
    assert (first.by, first.host, first.pid) == (Claimer.WORKER, os.uname().nodename, os.getpid())
    assert processes.alive(first.host, first.pid, first.start, first.boot)


def test_the_job_is_named_as_squeue_does() -> None:
    array = {"SLURM_JOB_ID": "45", "SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "4"}
    assert claim.job_id(array) == "41_4"
    assert claim.job_id({"SLURM_JOB_ID": "45"}) == "45"
    assert claim.job_id({}) is None


def test_a_requeued_job_takes_over_each_time(files: AttemptFiles) -> None:
    for restart in (0, 1, 4):  # Slurm's count may skip an execution that died before its claim
        assert claim.take(files, worker(restart=restart))
        held = claim.read(files)
        assert held is not None and held.restart == restart
        assert not claim.take(files, worker(restart=restart))
    assert not claim.take(files, worker(restart=3))
    assert sorted(os.listdir(files.root)) == [  # noqa: PTH208
        "claim-restart-1.json",
        "claim-restart-2.json",
        "claim.json",
    ]


def test_only_the_same_job_takes_over(files: AttemptFiles) -> None:
    assert claim.take(files, worker("41"))
    assert not claim.take(files, worker("42", restart=1))
    assert not claim.take(files, worker("41", restart=1, token="other"))
    assert not claim.take(files, worker(None, restart=1))


def test_jobs_without_slurm_never_take_over(files: AttemptFiles) -> None:
    assert claim.take(files, worker(None))
    assert not claim.take(files, worker(None, restart=1))


def test_the_driver_closes_what_nobody_has_claimed(files: AttemptFiles) -> None:
    assert claim.close(files, "never submitted")
    assert claim.close(files, "again")
    assert not claim.take(files, worker())
    assert not claim.take(files, worker(restart=1))
    held = claim.read(files)
    assert held is not None
    assert (held.by, held.reason, held.job) == (Claimer.DRIVER, "never submitted", None)


def test_the_driver_does_not_close_what_a_worker_has(files: AttemptFiles) -> None:
    assert claim.take(files, worker())
    assert not claim.close(files, "never submitted")
    held = claim.read(files)
    assert held is not None and held.by is Claimer.WORKER
    assert claim.take(files, worker(restart=1))


def test_what_is_given_up_cannot_be_taken_over(files: AttemptFiles) -> None:
    assert claim.take(files, worker())
    assert claim.take(files, worker(restart=1))
    claim.give_up(files, "lost")
    claim.give_up(files, "lost")
    assert not claim.take(files, worker(restart=2))
    held = claim.read(files)
    assert held is not None and held.by is Claimer.DRIVER


def test_giving_up_an_unclaimed_attempt_closes_it(files: AttemptFiles) -> None:
    claim.give_up(files, "lost")
    assert not claim.take(files, worker())


def test_what_a_worker_began_has_begun_also_when_it_is_given_up(files: AttemptFiles) -> None:
    assert not claim.begun(files)
    assert claim.take(files, worker())
    claim.give_up(files, "its node failed")
    assert claim.begun(files)


def test_what_the_driver_closed_has_never_begun(files: AttemptFiles) -> None:
    assert claim.close(files, "never submitted")
    assert not claim.begun(files)


def test_driver_and_requeued_worker_never_both_win(files: AttemptFiles) -> None:
    for number in range(30):
        attempt = AttemptFiles(files.root / str(number))
        attempt.root.mkdir()
        assert claim.take(attempt, worker())
        with ThreadPoolExecutor(2) as pool:
            taken = pool.submit(claim.take, attempt, worker(restart=7))
            pool.submit(claim.give_up, attempt, "lost").result()
        held = claim.read(attempt)
        # Given up after the take-over, or before it; in both cases the driver has the last word.
        assert held is not None and held.by is Claimer.DRIVER
        names = sorted(path.name for path in attempt.root.iterdir())
        assert len(names) == (3 if taken.result() else 2)


def test_the_same_claim_may_be_taken_again(files: AttemptFiles) -> None:
    # As a worker does that met an error of the filesystem after its claim was made.
    first, requeued = worker(), worker(restart=1)
    for each in (first, first, requeued, requeued):
        assert claim.take(files, each)
    assert not claim.take(files, first)
    assert not claim.take(files, replace(requeued, pid=requeued.pid + 1))


def test_a_damaged_claim_is_named(files: AttemptFiles) -> None:
    files.claim.write_text('{"format": 1, "by": "somebody"}')
    with pytest.raises(ValueError, match=r"claim\.json: field 'by' is neither"):
        claim.read(files)


def test_processes_are_told_apart() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host, start, boot = processes.hostname(), processes.start_ticks(child.pid), processes.boot_id()
    assert start is not None and boot is not None
    assert processes.alive(host, child.pid, start, boot) is True
    assert processes.alive(host, child.pid, start + 1, boot) is False
    assert processes.alive(host, child.pid, start, "another boot") is False
    assert processes.alive(f"not-{host}", child.pid, start, boot) is None
    assert processes.alive(host, child.pid, None, None) is True
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.alive(host, child.pid, start, boot) is False  # a zombie
    child.wait()
    assert processes.start_ticks(child.pid) is None
    assert processes.alive(host, child.pid, None, None) is False


def test_a_claim_of_a_dead_process_still_counts(files: AttemptFiles) -> None:
    dead = replace(worker(None), pid=2**22 + 1, start=1)
    assert claim.take(files, dead)
    assert not claim.take(files, worker(None))


def test_executions_are_counted(files: AttemptFiles) -> None:
    assert claim.executions(files) == 0
    for count, restart in enumerate((0, 1, 4), start=1):
        assert claim.take(files, worker(restart=restart))
        assert claim.executions(files) == count
    assert claim.latest(files).name == "claim-restart-2.json"
    claim.give_up(files, "lost")
    assert claim.executions(files) == 3
    assert claim.latest(files).name == "claim-restart-3.json"


def test_an_attempt_that_the_driver_closed_was_never_begun(files: AttemptFiles) -> None:
    assert claim.close(files, "never submitted")
    assert claim.executions(files) == 0
