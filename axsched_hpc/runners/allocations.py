"""What an allocation runs, and whether it lives: for attempts whose processes this driver has not started.

An attempt that runs inside an allocation has a job id that begins with it: ``1234/axs-ab12-0001.3`` is the
step of that name, and ``1234/77.8910@n1`` a process on the allocation's one node.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.slurm_jobs import Execute
from axsched_hpc.slurm import parse, render

log = logging.getLogger("axsched_hpc")

#: Seconds between two questions to Slurm: what this driver has started itself is known without any.
ASK_EVERY = 3.0

#: States of a job in which its steps can run.
_ALIVE = frozenset({JobState.RUNNING, JobState.SUSPENDED})

GONE = "its allocation, or its step there, has ended"


def inside(job: str) -> tuple[str, str] | None:
    """(allocation, name inside it) of ``1234/axs-ab12-0001.3``; None for anything else."""
    allocation, slash, name = job.partition("/")
    return (allocation, name) if slash and name and allocation.isdecimal() else None


def step_name(token: str, index: int) -> str:
    """What the step of an attempt is called."""
    return f"{token}.{index}"


def claimed(batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
    """The jobs inside allocations that attempts were claimed by: token -> index -> job id."""
    found: dict[str, dict[int, str]] = {}
    for batch in batches:
        for index, item in enumerate(batch.attempts):
            owner = claim.read(AttemptFiles(item.directory))
            if owner is None or owner.by is not claim.Claimer.WORKER or owner.job is None:
                continue
            if inside(owner.job) is not None:
                found.setdefault(batch.token, {})[index] = owner.job
    return found


class Allocations:
    """Asks Slurm for steps and allocations, now and then.

    Parameters
    ----------
    mine
        The allocation around this driver.
    execute
        Runs one command.
    """

    def __init__(self, mine: str, execute: Execute) -> None:
        self._mine = mine
        self._execute = execute
        self._asked_at = -ASK_EVERY
        self._asked: set[str] = set()
        self._steps: dict[str, parse.Step] = {}
        self._alive: dict[str, bool] = {}
        self._said = False

    def look(self, jobs: Sequence[str], mine: Iterable[str] = ()) -> dict[str, JobStatus]:
        """The status of attempts inside allocations.

        Parameters
        ----------
        mine
            Those of which this machine has a process that will begin their step.
        """
        places = {job: place for job in jobs if (place := inside(job)) is not None}
        known = self._ask({allocation for allocation, _ in places.values()})
        waiting = set(mine)
        return {
            job: JobStatus(JobState.RUNNING, "running")
            if not known or job in waiting or self._lives(allocation, name)
            else JobStatus(JobState.FAILED, "gone", GONE)
            for job, (allocation, name) in places.items()
        }

    def lives(self) -> bool:
        """Whether the allocation around this driver lives, asked at once; true where nothing answers."""
        try:
            return self._living([self._mine]).get(self._mine, False)
        except ClusterUnavailableError:
            return True

    def steps(self, jobs: Sequence[str]) -> list[parse.Step]:
        """The steps of allocations that run now, asked at once.

        Raises
        ------
        ClusterUnavailableError
            Slurm does not answer.
        """
        answer = self._execute(render.squeue_steps(jobs))
        return parse.steps(answer.code, answer.out, answer.err)

    # ------------------------------------------------------------ inside

    def _lives(self, allocation: str, name: str) -> bool:
        if "@" in name:
            # A process on the node of an allocation. In that of this driver it would be on this machine.
            return allocation != self._mine and self._alive.get(allocation, False)
        return f"{allocation}/{name}" in self._steps

    def _ask(self, allocations: set[str]) -> bool:
        """Ask, where it is due; whether the answer covers these allocations."""
        if not allocations:
            return True
        now = time.monotonic()
        if now - self._asked_at >= ASK_EVERY or not allocations <= self._asked:
            self._asked_at = now
            wanted = sorted(allocations)
            try:
                steps = self.steps(wanted)
                others = [each for each in wanted if each != self._mine]
                self._alive = self._living(others) if others else {}
            except ClusterUnavailableError as error:
                # What was known stays, and what was not known is taken to run.
                if not self._said:
                    log.warning("Nothing is decided about the attempts of an earlier driver: %s", error)
                self._said = True
            else:
                self._steps = {f"{step.job}/{step.name}": step for step in steps}
                self._asked, self._said = allocations, False
        return allocations <= self._asked

    def _living(self, allocations: Sequence[str]) -> dict[str, bool]:
        answer = self._execute(render.squeue_jobs(allocations))
        rows = parse.squeue(answer.code, answer.out, answer.err)
        return {row.job: row.state in _ALIVE for row in rows}
