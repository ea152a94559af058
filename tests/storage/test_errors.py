"""Errors of the filesystem at every point of a driver: it goes on, and nothing is lost or doubled."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.core.changes import Change
from axsched_hpc.core.events import TrialAdded
from axsched_hpc.core.states import FailureKind, RequestKind, TrialState
from axsched_hpc.io import faults, outcome, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.session import Session
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import journal
from tests.e2e.kit import bowl, client
from tests.storage.kit import (
    CountingRunner,
    Points,
    Warnings,
    check_whole,
    objective,
    raising,
    scheduler,
)
from tests.storage.mounts import mounted

TRIALS = 4

#: The points of a driver that is open, and an error that comes there; the n-th arrival, where it matters.
ERRORS = [
    ("journal.before", "ENOSPC", 6),
    ("journal.before", "ESTALE", 9),
    ("journal.torn", "ENOSPC", 5),
    ("journal.torn", "EDQUOT", 8),
    ("journal.unsynced", "EIO", 5),
    ("journal.unsynced", "EDQUOT", 7),
    ("journal.after", "EIO", 5),
    ("journal.after", "EROFS", 8),
    ("ask.before", "EIO", 2),
    ("ask.after", "ENOSPC", 2),
    ("batch.planned", "EDQUOT", 2),
    ("batch.files", "EROFS", 2),
    ("submit.before", "EIO", 1),
    ("submit.half", "ENOSPC", 1),
    ("submit.half", "ENOSPC", 2),
    ("batch.submitted", "EIO", 1),
    ("batch.recorded", "ESTALE", 1),
    ("inbox.listed", "ESTALE", 1),
    ("inbox.read", "EIO", 1),
    ("inbox.recorded", "EDQUOT", 1),
    ("inbox.removed", "EROFS", 1),
    ("poll.seen", "EIO", 1),
    ("poll.recorded", "ESTALE", 1),
    ("tell.before", "EIO", 2),
    ("tell.after", "EIO", 2),
    ("file.written", "ENOSPC", 4),
    ("file.written", "EDQUOT", 9),
    ("snapshot.before", "ENOSPC", 1),
    ("snapshot.after", "EIO", 1),
    ("cleanup.before", "EIO", 2),
    ("cleanup.half", "ESTALE", 2),
    ("cleanup.after", "EROFS", 2),
    ("request.read", "ESTALE", 1),
    ("request.recorded", "EIO", 1),
    ("request.removed", "EROFS", 1),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here" / "run"


@pytest.mark.parametrize(("point", "name", "arrival"), ERRORS)
def test_an_error_anywhere_in_a_tick(
    root: Path, points: Points, messages: Warnings, point: str, name: str, arrival: int
) -> None:
    runner = CountingRunner(2)
    made = scheduler(root, runner, TRIALS, save_interval=0, synchronous=True)
    fail, seen = raising(getattr(errno, name)), root.parent.parent / "seen"

    def happen() -> None:
        seen.touch()
        fail()

    points.at(point, happen, arrival)
    if point.startswith("poll."):
        # Else an attempt may have ended before a look at its job finds it running.
        made.set_objective_function(_held(objective(root.parent.parent / "executions.log"), seen))
    if point.startswith("request."):
        requests.lay_down(Layout.at(root), Change(RequestKind.SET, "ada@login1", 1.0, max_parallel=2))
    with made:
        made.run_optimization(max_trials=TRIALS)
        assert points.fired == [point]
        living = made.experiment
        assert sorted(living.trials) == list(range(TRIALS))
    assert messages.told(os.strerror(getattr(errno, name)))
    check_whole(root, TRIALS, attempts=None)
    assert _replayed(root) == living


def _held(
    run: Callable[[dict[str, Any]], dict[str, float]], until: Path
) -> Callable[[dict[str, Any]], dict[str, float]]:
    """An objective that waits for a file."""
    where = str(until)

    def hold(parameters: dict[str, Any]) -> dict[str, float]:
        import time
        from pathlib import Path

        while not Path(where).exists():
            time.sleep(0.01)
        return run(parameters)

    return hold


def test_every_point_of_an_open_driver_is_tried() -> None:
    driver = {point for point in faults.POINTS if not point.startswith(("open.", "close.", "worker."))}
    # The closing claim has a test of its own.
    assert {point for point, _, _ in ERRORS} == driver - {"claim.closed"}


def _replayed(root: Path) -> object:
    """The experiment as its directory alone tells it."""
    from axsched_hpc.ax_bridge.bridge import AxBridge

    layout = Layout.at(root)
    bridge = AxBridge.from_text(layout.definition.read_text(), "definition")
    bridge.replay(journal.events(journal.read(layout.journal)))
    return bridge.experiment


def test_an_error_between_the_closing_claim_and_its_record_changes_no_diagnosis(
    root: Path, points: Points, messages: Warnings, tmp_path: Path
) -> None:
    made = scheduler(root, CountingRunner(1), 2)
    made.set_objective_function(objective(tmp_path / "executions.log", kill=tmp_path / "killed"))
    points.at("claim.closed", raising(errno.EIO))
    with made:
        made.run_optimization(max_trials=2)
    assert points.fired == ["claim.closed"]
    trial = read_experiment(root).ledger.trials[0]
    assert [failure.kind for failure in trial.failures()] == [FailureKind.WORKER_KILLED]
    check_whole(root, 2, attempts=None)


def test_a_result_that_cannot_be_read_now_is_waited_for(
    root: Path, messages: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, refused = outcome.read, []

    def stale(path: Path) -> outcome.Outcome:
        # The notices for as long as the run lasts, each result once.
        if path.parent.name == "inbox" or path not in refused:
            refused.append(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return read(path)

    monkeypatch.setattr(outcome, "read", stale)
    with scheduler(root, CountingRunner(1), 2) as made:
        made.run_optimization(max_trials=2)
    assert messages.told("/attempt-1/result.json cannot be written or read (Stale file handle)")
    check_whole(root, 2)


def test_trials_that_ax_made_reach_the_journal_when_it_can_be_written_again(
    root: Path, points: Points, messages: Warnings
) -> None:
    made = scheduler(root, CountingRunner(2), TRIALS)
    seen: list[int] = []

    def fail_and_look() -> None:
        session: Session = made._driver.session  # type: ignore[union-attr]
        session.listeners.append(
            lambda event, ledger: seen.append(event.trial) if isinstance(event, TrialAdded) else None
        )
        session.save()  # a snapshot must not be ahead of the journal
        assert not session.layout.snapshot.exists()
        raising(errno.EIO)()

    points.at("ask.after", fail_and_look)
    with made:
        made.run_optimization(max_trials=TRIALS)
    assert seen[:2] == [0, 1]
    check_whole(root, TRIALS)


def test_back_off_grows_while_a_directory_can_only_be_read(
    root: Path, points: Points, messages: Warnings
) -> None:
    """What can still be read, or appended, does not count as an end of the trouble."""
    runner = CountingRunner(1)
    made = scheduler(root, runner, 2)

    def close_off() -> None:
        # A read-only view over the experiment: as after a remount, but the journal is still open for writing.
        subprocess.run(["mount", "--bind", str(root), str(root)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(root)], check=True)
        messages.count = 4
        messages.then = lambda: subprocess.run(["umount", str(root)], check=True)

    with mounted(root.parent, "-t", "tmpfs", "tmpfs"):
        points.at("batch.planned", close_off, arrival=2)
        with made:
            made.run_optimization(max_trials=2)
        waits = messages.told("cannot be written or read (Read-only file system)", "trying again in")
        assert len(waits) == 4
        assert len(messages.told("can be used again")) == 1
        check_whole(root, 2)
    assert runner.started == 2


def test_a_permission_that_is_lost_for_a_while(root: Path, points: Points, messages: Warnings) -> None:
    runner = CountingRunner(1)
    made = scheduler(root, runner, 3)

    def forbid() -> None:
        # Root may do everything, and so becomes another user.
        if os.getuid() == 0:
            os.seteuid(65534)
        else:
            (root / "trials").chmod(0o500)
        messages.then = permit

    def permit() -> None:
        if os.getuid() == 0:
            os.seteuid(0)
        else:
            (root / "trials").chmod(0o700)

    points.at("batch.planned", forbid, arrival=2)
    try:
        with made:
            made.run_optimization(max_trials=3)
    finally:
        permit()
    assert len(messages.told("/trials/00001", "cannot be written or read (Permission denied)")) == 2
    check_whole(root, 3)
    assert runner.started == 3


def test_a_runner_whose_preparations_cannot_be_written_is_waited_for(tmp_path: Path) -> None:
    """Slurm's writes a script, by which sbatch is asked whether it would take it."""

    errors = [errno.EIO, errno.ENOSPC]

    class Writing(LocalRunner):
        def prepare(self, folder: Path) -> None:
            if errors:
                raise OSError(errors.pop(), "no", str(folder / "check.sh"))

    scheduler = AxScheduler(client(), Writing(max_parallel=1), {"job_output_dir": tmp_path / "run"})
    scheduler.set_objective_function(bowl)
    with scheduler:
        scheduler.run_optimization(max_trials=1)
    assert errors == []
    assert read_experiment(tmp_path / "run").ledger.counts[TrialState.COMPLETED] == 1
