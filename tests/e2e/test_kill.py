"""A driver that is killed and started again: nothing is lost, nothing runs twice."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.core.errors import ExperimentLockedError
from axsched_hpc.core.states import FailureKind, TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import bowl, client, executions, start_driver
from tests.scripts import Script


def _wait_for(folder: Path, count: int, driver: Script) -> None:
    """Return when so many executions have begun."""
    deadline = time.monotonic() + 60
    while len(executions(folder)) < count:
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _check_whole(folder: Path, trials: int) -> None:
    ledger = read_experiment(folder / "run").ledger
    assert sorted(ledger.trials) == list(range(trials))
    assert {t.state for t in ledger.trials.values()} == {TrialState.COMPLETED}
    # One that was withdrawn was never submitted: its driver was killed before.
    begun = [[each for each in trial.attempts if not each.withdrawn] for trial in ledger.trials.values()]
    assert {len(attempts) for attempts in begun} == {1}
    logged = executions(folder)
    assert sorted(logged) == sorted(
        f"{t.parameters['x']!r} {t.parameters['y']!r}" for t in ledger.trials.values()
    )


def _kill_and_start_again(folder: Path, kind: str) -> None:
    driver = start_driver(folder, kind, 4, 20, 0.8)
    _wait_for(folder, 7, driver)
    driver.kill()
    driver.communicate()
    driver = start_driver(folder, kind, 4, 20, 0.8)
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 0, output
    _check_whole(folder, 20)


def test_killed_in_the_middle_of_local_trials(tmp_path: Path) -> None:
    _kill_and_start_again(tmp_path, "local")


@pytest.mark.slurm
def test_killed_in_the_middle_of_slurm_trials(tmp_path: Path, slurm_cluster: object) -> None:
    _kill_and_start_again(tmp_path, "slurm")


def test_killed_again_and_again(tmp_path: Path) -> None:
    for count in (1, 4, 8):
        driver = start_driver(tmp_path, "local", 3, 12, 0.4)
        _wait_for(tmp_path, count, driver)
        driver.kill()
        driver.communicate()
    driver = start_driver(tmp_path, "local", 3, 12, 0.4)
    output, _ = driver.communicate(timeout=100)
    assert driver.returncode == 0, output
    _check_whole(tmp_path, 12)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    driver = start_driver(tmp_path, "local", 2, 6, 1.5)
    _wait_for(tmp_path, 2, driver)
    os.kill(driver.pid, number)
    output, _ = driver.communicate(timeout=30)
    assert driver.returncode == code
    assert f"Stopped by {number.name}. Everything is saved in {tmp_path / 'run'}" in output
    assert "start the same script again to go on" in output
    assert (tmp_path / "run" / "experiment.json").is_file()
    driver = start_driver(tmp_path, "local", 2, 6, 0.1)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0, output
    _check_whole(tmp_path, 6)


def test_a_second_interrupt_cancels_what_runs(tmp_path: Path) -> None:
    driver = start_driver(tmp_path, "local", 2, 6, 60.0)
    _wait_for(tmp_path, 2, driver)
    os.kill(driver.pid, signal.SIGINT)
    line = driver.line("Interrupted")
    assert line == "Interrupted, and saved. 2 attempts under way; Ctrl-C again within 3 s cancels them too.\n"
    os.kill(driver.pid, signal.SIGINT)
    output, _ = driver.communicate(timeout=40)
    assert driver.returncode != 0
    trials = read_experiment(tmp_path / "run").ledger.trials
    assert {t.state for t in trials.values()} == {TrialState.ABANDONED}, output
    assert {t.reason for t in trials.values()} == {"cancelled by the user"}


def test_a_second_driver_is_told_who_drives(tmp_path: Path) -> None:
    first = start_driver(tmp_path, "local", 2, 4, 3.0)
    _wait_for(tmp_path, 2, first)
    second = AxScheduler(client(initial=4), LocalRunner(2), {"job_output_dir": tmp_path / "run"})
    second.set_objective_function(bowl)
    with pytest.raises(
        ExperimentLockedError, match=rf"is driven by process {first.pid} on .*, since"
    ) as caught:
        second.run_optimization(max_trials=4)
    assert caught.value.pid == first.pid
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
    _check_whole(tmp_path, 4)


def test_a_script_that_is_started_again_after_its_end_runs_more_trials(tmp_path: Path) -> None:
    for total in (3, 6):
        driver = start_driver(tmp_path, "local", 3, 3, 0.0)
        output, _ = driver.communicate(timeout=60)
        assert driver.returncode == 0, output
        _check_whole(tmp_path, total)


def test_a_killed_worker_leaves_no_script_behind(tmp_path: Path) -> None:
    script = tmp_path / "simulate.sh"
    script.write_text(
        "set -e\n"
        f'echo $$ >> "{tmp_path}/pids"\n'
        '[ "$AXSCHED_ATTEMPT" = 2 ] || { sleep 600 & wait; }\n'
        'echo \'{"loss": 1}\' > "$AXSCHED_METRICS_FILE"\n'
    )
    options = {"job_output_dir": tmp_path / "run", "poll_interval": 0.1}
    claimed = tmp_path / "run" / "trials" / "00000" / "attempt-1" / "claim.json"

    def kill_worker() -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(json.loads(claimed.read_text())["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill_worker)
    with AxScheduler(client(), LocalRunner(1), options) as scheduler:
        scheduler.set_script_objective(script)
        killer.start()
        scheduler.run_optimization(max_trials=1)
    killer.join()
    trial = read_experiment(tmp_path / "run").ledger.trials[0]
    assert [failure.kind for failure in trial.failures()] == [FailureKind.WORKER_KILLED]
    assert trial.state is TrialState.COMPLETED
    first = int((tmp_path / "pids").read_text().split()[0])
    assert _is_gone(first)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
