"""The driver's batch script on a real Slurm, with a script in its place that ends in all a driver's ways."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from axsched_hpc.core.errors import SubmissionError
from tests.cli.driver_kit import Site, axsched, site, until
from tests.slurm.harness import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(150)]


@pytest.fixture
def here(tmp_path: Path, slurm_cluster: Cluster) -> Iterator[Site]:
    yield from site(tmp_path)


@pytest.fixture
def here_without_accounting(tmp_path: Path, noacct_cluster: Cluster) -> Iterator[Site]:
    yield from site(tmp_path)


def test_warned_it_is_requeued_until_it_ends_by_itself(here: Site) -> None:
    here.plan("wait 0")
    words = ("a b", "$(touch made)", "it's", "two\nlines")
    job = here.submit(arguments=words)
    here.logged("this start: wait")
    refused = axsched("submit", "--name", here.name, "driver.py").exception
    assert isinstance(refused, SubmissionError)
    assert f"{job} (running)" in str(refused)
    here.say("scancel", "--batch", "--signal=USR1", job)
    here.logged("done.")
    assert here.starts() == [job, job]
    assert not (here.folder / "made").exists()
    assert (here.folder / "starts.log").read_text().count(repr(list(words))) == 2
    assert stat.S_IMODE((here.folder / f"{here.name}.log").stat().st_mode) == 0o600
    here.over()


def test_each_successor_waits_for_the_one_before(here: Site) -> None:
    here.plan("wait die wait 0")
    job = here.submit("--again", "successor")
    here.logged("this start: wait")
    # One waits from the start, so that nothing that happens to the first can end the chain.
    assert [line.split()[1] for line in sorted(here.queue())] == ["RUNNING", "PENDING"]
    (here.folder / "waiting").unlink()
    here.say("scancel", "--batch", "--signal=USR1", job)
    here.logged("the driver ended with exit code 137.")
    # The job itself is killed: nothing in it can do anything any more.
    until((here.folder / "waiting").exists)
    here.say("scancel", "--full", "--signal=KILL", here.starts()[-1])
    here.logged("done.")
    starts = here.starts()
    assert len(starts) == len(set(starts)) == 4
    here.over()


def test_a_cancelled_driver_stays_cancelled(here: Site) -> None:
    here.plan("wait")
    job = here.submit()
    here.logged("this start: wait")
    here.say("scancel", job)
    here.over()
    assert here.starts() == [job]
    assert "requeued" not in here.log()


def test_cancelled_by_name_the_successor_goes_as_well(here_without_accounting: Site) -> None:
    here = here_without_accounting
    here.plan("wait")
    job = here.submit("--again", "successor")
    here.logged("this start: wait")
    here.say("scancel", "--me", f"--name={here.name}")
    here.over()
    assert here.starts() == [job]


@pytest.mark.parametrize("again", ["requeue", "successor"])
def test_an_error_is_not_repeated(here_without_accounting: Site, again: str) -> None:
    here = here_without_accounting
    here.plan("3")
    here.submit("--again", again)
    here.logged("the script ended with exit code 3, so it is not started again.")
    here.over()
    assert len(here.starts()) == 1


def test_drivers_that_end_at_once_come_to_an_end(here_without_accounting: Site) -> None:
    here = here_without_accounting
    here.plan("75")
    here.submit("--again", "successor")
    here.logged("5 drivers in a row lasted less than 30 s (the last one had exit code 75)", 100)
    here.over()
    assert len(here.starts()) == 5
    assert not list(here.folder.glob(".*.short"))


def test_where_requeue_is_refused_a_successor_is_submitted(here_without_accounting: Site) -> None:
    here = here_without_accounting
    here.plan("75 0")
    here.submit_edited(("--requeue", "--no-requeue"))
    here.logged("done.")
    assert "Requested operation is presently disabled" in here.log()
    first, second = here.starts()
    assert first != second
    here.over()


@pytest.mark.timeout(200)
def test_deaf_to_all_warnings_it_is_requeued_at_its_walltime(here_without_accounting: Site) -> None:
    here = here_without_accounting
    here.plan("deaf 0")
    # A minute is Slurm's shortest, and the command refuses it.
    here.submit_edited(("--time=12:00:00", "--time=1"), ("@120", "@10"))
    here.logged("DUE TO TIME LIMIT", 150)
    here.logged("done.")
    first, second = here.starts()
    assert first == second
    here.over()


def test_done_in_the_moment_of_a_requeue_it_stays_done(here: Site) -> None:
    """Else the script would begin anew, with a budget of its own."""
    here.plan("last")
    job = here.submit()
    here.logged("this start: last")
    here.say("scontrol", "requeue", job)
    here.logged("done.")
    here.over()
    assert here.starts() == [job]


def test_a_successor_that_cannot_be_cancelled_does_nothing(
    here_without_accounting: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = here_without_accounting
    here.plan("0")
    (here.folder / "bin").mkdir()
    (here.folder / "bin" / "scancel").write_text("#!/bin/sh\nexit 1\n")
    (here.folder / "bin" / "scancel").chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{here.folder}/bin:{os.environ['PATH']}")
        job = here.submit("--again", "successor")
    here.logged("the script has ended already: nothing is left to do.")
    here.over()
    assert here.starts() == [job]


def test_preempted_it_comes_again(here: Site) -> None:
    here.plan("wait 0")
    job = here.submit("--partition", "low", "--cpus", "8")
    here.logged("this start: wait")
    _preempt(here, job)
    here.logged("DUE TO PREEMPTION")
    here.logged("done.")
    assert here.starts() == [job, job]
    here.over()


def test_preempted_for_good_its_successor_comes(here_without_accounting: Site) -> None:
    here = here_without_accounting
    here.plan("wait 0")
    job = here.submit("--partition", "low", "--cpus", "8", "--again", "successor")
    here.logged("this start: wait")
    # It is not to be requeued, so Slurm cancels it.
    _preempt(here, job)
    here.logged("DUE TO PREEMPTION")
    here.logged("done.")
    first, second = here.starts()
    assert first == job != second
    here.over()


def _preempt(here: Site, job: str) -> None:
    """Take the node of a job that has all of its processors."""
    node = subprocess.run(
        ["squeue", "--noheader", f"--jobs={job}", "--format=%N"], capture_output=True, text=True, check=True
    ).stdout.strip()
    here.say(
        *("sbatch", "--partition=high", f"--nodelist={node}", "--cpus-per-task=8", "--mem=100M"),
        *("--output=/dev/null", "--wrap", "true"),
    )


def test_the_template_as_it_is_with_its_two_parts_edited(here_without_accounting: Site) -> None:
    here = here_without_accounting
    here.plan("75 0")
    assert axsched("templates", "new", "driver.sbatch").exit_code == 0
    path = here.folder / "driver.sbatch"
    text = re.sub(r"^command=.*$", 'command=(python3 "$PWD/driver.py")', path.read_text(), flags=re.MULTILINE)
    text = text.replace("axsched-my-experiment", here.name).replace("--mem=4G", "--mem=100M")
    path.write_text(
        text.replace("again=requeue\n", "again=successor\n", 1).replace("--requeue\n", "--no-requeue\n")
    )
    here.say("sbatch", str(path))
    here.logged("done.")
    assert len(set(here.starts())) == 2
    here.over()
