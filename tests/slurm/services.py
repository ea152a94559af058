"""What runs in the test Slurm: each daemon's command line, and the packages that they come from."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.slurm.layout import NODES, ClusterLayout, Site
from tests.slurm.processes import Daemon

_PACKAGE_OF = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
}
# Daemons live where the PATH of an ordinary user does not look.
_SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def missing_packages() -> list[str]:
    """Name the Debian packages whose commands are not on this machine."""
    return sorted(
        {package for name, package in _PACKAGE_OF.items() if not shutil.which(name, path=_SEARCH_PATH)}
    )


def command(name: str) -> str:
    return shutil.which(name, path=_SEARCH_PATH) or name


def run(
    argv: Sequence[str], conf: Path | None = None, timeout: float = 20.0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    # An inherited SLURM_* or SBATCH_* variable of a surrounding job would change the meaning of the command.
    environment = {"PATH": _SEARCH_PATH, "LANG": "C.UTF-8"} | ({"SLURM_CONF": str(conf)} if conf else {})
    try:
        return subprocess.run(
            argv,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"no answer within {timeout:.0f} s")


def munged(site: Site) -> Daemon:
    argv = [
        command("munged"),
        "--foreground",
        f"--socket={site.munge_socket}",
        f"--key-file={site.munge}/munge.key",
        f"--pid-file={site.munge}/munged.pid",
        f"--seed-file={site.munge}/munged.seed",
        f"--log-file={site.munge}/munged.log",
    ]
    return Daemon("munged", argv, site.munge / "munged.log", user="munge")


def mariadbd(site: Site) -> Daemon:
    # No password: the only way in is a socket in a directory that only root and mysql can enter.
    argv = [
        command("mariadbd"),
        "--no-defaults",
        f"--datadir={site.database}/data",
        f"--socket={site.database_socket}",
        f"--pid-file={site.database}/mariadb.pid",
        f"--tmpdir={site.database}",
        "--skip-networking",
        "--skip-grant-tables",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
        "--innodb-buffer-pool-size=64M",
    ]
    return Daemon("mariadbd", argv, site.database / "mariadb.log", user="mysql")


def slurmdbd(site: Site, cluster: ClusterLayout) -> Daemon:
    environment = {"SLURM_CONF": str(cluster.conf), "MYSQL_UNIX_PORT": str(site.database_socket)}
    return Daemon(
        "slurmdbd",
        [command("slurmdbd"), "-D"],
        cluster.log_directory / "slurmdbd.log",
        environment=environment,
    )


def controller(cluster: ClusterLayout) -> Daemon:
    argv = [command("slurmctld"), "-D", "-f", str(cluster.conf)]
    return Daemon(f"{cluster.name}/slurmctld", argv, cluster.log_directory / "slurmctld.log")


def node_daemon(cluster: ClusterLayout, node: str) -> Daemon:
    argv = [command("slurmd"), "-D", "-N", node, "-f", str(cluster.conf)]
    environment = {"SLURM_CONF": str(cluster.conf)}
    return Daemon(
        f"{cluster.name}/{node}", argv, cluster.log_directory / f"{node}.out", environment=environment
    )


def daemon_names(site: Site) -> list[str]:
    names = ["munged", "mariadbd", "slurmdbd"]
    for cluster in site.clusters:
        names += [f"{cluster.name}/{part}" for part in ("slurmctld", *NODES)]
    return names
