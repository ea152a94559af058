"""Workers that are forked are as those that were started, and drivers find and end them as well."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import forking
from axsched_hpc.core.states import JobState
from axsched_hpc.io import processes
from axsched_hpc.objectives.install import install
from axsched_hpc.runners import forks
from axsched_hpc.runners.base import Batch
from axsched_hpc.runners.child_jobs import BoundJobs
from axsched_hpc.runners.forks import Forks
from axsched_hpc.runners.local_jobs import LocalJobs
from axsched_hpc.testing.runner_contract import Task, Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalJobs]:
    monkeypatch.setattr(forks, "PATIENCE", 30.0)
    # It changes with each test's phase, and another environment takes another process.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    yield LocalJobs()


@pytest.fixture(params=["forked", "started"])
def either(request: pytest.FixtureRequest, jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch) -> LocalJobs:
    """Jobs whose workers are forked, and jobs whose workers are started by themselves."""
    if request.param == "started":
        monkeypatch.setattr(forking, "runs", lambda words: False)
    return jobs


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, "not reached within 30 s"
        time.sleep(0.01)


def _pid(job: str) -> int:
    return int(job.partition(".")[0])


def _source(jobs: LocalJobs, job: str) -> int:
    """The process of which a worker was forked."""
    assert job in jobs._forked, "it was started by itself"
    return int(Path(f"/proc/{_pid(job)}/stat").read_text().rpartition(")")[2].split()[1])


def _batch(workshop: Workshop, function: Callable[[dict[str, Any]], Any], count: int = 1) -> Batch:
    workshop.objective = install(workshop.layout, function)
    return workshop.batch(*[Task()] * count)


def _ended(jobs: LocalJobs, submitted: dict[int, str]) -> None:
    names = list(submitted.values())
    _until(lambda: all(status.state.final for status in jobs.poll(names).values()))


def test_what_a_function_does_last_is_done(either: LocalJobs, workshop: Workshop) -> None:
    def last(parameters: dict[str, Any]) -> dict[str, float]:
        import atexit
        import builtins
        import threading
        import time
        from pathlib import Path

        folder = Path(parameters["executions"]).parent
        atexit.register((folder / "atexit").touch)
        builtins.kept = (folder / "unflushed").open("w")  # type: ignore[attr-defined]
        builtins.kept.write("all of it")  # type: ignore[attr-defined]
        threading.Thread(target=lambda: (time.sleep(0.2), (folder / "thread").touch())).start()
        print("printed")  # noqa: T201
        return {"value": 1.0}

    batch = _batch(workshop, last)
    submitted = either.submit(batch)
    _ended(either, submitted)
    folder = Path(str(workshop.layout.root))
    found = {path.name: path for path in folder.rglob("*")}
    assert {"atexit", "thread"} <= set(found)
    assert found["unflushed"].read_text() == "all of it"
    assert (batch.attempts[0].directory / "stdout.log").read_text() == "printed\n"


def test_each_has_chances_of_its_own(jobs: LocalJobs, workshop: Workshop) -> None:
    def draw(parameters: dict[str, Any]) -> dict[str, float]:
        import random

        return {"value": random.random()}

    batch = _batch(workshop, draw, 3)
    _ended(jobs, jobs.submit(batch))
    values = [workshop.outcome(batch, index).metrics["value"][0] for index in range(3)]  # type: ignore[union-attr,index]
    assert len(set(values)) == 3


def test_its_command_line_names_the_attempt(jobs: LocalJobs, workshop: Workshop) -> None:
    batch = workshop.batch(Task(seconds=600), Task(seconds=600))
    submitted = jobs.submit(batch)
    words = Path(f"/proc/{_pid(submitted[1])}/cmdline").read_text().rstrip("\0").split("\0")
    assert words == batch.command(1)
    source = Path(f"/proc/{_source(jobs, submitted[0])}/cmdline").read_text()
    assert source.rstrip("\0").split("\0")[1:4] == ["-u", "-m", "axsched_hpc.forking"]
    assert LocalJobs().find([batch]) == {batch.token: submitted}
    # At once: one may not have begun yet, and leads no session then.
    jobs.cancel(list(submitted.values()))
    _ended(jobs, submitted)
    assert {status.state for status in jobs.poll(list(submitted.values())).values()} == {JobState.CANCELLED}


def test_another_environment_takes_another_process(
    jobs: LocalJobs, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(parameters: dict[str, Any]) -> dict[str, float]:
        import os
        from pathlib import Path

        return {"value": float(os.environ.get("TEST_VALUE", "0")), "here": float(Path.cwd().name == "b")}

    batches = [_batch(workshop, look) for _ in range(4)]
    (tmp_path / "b").mkdir()
    first, second = jobs.submit(batches[0]), jobs.submit(batches[1])
    assert _source(jobs, first[0]) == _source(jobs, second[0])
    monkeypatch.setenv("TEST_VALUE", "7")
    third = jobs.submit(batches[2])
    monkeypatch.chdir(tmp_path / "b")
    fourth = jobs.submit(batches[3])
    for submitted in (first, second, third, fourth):
        _ended(jobs, submitted)
    found = [workshop.outcome(batch, 0).metrics for batch in batches]  # type: ignore[union-attr]
    seen = [(m["value"][0], m["here"][0]) for m in found if m is not None]
    assert seen == [(0.0, 0.0), (0.0, 0.0), (7.0, 0.0), (7.0, 1.0)]


def test_workers_outlive_the_process_of_which_they_were_forked(jobs: LocalJobs, workshop: Workshop) -> None:
    batch = workshop.batch(Task(seconds=600))
    job = jobs.submit(batch)[0]
    _until(lambda: workshop.started(batch, 0))
    os.kill(_source(jobs, job), signal.SIGKILL)
    later = workshop.batch(Task())
    submitted = jobs.submit(later)
    _ended(jobs, submitted)
    assert jobs.poll([submitted[0]])[submitted[0]].exit_code == 0
    assert jobs.poll([job])[job].state is JobState.RUNNING
    jobs.cancel([job])
    _until(lambda: jobs.poll([job])[job].state is JobState.FAILED)


def test_it_ends_with_its_owner() -> None:
    made = Forks(sys.executable, dict(os.environ))
    pid = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1])
    assert processes.start_ticks(pid) is not None
    del made
    assert processes.start_ticks(pid) is None


def test_it_ends_with_a_driver_that_is_killed(jobs: LocalJobs, workshop: Workshop) -> None:
    read, write = os.pipe()
    driver = os.fork()
    if driver == 0:
        os.write(write, str(_source(jobs, jobs.submit(workshop.batch(Task()))[0])).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    source = int(os.read(read, 20))
    os.waitpid(driver, 0)
    _until(lambda: not (seen := processes.table().get(source)) or seen.ended)
    os.close(read)
    os.close(write)


def test_one_that_is_not_ready_is_not_waited_for(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0.0)
    jobs = LocalJobs()
    submitted = jobs.submit(workshop.batch(Task()))
    assert submitted[0] not in jobs._forked
    _ended(jobs, submitted)
    assert jobs.poll([submitted[0]])[submitted[0]].exit_code == 0


def _bound(monkeypatch: pytest.MonkeyPatch, allocation: str) -> BoundJobs:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    return BoundJobs(allocation, 2, {"TEST_VALUE": "7"})


def test_in_an_allocation_each_has_its_share_which_the_next_driver_sees(
    jobs: LocalJobs, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(parameters: dict[str, Any]) -> dict[str, float]:
        import os
        import time
        from pathlib import Path

        from axsched_hpc.io import claim

        folder = Path(parameters["started"]).parent
        (folder / "seen").write_text(
            f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ['TEST_VALUE']} {claim.job_id()}"
        )
        while parameters["seconds"] and not (folder / "go").exists():
            time.sleep(0.01)
        return {"value": float(len(os.sched_getaffinity(0)))}

    first = _bound(monkeypatch, "77")
    workshop.objective = install(workshop.layout, look)
    batch = workshop.batch(Task(), Task(seconds=1))
    submitted = first.submit(batch)
    sources = {_source(first, job) for job in submitted.values()}
    assert len(sources) == 1, "both are forked of the same process"
    _ended(first, {0: submitted[0]})
    # A driver that is started again knows nothing of the first one's.
    second = _bound(monkeypatch, "77")
    later = workshop.batch(Task())
    again = second.submit(later)
    _source(second, again[0])
    assert second._taken is not None
    assert {job: holder.share for job, holder in second._taken.items()} == {submitted[1]: 1, again[0]: 0}
    (workshop.layout.trial(batch.attempts[1].trial) / "go").touch()
    _ended(first, submitted)
    _ended(second, again)
    places = [*batch.attempts, *later.attempts]
    seen = [(workshop.layout.trial(each.trial) / "seen").read_text().split() for each in places]
    assert [each[:2] for each in seen] == [["0", "7"], ["1", "7"], ["0", "7"]]
    assert [each[2] for each in seen] == [f"77/{job}" for job in (*submitted.values(), again[0])]
    usable = len(os.sched_getaffinity(0))
    metrics = [workshop.outcome(each, 0).metrics for each in (batch, later)]  # type: ignore[union-attr]
    assert [m["value"][0] for m in metrics if m is not None] == [max(1, usable // 2)] * 2


def test_one_that_has_published_and_lingers_leaves_its_share(
    jobs: LocalJobs, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def linger(parameters: dict[str, Any]) -> dict[str, float]:
        import atexit
        import time

        atexit.register(time.sleep, 600)
        return {"value": 1.0}

    bound = _bound(monkeypatch, "78")
    held, more = bound.submit(workshop.batch(Task(seconds=600))), workshop.batch(Task())
    batch = _batch(workshop, linger)
    lingering = bound.submit(batch)
    _until(lambda: workshop.outcome(batch, 0) is not None)
    last = bound.submit(more)
    assert bound._taken is not None
    shares = {job: holder.share for job, holder in bound._taken.items()}
    assert shares == {held[0]: 0, lingering[0]: 1, last[0]: 1}
    _ended(bound, last)
    for job in (held[0], lingering[0]):
        os.kill(_pid(job), signal.SIGKILL)
    _ended(bound, {0: held[0], 1: lingering[0]})


def test_what_a_library_has_buffered_is_written(either: LocalJobs, workshop: Workshop) -> None:
    def written(parameters: dict[str, Any]) -> dict[str, float]:
        import ctypes
        from pathlib import Path

        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        file = libc.fopen(str(Path(parameters["started"]).parent / "of-c").encode(), b"w")
        libc.fputs(b"never flushed", ctypes.c_void_p(file))
        return {"value": 1.0}

    batch = _batch(workshop, written)
    submitted = either.submit(batch)
    _ended(either, submitted)
    assert (workshop.layout.trial(batch.attempts[0].trial) / "of-c").read_text() == "never flushed"
    assert either.poll([submitted[0]])[submitted[0]].state is JobState.SUCCEEDED
