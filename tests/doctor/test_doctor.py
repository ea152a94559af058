"""The doctor's visits to real sites: both clusters, a machine without Slurm, and directories that are bad."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import JobState
from axsched_hpc.doctor.finding import Level
from axsched_hpc.doctor.judge_silence import judge_silence
from axsched_hpc.doctor.trip import Trip, make, private_directory
from axsched_hpc.runners.local_runner import LocalRunner
from axsched_hpc.runners.slurm_runner import SlurmRunner
from tests.slurm.harness import Cluster
from tests.slurm.processes import poll

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_SLURM = f"export PATH='{Path(sys.executable).parent}';"
COMMAND = [sys.executable, "-m", "tests.doctor.command"]


def doctor(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """`axsched doctor`; ``before`` are lines of shell in mounts of their own."""
    argv = [*COMMAND, *map(str, arguments)]
    if before:
        argv = ["unshare", "--mount", "sh", "-c", f'{before} exec "$@"', "sh", *argv]
    return subprocess.run(
        argv,
        env={**(os.environ if environment is None else environment), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def told(*arguments: str | Path, **options: Any) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code and findings by check."""
    done = doctor(*arguments, "--json", **options)
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert answer["format"] == 1
    return done.returncode, {each["check"]: each for each in answer["findings"]}


def without_slurm() -> dict[str, str]:
    return {"PATH": str(Path(sys.executable).parent), "HOME": os.environ.get("HOME", "/")}


def jobs_from(cluster: Cluster, directory: Path) -> list[str]:
    """Jobs that were submitted by a process in this directory."""
    answer = cluster.run("squeue", "--noheader", "--me", "--format=%Z|%i|%T").stdout
    return [line for line in answer.splitlines() if line.split("|")[0] == str(directory)]


mounting = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of its own")


# ---------------------------------------------------------------- on Slurm


