"""Jobs on whatever submitit has an executor for: its debug executor, and those that plugins register.

A function of ours, by reference, is submitted over the manifest and the index. submitit tells what it knows
of a job's state; the end of an attempt is still read from its outcome file. Such jobs cannot be found by
name: after a driver that died while submitting, only claimed attempts are recognised, and the others are
closed and submitted again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ClusterUnavailableError, SubmissionError
from axsched_hpc.core.states import JobState
from axsched_hpc.io import processes
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.slurm.states import job_state

#: Words of submitit's own executors that are none of Slurm's.
_WORDS = {
    "DONE": JobState.SUCCEEDED,
    "FINISHED": JobState.SUCCEEDED,
    "INTERRUPTED": JobState.FAILED,
    "QUEUED": JobState.QUEUED,
    "READY": JobState.QUEUED,
}


def run_attempt(manifest: str, index: int) -> int:
    """What such a job runs: the worker, in the process that submitit made."""
    from axsched_hpc import worker

    return worker.run(manifest, index)


def run_attempt_here(manifest: str, index: int) -> int:
    """The same inside this process, with its output, so that a debugger works."""
    from axsched_hpc import worker

    return worker.run(manifest, index, redirect=False)


class SubmititJobs:
    """Submits through a submitit executor by name, and believes what it says of states."""

    def __init__(self, cluster: str, parameters: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._parameters = dict(parameters)
        self._jobs: dict[str, Any] = {}
        # submitit's own debug ids are memory addresses, which another process can have again.
        pid = os.getpid()
        self._prefix = f"debug-{pid}.{processes.start_ticks(pid) or 0}-" if cluster == "debug" else ""
        #: The debug executor runs a job when it is looked at.
        self.settle = 0.0 if cluster == "debug" else 5.0

    def prepare(self, folder: Path) -> None:
        """Check that submitit knows the executor and the parameters."""
        self._executor(folder)

    def submit(self, batch: Batch) -> dict[int, str]:
        """Submit a batch through ``map_array``."""
        function = run_attempt_here if self._cluster == "debug" else run_attempt
        manifest, count = str(batch.manifest), len(batch.attempts)
        executor = self._executor(batch.folder)
        try:
            jobs = executor.map_array(function, [manifest] * count, range(count))
        except Exception as error:
            raise SubmissionError(
                f"submitit's executor {self._cluster!r} refused the jobs: {error}"
            ) from error
        ids = {index: f"{self._prefix}{job.job_id}" for index, job in enumerate(jobs)}
        self._jobs.update({ids[index]: job for index, job in enumerate(jobs)})
        return ids

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """The states, as far as this process submitted the jobs. The debug executor runs one job per look."""
        found: dict[str, JobStatus] = {}
        debug, ran = self._cluster == "debug", False
        for name in jobs:
            job = self._jobs.get(name)
            if job is None:
                if debug and name.startswith("debug-") and not name.startswith(self._prefix):
                    found[name] = JobStatus(JobState.FAILED, "gone", "the process that ran it has ended")
                continue
            if debug and not ran and str(job.state) == "QUEUED":
                ran = True
                job.results()
            raw = self._state(job)
            if debug and raw == "DONE":
                found[name] = _ended(job.submission().result())
            else:
                found[name] = JobStatus(_WORDS.get(raw.upper()) or job_state(raw), raw)
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """submitit has no names to find jobs by."""
        return {}

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel one by one; submitit has no other way."""
        for name in jobs:
            job = self._jobs.get(name)
            if job is not None:
                job.cancel(check=False)

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where submitit's own executors write; plugins may differ."""
        return batch.folder / f"{job.removeprefix(self._prefix)}_0_log.err"

    def _executor(self, folder: Path) -> Any:
        from axsched_hpc.runners.executors import auto_executor

        return auto_executor(folder, self._cluster, self._parameters)

    def _state(self, job: Any) -> str:
        try:
            return str(job.state)
        except Exception as error:
            raise ClusterUnavailableError(
                f"submitit's executor {self._cluster!r} cannot tell the state of job {job.job_id}: {error}",
                transient=True,
            ) from error


def _ended(code: int) -> JobStatus:
    return JobStatus(JobState.FAILED if code else JobState.SUCCEEDED, f"exit {code}", exit_code=code)
