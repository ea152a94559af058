"""How many cores are this process's own: those of its job, or few on a machine that it shares."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from axsched_hpc.io import cgroup
from axsched_hpc.io.processes import usable_cpus

#: Of a machine that is not the driver's own, such as a login node, it takes so many at the most.
SHARED = 4


def own(environment: Mapping[str, str] = os.environ) -> int:
    """The cores that this process may keep busy, at least 1.

    The least of: the CPUs that it may use (sched_getaffinity); its cgroup's quota; within a Slurm job those
    that it got on the node (sbatch(1): SLURM_CPUS_PER_TASK, SLURM_CPUS_ON_NODE), for sites that do not bind
    tasks to them; outside of jobs :data:`SHARED`.
    """
    job = [_number(environment.get(name)) for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")]
    granted = next((number for number in job if number), None) if "SLURM_JOB_ID" in environment else None
    bounds = [len(usable_cpus()) or os.cpu_count() or 1, granted or SHARED]
    if (cores := quota(cgroup.own())) is not None:
        bounds.append(cores)
    return max(1, min(bounds))


def quota(own: str, mounted: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The cores that the quotas of a cgroup of version 2 and of those above it amount to, rounded up; None
    where there is none, or none that can be read.

    Format (cgroups(7), and the kernel's cgroup-v2 documentation): ``cpu.max`` holds the microseconds of CPU
    time per period, or ``max``, and the period.

    Parameters
    ----------
    own
        The text of ``/proc/PID/cgroup``.
    mounted
        Where the cgroups are.
    """
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::/")), None)
    if path is None:
        return None
    place = PurePosixPath(path.lstrip("/"))
    found = [_cores(mounted / each / "cpu.max") for each in (place, *place.parents)]
    return min((cores for cores in found if cores is not None), default=None)


def _cores(file: Path) -> int | None:
    try:
        granted, period = file.read_text(encoding="ascii").split()
        return None if granted == "max" else math.ceil(int(granted) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
