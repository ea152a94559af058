"""Jobs on whatever a submitit plugin has an executor for.

A function of ours, by reference, is submitted over the manifest and the index. submitit tells what it knows
of a job's state; the end of an attempt is still read from its outcome file. Jobs are found again by the files
that submitit leaves beside a job's id; of a driver that died before submitit had written them, only claimed
attempts are recognised, and the others are closed and submitted again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ClusterUnavailableError, SubmissionError
from axsched_hpc.core.states import JobState
from axsched_hpc.io import atomic
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


def run_attempt(manifest: str, index: int) -> None:
    """What such a job runs: the worker, in the process that submitit made, which ends with its exit code: a
    job whose function returns has succeeded.
    """
    from axsched_hpc import worker

    if code := worker.run(manifest, index):
        sys.exit(code)


class SubmititJobs:
    """Submits through a submitit executor by name, and believes what it says of states."""

    #: A scheduler that is not known may requeue, and a file of the node may still be on its way.
    settle = 5.0

    def __init__(self, cluster: str, parameters: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._parameters = dict(parameters)
        self._jobs: dict[str, Any] = {}
        self._folder: Path | None = None

    def prepare(self, folder: Path) -> None:
        """Check that submitit knows the executor and the parameters."""
        self._executor(folder)
        self._folder = folder

    def submit(self, batch: Batch) -> dict[int, str]:
        """Submit a batch through ``map_array``."""
        manifest, count = str(batch.manifest), len(batch.attempts)
        executor = self._executor(batch.folder)
        try:
            jobs = executor.map_array(run_attempt, [manifest] * count, range(count))
        except Exception as error:
            raise SubmissionError(
                f"submitit's executor {self._cluster!r} refused the jobs: {error}"
            ) from error
        ids = {index: str(job.job_id) for index, job in enumerate(jobs)}
        self._jobs.update({ids[index]: job for index, job in enumerate(jobs)})
        return ids

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """The states, as submitit tells them; jobs of an earlier driver are opened again by their id."""
        found: dict[str, JobStatus] = {}
        for name in jobs:
            job = self._jobs.get(name) or self._reopened(name)
            if job is not None:
                raw = self._state(job)
                found[name] = JobStatus(_WORDS.get(raw.upper()) or job_state(raw), raw)
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """By submitit's own files in the batches' folders."""
        from axsched_hpc.runners.executors import submitted

        found = {batch.token: submitted(batch.folder) for batch in batches}
        return {token: jobs for token, jobs in found.items() if jobs}

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel one by one; submitit has no other way."""
        for name in jobs:
            job = self._jobs.get(name) or self._reopened(name)
            if job is not None:
                job.cancel(check=False)

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where submitit's own executors write; plugins may differ."""
        return batch.folder / f"{job}_0_log.err"

    def _executor(self, folder: Path) -> Any:
        from axsched_hpc.runners.executors import auto_executor

        return auto_executor(folder, self._cluster, self._parameters)

    def _reopened(self, name: str) -> Any:
        from axsched_hpc.runners.executors import reopened

        for token in atomic.listing(self._folder) if self._folder else ():
            job = reopened(self._cluster, Path(str(self._folder), token), name)
            if job is not None:
                self._jobs[name] = job
                return job
        return None

    def _state(self, job: Any) -> str:
        try:
            return str(job.state)
        except Exception as error:
            raise ClusterUnavailableError(
                f"submitit's executor {self._cluster!r} cannot tell the state of job {job.job_id}: {error}",
                transient=True,
            ) from error
