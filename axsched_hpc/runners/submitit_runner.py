"""SubmititRunner: the one runner beneath the others, by the name of submitit's executor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from axsched_hpc.core.config import whole_number
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.request import Asked
from axsched_hpc.runners.base import BaseRunner, Batch, JobStatus, Usage
from axsched_hpc.runners.debug_jobs import DebugJobs
from axsched_hpc.runners.local_jobs import LocalJobs
from axsched_hpc.runners.packed_jobs import PackedJobs
from axsched_hpc.runners.settings import remembered
from axsched_hpc.runners.slurm_jobs import SlurmJobs
from axsched_hpc.runners.submitit_jobs import SubmititJobs


class Jobs(Protocol):
    """What each kind of cluster does; see :class:`~axsched_hpc.runners.base.BaseRunner`."""

    settle: float

    def prepare(self, folder: Path) -> None: ...

    def submit(self, batch: Batch) -> Mapping[int, str]: ...

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]: ...

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]: ...

    def cancel(self, jobs: Sequence[str]) -> None: ...

    def log(self, batch: Batch, index: int, job: str) -> Path: ...


class SubmititRunner(BaseRunner):
    """Runs attempts where submitit can.

    Parameters
    ----------
    cluster
        "slurm"; "local": processes of this machine, which need none of submitit's parameters; "debug": one
        after the other in this process; or the name of an executor that a submitit plugin registers.
    max_parallel
        Attempts that may be queued or running at a time.
    **parameters
        Under submitit's names, such as ``timeout_min``, ``mem_gb``, ``slurm_partition``. submitit checks them
        before the first submission.

    Raises
    ------
    ConfigError
        An argument is wrong.
    """

    @remembered
    def __init__(self, cluster: str, max_parallel: int, **parameters: Any) -> None:
        if not isinstance(cluster, str) or not cluster:
            raise ConfigError(
                f"cluster is {cluster!r}, but takes 'slurm', 'local', 'debug' or the name of a submitit "
                "plugin's executor."
            )
        self.cluster = cluster
        self.max_parallel = whole_number("max_parallel", max_parallel, 1)
        self.cheap_poll = self.nearby = cluster in ("local", "debug")
        self.inside = cluster == "debug"
        self._jobs = self._made(cluster, parameters)
        self.settle = self._jobs.settle
        self.asked = getattr(self._jobs, "asked", Asked())

    @property
    def answer_time(self) -> float | None:
        """See :attr:`axsched_hpc.BaseRunner.answer_time`."""
        return getattr(self._jobs, "answer_time", None)

    def _made(self, cluster: str, parameters: Mapping[str, Any]) -> Jobs:
        if cluster == "slurm":
            return SlurmJobs(parameters)
        if cluster == "local":
            if parameters:
                raise ConfigError(
                    f"SubmititRunner('local') takes no {sorted(parameters)[0]!r}: its attempts are plain "
                    "processes of this machine, which have no such limits. Leave it out."
                )
            return LocalJobs()
        if cluster == "debug":
            return DebugJobs(parameters)
        return SubmititJobs(cluster, parameters)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(cluster={self.cluster!r}, max_parallel={self.max_parallel})"

    def prepare(self, folder: Path) -> None:
        """See :meth:`axsched_hpc.BaseRunner.prepare`."""
        self._jobs.prepare(folder)

    def submit(self, batch: Batch) -> Mapping[int, str]:
        """See :meth:`axsched_hpc.BaseRunner.submit`."""
        return self._jobs.submit(batch)

    def script(self, batch: Batch) -> str | None:
        """The batch script by which a batch would be submitted; None where there is none."""
        return self._jobs.script(batch) if isinstance(self._jobs, SlurmJobs | PackedJobs) else None

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """See :meth:`axsched_hpc.BaseRunner.poll`."""
        return self._jobs.poll(jobs)

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        """See :meth:`axsched_hpc.BaseRunner.find`."""
        return self._jobs.find(batches)

    def cancel(self, jobs: Sequence[str]) -> None:
        """See :meth:`axsched_hpc.BaseRunner.cancel`."""
        self._jobs.cancel(jobs)

    def usage(self, jobs: Sequence[str]) -> Mapping[str, Usage]:
        """See :meth:`axsched_hpc.BaseRunner.usage`. Only jobs of Slurm have records beside their outcomes."""
        return self._jobs.usage(jobs) if isinstance(self._jobs, SlurmJobs) else {}

    def log(self, batch: Batch, index: int, job: str) -> Path | None:
        """See :meth:`axsched_hpc.BaseRunner.log`."""
        return self._jobs.log(batch, index, job)


def usable_cores() -> int:
    """The cores that this process may use: fewer than the machine has in a job or a container."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
