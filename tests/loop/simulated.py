"""A cluster that exists only in memory, on a clock that only moves when somebody waits.

It shows what a real one cannot be made to show on demand: lost nodes, lost answers, jobs that no query
knows. Outcomes are published
through the same files that a worker writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from axsched_hpc.core.errors import ClusterUnavailableError, SubmissionError
from axsched_hpc.core.events import Failure
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim, manifest, outcome, progress
from axsched_hpc.io.claim import Claimer
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.runners.base import BaseRunner, Batch, JobStatus, Usage


class VirtualClock:
    """Time that passes only in ``wait``; what is due then happens in order."""

    passes = False

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.waits = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: float, happen: Callable[[], None]) -> None:
        """Let something happen after a delay."""
        self._count += 1
        heapq.heappush(self._due, (self.time + delay, self._count, happen))

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.waits += 1
        end = self.time + max(seconds, 1e-6)
        while self._due and self._due[0][0] <= end:
            self.time, _, happen = heapq.heappop(self._due)
            happen()
        self.time = end

    def listen(self, source: object) -> None:
        """What comes while somebody waits is seen after that."""

    def wake(self) -> None:
        """Nobody waits for real."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one job: after ``queued`` and ``runs`` seconds it ends in ``state``, with an outcome or
    without.
    """

    runs: float = 10.0
    queued: float = 1.0
    state: JobState = JobState.SUCCEEDED
    metrics: Metrics | None = field(default_factory=lambda: {"loss": (1.0, None)})
    failure: Failure | None = None
    claims: bool = True
    visible: bool = True
    requeues: int = 0
    node: str = "node"
    reason: str = ""
    #: (seconds after its start, line of its progress file), in each of its executions.
    reports: tuple[tuple[float, str], ...] = ()


FateOf = Callable[[int, int, Mapping[str, object]], Fate]


class SimulatedRunner(BaseRunner):
    """Runs nothing; publishes what ``fate(trial, attempt, parameters)`` says."""

    def __init__(self, clock: VirtualClock, fate: FateOf, max_parallel: int = 4) -> None:
        self.clock = clock
        self.fate = fate
        self.max_parallel = max_parallel
        self.settle = 2.0
        self.states: dict[str, JobState] = {}
        self._begun: set[str] = set()  #: jobs that may not have ended
        self.batches: list[Batch] = []
        self.executed: list[tuple[int, int]] = []
        self.named: dict[str, dict[int, str]] = {}
        self.polls = 0
        self.cancelled: list[str] = []
        self.refusals: list[Exception] = []
        self.lost_answers = 0
        self.down = False
        self.most_active = 0
        self.nodes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        #: Jobs that this user may have waiting or running, those of others included.
        self.limit: int | None = None
        self.others = 0
        self.answer = 0.0
        self.asked_at: list[float] = []
        self.usages: list[list[str]] = []
        self.late_records = 0  #: so many questions for the usage come before there is a record of it

    def prepare(self, folder: Path) -> None:
        assert folder.is_dir()

    def submit(self, batch: Batch) -> Mapping[int, str]:
        if self.refusals:
            raise self.refusals.pop(0)
        self.asked_at.append(self.clock.time)
        under_way = self.others + self._under_way()
        if self.limit is not None and under_way + len(batch.attempts) > self.limit:
            raise SubmissionError("sbatch: error: QOSMaxSubmitJobPerUserLimit", limit=True)
        assert batch.manifest.is_file()
        self.batches.append(batch)
        jobs = {index: f"{len(self.batches)}_{index}" for index in range(len(batch.attempts))}
        self.named[batch.token] = jobs
        layout = Layout.at(manifest.read(batch.manifest).root)
        for index, job in jobs.items():
            attempt = batch.attempts[index]
            parameters = outcome_parameters(layout, attempt.trial)
            fate = self.fate(attempt.trial, attempt.attempt, parameters)
            self._begin(layout, batch, index, job, fate)
        self.most_active = max(self.most_active, self._under_way())
        if self.lost_answers:
            self.lost_answers -= 1
            raise SubmissionError("sbatch: error: Socket timed out", transient=True)
        return jobs

    def _under_way(self) -> int:
        self._begun = {job for job in self._begun if job in self.states and not self.states[job].final}
        return len(self._begun)

    def _begin(self, layout: Layout, batch: Batch, index: int, job: str, fate: Fate) -> None:
        self.states[job] = JobState.QUEUED
        self._begun.add(job)
        self.nodes[job], self.reasons[job] = fate.node, fate.reason
        item = batch.attempts[index]
        files = layout.attempt(item.trial, item.attempt)
        restarts = 0

        def start() -> None:
            if self.states[job].final:
                return
            self.states[job] = JobState.RUNNING
            if fate.claims:
                environment = {"SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": str(restarts)}
                mine = claim.mine(batch.token, Claimer.WORKER, environment=environment)
                if not claim.take(files, mine):
                    self.states[job] = JobState.SUCCEEDED
                    return
                self.executed.append((item.trial, item.attempt))
            for delay, line in fate.reports:
                self.clock.at(delay, partial(report, restarts, line))
            self.clock.at(fate.runs, end)

        def report(execution: int, line: str) -> None:
            if execution == restarts and self.states[job] is JobState.RUNNING:
                progress.append(files.progress, f"{line}\n")

        def end() -> None:
            nonlocal restarts
            if self.states[job].final:
                return
            if restarts < fate.requeues:
                restarts += 1
                self.states[job] = JobState.QUEUED
                self.clock.at(fate.queued, start)
                return
            if fate.state is JobState.SUCCEEDED or fate.failure is not None:
                outcome.publish(
                    layout,
                    Outcome(
                        item.trial,
                        item.attempt,
                        batch.token,
                        None if fate.failure else fate.metrics,
                        fate.failure,
                        "node",
                        job,
                        self.clock.time - fate.runs,
                        self.clock.time,
                    ),
                )
            self.states[job] = fate.state
            if not fate.visible:
                del self.states[job]

        self.clock.at(fate.queued, start)

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        self.polls += 1
        self.clock.wait(self.answer)
        if self.down:
            raise ClusterUnavailableError(
                "slurm_load_jobs error: Unable to contact slurm controller", transient=True
            )
        return {
            job: JobStatus(
                self.states[job],
                reason=self.reasons.get(job, "") if self.states[job] is JobState.QUEUED else "",
                node=self.nodes.get(job, "node"),
            )
            for job in jobs
            if job in self.states
        }

    def usage(self, jobs: Sequence[str]) -> Mapping[str, Usage]:
        self.usages.append(list(jobs))
        if len(self.usages) <= self.late_records:
            return {job: Usage(complete=False) for job in jobs}
        return {job: Usage(used_mb=3993.6, elapsed_s=3600.0) for job in jobs}

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        return {batch.token: self.named[batch.token] for batch in batches if batch.token in self.named}

    def cancel(self, jobs: Sequence[str]) -> None:
        self.cancelled += jobs
        for job in jobs:
            if job in self.states and not self.states[job].final:
                self.states[job] = JobState.CANCELLED


def outcome_parameters(layout: Layout, trial: int) -> Mapping[str, object]:
    """A trial's parameters, as the job would read them."""
    from axsched_hpc.io import parameters

    return parameters.read(layout.parameters(trial))
