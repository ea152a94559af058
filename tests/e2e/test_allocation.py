"""Drivers inside an allocation, and drivers of packs: killed, started again, moved to a new allocation."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import DRIVER, executions, start_driver
from tests.slurm.harness import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]


def _until(holds: Callable[[], bool], what: str, patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def _submit(cluster: Cluster, folder: Path, *options: str, slots: int, trials: int, seconds: float) -> str:
    """Submit a batch script that starts the driver up to three times, as after a crash; the job's id."""
    (folder / "driver.py").write_text(DRIVER)
    words = [sys.executable, "driver.py", "steps", str(slots), str(trials), str(folder / "run"), str(seconds)]
    script = folder / "job.sh"
    script.write_text(
        "#!/bin/bash\n"
        f"export PYTHONPATH={shlex.quote(str(ROOT))}\n"
        "for turn in 1 2 3; do\n"
        f"    {shlex.join(words)} & echo $! > driver.pid; wait $! && exit 0\n"
        "done\n"
    )
    (folder / "driver.pid").unlink(missing_ok=True)
    options = ("--ntasks-per-node=4", "--mem=800", "--time=10", *options)
    made = cluster.run(
        "sbatch", "--parsable", f"--chdir={folder}", f"--output={folder}/job.log", *options, str(script)
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def _state(cluster: Cluster, job: str) -> str:
    return cluster.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").stdout.strip()


def _log(folder: Path) -> str:
    return (folder / "job.log").read_text() if (folder / "job.log").exists() else "no log"


def test_packs_of_a_killed_driver_are_found_again(tmp_path: Path, noacct_cluster: Cluster) -> None:
    driver = start_driver(tmp_path, "packs", 6, 15, 1.0)
    _until(lambda: len(executions(tmp_path)) >= 4, "nothing runs")
    driver.kill()
    driver.communicate()
    driver = start_driver(tmp_path, "packs", 6, 15, 1.0)
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 0, output
    ledger = read_experiment(tmp_path / "run").ledger
    assert {t.state for t in ledger.trials.values()} == {TrialState.COMPLETED}
    assert {len(t.attempts) for t in ledger.trials.values()} == {1}
    assert len(set(executions(tmp_path))) == len(executions(tmp_path)) == 15
    jobs = Counter((t.attempts[0].job or "").split("#")[0] for t in ledger.trials.values())
    assert sorted(jobs.values()) == [3, 3, 3, 3, 3], "packs that are not full"


def test_a_driver_inside_an_allocation_is_killed_and_then_the_allocation_ends(
    tmp_path: Path, noacct_cluster: Cluster
) -> None:
    """Killed in the allocation it is started again there, and finds its steps; in a new allocation it repeats
    what the old one took with it, at once.
    """
    job = _submit(noacct_cluster, tmp_path, "--nodes=2", slots=6, trials=40, seconds=1.0)
    _until(lambda: len(executions(tmp_path)) >= 8, _log(tmp_path))
    first = int((tmp_path / "driver.pid").read_text())
    os.kill(first, signal.SIGKILL)
    _until(lambda: (tmp_path / "driver.pid").read_text().strip() not in ("", str(first)), _log(tmp_path))
    _until(lambda: len(executions(tmp_path)) >= 20, _log(tmp_path))
    # Up to here nothing was lost, and nothing has run twice.
    assert len(set(executions(tmp_path))) == len(executions(tmp_path))
    noacct_cluster.run("scancel", job)
    _until(lambda: _state(noacct_cluster, job) not in ("RUNNING", "COMPLETING"), "it does not end")
    before = len(executions(tmp_path))
    job = _submit(noacct_cluster, tmp_path, "--nodes=1", slots=4, trials=40, seconds=0.3)
    _until(lambda: _state(noacct_cluster, job) not in ("PENDING", "RUNNING"), _log(tmp_path), 100)
    assert _state(noacct_cluster, job) == "COMPLETED", _log(tmp_path)
    ledger = read_experiment(tmp_path / "run").ledger
    assert len(ledger.trials) == 40
    assert {t.state for t in ledger.trials.values()} == {TrialState.COMPLETED}
    failures = [failure for t in ledger.trials.values() for failure in t.failures()]
    # Only what ran when the allocation ended was repeated, and nobody waited for it to count as lost.
    assert len(failures) <= 6
    assert {each.kind for each in failures} <= {FailureKind.WORKER_KILLED, FailureKind.LAUNCH_FAILED}
    assert len(executions(tmp_path)) <= 40 + len(failures)
    assert before < len(executions(tmp_path))
    assert max(Counter(executions(tmp_path)).values()) <= 2
