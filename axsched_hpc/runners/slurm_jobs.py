"""Jobs on Slurm: arrays submitted through submitit, watched by queries of our own."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError, SubmissionError, did_you_mean
from axsched_hpc.core.states import JobState
from axsched_hpc.runners.base import Batch, JobStatus, Usage
from axsched_hpc.runners.slurm_options import asked, requesting
from axsched_hpc.slurm import parse, render
from axsched_hpc.slurm.parse import Row
from axsched_hpc.slurm.run import Completed, run

log = logging.getLogger("axsched_hpc")

Execute = Callable[[Sequence[str]], Completed]

Answer = TypeVar("Answer")

#: Seconds after which sacct is asked again: of a site that keeps no records, or that has often not answered;
#: and where it has not for the first time.
ASK_AGAIN, ACCOUNTING_PAUSE = 600.0, 60.0

#: Job ids in one scancel.
_CHUNK = 500


class SlurmJobs:
    """Submits, watches, finds and cancels job arrays.

    Parameters
    ----------
    parameters
        Under submitit's names.
    max_array_size
        Tasks in one array; larger batches become several arrays.
    execute
        Runs one command; a parameter so that tests can count the queries.
    """

    #: Slurm may requeue a job after showing its end, and a file of the node may still be on its way.
    settle = 2.0

    def __init__(
        self, parameters: Mapping[str, Any], *, max_array_size: int = 1000, execute: Execute = run
    ) -> None:
        self._parameters = dict(parameters)
        self._max_array_size = max_array_size
        self._execute = execute
        self.asked = asked(parameters)
        self._no_accounting_until = 0.0
        self._accounting_pause = ACCOUNTING_PAUSE
        #: When this driver has last seen a job wait, on the monotonic clock.
        self._waiting: dict[str, float] = {}
        self._job_age = 0.0
        self._cancelled: set[str] = set()
        #: Seconds that squeue took. The accounting has a pause of its own, where it is slow.
        self.answer_time: float | None = None

    def prepare(self, folder: Path) -> None:
        """Check that Slurm is there and answers, and that submitit knows the parameters."""
        if re.search(r"%[0-9A-Za-z%]|\\|[\r\n]", str(folder)):
            raise ConfigError(
                "Slurm replaces % with a letter, %% and backslashes in the names of log files, and takes a "
                f"line break for their end, so it cannot write to {str(folder)!r}. Choose a job_output_dir "
                "without %, backslashes and line breaks."
            )
        answer = self._execute(render.show_config())
        if answer.code != 0:
            words = " ".join((answer.err or answer.out).split())
            raise ClusterUnavailableError(
                f"The Slurm controller does not answer ({words}). Nothing was submitted. Try again later, or "
                "ask the site's support.",
                transient=True,
            )
        self._max_array_size = min(self._max_array_size, parse.array_size(answer.out) or self._max_array_size)
        from axsched_hpc.runners.executors import worker_executor

        executor = worker_executor(folder, self._parameters)
        if refusal := executor.refusal(self._execute):
            self._refuse(refusal)

    def _refuse(self, words: str) -> None:
        """Say why sbatch would not take the jobs; nothing where it may do so later."""
        option = parse.unknown_option(words)
        if option is not None:
            known = parse.options(self._execute(["sbatch", "--help"]).out)
            raise ConfigError(
                f"sbatch has no option --{option}, so nothing was submitted. Correct it in "
                f"config['sbatch_options'].{did_you_mean(option, known)}"
            )
        error = parse.submission_error(words)
        # Nodes that are down now, such as all of them right after the controller's start, do not hinder a
        # submission; where no node can ever fit, sbatch itself says so.
        if not error.transient and not parse.lacks_nodes(words):
            raise error

    def submit(self, batch: Batch) -> dict[int, str]:
        """Submit a batch as one array, or several where it is larger than arrays may be."""
        from axsched_hpc.runners.executors import worker_executor

        parameters = requesting(self._parameters, batch.request, warning=batch.warning)
        executor = worker_executor(batch.folder, parameters)
        jobs: dict[int, str] = {}
        for name, offset, count in self._arrays(batch):
            try:
                array = executor.submit_tasks(name, batch.command(), count, offset, self._execute)
            except SubmissionError as error:
                # Where the answer is lost, all have to be looked for by name.
                if not jobs or (error.transient and not error.limit):
                    raise
                log.warning("%d of %d jobs were submitted: %s", len(jobs), len(batch.attempts), error)
                break
            jobs.update({offset + task: f"{array}_{task}" for task in range(count)})
        return jobs

    def script(self, batch: Batch) -> str:
        """The batch script of the first of a batch's arrays, of which nothing is written or submitted."""
        from axsched_hpc.runners.executors import worker_executor

        parameters = requesting(self._parameters, batch.request, warning=batch.warning)
        name, offset, count = self._arrays(batch)[0]
        return worker_executor(batch.folder, parameters).text(name, batch.command(), count, offset)

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """One squeue for all jobs, and one sacct where that leaves a question and the site keeps records."""
        # A single malformed id makes squeue refuse the whole query.
        asked = [job for job in jobs if parse.JOB_ID.fullmatch(job)]
        if not asked:
            return {}
        begun = time.monotonic()
        shown = {row.job: row for row in self._squeue(render.squeue_jobs(asked))}
        rows = {job: shown[job] for job in asked if job in shown}
        # squeue has no exit codes, and forgets a job some minutes after its end; while it knows one, it is
        # right. What only sacct says to be waiting or running is out of date.
        questions = [job for job in asked if job not in rows or rows[job].state is JobState.FAILED]
        recorded = {row.job: row for row in self._sacct(render.sacct_jobs(questions))} if questions else {}
        for job in questions:
            known, found = rows.get(job), recorded.get(job)
            if found is not None and (found.state is known.state if known else found.state.final):
                rows[job] = found
        for job in asked:
            if job not in rows:
                ended = _remainder(job, shown) or _remainder(job, recorded)
                if ended is not None:
                    rows[job] = ended
                elif job in self._cancelled or self._vanished(job, shown):
                    # Slurm forgets at once a task that is cancelled while others of its array wait.
                    self._cancelled.add(job)
                    rows[job] = Row(job, "CANCELLED", "cancelled before it started", None, "")
        self._waiting = {job: begun for job in shown if shown[job].state is JobState.QUEUED}
        return {job: _status(row) for job, row in rows.items()}

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """One squeue by name, and one sacct where that leaves a question."""
        if not batches:
            return {}
        arrays = {name: (b, offset, size) for b in batches for name, offset, size in self._arrays(b)}
        names = list(arrays)
        found: dict[str, dict[int, str]] = {}

        def take(rows: Iterable[Row]) -> None:
            for row in rows:
                place = arrays.get(row.name)
                root, _, task = row.job.partition("_")
                if place is None:
                    continue
                batch, offset, size = place
                # An array that was cancelled before it started can be shown by its bare id.
                tasks = [int(task)] if task.isdecimal() else range(size)
                for number in tasks:
                    found.setdefault(batch.token, {}).setdefault(offset + number, f"{root}_{number}")

        take(self._squeue(render.squeue_names(names)))
        if any(len(found.get(b.token, {})) < len(b.attempts) for b in batches):
            take(self._sacct(render.sacct_names(names)))
        return found

    def cancel(self, jobs: Sequence[str]) -> None:
        """One scancel for all jobs, or one for some hundreds of them."""
        known = [job for job in jobs if parse.JOB_ID.fullmatch(job)]
        for first in range(0, len(known), _CHUNK):
            chunk = known[first : first + _CHUNK]
            answer = self._execute(render.scancel(chunk))
            parse.scancel(answer.code, answer.err, "jobs", render.roots(known))
            self._cancelled.update(chunk)

    def usage(self, jobs: Sequence[str]) -> dict[str, Usage]:
        """One sacct for what jobs that have ended have used; nothing where it does not answer."""
        asked = [job for job in jobs if parse.JOB_ID.fullmatch(job)]
        found = self._recorded(render.sacct_usage(asked), parse.usage) if asked else None
        if found is None:
            return {}
        # The record of a step, which has its memory, is written after the job is seen ended.
        return {
            job: Usage(each.used_mb, each.elapsed_s, each.out_of_memory, complete=each.used_mb is not None)
            if (each := found.get(job)) is not None
            else Usage(complete=False)
            for job in asked
        }

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where submitit lets Slurm write what a job says before the worker takes its output over."""
        return batch.folder / f"{job}_0_log.err"

    # ------------------------------------------------------------ inside

    def _arrays(self, batch: Batch) -> list[tuple[str, int, int]]:
        """(job name, first index, size) of a batch's arrays."""
        size = self._max_array_size
        total = len(batch.attempts)
        return [
            (batch.token if offset == 0 else f"{batch.token}-{offset}", offset, min(size, total - offset))
            for offset in range(0, total, size)
        ]

    def _squeue(self, argv: list[str]) -> list[Row]:
        begun = time.monotonic()
        answer = self._execute(argv)
        self.answer_time = time.monotonic() - begun
        return parse.squeue(answer.code, answer.out, answer.err)

    def _vanished(self, job: str, shown: Mapping[str, Row]) -> bool:
        """Whether a job waited so short a time ago that it cannot have run, ended and been forgotten since,
        in an array of which the controller knows other tasks: then somebody has cancelled it.
        """
        seen = self._waiting.get(job)
        if seen is None or all(render.root(other) != render.root(job) for other in shown):
            return False
        if not self._job_age:
            self._job_age = parse.job_age(self._execute(render.show_config()).out)
        return time.monotonic() - seen < self._job_age

    def _sacct(self, argv: list[str]) -> list[Row]:
        return self._recorded(argv, parse.sacct) or []

    def _recorded(self, argv: list[str], read: Callable[[int, str, str], Answer]) -> Answer | None:
        """What the accounting says; None where it does not answer, or was asked in vain a short time ago."""
        if time.monotonic() < self._no_accounting_until:
            return None
        try:
            answer = self._execute(argv)
            found = read(answer.code, answer.out, answer.err)
        except parse.AccountingOff:
            self._no_accounting_until = time.monotonic() + ASK_AGAIN
        except ClusterUnavailableError as error:
            # The controller has answered; what only the database knows has to wait for it, and a sacct that
            # hangs must not delay every poll.
            self._no_accounting_until = time.monotonic() + self._accounting_pause
            log.warning(
                "Slurm's accounting did not answer and is asked again after %.0f s; the controller's word is "
                "taken meanwhile. %s",
                self._accounting_pause,
                error,
            )
            self._accounting_pause = min(ASK_AGAIN, 2 * self._accounting_pause)
        else:
            self._accounting_pause = ACCOUNTING_PAUSE
            return found
        return None


def _remainder(job: str, rows: Mapping[str, Row]) -> Row | None:
    """The row of an array's bare id, by which Slurm shows those of its tasks that were cancelled while they
    waited.
    """
    row = rows.get(render.root(job))
    return row if row is not None and row.state.final else None


def _status(row: Row) -> JobStatus:
    return JobStatus(row.state, row.raw, row.reason, row.node, row.exit_code, row.signal)
