"""Experiments whose driver is a job that ends before they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import read_experiment
from tests.cli.driver_kit import Site, site, until
from tests.e2e.kit import executions
from tests.slurm.harness import Cluster

pytestmark = pytest.mark.slurm

#: The script of a user, with all that belongs to the site in a profile. Its objective logs each execution,
#: and what its job has inherited.
DRIVER = """
import os, sys, time
from pathlib import Path
from axsched_hpc import AxScheduler, SlurmRunner
from tests.e2e.kit import client

trials, seconds = int(sys.argv[1]), float(sys.argv[2])
folder = str(Path(__file__).parent)

def objective(parameters):
    with open(folder + "/executions.log", "a") as file:
        file.write(f"{parameters['x']!r} {parameters['y']!r}\\n")
    with open(folder + "/environment.log", "a") as file:
        file.writelines(f"{name}={value!r}\\n" for name, value in os.environ.items())
    time.sleep(seconds)
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}

if __name__ == "__main__":
    print("process", os.getpid(), os.environ["MINE"])
    scheduler = AxScheduler(client(initial=trials), SlurmRunner.from_profile(max_parallel=2), {
        "job_output_dir": folder + "/run", "synchronous": False,
        "monitoring_interval": 1, "poll_interval": 0.2,
    })
    scheduler.set_objective_function(objective)
    print("best", scheduler.run_optimization(max_trials=trials))
"""

PROFILE = """
runner:
  memory: 120M
  time_limit: 00:10:00
  config:
    environment: {TRIAL: "one's own"}
driver:
  memory: 1G
  environment: {MINE: "the driver's"}
"""


@pytest.fixture
def here(tmp_path: Path, noacct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Without accounting: there a job that ends while no driver looks vanishes.

    The batch script asks squeue alone, and tests/cli/test_submit_slurm.py has it on both clusters; that a
    driver finds what the one before it left, with accounting too, tests/e2e/test_kill.py shows.
    """
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "site.yaml").write_text(PROFILE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    yield from site(tmp_path)


def _all_computed_once(here: Site, trials: int) -> None:
    ledger = read_experiment(str(here.folder / "run")).ledger
    assert len(ledger.trials) == trials
    assert {str(trial.state) for trial in ledger.trials.values()} == {"completed"}
    # One that was withdrawn was never submitted: its driver was killed before.
    begun = [[each for each in trial.attempts if not each.withdrawn] for trial in ledger.trials.values()]
    assert all(len(attempts) == 1 for attempts in begun)
    ran = executions(here.folder)
    assert len(ran) == len(set(ran)) == trials
    assert len(list(Layout.at(here.folder / "run").journal.glob("*.jsonl"))) == here.log().count("process ")


def _nothing_of_the_driver_in_trials(here: Site, jobs: set[str]) -> None:
    lines = (here.folder / "environment.log").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert not names & {"MINE", "PYTHONUNBUFFERED", "AXSCHED_DRIVER_ONLY", "SLURM_RESTART_COUNT"}
    assert {"TRIAL", "AXSCHED_PROFILE"} <= names
    assert set(re.findall(r"^SLURM_MEM_PER_NODE=(.*)$", "\n".join(lines), re.MULTILINE)) == {"'120'"}
    assert not [line for line in lines if here.name in line and line.startswith("SLURM")]
    assert not [line for line in lines if line.startswith("SLURM_JOB_ID=") and line.split("'")[1] in jobs]


@pytest.mark.timeout(400)
def test_an_experiment_longer_than_the_walltime_of_its_driver(here: Site) -> None:
    options = ("--profile", "./site.yaml", "--time", "2", "--warning", "30")
    job = here.submit(*options, arguments=("26", "10"))
    here.logged("done.", 350)
    assert here.log().count("requeued; this job runs again.") == here.log().count("process ") - 1 >= 1
    _all_computed_once(here, 26)
    _nothing_of_the_driver_in_trials(here, {job})
    here.over()


@pytest.mark.timeout(180)
def test_killed_or_warned_the_successor_takes_over(here: Site) -> None:
    # So many that some are left when the second one has found the experiment taken, on a busy machine too.
    options = ("--profile", "./site.yaml", "--again", "successor")
    first = here.submit(*options, arguments=("30", "1.5"))
    until(lambda: len(executions(here.folder)) >= 2, 60, here.log)

    # Submitted twice by mistake, under another name: the second one finds the experiment taken, and ends.
    other = Site(here.folder, f"{here.name}-b")
    other.submit(*options, arguments=("30", "1.5"))
    other.logged("the script ended with exit code 1, so it is not started again.", 60)
    assert "ExperimentLockedError" in other.log()
    other.over()

    (process,) = re.findall(r"^process (\d+) the driver's$", here.log(), re.MULTILINE)
    here.say("kill", "-KILL", process)
    until(lambda: here.log().count("process ") == 2, 60, here.log)
    before = len(executions(here.folder))
    until(lambda: len(executions(here.folder)) > before, 60, here.log)
    second = next(line.split()[0] for line in here.queue() if line.endswith(" RUNNING"))
    here.say("scancel", "--batch", "--signal=USR1", second)
    here.logged("done.", 90)
    assert here.log().count("process ") == 3
    _all_computed_once(here, 30)
    _nothing_of_the_driver_in_trials(here, {first, second})
    here.over()
