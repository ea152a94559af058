"""The test Slurm is really there, and does what the tests that stand on it take for granted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.slurm.harness import Cluster
from tests.slurm.processes import poll

pytest_plugins = ("tests.slurm.fixtures",)
pytestmark = pytest.mark.slurm
COMMAND = Path(__file__).with_name("cluster")
needs_own_cluster = pytest.mark.skipif(
    os.geteuid() != 0 and os.environ.get("AXSCHED_REQUIRE_SLURM") != "1",
    reason="the site's Slurm is used, and its nodes are not ours to count",
)


@needs_own_cluster
def test_four_nodes_of_eight_cpus(slurm_cluster: Cluster) -> None:
    shown = slurm_cluster.run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %c %m").stdout
    assert shown.splitlines() == [f"n{i} 8 64000" for i in range(1, 5)]


@needs_own_cluster
def test_partitions(slurm_cluster: Cluster) -> None:
    shown = slurm_cluster.run("sinfo", "--noheader", "--format=%R %l %p").stdout
    assert set(shown.splitlines()) == {
        "main 1-00:00:00 1",
        "short 1:00 1",
        "low 1-00:00:00 1",
        "high 1-00:00:00 10",
    }


def test_fixture_selects_the_cluster_for_every_child(slurm_cluster: Cluster) -> None:
    if slurm_cluster.conf is not None:
        assert os.environ["SLURM_CONF"] == str(slurm_cluster.conf)
    assert not [name for name in os.environ if name.startswith("SLURM_JOB")]


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_runs_and_its_exit_code_is_seen(slurm_cluster: Cluster, tmp_path: Path, code: int) -> None:
    script = f"echo ran on $SLURMD_NODENAME > {tmp_path}/out; exit {code}"
    done = slurm_cluster.run("sbatch", "--parsable", "--wait", f"--output={tmp_path}/log", f"--wrap={script}")
    assert done.returncode == code
    assert (tmp_path / "out").read_text().startswith("ran on ")


def test_accounting_knows_an_ended_job(acct_cluster: Cluster, tmp_path: Path) -> None:
    done = acct_cluster.run("sbatch", "--parsable", "--wait", f"--output={tmp_path}/log", "--wrap=exit 3")
    job = done.stdout.strip()

    def record() -> str:
        return acct_cluster.run("sacct", "-nXP", f"--jobs={job}", "--format=State,ExitCode").stdout.strip()

    # A record reaches the database a moment after the job's end.
    assert poll(lambda: record() == "FAILED|3:0", timeout=10), record()


def test_without_accounting_sacct_says_so(noacct_cluster: Cluster) -> None:
    result = noacct_cluster.run("sacct", "-nX")
    assert result.returncode == 1
    assert "accounting storage is disabled" in result.stderr


@needs_own_cluster
def test_status_and_env(slurm_cluster: Cluster) -> None:
    status = subprocess.run([COMMAND, "status"], capture_output=True, text=True, check=False)
    assert status.returncode == 0, status.stdout
    assert f"{slurm_cluster.name}/slurmctld" in status.stdout
    env = subprocess.run([COMMAND, "env", slurm_cluster.name], capture_output=True, text=True, check=True)
    assert env.stdout == f"export SLURM_CONF='{slurm_cluster.conf}'\n"


@needs_own_cluster
def test_up_on_a_running_cluster_changes_nothing(slurm_cluster: Cluster) -> None:
    before = slurm_cluster.run("scontrol", "show", "config").stdout
    subprocess.run([COMMAND, "up"], capture_output=True, text=True, check=True, timeout=60)
    started = [line for line in before.splitlines() if line.startswith("BOOT_TIME")]
    assert started
    assert started[0] in slurm_cluster.run("scontrol", "show", "config").stdout
