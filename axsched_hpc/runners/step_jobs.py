"""Attempts as job steps of the allocation around the driver: each is an ``srun`` of its own, and a step that
has nothing but its share of one node. A job id is ``1234/axs-ab12-0001.3``: the allocation, and the step's
name.

An ``srun`` outlives the driver that started it; where it is killed, Slurm ends its step as well. So the end
of an ``srun`` is the end of the attempt, and only the steps of an earlier driver have to be asked for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from axsched_hpc.core.errors import ClusterUnavailableError, SubmissionError
from axsched_hpc.core.shares import GPU_VARIABLES, THREAD_VARIABLES
from axsched_hpc.core.sizes import time_text
from axsched_hpc.core.states import JobState
from axsched_hpc.core.throttle import longer
from axsched_hpc.io import atomic, claim, faults, outcome, processes
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.runners.allocations import GONE, Allocations, claimed, inside, step_name
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.local_jobs import GRACE, command_lines, ended, log_of, start
from axsched_hpc.runners.slurm_jobs import Execute
from axsched_hpc.slurm import parse, render
from axsched_hpc.slurm.allocation import Allocation, Need
from axsched_hpc.slurm.run import run, scrubbed

log = logging.getLogger("axsched_hpc")


@dataclass
class _Step:
    batch: Batch
    index: int
    process: subprocess.Popen[bytes]
    #: When srun is started again that did not reach the controller, on the monotonic clock; and the pause.
    again_at: float | None = None
    pause: float = 0.0


class StepJobs:
    """Starts, watches, finds and ends steps.

    Parameters
    ----------
    allocation
        The one around this driver.
    need
        What an attempt needs.
    time_limit
        Of an attempt, as srun takes it.
    environment
        Variables for all attempts.
    execute
        Runs one command of Slurm.
    """

    # A file written on another node may still be on its way.
    settle = 2.0

    def __init__(
        self,
        allocation: Allocation,
        need: Need,
        *,
        time_limit: str,
        environment: Mapping[str, str] | None = None,
        execute: Execute = run,
    ) -> None:
        self._mine = allocation.job
        self._allocation = allocation
        self._need = need
        self._time_limit = time_limit
        self._environment = step_environment(os.environ, allocation.job, need.cpus, environment or {})
        self._execute = execute
        self._allocations = Allocations(allocation.job, execute)
        self._steps: dict[str, _Step] = {}
        self._ends: dict[str, JobStatus] = {}
        self._cancelled: set[str] = set()
        #: When an srun that was asked to end is killed, on the monotonic clock.
        self._kill_at: dict[str, float] = {}
        self._gone = False
        self._asked = False

    def prepare(self, folder: Path) -> None:
        """Check that the allocation lives.

        Raises
        ------
        ClusterUnavailableError
            It does not.
        """
        if not self._allocations.lives():
            raise ClusterUnavailableError(self._over())

    def submit(self, batch: Batch) -> dict[int, str]:
        """Start one srun per attempt.

        Raises
        ------
        SubmissionError
            The allocation has ended, or no process can be started.
        """
        if self._gone:
            raise SubmissionError(self._over())
        jobs: dict[int, str] = {}
        for index in range(len(batch.attempts)):
            job = f"{self._mine}/{step_name(batch.token, index)}"
            try:
                self._steps[job] = _Step(batch, index, self._start(batch, index, job))
            except (OSError, SubmissionError) as error:
                if not jobs:
                    raise
                log.warning("Only %d of %d steps were started: %s", len(jobs), len(batch.attempts), error)
                return jobs
            jobs[index] = job
            faults.reach("submit.half")
        return jobs

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """Look at the sruns of this driver; Slurm is asked only for steps of another one."""
        found: dict[str, JobStatus] = {}
        others = []
        self._asked = False
        for job in jobs:
            if job in self._ends:
                found[job] = self._ends[job]
            elif job in self._steps:
                found[job] = self._look(job, self._steps[job])
            elif inside(job) is not None:
                others.append(job)
        if others:
            found.update(self._foreign(others))
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """Look into the attempts' claims, for sruns of this machine, and for steps, in one query."""
        if not batches:
            return {}
        found = claimed(batches)
        by_token = {batch.token: batch for batch in batches}
        names = [*self._steps, *_waiting(), *(f"{s.job}/{s.name}" for s in self._running())]
        for job in names:
            place = inside(job)
            token, _, index = place[1].rpartition(".") if place is not None else ("", "", "")
            batch = by_token.get(token)
            if batch is not None and index.isdecimal() and int(index) < len(batch.attempts):
                found.setdefault(token, {}).setdefault(int(index), job)
        return found

    def cancel(self, jobs: Sequence[str]) -> None:
        """End the sruns of this driver, which end their steps; and the steps of another one by scancel."""
        others = set()
        for job in jobs:
            step = self._steps.get(job)
            if step is not None and step.again_at is not None:
                step.again_at = None
                self._finish(job, JobStatus(JobState.CANCELLED, "cancelled before it started"))
            elif step is not None and step.process.poll() is None:
                self._cancelled.add(job)
                self._kill_at.setdefault(job, time.monotonic() + GRACE)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(step.process.pid, signal.SIGTERM)
            elif step is None and job not in self._ends and inside(job) is not None:
                others.add(job)
        if not others:
            return
        allocations = sorted({place[0] for job in others if (place := inside(job)) is not None})
        running = {f"{step.job}/{step.name}": step.id for step in self._allocations.steps(allocations)}
        if ids := [running[job] for job in others if job in running]:
            answer = self._execute(render.scancel(ids))
            parse.scancel(answer.code, answer.err, "steps", ids)
        self._cancelled.update(others)

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where srun writes, and the worker before it takes its output over."""
        return log_of(batch, index)

    # ------------------------------------------------------------ inside

    def _start(self, batch: Batch, index: int, job: str) -> subprocess.Popen[bytes]:
        largest = max((node.memory_mb or 0 for node in self._allocation.nodes), default=0)
        memory = batch.request.memory_mb or self._need.memory_mb
        names = [node.name for node in self._allocation.nodes]
        avoided = [name for name in batch.request.exclude if name in names]
        argv = render.step(
            self._mine,
            step_name(batch.token, index),
            batch.command(index),
            cpus=self._need.cpus,
            # More than a node of the allocation has is never given.
            memory_mb=min(memory, largest) if memory and largest else None,
            gpus=self._need.gpus,
            time=self._time_limit if batch.request.time_s is None else time_text(batch.request.time_s),
            exclude=avoided if len(avoided) < len(names) else (),
        )
        return start(argv, log_of(batch, index), {**self._environment, claim.JOB_VARIABLE: job})

    def _look(self, job: str, step: _Step) -> JobStatus:
        code = step.process.poll()
        if code is None:
            if time.monotonic() >= self._kill_at.get(job, float("inf")):
                # One that is asked while it launches its step may never hear of it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(step.process.pid, signal.SIGKILL)
            return JobStatus(JobState.RUNNING, "running")
        if step.again_at is not None:
            return self._again(job, step)
        said = "\n".join(outcome.tail(log_of(step.batch, step.index)))
        if code == 0 or self._published(step):
            return self._finish(job, replace(ended(code), node=None))
        if not self._asked:
            # Once for all that this look finds ended.
            self._gone, self._asked = self._gone or not self._allocations.lives(), True
        if self._gone:
            return self._finish(job, JobStatus(JobState.FAILED, "gone", GONE))
        if job in self._cancelled:
            return self._finish(job, JobStatus(JobState.CANCELLED, "cancelled"))
        if parse.unreachable(said) and not claim.begun(_files(step)):
            step.pause = longer(step.pause)
            step.again_at = time.monotonic() + step.pause
            log.warning("srun did not reach the controller; trying again in %.0f s. %s", step.pause, said)
            return JobStatus(JobState.QUEUED, "PENDING", "the controller did not answer")
        state = parse.step_end(said)
        status = replace(ended(code), node=None)
        # Not ended by this driver: a SIGTERM of somebody else's.
        if state is JobState.FAILED and status.state is JobState.CANCELLED:
            status = replace(status, state=JobState.FAILED)
        return self._finish(job, status if state is JobState.FAILED else replace(status, state=state))

    def _again(self, job: str, step: _Step) -> JobStatus:
        if step.again_at is not None and time.monotonic() >= step.again_at:
            step.again_at = None
            # What is in the log has been told, and would be taken for the next end's.
            log_of(step.batch, step.index).unlink(missing_ok=True)
            step.process = self._start(step.batch, step.index, job)
        return JobStatus(JobState.QUEUED, "PENDING", "the controller did not answer")

    def _published(self, step: _Step) -> bool:
        files = _files(step)
        return files.result.name in atomic.listing(files.root)

    def _finish(self, job: str, status: JobStatus) -> JobStatus:
        self._steps.pop(job, None)
        self._ends[job] = status
        return status

    def _foreign(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        found = self._allocations.look(jobs, _waiting())
        return {
            job: JobStatus(JobState.CANCELLED, "cancelled")
            if status.state.final and job in self._cancelled
            else status
            for job, status in found.items()
        }

    def _running(self) -> list[parse.Step]:
        return self._allocations.steps([self._mine])

    def _over(self) -> str:
        return (
            f"The allocation {self._mine} has ended, so no step can be started in it. All results are saved: "
            "start the script again inside a new allocation, and it goes on where it was."
        )


def step_environment(
    environment: Mapping[str, str], job: str, cpus: int, more: Mapping[str, str]
) -> dict[str, str]:
    """The environment of an srun: nothing of the job around it but its id, or srun would ask for the same
    number of tasks, the same memory and the same devices.
    """
    found = {
        name: value
        for name, value in scrubbed({**environment, "SLURM_JOB_ID": job}).items()
        if name not in GPU_VARIABLES
    }
    found.update(more)
    for name in THREAD_VARIABLES:
        found.setdefault(name, str(cpus))
    return found


def _files(step: _Step) -> AttemptFiles:
    return AttemptFiles(step.batch.attempts[step.index].directory)


def _waiting() -> list[str]:
    """The attempts for which an srun runs on this machine, whoever started it."""
    found = []
    for pid, words in command_lines():
        if words and Path(words[0]).name == "srun" and "axsched_hpc.worker" in words:
            job = processes.environment(pid).get(claim.JOB_VARIABLE)
            if job:
                found.append(job)
    return found
