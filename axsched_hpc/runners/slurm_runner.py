"""SlurmRunner: attempts as Slurm jobs, with the options that people know from sbatch."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Mapping
from typing import Any, Self

from axsched_hpc.core.config import whole_number
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.request import Asked
from axsched_hpc.core.sizes import memory_mb, time_s
from axsched_hpc.runners.allocation_jobs import inside_allocation
from axsched_hpc.runners.child_jobs import ChildJobs
from axsched_hpc.runners.packed_jobs import PackedJobs
from axsched_hpc.runners.settings import remembered
from axsched_hpc.runners.slurm_checks import MEMORY, TIME, checked_config, matching, word
from axsched_hpc.runners.slurm_jobs import SlurmJobs
from axsched_hpc.runners.step_jobs import StepJobs
from axsched_hpc.runners.submitit_runner import Jobs, SubmititRunner
from axsched_hpc.slurm.allocation import Need
from axsched_hpc.slurm.profile import load, merged

#: Attempts at a time where nothing is said.
DEFAULT_PARALLEL = 32


class SlurmRunner(SubmititRunner):
    """Runs attempts as Slurm jobs: each batch is one job array.

    Parameters
    ----------
    partition, account
        As for sbatch; None: the site's defaults.
    time_limit
        Of one attempt: ``"HH:MM:SS"``, ``"D-HH:MM:SS"``, or minutes.
    memory
        Of one attempt's node: ``"4G"``, ``"500M"``, or megabytes.
    cpus_per_task, gpus_per_task
        Of one attempt.
    max_parallel
        Attempts that may be queued or running at a time; None: 32 of them as jobs, and as steps what the
        allocation holds, which is the most there in any case.
    config
        ``modules`` (list of modules to load), ``setup`` (list of shell lines that the job runs first),
        ``environment`` (dict of variables), ``sbatch_options`` (dict of any other option of sbatch, such as
        ``{"qos": "high", "exclusive": True}``), ``max_array_size`` (tasks in one job array; default 1000).
    nodes, tasks_per_node
        Of one attempt, whose objective starts its tasks itself, by ``srun`` or ``mpirun``. Memory is that of
        each node. None: one node, and one task.
    trials_per_job
        Attempts that run side by side in one job, which asks for so many times the CPUs, memory and GPUs of
        one attempt; each has its share of them, and fails alone.
    mode
        "jobs": each attempt, or pack of attempts, is a job of its own. "steps": this script runs inside an
        allocation (of sbatch or salloc), and runs its attempts there, without any queueing: as plain
        processes where the allocation is the node on which the script runs, else as job steps.

    Raises
    ------
    ConfigError
        An argument is wrong; the message names it and what it takes.
    """

    @remembered
    def __init__(
        self,
        partition: str | None = None,
        time_limit: str | int = "01:00:00",
        memory: str | int = "4G",
        cpus_per_task: int = 1,
        gpus_per_task: int | None = None,
        account: str | None = None,
        max_parallel: int | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        nodes: int | None = None,
        tasks_per_node: int | None = None,
        trials_per_job: int = 1,
        mode: str = "jobs",
    ) -> None:
        options = checked_config(config)
        self.pack = whole_number("trials_per_job", trials_per_job, 1)
        if mode not in ("jobs", "steps"):
            raise ConfigError(f"mode is {mode!r}, but takes 'jobs' or 'steps'.")
        if max_parallel is not None:
            whole_number("max_parallel", max_parallel, 1)
            if max_parallel < self.pack:
                raise ConfigError(
                    f"max_parallel is {max_parallel}, but counts attempts: it takes at least the "
                    f"trials_per_job={self.pack} of one job."
                )
        several = {"nodes": nodes, "tasks_per_node": tasks_per_node}
        shared = "trials_per_job" if self.pack > 1 else "mode='steps'" if mode == "steps" else None
        for name, number in several.items():
            if number is not None and whole_number(name, number, 1) > 1 and shared is not None:
                raise ConfigError(
                    f"{name} is {number}, which does not go with {shared}: there an attempt has a share of "
                    "one node. Leave one of the two out."
                )
        if mode == "steps":
            self._refuse_for_steps(partition, account, config)
        self._max_array_size = options["max_array_size"]
        additional: dict[str, Any] = {}
        for name, value in (("partition", partition), ("account", account)):
            if value is not None:
                additional[name] = word(name, value)
        additional["time"] = matching(
            "time_limit", time_limit, TIME, "a time such as '01:00:00' or '2-00:00:00'"
        )
        size = matching("memory", memory, MEMORY, "a size such as '4G' or '500M'")
        additional["mem"] = times(size, self.pack)
        additional["cpus-per-task"] = whole_number("cpus_per_task", cpus_per_task, 1) * self.pack
        if nodes is not None:
            additional["nodes"] = nodes
        if tasks_per_node is not None:
            additional["ntasks-per-node"] = tasks_per_node
        if gpus_per_task is not None:
            additional["gpus-per-task"] = whole_number("gpus_per_task", gpus_per_task, 1) * self.pack
            additional["ntasks"] = (nodes or 1) * (tasks_per_node or 1)
        chosen = options["sbatch_options"]
        if "mem-per-cpu" in chosen or "mem-per-gpu" in chosen:
            # sbatch takes one of the three.
            del additional["mem"]
        additional.update(chosen)
        self._inside: ChildJobs | StepJobs | None = None
        if mode == "steps":
            need = Need(cpus_per_task, memory_mb(size), gpus_per_task or 0)
            self._inside, slots = inside_allocation(need, str(time_limit), options["environment"])
            max_parallel = min(slots, max_parallel or slots)
        super().__init__(
            "slurm",
            max_parallel or DEFAULT_PARALLEL,
            slurm_setup=_setup(options["modules"], options["environment"], options["setup"]),
            slurm_additional_parameters=additional,
        )

        if mode == "steps":
            self.asked = Asked(memory_mb(size), time_s(time_limit))
            # It knows its own processes; Slurm is asked at its own pace.
            self.cheap_poll = True

    @classmethod
    def from_profile(cls, profile: str | os.PathLike[str] | None = None, **overrides: Any) -> Self:
        """A runner with a site's settings: the section ``runner`` of a profile.

        Parameters
        ----------
        profile
            Path or name; None: that of ``AXSCHED_PROFILE``, else the user's ``default``, else no settings.
        **overrides
            Arguments of the runner, which count more. The entries of ``config`` do so one by one.

        Raises
        ------
        ConfigError
            There is no such profile, or something in it is wrong; names the file.
        """
        found = load(profile)
        if found is None:
            return cls(**overrides)
        found.check("runner", list(inspect.signature(cls).parameters))
        try:
            return cls(**merged(found.runner, overrides))
        except ConfigError as error:
            raise ConfigError(f"{error} (With the profile {found.where}.)") from None

    def _refuse_for_steps(
        self, partition: str | None, account: str | None, config: Mapping[str, Any] | None
    ) -> None:
        """Refuse what is a matter of the allocation, which has been made already."""
        if self.pack > 1:
            raise ConfigError(
                "trials_per_job does not go with mode='steps': there each attempt is a step or a process of "
                "its own, as many side by side as fit. Leave it out."
            )
        given = [
            name for name, value in (("partition", partition), ("account", account)) if value is not None
        ]
        given += [f"config[{key!r}]" for key in (config or {}) if key != "environment"]
        if given:
            raise ConfigError(
                f"{given[0]} does not go with mode='steps': attempts run in the allocation that sbatch or "
                "salloc has made already. Say it there, and leave it out here."
            )

    def _made(self, cluster: str, parameters: Mapping[str, Any]) -> Jobs:
        if self._inside is not None:
            return self._inside
        jobs = SlurmJobs(parameters, max_array_size=self._max_array_size)
        return jobs if self.pack == 1 else PackedJobs(jobs, self.pack)


def times(size: str, number: int) -> str:
    """So many times a size, in its unit; 0, which is all of a node's memory, stays."""
    digits = size.rstrip("KMGTBkmgtb")
    return f"{int(digits) * number}{size[len(digits) :]}"


def _setup(modules: list[str], environment: Mapping[str, str], setup: list[str]) -> list[str]:
    return [
        # From Slurm 22.05 on, srun inside a job does not take the job's --cpus-per-task over.
        'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
        *(f"module load {shlex.quote(module)} || exit 1" for module in modules),
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        *setup,
    ]
