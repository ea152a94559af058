"""Slurm fails in the middle of a run: the run goes on and ends right.

Each test counts the objective's executions. ``AXSCHED_OUTAGE`` is the length of the controller's outage in
seconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, SlurmRunner
from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners import slurm_jobs
from axsched_hpc.slurm import run as slurm_run
from tests.e2e.kit import client
from tests.outages.site import Outages
from tests.storage.kit import Points, Warnings, check_whole, ended, forked, objective, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(240)]

OUTAGE = float(os.environ.get("AXSCHED_OUTAGE", "20"))
only_acct = pytest.mark.parametrize("cluster", ["acct"], indirect=True)
only_noacct = pytest.mark.parametrize("cluster", ["noacct"], indirect=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here" / "run"


def made(
    root: Path,
    trials: int,
    *,
    slots: int = 4,
    run: Callable[[dict[str, Any]], dict[str, float]] | None = None,
    sbatch: dict[str, Any] | None = None,
    **options: Any,
) -> AxScheduler:
    runner = SlurmRunner(
        memory="100M", time_limit="00:10:00", max_parallel=slots, config={"sbatch_options": sbatch or {}}
    )
    scheduler = AxScheduler(
        client(initial=trials),
        runner,
        {
            "job_output_dir": root,
            "monitoring_interval": 1,
            "poll_interval": 0.2,
            "synchronous": False,
            **options,
        },
    )
    scheduler.set_objective_function(run or objective(root.parent.parent / "executions.log"))
    return scheduler


def slow(root: Path, seconds: float) -> Callable[[dict[str, Any]], dict[str, float]]:
    """The objective that logs its executions, and takes its time."""
    bowl = objective(root.parent.parent / "executions.log")

    def run(parameters: dict[str, Any]) -> dict[str, float]:
        import time

        time.sleep(seconds)
        return bowl(parameters)

    return run


def afterwards(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something in the background once something holds."""

    def body() -> None:
        wait_until(condition, 200)
        act()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def dies(scheduler: AxScheduler, trials: int) -> None:
    """Run in a process of its own, which a fault kills."""
    output = scheduler.directory.parent / "output"
    driver = forked(lambda: scheduler.run_optimization(max_trials=trials), output)
    assert ended(driver) == -signal.SIGKILL, output.read_text()


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str, lines: str) -> Path:
    """Put a program before Slurm's own on PATH; it logs its calls."""
    path = folder / "bin" / program
    path.parent.mkdir(exist_ok=True)
    calls = folder / f"{program}.calls"
    calls.touch()
    path.write_text(f'#!/bin/sh\necho "$*" >> "{calls}"\n{lines}\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
    return calls


def count(calls: Path) -> int:
    return len(calls.read_text().splitlines())


# ---------------------------------------------------------------- the controller


def test_the_controller_is_away_for_a_while(
    root: Path, site: Outages, cluster: str, points: Points, messages: Warnings
) -> None:
    ends: list[float] = []
    threads: list[threading.Thread] = []

    def stop() -> None:
        site.stop_controller(cluster)
        begun = time.monotonic()

        def start() -> None:
            site.start_controller(cluster)
            ends.append(time.monotonic())

        threads.append(afterwards(lambda: time.monotonic() - begun >= OUTAGE, start))

    # Some jobs run and end during the outage, and those that follow them find no controller.
    points.at("batch.recorded", stop)
    with made(root, 8, run=slow(root, 2.0)) as scheduler:
        scheduler.run_optimization(max_trials=8)
        after = time.monotonic() - ends[0]
    threads[0].join()
    assert messages.told("The scheduler did not", "ontroller")
    print(f"{cluster}: outage {OUTAGE:.0f} s; the run ended {after:.1f} s after it")  # noqa: T201 - pytest -s
    check_whole(root, 8, attempts=None)


def test_a_submission_without_a_controller_is_repeated_with_growing_pauses(
    root: Path, site: Outages, cluster: str, points: Points, messages: Warnings
) -> None:
    points.at("submit.before", lambda: site.stop_controller(cluster))
    back = afterwards(
        lambda: len(messages.told("did not take or answer a request; trying again in")) >= 2,
        lambda: site.start_controller(cluster),
    )
    with made(root, 4) as scheduler:
        scheduler.run_optimization(max_trials=4)
    back.join()
    said = messages.told("trying again in")
    assert "Unable to contact slurm controller" in said[0]
    pauses = [float(found[1]) for line in said if (found := re.search(r"again in (\d+) s", line))]
    assert pauses[:2] == [1, 2]
    check_whole(root, 4, attempts=None)


def test_a_driver_killed_between_sbatch_and_its_record_while_the_controller_goes_down(
    root: Path, site: Outages, cluster: str, points: Points, messages: Warnings
) -> None:
    def stop_and_die() -> None:
        site.stop_controller(cluster)
        kill_me()

    points.at("batch.submitted", stop_and_die)
    dies(made(root, 4, slots=2), 4)
    points.forget("batch.submitted")
    back = afterwards(
        lambda: bool(messages.told("controller does not answer")), lambda: site.start_controller(cluster)
    )
    with made(root, 4, slots=2) as scheduler:
        scheduler.run_optimization(max_trials=4)
    back.join()
    check_whole(root, 4, attempts=None)


def test_a_squeue_that_hangs_delays_and_decides_nothing(
    root: Path,
    cluster: str,
    messages: Warnings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(slurm_run, "QUERY_TIMEOUT", 2.0)
    calls = stand_in(
        tmp_path,
        monkeypatch,
        "squeue",
        f'[ "$(wc -l < {tmp_path}/squeue.calls)" -gt 2 ] || exec sleep 600\nexec /usr/bin/squeue "$@"',
    )
    with made(root, 4, slots=2, run=slow(root, 3.0)) as scheduler:
        scheduler.run_optimization(max_trials=4)
    assert count(calls) >= 2
    assert len(messages.told("squeue did not answer within 2 s")) == 2
    check_whole(root, 4)


# ---------------------------------------------------------------- the accounting


def _killed_once(root: Path) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Leaves a question that only the accounting can answer: a job that failed without an outcome."""
    return objective(root.parent.parent / "executions.log", kill=root.parent.parent / "killed")


def _check_killed_once(root: Path, trials: int) -> None:
    check_whole(root, trials, attempts=None)
    failures = [f.kind for t in read_experiment(root).ledger.trials.values() for f in t.failures()]
    assert failures == [FailureKind.WORKER_KILLED]


@only_acct
def test_the_database_is_away(root: Path, site: Outages, cluster: str, messages: Warnings) -> None:
    site.stop_database()
    with made(root, 4, run=_killed_once(root)) as scheduler:
        scheduler.run_optimization(max_trials=4)
    assert len(messages.told("Slurm's accounting did not answer and is asked again after 60 s")) == 1
    _check_killed_once(root, 4)


@only_acct
def test_the_database_hangs(
    root: Path, site: Outages, cluster: str, messages: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_run, "QUERY_TIMEOUT", 3.0)
    site.hang_database()
    with made(root, 4, run=_killed_once(root)) as scheduler:
        scheduler.run_optimization(max_trials=4)
    assert len(messages.told("Slurm's accounting did not answer", "sacct did not answer within 3 s")) == 1
    _check_killed_once(root, 4)


@only_acct
@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "echo 'sacct: error: Problem talking to the database' >&2; exit 1",
            "Problem talking to the database",
        ),
        ("exec sleep 600", "sacct did not answer within 1 s"),
        ("exit 1", "exit code 1, and no message"),
    ],
    ids=["fails", "hangs", "fails silently"],
)
def test_sacct_does_not_answer(
    root: Path,
    cluster: str,
    messages: Warnings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lines: str,
    said: str,
) -> None:
    monkeypatch.setattr(slurm_run, "QUERY_TIMEOUT", 1.0)
    monkeypatch.setattr(slurm_jobs, "ACCOUNTING_PAUSE", 60.0)
    calls = stand_in(tmp_path, monkeypatch, "sacct", lines)
    with made(root, 4, run=_killed_once(root)) as scheduler:
        scheduler.run_optimization(max_trials=4)
    assert count(calls) == 1
    assert messages.told("Slurm's accounting did not answer", said)
    _check_killed_once(root, 4)


@only_acct
def test_a_submitted_job_that_the_accounting_does_not_know_yet(
    root: Path,
    cluster: str,
    points: Points,
    messages: Warnings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    calls = stand_in(tmp_path, monkeypatch, "sacct", "exit 0")
    points.at("batch.submitted", kill_me)
    dies(made(root, 4, slots=2, run=slow(root, 3.0)), 4)
    points.forget("batch.submitted")
    with made(root, 4, slots=2, run=slow(root, 3.0)) as scheduler:
        scheduler.run_optimization(max_trials=4)
    assert count(calls) == 0
    assert messages.told("Found 2 submitted job(s)")
    check_whole(root, 4)


# ---------------------------------------------------------------- jobs that nobody knows


def _vanished(site: Outages, cluster: str) -> bool:
    return not site.cluster(cluster).run("squeue", "--noheader", "--states=all").stdout.strip()


@only_noacct
@pytest.mark.parametrize("point", ["batch.submitted", "batch.recorded"])
def test_jobs_end_and_are_forgotten_while_no_driver_runs(
    root: Path, site: Outages, cluster: str, points: Points, messages: Warnings, point: str
) -> None:
    points.at(point, kill_me)
    dies(made(root, 4, slots=2), 4)
    points.forget(point)
    wait_until(lambda: (root.parent.parent / "executions.log").exists())
    wait_until(lambda: _vanished(site, cluster))
    with made(root, 4, slots=2) as scheduler:
        scheduler.run_optimization(max_trials=4)
    check_whole(root, 4)


@only_noacct
def test_a_job_that_died_and_was_forgotten_is_lost_after_the_deadline_and_repeated(
    root: Path, site: Outages, cluster: str, points: Points, messages: Warnings
) -> None:
    points.at("batch.recorded", kill_me)
    dies(made(root, 2, slots=1, run=_killed_once(root)), 2)
    points.forget("batch.recorded")
    wait_until(lambda: (root.parent.parent / "killed").exists())
    wait_until(lambda: _vanished(site, cluster))
    begun = time.time()
    with made(root, 2, slots=1, run=_killed_once(root), lost_after=6) as scheduler:
        scheduler.run_optimization(max_trials=2)
    trial = read_experiment(root).ledger.trials[0]
    assert [failure.kind for failure in trial.failures()] == [FailureKind.LOST]
    assert trial.attempts[-1].planned - begun >= 6
    assert messages.told("trial 0, attempt 1", "has been unknown to every query for 6 s", "tried again")
    check_whole(root, 2, attempts=None)


def test_a_waiting_task_that_a_user_cancels_is_abandoned_and_not_lost(
    root: Path, site: Outages, cluster: str, messages: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where this machine lets the controller answer slowly, it would forget the job between two questions.
    monkeypatch.setattr("axsched_hpc.core.throttle.POLL_SHARE", 1.0)
    # One job a node, of which there are four: two of six wait.
    slurm = site.cluster(cluster)

    def waiting() -> list[str]:
        shown = slurm.run("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i").stdout
        return shown.split()

    def cancel() -> None:
        subprocess.run(["scancel", waiting()[0]], env=slurm.environment(), check=True)

    canceller = afterwards(
        lambda: len(messages.told("runs on")) == 4 and len(waiting()) == 2,
        cancel,
    )
    with made(root, 6, slots=6, run=slow(root, 12.0), sbatch={"exclusive": True}, lost_after=60) as scheduler:
        scheduler.run_optimization(max_trials=6)
    canceller.join()
    ledger = read_experiment(root).ledger
    states = sorted(trial.state for trial in ledger.trials.values())
    assert states == [TrialState.ABANDONED, *[TrialState.COMPLETED] * 5]
    (gone,) = [trial for trial in ledger.trials.values() if trial.state is TrialState.ABANDONED]
    assert [failure.kind for failure in gone.failures()] == [FailureKind.CANCELLED]
    assert len(gone.attempts) == 1


@only_noacct
def test_a_driver_that_starts_while_the_controller_is_down_waits_where_there_are_trials(
    root: Path, site: Outages, cluster: str, messages: Warnings
) -> None:
    """Nobody would start it again where it is a job; a new experiment is a person's, who sees an error."""
    with made(root, 3) as scheduler:
        scheduler.run_optimization(max_trials=1)
    site.stop_controller(cluster)
    with pytest.raises(ClusterUnavailableError), made(root.parent / "new", 3) as scheduler:
        scheduler.run_optimization(max_trials=1)
    thread = afterwards(lambda: bool(messages.told("Trying again")), lambda: site.start_controller(cluster))
    with made(root, 3) as scheduler:
        scheduler.run_optimization(max_trials=2)
    thread.join()
    assert read_experiment(root).ledger.counts[TrialState.COMPLETED] == 3
