"""The private Slurm can do to its jobs and nodes what sites do, and is repaired afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.outages.site import Outages
from tests.outages.test_outages import only_acct
from tests.slurm.harness import Cluster
from tests.slurm.nodes import node_states
from tests.storage.kit import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]

#: All of one node, so that what is to have it has to wait or to preempt.
WHOLE_NODE = ("--nodelist=n1", "--exclusive")


def submit(cluster: Cluster, *options: str, script: str = "sleep 300") -> str:
    done = cluster.run("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def shown(cluster: Cluster, job: str, fields: str = "%T") -> str:
    return cluster.run("squeue", "-h", "--states=all", f"--jobs={job}", f"--format={fields}").stdout.strip()


@only_acct
@pytest.mark.parametrize(
    ("partition", "state", "patience"),
    [("low", "PENDING", 0), ("scavenge", "PREEMPTED", 0), ("grace", "PENDING", 5)],
)
def test_partitions_are_preempted(
    site: Outages, cluster: str, partition: str, state: str, patience: float
) -> None:
    slurm = site.cluster(cluster)
    job = submit(slurm, f"--partition={partition}", *WHOLE_NODE)
    wait_until(lambda: shown(slurm, job) == "RUNNING")
    begun = time.monotonic()
    other = submit(slurm, "--partition=high", *WHOLE_NODE)
    wait_until(lambda: shown(slurm, other) == "RUNNING")
    assert time.monotonic() - begun >= patience
    assert shown(slurm, job) == state


def test_a_node_dies_and_comes_back(site: Outages, cluster: str, tmp_path: Path) -> None:
    slurm = site.cluster(cluster)
    starts = tmp_path / "starts"
    starts.touch()
    job = submit(slurm, "--nodelist=n2", script=f"echo started >> {starts}; srun sleep 300")
    bystander = submit(slurm, "--nodelist=n3")
    wait_until(lambda: starts.read_text() == "started\n" and shown(slurm, bystander) == "RUNNING")
    # Once as it is, where Slurm learns only from the node's return that the job is not there any more.
    site.kill_node(cluster, "n2", noticed=cluster == "noacct")
    site.return_node(cluster, "n2")
    wait_until(lambda: starts.read_text() == 2 * "started\n", 100)
    assert "Restarts=1" in slurm.run("scontrol", "show", "job", job).stdout
    assert shown(slurm, bystander) == "RUNNING"


def test_up_repairs_what_was_made_with_another_configuration(site: Outages) -> None:
    acct = site.cluster("acct")
    assert acct.conf is not None
    acct.conf.write_text(acct.conf.read_text().replace("PartitionName=scavenge", "PartitionName=other"))
    (acct.conf.parent / "gres.conf").unlink()
    acct.run("sacctmgr", "-i", "modify", "qos", "tight", "set", "MaxSubmitJobsPerUser=9")
    acct.run("sacctmgr", "-i", "delete", "user", "root", "account=spent")
    site.repair()
    assert "scavenge" in acct.run("sinfo", "--noheader", "--format=%R").stdout.split()
    refused = acct.run("sbatch", "--qos=tight", "--array=0-3", "--wrap=true")
    assert "QOSMaxSubmitJobPerUserLimit" in refused.stderr
    submit(acct, "--account=spent", "--gres=gpu:4")
    assert set(node_states(site.site.clusters[0]).values()) == {"idle"}
