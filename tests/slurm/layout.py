"""Where the test Slurm lives and how it is configured: paths, ports, and its configuration files."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

DIRECTORY_VARIABLE = "AXSCHED_CLUSTER_DIR"
PORT_VARIABLE = "AXSCHED_CLUSTER_PORT"
CPUS_VARIABLE = "AXSCHED_CLUSTER_CPUS"
DEFAULT_DIRECTORY = Path("/var/tmp/axsched-cluster")
DEFAULT_PORT = 16800
NODES = ("n1", "n2", "n3", "n4")
CPUS = int(os.environ.get(CPUS_VARIABLE, "8"))
MEMORY_MB = 64000
GPUS = 4
_LONG = "MaxTime=1-00:00:00"
_PARTITIONS = {
    "main": f"Default=YES {_LONG} PriorityTier=1 PreemptMode=OFF",
    "short": "MaxTime=00:01:00 PriorityTier=1 PreemptMode=OFF",
    "low": f"{_LONG} PriorityTier=1 PreemptMode=REQUEUE",
    "grace": f"{_LONG} PriorityTier=1 PreemptMode=REQUEUE GraceTime=5",
    "scavenge": f"{_LONG} PriorityTier=1 PreemptMode=CANCEL",
    "high": f"{_LONG} PriorityTier=10 PreemptMode=OFF",
}


@dataclass(frozen=True)
class ClusterLayout:
    """One of the two clusters.

    Attributes
    ----------
    name : str
        Slurm's ClusterName, and the name of its directory.
    directory : Path
        Configuration, logs, spool and saved state of this cluster.
    port : int
        First of its ports: the controller's; the nodes' follow.
    accounting : bool
        Whether it reports to slurmdbd.
    job_age : int
        MinJobAge, in seconds: how long the controller remembers an ended job.
    """

    name: str
    directory: Path
    port: int
    accounting: bool
    job_age: int

    @property
    def conf(self) -> Path:
        return self.directory / "slurm.conf"

    @property
    def gres_conf(self) -> Path:
        return self.directory / "gres.conf"

    @property
    def gpus(self) -> list[Path]:
        """What stands for the GPUs of each node; Slurm takes the number of one from the end of its name."""
        return [self.directory / "gpu" / f"gpu{number}" for number in range(GPUS)]

    @property
    def log_directory(self) -> Path:
        return self.directory / "log"

    def node_port(self, node: str) -> int:
        return self.port + 1 + NODES.index(node)

    def spool(self, node: str) -> Path:
        return self.directory / "spool" / node


@dataclass(frozen=True)
class Site:
    """Everything on this machine that belongs to one state directory.

    Attributes
    ----------
    port : int
        The first of 40.
    job_age : int
        MinJobAge of the cluster without accounting, in seconds.
    """

    directory: Path
    port: int
    job_age: int = 20

    @classmethod
    def from_environment(cls) -> Site:
        directory = Path(os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY)
        # A configuration file must not depend on the directory from which the command was called.
        return cls(directory.absolute(), int(os.environ.get(PORT_VARIABLE) or DEFAULT_PORT))

    @property
    def clusters(self) -> tuple[ClusterLayout, ClusterLayout]:
        return (
            ClusterLayout("acct", self.directory / "acct", self.port + 10, accounting=True, job_age=300),
            ClusterLayout(
                "noacct", self.directory / "noacct", self.port + 20, accounting=False, job_age=self.job_age
            ),
        )

    @property
    def dbd_port(self) -> int:
        return self.port

    @property
    def munge(self) -> Path:
        return self.directory / "munge"

    @property
    def munge_socket(self) -> Path:
        return self.munge / "munge.socket"

    @property
    def database(self) -> Path:
        return self.directory / "database"

    @property
    def database_socket(self) -> Path:
        return self.database / "mariadb.socket"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"


def slurm_conf(site: Site, cluster: ClusterLayout) -> str:
    """Render slurm.conf."""
    host = socket.gethostname().split(".")[0]
    storage = (
        f"AccountingStorageType=accounting_storage/slurmdbd\n"
        f"AccountingStorageHost=localhost\n"
        # Not a password: towards slurmdbd, the munge socket is taken from here and not from AuthInfo.
        f"AccountingStoragePass={site.munge_socket}\n"
        f"AccountingStoragePort={site.dbd_port}\n"
        f"AccountingStorageTRES=gres/gpu\n"
        f"AccountingStorageEnforce=associations,limits,qos"
        if cluster.accounting
        else "AccountingStorageType=accounting_storage/none"
    )
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={cluster.node_port(node)}"
        f" CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:{GPUS} State=UNKNOWN"
        for node in NODES
    )
    partitions = "\n".join(
        f"PartitionName={name} Nodes={','.join(NODES)} {options}" for name, options in _PARTITIONS.items()
    )
    # cred_expire is also the time that a requeued job waits before it may start again: 120 s by default.
    return f"""\
# Written by tests/slurm/cluster; changes are overwritten by its next `up`.
ClusterName={cluster.name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={cluster.port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={site.munge_socket},cred_expire=15
CredType=cred/munge

SlurmctldPidFile={cluster.directory}/slurmctld.pid
SlurmdPidFile={cluster.directory}/spool/%n/slurmd.pid
SlurmdSpoolDir={cluster.directory}/spool/%n
SlurmdLogFile={cluster.log_directory}/%n.log
StateSaveLocation={cluster.directory}/state

# Nothing of the machine is probed or confined: no cgroups, and each node has the size given here.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
# A job that exceeds its memory is killed when it is looked at: every 30 s, or as its --acctg-freq says.
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100

# Schedule at once instead of saving the work of a busy controller.
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=2
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MaxArraySize=10001
OverTimeLimit=0
KillWait=5
SlurmdTimeout=10
ReturnToService=2
MinJobAge={cluster.job_age}

{storage}

{nodes}
{partitions}
"""


def gres_conf(cluster: ClusterLayout) -> str:
    """Render gres.conf; it lies beside slurm.conf because the daemons look for it there."""
    return f"""\
# Written by tests/slurm/cluster; changes are overwritten by its next `up`.
AutoDetect=off
Name=gpu File={",".join(map(str, cluster.gpus))}
"""


def slurmdbd_conf(site: Site, cluster: ClusterLayout) -> str:
    """Render slurmdbd.conf; it lies beside slurm.conf because slurmdbd looks for it there."""
    host = socket.gethostname().split(".")[0]
    return f"""\
# Written by tests/slurm/cluster; changes are overwritten by its next `up`.
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={site.dbd_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={site.munge_socket}
PidFile={cluster.directory}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
"""
