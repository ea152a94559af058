"""A disk that is full at each kind of write that the driver does: it waits, and the run ends right."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, SlurmRunner
from axsched_hpc.core.errors import ConfigError, StorageError
from axsched_hpc.core.events import DriverClosed
from axsched_hpc.core.states import FailureKind
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import journal
from tests.slurm.harness import Cluster
from tests.storage.kit import (
    CountingRunner,
    Disk,
    Points,
    Warnings,
    align,
    check_whole,
    ended,
    forked,
    objective,
    raising,
    scheduler,
    stopped,
    wait_until,
)

TRIALS = 4


def _session(made: AxScheduler) -> Any:
    assert made._driver is not None
    return made._driver.session


#: Where the disk becomes full, whether the journal needs a page then, and the file that the message names.
KINDS = {
    "objective": ("open.recorded", False, "/objective/"),
    "trials": ("ask.before", True, "/journal/00001.jsonl"),
    "intent": ("ask.after", True, "/journal/00001.jsonl"),
    "files of a batch": ("batch.planned", False, "/trials/0000"),
    "log of a worker": ("submit.before", False, "/worker-0.log"),
    "outcome": ("inbox.read", True, "/journal/00001.jsonl"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_driver_waits_for_space_and_ends_right(
    disk: Disk, points: Points, messages: Warnings, kind: str
) -> None:
    point, appends, named = KINDS[kind]
    runner = CountingRunner(1, lambda: disk.full)
    made = scheduler(disk.root / "run", runner, TRIALS)

    def fill() -> None:
        if appends:
            align(_session(made))
        disk.fill()
        messages.then = disk.free

    points.at(point, fill, arrival=1 if kind == "objective" else 2)
    with made:
        made.run_optimization(max_trials=TRIALS)
        assert points.fired == [point]
        assert len(made.experiment.trials) == TRIALS
        assert len(made.experiment.trials_by_status[_completed()]) == TRIALS
    assert runner.started_in_trouble == 0
    assert messages.told(named, "cannot be written or read (No space left on device)")
    assert len(messages.told("cannot be written or read (No space left on device)")) == 2
    assert messages.told("Nothing new is submitted, and what is known is kept; trying again in")
    assert len(messages.told(f"{disk.root / 'run'} can be used again")) == 1
    check_whole(disk.root / "run", TRIALS, attempts=None)
    assert runner.started == TRIALS


@pytest.mark.slurm
def test_the_script_of_a_slurm_job_waits_for_space(
    slurm_cluster: Cluster, disk: Disk, points: Points, messages: Warnings
) -> None:
    runner = SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=2)
    made = scheduler(disk.root / "run", runner, TRIALS, monitoring_interval=1)

    def fill() -> None:
        disk.fill()
        messages.then = disk.free

    points.at("submit.before", fill, arrival=2)
    with made:
        made.run_optimization(max_trials=TRIALS)
    assert points.fired == ["submit.before"]
    assert messages.told(".sh", "cannot be written or read (No space left on device)")
    # Once, or again where what the jobs write leaves no room for a moment.
    assert messages.told(f"{disk.root / 'run'} can be used again")
    check_whole(disk.root / "run", TRIALS, attempts=None)


def _completed() -> Any:
    from ax.core.trial_status import TrialStatus

    return TrialStatus.COMPLETED


def test_an_attempt_that_is_given_up_waits_for_its_closing_claim(
    disk: Disk, points: Points, messages: Warnings, tmp_path: Path
) -> None:
    runner = CountingRunner(1, lambda: disk.full)
    made = scheduler(disk.root / "run", runner, 2)
    mark = tmp_path / "killed"
    made.set_objective_function(objective(tmp_path / "executions.log", kill=mark))

    def fill() -> None:
        if not runner._jobs._codes:
            points.at("poll.seen", fill)
            return
        disk.fill()
        messages.then = disk.free

    points.at("poll.seen", fill)
    with made:
        made.run_optimization(max_trials=2)
    assert len(messages.told("/attempt-1/claim.json cannot be written or read")) == 2
    # Diagnosed twice, and as what it was: the driver's own claim is not taken for the worker's.
    trial = read_experiment(disk.root / "run").ledger.trials[0]
    assert [failure.kind for failure in trial.failures()] == [FailureKind.WORKER_KILLED]
    assert runner.started_in_trouble == 0
    check_whole(disk.root / "run", 2, attempts=None)


def test_a_snapshot_that_finds_no_space_is_written_later(
    disk: Disk, points: Points, messages: Warnings
) -> None:
    made = scheduler(disk.root / "run", CountingRunner(1), TRIALS, save_interval=0)

    def fill() -> None:
        disk.fill()
        messages.count, messages.then = 1, disk.free

    points.at("snapshot.before", fill)
    with made:
        made.run_optimization(max_trials=TRIALS)
        experiment = made.experiment
    assert len(messages.told("experiment.json could not be written (", "No space left on device")) == 1
    check_whole(disk.root / "run", TRIALS)
    from ax.api.client import Client

    opened = Client.load_from_json_file(str(disk.root / "run" / "experiment.json"))
    values = [list(each.to_df()["loss"]) for each in (opened._experiment, experiment)]
    assert values[0] == pytest.approx(values[1])


def test_save_experiment_says_that_the_disk_is_full_and_keeps_what_was_there(
    disk: Disk, messages: Warnings
) -> None:
    with scheduler(disk.root / "run", CountingRunner(1), 2) as made:
        target = disk.root / "saved.json"
        made.save_experiment(target)
        before = target.read_bytes()
        made.run_optimization(max_trials=2)
        disk.fill()
        with pytest.raises(ConfigError, match="No space left on device"):
            made.save_experiment(target)
        assert target.read_bytes() == before
        disk.free()
        made.save_experiment(target)
        assert target.read_bytes() != before
    check_whole(disk.root / "run", 2)


def test_the_end_waits_for_its_record(disk: Disk, points: Points, messages: Warnings) -> None:
    made = scheduler(disk.root / "run", CountingRunner(1), 2)

    def fill() -> None:
        align(_session(made))
        disk.fill()
        messages.then = disk.free

    with made:
        made.run_optimization(max_trials=2)
        points.at("close.before", fill)
    assert len(messages.told("/journal/00001.jsonl cannot be written or read")) == 2
    (segment,) = journal.read(disk.root / "run" / "journal")
    last = segment.events[-1]
    assert isinstance(last, DriverClosed)
    assert last.finished
    check_whole(disk.root / "run", 2)


@pytest.mark.parametrize("point", [None, "open.before", "open.lease", "open.read"])
def test_a_first_start_on_a_full_disk_is_an_error_and_the_next_one_works(
    disk: Disk, points: Points, messages: Warnings, point: str | None
) -> None:
    runner = CountingRunner(1)
    made = scheduler(disk.root / "run", runner, 2)
    if point is None:
        disk.fill()
    else:
        points.at(point, disk.fill)
        if point == "open.read":
            # The first records share a page with the lease: here the disk would still take them.
            points.at("journal.before", raising(28))
    with pytest.raises(ConfigError, match=r"No space left on device\)\. Nothing was submitted\. Free some"):
        made.run_optimization(max_trials=2)
    made.close()
    assert runner.started == 0
    disk.free()
    again = scheduler(disk.root / "run", runner, 2)
    with again:
        again.run_optimization(max_trials=2)
    check_whole(disk.root / "run", 2)


def test_the_time_of_a_call_ends_during_an_outage_and_the_next_call_goes_on(
    disk: Disk, points: Points, messages: Warnings
) -> None:
    runner = CountingRunner(1)
    made = scheduler(disk.root / "run", runner, TRIALS)

    def fill() -> None:
        # What the worker still does after its notice would make room.
        wait_until(lambda: not runner.poll([]) and not runner._jobs._forked)
        align(_session(made))
        disk.fill()

    # Ax makes a trial of which the journal will not know for some time.
    points.at("ask.before", fill, arrival=2)
    with made:
        with pytest.raises(StorageError) as caught:
            made.run_optimization(max_trials=TRIALS, timeout=3)
        assert "/journal/00001.jsonl cannot be written or read (No space left on device)" in str(caught.value)
        assert "and the time of the call is over. Nothing that was recorded is lost" in str(caught.value)
        assert "start the same script again once the filesystem works" in str(caught.value)
        assert runner.started == 1
        disk.free()
        # In the same process, which still knows what the journal does not.
        made.run_optimization(max_trials=TRIALS)
        assert sorted(made.experiment.trials) == list(range(TRIALS))
    check_whole(disk.root / "run", TRIALS)


def test_a_call_that_ran_out_of_time_in_an_outage_is_gone_on_with_by_the_next_start(
    disk: Disk, points: Points, messages: Warnings
) -> None:
    made = scheduler(disk.root / "run", CountingRunner(1), TRIALS)
    points.at("batch.planned", disk.fill, arrival=2)
    with pytest.raises(StorageError, match="the time of the call is over"):
        made.run_optimization(max_trials=TRIALS, timeout=3)
    made.close()
    disk.free()
    again = scheduler(disk.root / "run", CountingRunner(1), TRIALS)
    with again:
        again.run_optimization(max_trials=TRIALS)
    check_whole(disk.root / "run", TRIALS, attempts=None)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_ends_the_wait_and_a_new_start_completes(
    disk: Disk, points: Points, messages: Warnings, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    root, output = disk.root / "run", tmp_path / "output"

    def drive() -> None:
        with scheduler(root, CountingRunner(1), TRIALS) as made:
            made.run_optimization(max_trials=TRIALS)

    points.at("batch.planned", lambda: os.kill(os.getpid(), signal.SIGSTOP), arrival=2)
    driver = forked(drive, output)
    assert stopped(driver)
    disk.fill()
    os.kill(driver, signal.SIGCONT)
    wait_until(lambda: "(No space left on device). Nothing new is submitted" in output.read_text())
    os.kill(driver, number)
    assert ended(driver) == code
    said = output.read_text()
    assert f"and {number.name} came. Nothing that was recorded is lost, and jobs go on" in said
    assert f"Stopped by {number.name}." in said
    disk.free()
    points.forget("batch.planned")
    drive()
    check_whole(root, TRIALS, attempts=None)