@pytest.mark.slurm
def test_on_a_cluster(slurm_cluster: Cluster, tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    for line in (
        r"^Slurm$",
        r"^  ok    commands ",
        rf"^  ok    versions +2.* at the controller of cluster {slurm_cluster.name}\.$",
        r"^  ok    where trials go +Partition main, the default\.$",
        rf"^Directory {tmp_path}$",
        r"^  ok    files ",
        r"^A job's round trip$",
        r"^  ok    start +On n\d ",
        r"^  ok    directory there ",
        r"^  ok    late files ",
        r"^  ok    claims ",
        r"^  ok    locks +flock is respected both ways",
        r"^  ok    clocks ",
        r"^  ok    python there ",
        r"^  ok    user ",
        r"^No problem",
    ):
        assert re.search(line, text, re.MULTILINE), (line, text)
    accounting = re.search(r"^  (\w+) +accounting +(\w+)", text, re.MULTILINE)
    assert accounting is not None
    assert accounting.groups() == (("ok", "On") if slurm_cluster.accounting else ("note", "Off"))
    assert bool(re.search(r"^  \w+ +account ", text, re.MULTILINE)) is slurm_cluster.accounting
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slurm
def test_a_partition_that_does_not_exist(acct_cluster: Cluster, tmp_path: Path) -> None:
    code, found = told(tmp_path, "--partition", "mian")
    assert code == 1
    assert found["where trials go"]["level"] == "problem"
    assert "'main'" in found["where trials go"]["found"]
    assert found["job"]["level"] == "skipped"


@pytest.mark.slurm
def test_what_is_tested_is_what_a_profile_has_trials_ask_for(acct_cluster: Cluster, tmp_path: Path) -> None:
    code, found = told(tmp_path, "--partition", "short")
    assert code == 1
    assert "Trials ask for 1h00m, and its time limit is 1m00s" in found["where trials go"]["found"]
    assert found["start"]["level"] == "ok"
    profile = tmp_path / "site.yaml"
    runner = {
        "partition": "short",
        "time_limit": "00:01:00",
        "config": {"setup": ["export CUDA_VISIBLE_DEVICES=7"]},
    }
    profile.write_text(json.dumps({"runner": runner}))
    code, found = told(tmp_path, "--profile", profile)
    assert code == 0
    assert found["profile"]["found"] == f"{profile}."
    assert found["where trials go"]["found"] == "Partition short."
    assert "CUDA_VISIBLE_DEVICES=7" in found["cores and GPUs"]["found"]


def test_a_profile_that_does_not_exist(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--profile", "nosuch", environment=without_slurm())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("axsched: There is no profile 'nosuch'")


@pytest.mark.slurm
@mounting
def test_a_directory_that_the_node_does_not_see(acct_cluster: Cluster, tmp_path: Path) -> None:
    code, found = told(tmp_path, before=f"mount -t tmpfs tmpfs '{tmp_path}' &&")
    assert code == 1
    assert "The compute node does not see it." in found["file system"]["found"]
    assert "Not even its log" in found["start"]["found"]
    assert "share" in found["start"]["change"]


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        (SlurmRunner(config={"sbatch_options": {"hold": True}}), "JobHeldUser"),
        (SlurmRunner(partition="short", time_limit="01:00:00"), "PartitionTimeLimit"),
    ],
    ids=["held", "too long"],
)
def test_a_job_that_never_starts(
    noacct_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: SlurmRunner, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    with private_directory(tmp_path) as private:
        trip = make(runner, private, wait=2.5, say=said.append)
    assert trip.node is None
    assert (trip.left, trip.seen) == ("", None)
    assert trip.status is not None
    assert trip.status.state is JobState.QUEUED
    assert any("waiting for job" in text and "PENDING" in text for text in said)
    found = judge_silence(trip, str(tmp_path))
    assert found.level is Level.PROBLEM
    assert f"Slurm's reason: {reason}" in found.found
    assert all(line.endswith("|CANCELLED") for line in jobs_from(noacct_cluster, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slurm
def test_a_python_that_is_not_on_the_node(acct_cluster: Cluster, tmp_path: Path) -> None:
    with private_directory(tmp_path) as private:
        trip = make(SlurmRunner(), private, wait=30, say=lambda text: None, python="/no/such/python")
    found = judge_silence(trip, str(tmp_path))
    assert "/no/such/python" in found.found
    assert "virtual environment" in found.change
    assert trip.seen is None


@pytest.mark.slurm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_visit_leaves_nothing(
    acct_cluster: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    visit = subprocess.Popen(
        [*COMMAND, "--held", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert poll(lambda: jobs_from(acct_cluster, tmp_path), 60), "no job was submitted"
    visit.send_signal(number)
    _, errors = visit.communicate(timeout=60)
    assert visit.returncode == (1 if number is signal.SIGINT else 128 + number)
    assert "Traceback" not in errors
    assert not jobs_from(acct_cluster, tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- without Slurm


def test_on_a_machine_without_slurm(tmp_path: Path) -> None:
    done = doctor(tmp_path / "later", environment=without_slurm())
    assert (done.returncode, done.stderr) == (0, "")
    assert "there is no Slurm here. LocalRunner works" in " ".join(done.stdout.split())
    assert f"Directory {tmp_path}/later (not there yet; checked in {tmp_path})" in done.stdout
    assert re.search(r"^A worker's round trip\n  ok    start ", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_a_partition_without_slurm_is_a_problem(tmp_path: Path) -> None:
    code, found = told(tmp_path, "--partition", "main", "--no-job", environment=without_slurm())
    assert (code, found["commands"]["level"], found["worker"]["level"]) == (1, "problem", "skipped")


def test_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments in ([tmp_path / "file"], ["--wait", "soon"], ["--nonsense"]):
        assert doctor(*arguments, environment=without_slurm()).returncode == 2


@mounting
def test_a_read_only_directory(tmp_path: Path) -> None:
    code, found = told(tmp_path, before=f"mount -t tmpfs -o ro tmpfs '{tmp_path}' && {WITHOUT_SLURM}")
    assert code == 1
    assert "read-only" in found["file system"]["found"]
    assert "Read-only file system" in found["files"]["found"]
    assert found["worker"]["level"] == "skipped"


@mounting
def test_a_full_directory(tmp_path: Path) -> None:
    fill = f"mount -t tmpfs -o size=64k tmpfs '{tmp_path}' && cat /dev/zero 2>/dev/null >'{tmp_path}/x';"
    code, found = told(tmp_path, before=f"{fill} {WITHOUT_SLURM}")
    assert code == 1
    assert found["space"]["level"] == "problem"
    assert "No space left on device" in found["files"]["found"]


def test_a_local_worker_answers_and_ends(tmp_path: Path) -> None:
    with private_directory(tmp_path) as private:
        trip: Trip = make(LocalRunner(1), private, wait=30, say=lambda text: None)
    assert trip.node is not None
    assert trip.node["lock"] == "refused"
    assert trip.node["claimed"] == "refused"
    assert trip.lock_here == "refused"
    assert trip.released is not None
    assert len(trip.exchanges) == 5
    assert trip.left == ""
    assert list(tmp_path.iterdir()) == []


def test_progress_is_shown_on_a_terminal_and_taken_away(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    visit = subprocess.Popen(
        [*COMMAND, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=slave,
        stdin=slave,
        text=True,
        env={**without_slurm(), "PYTHONPATH": str(ROOT)},
    )
    os.close(slave)
    output, _ = visit.communicate(timeout=60)
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert visit.returncode == 0
    assert "speaking with" in shown
    assert shown.endswith("\r\x1b[K")
    assert "speaking with" not in output


def test_the_directory_by_default_is_outputs_or_the_current_one(tmp_path: Path) -> None:
    def title() -> str:
        done = subprocess.run(
            [*COMMAND, "--no-job"],
            cwd=tmp_path,
            env={**without_slurm(), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        return next(line for line in done.stdout.splitlines() if line.startswith("Directory"))

    assert title() == f"Directory {tmp_path}"
    (tmp_path / "outputs").mkdir()
    assert title() == f"Directory {tmp_path}/outputs"
