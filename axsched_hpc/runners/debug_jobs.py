"""Jobs inside this process, one after the other, by submitit's debug executor: breakpoints work in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axsched_hpc.core.states import JobState
from axsched_hpc.io import processes
from axsched_hpc.runners.base import Batch, JobStatus


def run_attempt_here(manifest: str, index: int) -> int:
    """The worker inside this process, with its output, so that a debugger works; its exit code."""
    from axsched_hpc import worker

    return worker.run(manifest, index, redirect=False)


class DebugJobs:
    """Runs a job when it is looked at: each poll runs the first that waits."""

    settle = 0.0

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = dict(parameters)
        self._jobs: dict[str, Any] = {}
        # submitit's own debug ids are memory addresses, which another process can have again.
        pid = os.getpid()
        self._prefix = f"debug-{pid}.{processes.start_ticks(pid) or 0}-"

    def prepare(self, folder: Path) -> None:
        """Check that submitit knows the parameters."""
        self._executor(folder)

    def submit(self, batch: Batch) -> dict[int, str]:
        """Take the attempts up, without running any."""
        manifest, count = str(batch.manifest), len(batch.attempts)
        jobs = self._executor(batch.folder).map_array(run_attempt_here, [manifest] * count, range(count))
        ids = {index: f"{self._prefix}{job.job_id}" for index, job in enumerate(jobs)}
        self._jobs.update({ids[index]: job for index, job in enumerate(jobs)})
        return ids

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """Run the first that waits, and tell of all; those of a process that is gone have ended with it."""
        found: dict[str, JobStatus] = {}
        ran = False
        for name in jobs:
            job = self._jobs.get(name)
            if job is None:
                if name.startswith("debug-") and not name.startswith(self._prefix):
                    found[name] = JobStatus(JobState.FAILED, "gone", "the process that ran it has ended")
                continue
            if not ran and job.state == "QUEUED":
                ran = True
                job.results()
            found[name] = _status(job)
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """Nothing: such jobs end with the process that submitted them."""
        return {}

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel what has not run."""
        for name in jobs:
            job = self._jobs.get(name)
            if job is not None:
                job.cancel(check=False)

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where submitit sends the log records of a job."""
        return batch.folder / f"{job.removeprefix(self._prefix)}_0_log.err"

    def _executor(self, folder: Path) -> Any:
        from axsched_hpc.runners.executors import auto_executor

        return auto_executor(folder, "debug", self._parameters)


def _status(job: Any) -> JobStatus:
    raw = str(job.state)
    if raw == "DONE":
        code: int = job.submission().result()
        return JobStatus(
            JobState.FAILED if code else JobState.SUCCEEDED,
            f"exit {code}",
            node=processes.hostname(),
            exit_code=code,
        )
    return JobStatus(JobState.CANCELLED if raw == "CANCELLED" else JobState.QUEUED, raw)
