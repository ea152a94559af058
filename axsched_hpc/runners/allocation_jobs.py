"""Which way attempts run inside the allocation around the driver, and how many of them at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping

from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError
from axsched_hpc.core.sizes import memory_text, time_s
from axsched_hpc.runners.child_jobs import ChildJobs
from axsched_hpc.runners.step_jobs import StepJobs
from axsched_hpc.slurm import allocation, render
from axsched_hpc.slurm.allocation import Allocation, Need, NodeShare
from axsched_hpc.slurm.run import run


def inside_allocation(
    need: Need, time_limit: str, environment: Mapping[str, str]
) -> tuple[ChildJobs | StepJobs, int]:
    """What runs attempts in the allocation around this process, and how many of them side by side.

    Parameters
    ----------
    time_limit
        Of one attempt, as srun takes it.
    environment
        Variables for all attempts.

    Raises
    ------
    ConfigError
        There is no allocation, or not one attempt fits.
    """
    job = allocation.current(os.environ)
    if job is None:
        raise ConfigError(
            "mode='steps' runs attempts inside an allocation of Slurm, and this script is in none "
            "(SLURM_JOB_ID is not set). Start it from a batch script (sbatch --nodes=2 --ntasks=16 ...), or "
            "by `salloc --nodes=2 --ntasks=16 python SCRIPT`; or leave mode='steps' out."
        )
    held = Allocation(job, _nodes(job))
    slots = held.holds(need)
    if not slots:
        memory = f", {memory_text(need.memory_mb)}" if need.memory_mb else ""
        gpus = f", {need.gpus} GPUs" if need.gpus else ""
        raise ConfigError(
            f"Not one attempt fits into the allocation {job}. An attempt asks for {need.cpus} CPUs{memory}"
            f"{gpus} on one node; the allocation has {held.text or 'nodes of which nothing is known'}. Lower "
            "cpus_per_task, memory or gpus_per_task here, or ask sbatch or salloc for more."
        )
    if allocation.here(os.environ, held):
        return ChildJobs(job, slots, time_s=time_s(time_limit), environment=environment), slots
    return StepJobs(held, need, time_limit=time_limit, environment=environment), slots


def _nodes(job: str) -> tuple[NodeShare, ...]:
    """What the allocation has of each node: as the controller says, or the environment where that does not
    answer.
    """
    try:
        answer = run(render.show_allocation(job))
    except ClusterUnavailableError:
        return allocation.from_environment(os.environ)
    return allocation.from_details(answer.out) or allocation.from_environment(os.environ)
