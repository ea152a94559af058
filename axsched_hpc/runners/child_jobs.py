"""Attempts as plain processes inside an allocation of one node, on which the driver runs as well: each bound
to its share of the allocation's CPUs and GPUs. A job id is ``1234/pid.start@host``.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from axsched_hpc.core.shares import Share, shares
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim, processes
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.runners.allocations import Allocations, claimed, inside
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.local_jobs import WHOLE, LocalJobs, command_lines, log_of
from axsched_hpc.runners.slurm_jobs import Execute
from axsched_hpc.slurm.run import run, scrubbed

#: The variable that has the number of a process's share, always as long, so that a forked process can show
#: its own.
SHARE_VARIABLE = "AXSCHED_SHARE"
SHARE_DIGITS = 6


@dataclass(frozen=True)
class _Holder:
    """Which share a worker has, and where its outcome will be; None where that is not known."""

    share: int
    result: Path | None = None


class BoundJobs(LocalJobs):
    """Processes that have a share of this machine each.

    Parameters
    ----------
    allocation
        What the processes call themselves after.
    slots
        Shares.
    environment
        Variables for all of them.
    """

    def __init__(self, allocation: str, slots: int, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._base = {
            **scrubbed(os.environ, inside=True),
            **environment,
            claim.JOB_VARIABLE: f"{allocation}/",
            SHARE_VARIABLE: "?" * SHARE_DIGITS,
        }
        cpus = processes.usable_cpus()
        siblings = {cpu: processes.core_of(cpu) for cpu in cpus}
        self._shares = shares(self._base, cpus, siblings, slots)
        self._taken: dict[str, _Holder] | None = None

    def prepare(self, folder: Path) -> None:
        """Have what workers are forked of at hand when the first ones are to run."""
        self._source(sys.executable, self._base)

    def _begin(self, batch: Batch, index: int, environment: Mapping[str, str], share: Share = WHOLE) -> str:
        number, share = self._free()
        variables = {**share.variables, SHARE_VARIABLE: f"{number:0{SHARE_DIGITS}}"}
        job = super()._begin(batch, index, self._base, replace(share, variables=variables))
        assert self._taken is not None
        self._taken[job] = _Holder(number, AttemptFiles(batch.attempts[index].directory).result)
        return job

    def _free(self) -> tuple[int, Share]:
        """The share that the fewest living processes have. Where all have one, those no longer count that
        have published their outcome and are about to end: the attempt takes the place of one of them.
        """
        if self._taken is None:
            self._taken = self._found()
        self._collect()
        self._taken = {job: holder for job, holder in self._taken.items() if self._runs(job)}
        holders = list(self._taken.values())
        if {each.share for each in holders} >= set(range(len(self._shares))):
            holders = [each for each in holders if each.result is None or not each.result.exists()]
        used = Counter(each.share for each in holders)
        number = min(range(len(self._shares)), key=lambda each: (used[each], each))
        return number, self._shares[number]

    def _runs(self, job: str) -> bool:
        status = self._look(job)
        return status is not None and status.state is JobState.RUNNING

    def _found(self) -> dict[str, _Holder]:
        """The shares of processes that an earlier driver has started."""
        found = {}
        for pid, words in command_lines():
            if "axsched_hpc.worker" not in words:
                continue
            environment = processes.environment(pid)
            number = environment.get(SHARE_VARIABLE, "")
            same = environment.get(claim.JOB_VARIABLE) == self._base[claim.JOB_VARIABLE]
            if same and number.isdecimal():
                found[claim.process_name(pid)] = _Holder(int(number))
        return found


class ChildJobs:
    """Starts, watches, finds and ends the processes.

    Parameters
    ----------
    allocation
        The job id of the allocation around this driver.
    slots
        Attempts that fit side by side.
    time_s
        Seconds that an attempt may take; None for no limit.
    environment
        Variables for all of them.
    execute
        Runs one command of Slurm.
    """

    # A file written on this node is there at once, and a process of another allocation ended long ago.
    settle = 0.0

    def __init__(
        self,
        allocation: str,
        slots: int,
        *,
        time_s: int | None = None,
        environment: Mapping[str, str] | None = None,
        execute: Execute = run,
    ) -> None:
        self._mine = allocation
        self._local = BoundJobs(allocation, slots, environment or {})
        self._allocations = Allocations(allocation, execute)
        self._time_s = time_s
        self._limits: dict[str, float] = {}
        self._ended_for_time: set[str] = set()

    def prepare(self, folder: Path) -> None:
        """See :meth:`LocalJobs.prepare`."""
        self._local.prepare(folder)

    def submit(self, batch: Batch) -> dict[int, str]:
        """Start one process per attempt; see :meth:`LocalJobs.submit`."""
        limit = batch.request.time_s or self._time_s
        jobs = {index: f"{self._mine}/{job}" for index, job in self._local.submit(batch).items()}
        if limit is not None:
            self._limits.update(dict.fromkeys(jobs.values(), time.monotonic() + limit))
        return jobs

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """Look at the processes; Slurm is asked only for those of other allocations."""
        names = {job: place[1] for job in jobs if (place := inside(job)) is not None}
        known = self._local.poll(list(names.values()))
        found = {job: known[name] for job, name in names.items() if name in known}
        found.update(self._allocations.look([job for job in names if job not in found]))
        for job, status in found.items():
            found[job] = self._in_time(job, status)
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """Look into the attempts' claims, and for workers with the manifests on their command line."""
        found = claimed(batches)
        for token, jobs in self._local.find(batches).items():
            for index, job in jobs.items():
                found.setdefault(token, {}).setdefault(index, f"{self._mine}/{job}")
        return found

    def cancel(self, jobs: Sequence[str]) -> None:
        """Ask the processes to end; those that have not after the grace time are killed at a later look."""
        self._local.cancel([place[1] for job in jobs if (place := inside(job)) is not None])

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where a process writes before the worker takes its output over."""
        return log_of(batch, index)

    def _in_time(self, job: str, status: JobStatus) -> JobStatus:
        """End a process whose time is over."""
        if status.state.final:
            self._limits.pop(job, None)
            if job in self._ended_for_time and status.state is not JobState.SUCCEEDED:
                return JobStatus(JobState.TIMED_OUT, "ended after its time limit", node=status.node)
        elif time.monotonic() >= self._limits.get(job, float("inf")):
            del self._limits[job]
            self._ended_for_time.add(job)
            self.cancel([job])
        return status
