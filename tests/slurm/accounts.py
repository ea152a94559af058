"""Who may do what on the test cluster with accounting: its qualities of service and accounts, in slurmdbd.

The tests run as root, whom Slurm holds to limits like anybody else. Its default account and QOS have none, so
only jobs that ask for one of these meet a limit. With Slurm 22.05:

======== ======= =============================================================================================
--qos    tight   the user's fourth submitted job or task is refused: QOSMaxSubmitJobPerUserLimit
         few     the user's third job does not run beside two others: QOSMaxJobsPerUserLimit
         brief   a job of more than 5 minutes waits for ever: QOSMaxWallDurationPerJobLimit
         strict  and here it is refused, with the same word
         narrow  what would make more than 4 CPUs waits: QOSGrpCpuLimit
-A       spent   an account without CPU time left, whose jobs wait: AssocGrpCPUMinutesLimit
======== ======= =============================================================================================
"""

from __future__ import annotations

from tests.slurm.layout import ClusterLayout
from tests.slurm.processes import ClusterError
from tests.slurm.services import run

_QOS = {
    "brief": "MaxWall=00:05:00",
    "few": "MaxJobsPerUser=2",
    "narrow": "GrpTRES=cpu=4",
    "strict": "MaxWall=00:05:00 Flags=DenyOnLimit",
    "tight": "MaxSubmitJobsPerUser=3",
}
_SPENT = "GrpTRESMins=cpu=0"

# All in one process, because each takes a quarter of a second to part from slurmdbd.
_SHOW = """\
show qos format=name,maxwall,maxsubmitpu,maxjobspu,grptres,flags
show assoc format=cluster,account,user,qos,grptresmins
show user format=user,defaultaccount
"""


def set_up(cluster: ClusterLayout) -> None:
    """Make the cluster known to slurmdbd, and its QOS and accounts what they should be."""
    made = [
        f"add cluster {cluster.name}",
        *(f"add qos {name} set {limits}" for name, limits in _QOS.items()),
        f"add account spent cluster={cluster.name} set {_SPENT}",
        f"add user root account=spent cluster={cluster.name}",
        f"modify account root where cluster={cluster.name} set qos=normal,{','.join(_QOS)}",
    ]
    mended = [
        *(f"modify qos where name={name} set {limits}" for name, limits in _QOS.items()),
        f"modify account spent where cluster={cluster.name} set {_SPENT}",
        f"modify user root set DefaultAccount=root where cluster={cluster.name}",
    ]
    for commands in (made, mended, []):
        shown = _sacctmgr(cluster, _SHOW)
        if _wanted(cluster) <= shown:
            return
        if commands:
            _sacctmgr(cluster, "\n".join(commands))
    raise ClusterError(
        f"cluster {cluster.name} has not the accounts that tests/slurm/accounts.py makes; sacctmgr shows:\n"
        + "\n".join(sorted(shown))
    )


def _wanted(cluster: ClusterLayout) -> set[str]:
    every = ",".join(sorted([*_QOS, "normal"]))
    return {
        "brief|00:05:00||||",
        "few|||2||",
        "narrow||||cpu=4|",
        "normal|||||",
        "strict|00:05:00||||DenyOnLimit",
        "tight||3|||",
        *(f"{cluster.name}|{who}|{every}|" for who in ("root|", "root|root", "spent|root")),
        f"{cluster.name}|spent||{every}|cpu=0",
        "root|root",
    }


def _sacctmgr(cluster: ClusterLayout, commands: str) -> set[str]:
    # Fed with commands, it goes on after one that had nothing to do, and echoes each behind its prompt.
    argv = ["sacctmgr", "--immediate", "--noheader", "--parsable2"]
    lines = run(argv, cluster.conf, timeout=60, stdin=f"{commands}\n").stdout.splitlines()
    return {line for line in lines if "|" in line and not line.startswith("sacctmgr:")}
