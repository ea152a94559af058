"""Requests to real drivers: one that is killed at any point loses none and takes none twice; on Slurm they
come from a compute node.

docs/changing.md is about them.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.changes import Change
from axsched_hpc.core.events import PointsEnqueued, RequestAnswered
from axsched_hpc.core.states import RequestKind, TrialState
from axsched_hpc.io import atomic, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import journal
from tests.e2e.kit import executions, start_driver
from tests.scripts import Script
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]


def lay(folder: Path, kind: RequestKind, **fields: Any) -> str:
    return requests.lay_down(Layout.at(folder / "run"), Change(kind, "ada@login1", time.time(), **fields))


def faulty(folder: Path, faults: Mapping[str, str]) -> dict[str, str]:
    """The environment in which drivers meet faults: actions by point."""
    (folder / "faults").mkdir()
    for point, action in faults.items():
        (folder / "faults" / point).write_text(action)
    return {"AXSCHED_FAULTS": str(folder / "faults")}


def wait_for(folder: Path, count: int, driver: Script) -> None:
    """Return when so many executions have begun."""
    deadline = time.monotonic() + 60
    while len(executions(folder)) < count:
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_at_every_step_of_a_request_it_is_taken_once(tmp_path: Path) -> None:
    ids = [
        lay(tmp_path, RequestKind.ADD, points=({"x": "0.25", "y": 0.5},), places=("the point",)),
        lay(tmp_path, RequestKind.SET, trials=3),
    ]
    layout = Layout.at(tmp_path / "run")
    # (point, how many answers are recorded when a driver is killed there, how many requests are left)
    steps = [("request.read", 0, 2), ("request.recorded", 1, 2), ("request.removed", 1, 1)]
    environment = faulty(tmp_path, {point: "kill" for point, _, _ in steps})
    for point, answered, left in steps:
        driver = start_driver(tmp_path, "local", 1, 2, 0.0, environment)
        driver.communicate()
        assert driver.returncode == -9
        assert [path.name for path in (tmp_path / "faults").glob(f"{point}.fired-*")]
        assert len(read_experiment(layout.root).ledger.changes.answers) == answered
        assert len(atomic.listing(layout.inbox)) == left
    driver = start_driver(tmp_path, "local", 1, 2, 0.0, environment)
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    events = list(journal.events(journal.read(layout.journal)))
    answers = [event for event in events if isinstance(event, RequestAnswered)]
    assert [(event.id, event.taken) for event in answers] == [(id, True) for id in ids]
    assert sum(isinstance(event, PointsEnqueued) for event in events) == 1
    assert atomic.listing(layout.inbox) == []
    trials = read_experiment(layout.root).ledger.trials
    assert {trial.state for trial in trials.values()} == {TrialState.COMPLETED}
    assert len(executions(tmp_path)) == len(trials) == 3
    assert executions(tmp_path).count("0.25 0.5") == 1


def test_killed_after_it_took_them_a_cancelled_trial_ends_and_a_stop_stops_no_later_run(
    tmp_path: Path,
) -> None:
    driver = start_driver(tmp_path, "local", 2, 3, 60.0, faulty(tmp_path, {"request.removed": "kill 3"}))
    wait_for(tmp_path, 2, driver)
    lay(tmp_path, RequestKind.PAUSE)
    lay(tmp_path, RequestKind.STOP, epoch=1)
    lay(tmp_path, RequestKind.CANCEL, trial=0)
    driver.communicate()
    assert driver.returncode == -9
    # It died before it could end the trial.
    assert read_experiment(tmp_path / "run").ledger.active.keys() == {0, 1}
    lay(tmp_path, RequestKind.CANCEL, trial=1)
    driver = start_driver(tmp_path, "local", 2, 3, 0.0)
    deadline = time.monotonic() + 60
    while read_experiment(tmp_path / "run").ledger.active:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lay(tmp_path, RequestKind.RESUME)
    output, _ = driver.communicate()
    assert driver.returncode == 0, output
    assert "Paused by ada@login1: nothing new is submitted until `axsched resume" in output
    states = {n: trial.state for n, trial in read_experiment(tmp_path / "run").ledger.trials.items()}
    assert states == {0: TrialState.ABANDONED, 1: TrialState.ABANDONED, 2: TrialState.COMPLETED}


@pytest.mark.slurm
def test_from_a_compute_node(tmp_path: Path, noacct_cluster: Cluster) -> None:
    driver = start_driver(tmp_path, "slurm", 2, 4, 60.0)
    wait_for(tmp_path, 2, driver)
    axsched = shlex.join(["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "axsched_hpc"])
    verbs = [
        "set --trials 5 --max-parallel 3",
        "add x=0.25 y=0.5",
        "add x=0.25 y=7",
        "cancel 0",
        "pause",
        "stop --cancel",
    ]
    commands = [f'{axsched} {verb} "$1" --json --wait 30; echo "exit $?"' for verb in verbs]
    done = noacct_cluster.run(
        *("srun", "--mem=200M", "sh", "-c", "\n".join(commands), "sh", str(tmp_path / "run"))
    )
    output, _ = driver.communicate()
    assert driver.returncode == 0, done.stdout + done.stderr + output
    parts = re.split(r"^exit (\d)\n", done.stdout, flags=re.MULTILINE)
    codes = parts[1::2]
    states = [request["state"] for text in parts[:-1:2] for request in json.loads(text)["requests"]]
    assert states == ["taken", "taken", "refused", "taken", "taken", "taken"], done.stdout
    assert codes == ["0", "0", "1", "0", "0", "0"]
    assert "Stopped, as " in output
    ledger = read_experiment(tmp_path / "run").ledger
    assert {ledger.trials[n].state for n in (0, 1)} == {TrialState.ABANDONED}
    assert ledger.changes.budget is not None
    # The added point was in the third slot, or had not come to it before the pause.
    points = [trial.parameters for trial in ledger.trials.values()] + list(ledger.queue.values())
    assert {"x": 0.25, "y": 0.5} in points
    assert not noacct_cluster.run("squeue", "-h", "-o", "%j", "-n", ",".join(ledger.batches)).stdout.split()
