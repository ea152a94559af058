"""Find the Slurm that tests run on: the test clusters of this machine, else a Slurm of the site."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.control import await_others, up
from tests.slurm.layout import Site
from tests.slurm.processes import ClusterError
from tests.slurm.services import missing_packages

# A surrounding job or the habits of a user would pass these on to the commands under test.
JOB_VARIABLES = (
    "SLURM_",
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "SQUEUE_",
    "SACCT_",
    "SCANCEL_",
    "SINFO_",
    "SUBMITIT_",
)


class ClusterMissing(Exception):
    """No Slurm can be had here; the message says why."""


@dataclass(frozen=True)
class Cluster:
    """A Slurm cluster that answers.

    Attributes
    ----------
    name : str
        `acct` or `noacct` for the test clusters, else `site`.
    conf : Path or None
        What SLURM_CONF has to be; None where the site's default is right.
    accounting : bool
        Whether sacct works.
    """

    name: str
    conf: Path | None
    accounting: bool

    def environment(self) -> dict[str, str]:
        """Return the environment in which Slurm's commands speak to this cluster and to no other."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(JOB_VARIABLES)}
        conf = self.conf or os.environ.get("SLURM_CONF")
        return kept | ({"SLURM_CONF": str(conf)} if conf else {})

    def run(self, *argv: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands on this cluster."""
        return subprocess.run(
            argv,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def clusters() -> list[Cluster]:
    """List the clusters that answer now: both test clusters, else the site's, else none."""
    if not shutil.which("sbatch"):
        return []
    layouts = [layout for layout in Site.from_environment().clusters if layout.conf.exists()]
    ours = [Cluster(layout.name, layout.conf, layout.accounting) for layout in layouts]
    answering = [cluster for cluster in ours if _answers(cluster)]
    if answering:
        return answering
    site = Cluster("site", None, accounting=False)
    if not _answers(site):
        return []
    return [Cluster("site", None, accounting=site.run("sacct", "-n", "-X").returncode == 0)]


def _answers(cluster: Cluster) -> bool:
    try:
        return cluster.run("scontrol", "ping", timeout=15).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def ensure_up() -> list[Cluster]:
    """Return the clusters to test on, after bringing up the test clusters where this machine allows it.

    Raises
    ------
    ClusterMissing
        If there is no Slurm and none can be started.
    """
    site = Site.from_environment()
    # Pytest's workers come here at the same time: one brings the clusters up, and the others find them whole.
    await_others(site)
    found = clusters()
    if found and (found[0].conf is None or len(found) == len(site.clusters)):
        return found
    if os.geteuid() == 0 and not missing_packages():
        try:
            up(site)
        except ClusterError as error:
            raise ClusterMissing(f"the test Slurm does not come up: {error}") from error
        return clusters()
    if found:
        return found
    if os.geteuid() != 0:
        raise ClusterMissing(
            "no Slurm answers here, and starting the test Slurm needs root: `sudo tests/slurm/cluster up`."
        )
    raise ClusterMissing(
        "no Slurm answers here, and packages for the test Slurm are missing: "
        f"apt-get install -y {' '.join(missing_packages())}"
    )
