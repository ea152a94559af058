"""What a runner is: the four batched calls by which the loop submits, watches, finds and cancels jobs.

To write one, derive from :class:`BaseRunner` and implement ``submit``, ``poll``, ``find`` and ``cancel``. A
job has to run ``batch.command(index)`` and nothing else: that is the worker, which claims the attempt, runs
the objective and publishes the outcome through files. The contract that a runner has to keep is executable:
:mod:`axsched_hpc.testing.runner_contract`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from axsched_hpc.core.events import Request
from axsched_hpc.core.request import Asked
from axsched_hpc.core.states import JobState


@dataclass(frozen=True)
class BatchAttempt:
    """One attempt of a batch. ``directory`` is complete on disk before the batch is submitted."""

    trial: int
    attempt: int
    directory: Path


@dataclass(frozen=True)
class Batch:
    """Attempts that are submitted together; an attempt's place in ``attempts`` is its array index.

    Attributes
    ----------
    token
        Unique name of the batch, of letters, digits and dashes: the job name, by which it is found again.
    manifest
        The file that tells the worker what to run; complete before submission.
    folder
        Where the runner may put files of its own.
    request
        What its jobs ask for beyond the runner's settings.
    warning
        Seconds before a job's time limit at which its worker is to get SIGUSR1; None for not at all.
    """

    token: str
    manifest: Path
    attempts: tuple[BatchAttempt, ...]
    folder: Path
    python: str = sys.executable
    request: Request = field(default_factory=Request)
    warning: int | None = None

    def command(self, index: int | None = None) -> list[str]:
        """The worker's arguments; without an index the worker takes that of its Slurm array task, or 0."""
        argv = [self.python, "-u", "-m", "axsched_hpc.worker", str(self.manifest)]
        return argv if index is None else [*argv, str(index)]


@dataclass(frozen=True)
class JobStatus:
    """What a runner knows of a job.

    Attributes
    ----------
    state
        In our words; ``raw`` has the scheduler's.
    reason
        The scheduler's reason for the state, such as why a job waits; empty where it gives none.
    """

    state: JobState
    raw: str = ""
    reason: str = ""
    node: str | None = None
    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a job has used; None where nothing tells.

    Attributes
    ----------
    used_mb
        The most memory that one of its steps held, in MiB.
    elapsed_s
        Seconds that it ran.
    out_of_memory
        Whether the job or a step of it was killed for its memory, whatever its state says.
    complete
        Whether no more is expected: a scheduler's records may come some seconds after the end of a job.
    """

    used_mb: float | None = None
    elapsed_s: float | None = None
    out_of_memory: bool = False
    complete: bool = True


class BaseRunner(ABC):
    """A place where attempts run.

    Attributes
    ----------
    max_parallel
        Bound on the attempts that are queued or running at a time, at least 1.
    cheap_poll
        Whether ``poll`` costs so little that the loop may ask at every look into the inbox, rather than once
        per ``monitoring_interval``.
    settle
        Seconds for which a job has to be seen ended, without an outcome file, before that counts as the end:
        a scheduler may still requeue it, and a file written on its node may still be on its way.
    pack
        Attempts that share a job: their places are free together, when the job has ended.
    asked
        What an attempt asks for where its batch requests nothing more; None where the runner does not know.
    nearby
        Whether all attempts run on the driver's machine: images that its container engine has need not be
        kept for other nodes.
    inside
        Whether attempts run inside the driver's process, with whose random numbers nobody else may meddle.
    """

    max_parallel: int = 1
    cheap_poll: bool = False
    settle: float = 0.0
    pack: int = 1
    asked: Asked = Asked()
    nearby: bool = False
    inside: bool = False

    @property
    def answer_time(self) -> float | None:
        """Seconds that the scheduler's controller took for its last answer, by which the pause between two
        polls is measured; None: as long as ``poll`` took.
        """
        return None

    def prepare(self, folder: Path) -> None:  # noqa: B027 - a runner without preparations is complete
        """Check, before anything is submitted, that jobs can be submitted from here.

        Parameters
        ----------
        folder
            Where the runner may put files of its own; exists.

        Raises
        ------
        ConfigError
            An option of the runner cannot be right.
        ClusterUnavailableError
            The scheduler is not installed or does not answer.
        """

    @abstractmethod
    def submit(self, batch: Batch) -> Mapping[int, str]:
        """Submit a batch and return job ids by array index, as soon as the scheduler has taken it.

        Raises
        ------
        SubmissionError
            Nothing was submitted. ``transient`` says whether the same may succeed later. Where it is not
            known whether jobs exist (the answer was lost), ``transient`` is true, and the loop asks
            :meth:`find` before it tries again.
        """

    @abstractmethod
    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """The status of jobs, in one query whatever their number. A job that is not known is left out.

        Raises
        ------
        ClusterUnavailableError
            The scheduler does not answer now; nothing follows for the jobs.
        """

    @abstractmethod
    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        """The jobs of batches whose submission was interrupted: token -> array index -> job id, in one query.
        Jobs that have already ended count; a batch of which nothing is known is left out.

        Raises
        ------
        ClusterUnavailableError
            The scheduler does not answer now; nothing follows for the batches.
        """

    @abstractmethod
    def cancel(self, jobs: Sequence[str]) -> None:
        """End jobs, in one call; jobs that have ended or are not known are no error.

        Raises
        ------
        ClusterUnavailableError
            The scheduler does not answer now.
        """

    def usage(self, jobs: Sequence[str]) -> Mapping[str, Usage]:
        """What jobs that have ended have used, in one query; what is not known is left out. Never raises for
        a scheduler that does not answer.
        """
        return {}

    def log(self, batch: Batch, index: int, job: str) -> Path | None:
        """The file with what a job wrote before its worker began, such as an import error; None for none."""
        return None
