"""The supervisor of a pack, without Slurm: signals, requests, and workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import atomic
from axsched_hpc.io.packs import PackFiles, Report
from axsched_hpc.objectives.install import install
from axsched_hpc.runners.base import Batch
from axsched_hpc.testing.runner_contract import Task, Workshop

ROOT = Path(__file__).resolve().parents[2]
JOB = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "4"}


def _objective(parameters: dict[str, Any]) -> dict[str, float]:
    """Runs until it is warned, or for so many seconds; an exit code ends the process in the middle."""
    import os
    import signal
    import time
    from pathlib import Path

    warned = []
    signal.signal(signal.SIGUSR1, lambda number, frame: warned.append(number))
    if parameters["exit_code"]:
        os._exit(parameters["exit_code"])
    Path(parameters["started"]).touch()
    end = time.monotonic() + parameters["seconds"]
    while not warned and time.monotonic() < end:
        time.sleep(0.02)
    return {"value": float(len(warned))}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop.at(tmp_path)
    made.objective = install(made.layout, _objective)
    return made


@pytest.fixture
def supervise() -> Iterator[Callable[[Batch], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(batch: Batch) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "axsched_hpc.pack", str(batch.manifest), "4", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **JOB}
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def begun(workshop: Workshop, batch: Batch, *indices: int) -> None:
    deadline = time.monotonic() + 30
    while not all(workshop.started(batch, index) for index in indices):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _report(batch: Batch) -> Report:
    return Report.read(PackFiles(batch.folder).report("7_0"))


Supervise = Callable[[Batch], "subprocess.Popen[str]"]


def test_a_warning_goes_on_to_all(workshop: Workshop, supervise: Supervise) -> None:
    batch = workshop.batch(Task(seconds=60), Task(seconds=60))
    process = supervise(batch)
    begun(workshop, batch, 0, 1)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=30) == 0
    for index in (0, 1):
        found = workshop.outcome(batch, index)
        assert found is not None and found.metrics == {"value": (1.0, None)}
        assert found.job == f"7_0#{index}"


def test_told_to_end_it_ends_all_and_publishes_nothing(workshop: Workshop, supervise: Supervise) -> None:
    batch = workshop.batch(Task(seconds=60), Task(seconds=60), Task())
    process = supervise(batch)
    begun(workshop, batch, 0, 1, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    # What ends with the job is for the job's end to explain, and may be begun again.
    assert workshop.outcome(batch, 0) is None and workshop.outcome(batch, 1) is None
    assert _report(batch).ended == {}


def test_one_that_leaves_python_in_the_middle_is_reported(workshop: Workshop, supervise: Supervise) -> None:
    batch = workshop.batch(Task(exit_code=9), Task(seconds=1))
    process = supervise(batch)
    assert process.wait(timeout=30) == 0
    found = workshop.outcome(batch, 0)
    assert found is not None and found.failure is not None
    assert (found.failure.kind, found.failure.exit_code) == (FailureKind.CRASHED, 9)
    other = workshop.outcome(batch, 1)
    assert other is not None and other.metrics is not None
    assert _report(batch) == Report(2, {0: 9}, [])
    # Begun again, as after a requeue, both are left alone.
    again = supervise(batch)
    assert again.wait(timeout=30) == 0
    assert again.stderr is not None
    assert again.stderr.read().count("its outcome is announced again") == 2


def test_one_is_ended_on_request(workshop: Workshop, supervise: Supervise) -> None:
    batch = workshop.batch(Task(seconds=60), Task(seconds=4))
    process = supervise(batch)
    begun(workshop, batch, 0, 1)
    atomic.make_directory(PackFiles(batch.folder).requests)
    atomic.write(PackFiles(batch.folder).requests / "7_0#0", "")
    assert process.wait(timeout=30) == 0
    assert workshop.outcome(batch, 0) is None and workshop.outcome(batch, 1) is not None
    assert _report(batch) == Report(2, {}, [0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MANIFEST", "4"], "usage:"),
        (["MANIFEST", "0", "0"], "usage:"),
        (["MANIFEST", "4", "1"], "there is no pack 1 of 4"),
    ],
)
def test_what_cannot_be_found_out_is_refused(arguments: list[str], message: str, workshop: Workshop) -> None:
    batch = workshop.batch(Task())
    words = [str(batch.manifest) if word == "MANIFEST" else word for word in arguments]
    ran = subprocess.run(
        [sys.executable, "-m", "axsched_hpc.pack", *words],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert ran.returncode == 2 and message in ran.stderr
