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
def test_four_nodes_of_eight_cpus_and_four_gpus(slurm_cluster: Cluster) -> None:
    fields = "--format=%N %c %m %G"
    shown = slurm_cluster.run("sinfo", "--noheader", "--Node", "--partition=main", fields).stdout
    assert shown.splitlines() == [f"n{i} 8 64000 gpu:4" for i in range(1, 5)]


@needs_own_cluster
def test_partitions(slurm_cluster: Cluster) -> None:
    shown = slurm_cluster.run("sinfo", "--noheader", "--format=%R %l %p").stdout
    assert set(shown.splitlines()) == {
        "main 1-00:00:00 1",
        "short 1:00 1",
        "low 1-00:00:00 1",
        "grace 1-00:00:00 1",
        "scavenge 1-00:00:00 1",
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


def _submit(cluster: Cluster, *options: str, script: str = "sleep 60") -> str:
    done = cluster.run("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _squeue(cluster: Cluster, job: str, field: str) -> list[str]:
    shown = cluster.run("squeue", "--noheader", "--array", f"--jobs={job}", f"--format={field}").stdout
    return shown.split()


@needs_own_cluster
@pytest.mark.parametrize(
    ("options", "tasks"),
    [(["--gres=gpu:1"], 1), (["--nodes=1", "--ntasks=2", "--gpus-per-task=1"], 2)],
    ids=["gres", "gpus-per-task"],
)
def test_a_job_sees_the_gpus_that_it_was_given(
    slurm_cluster: Cluster, tmp_path: Path, options: list[str], tasks: int
) -> None:
    script = "echo $CUDA_VISIBLE_DEVICES; srun printenv CUDA_VISIBLE_DEVICES"
    slurm_cluster.run("sbatch", "--wait", *options, f"--output={tmp_path}/log", f"--wrap={script}")
    job, *steps = (tmp_path / "log").read_text().splitlines()
    # One device for each task, out of those that the whole job has.
    assert sorted(steps) == job.split(",")
    assert len(set(steps)) == tasks
    assert set(steps) <= set("0123")


@needs_own_cluster
def test_a_job_can_be_suspended_and_resumed(slurm_cluster: Cluster) -> None:
    job = _submit(slurm_cluster)
    assert poll(lambda: _squeue(slurm_cluster, job, "%T") == ["RUNNING"], 10)
    for verb, state in (("suspend", "SUSPENDED"), ("resume", "RUNNING")):
        assert slurm_cluster.run("scontrol", verb, job).returncode == 0
        assert _squeue(slurm_cluster, job, "%T") == [state]
    slurm_cluster.run("scancel", job)


@needs_own_cluster
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--account=spent"], "AssocGrpCPUMinutesLimit"),
        (["--qos=few", "--array=0-2"], "QOSMaxJobsPerUserLimit"),
        (["--qos=brief", "--time=10"], "QOSMaxWallDurationPerJobLimit"),
        (["--qos=narrow", "--ntasks=5"], "QOSGrpCpuLimit"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else None,
)
def test_jobs_wait_for_a_limit(acct_cluster: Cluster, options: list[str], reason: str) -> None:
    job = _submit(acct_cluster, *options)
    try:
        assert poll(lambda: reason in _squeue(acct_cluster, job, "%r"), 10), _squeue(acct_cluster, job, "%r")
    finally:
        acct_cluster.run("scancel", job)


@needs_own_cluster
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--qos=tight", "--array=0-3"], "QOSMaxSubmitJobPerUserLimit"),
        (["--qos=strict", "--time=10"], "QOSMaxWallDurationPerJobLimit"),
    ],
)
def test_jobs_beyond_a_limit_are_refused(acct_cluster: Cluster, options: list[str], reason: str) -> None:
    refused = acct_cluster.run("sbatch", *options, "--wrap=true")
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert "Job violates accounting/QOS policy" in refused.stderr


@needs_own_cluster
def test_root_meets_no_limit_without_asking_for_one(acct_cluster: Cluster) -> None:
    fields = "format=user,account,defaultqos,maxjobs,maxsubmit,grptresmins"
    shown = acct_cluster.run("sacctmgr", "-nP", "show", "assoc", "user=root", "account=root", fields).stdout
    assert shown.split() == ["root|root||||"]
    job = _submit(acct_cluster, "--hold")
    assert acct_cluster.run("squeue", "-h", f"--jobs={job}", "--format=%a %q").stdout.split() == [
        "root",
        "normal",
    ]
    acct_cluster.run("scancel", job)


@needs_own_cluster
def test_a_job_that_exceeds_its_memory_is_killed(slurm_cluster: Cluster, tmp_path: Path) -> None:
    script = "exec python3 -c 'import time; kept = bytearray(200 << 20); time.sleep(60)'"
    job = _submit(slurm_cluster, "--acctg-freq=1", "--mem=100M", script=script)
    shown = ("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T %r")
    # Not OUT_OF_MEMORY, which Slurm says only where a cgroup has seen it.
    assert poll(lambda: slurm_cluster.run(*shown).stdout.strip() == "FAILED JobLaunchFailure", 20)


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
