"""Several attempts in one Slurm job: an array task runs a pack of them side by side.

The supervisor in the job is :mod:`axsched_hpc.pack`. An attempt has a job id of its own, the job's with the
attempt's place in the pack: ``123_4#1``. What Slurm says of the job holds for all attempts in it of which the
supervisor has not reported that they ended otherwise.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from axsched_hpc.core.request import Asked
from axsched_hpc.core.states import JobState
from axsched_hpc.io import atomic
from axsched_hpc.io.packs import PackFiles, Report, attempt_job
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.slurm_jobs import Execute, SlurmJobs
from axsched_hpc.slurm import parse, render
from axsched_hpc.slurm.run import run

_ID = re.compile(r"(\d+(?:_\d+)?)#(\d+)")


def split_id(job: str) -> tuple[str, int] | None:
    """(Slurm job, place in it) of ``123_4#1``; None for anything else."""
    found = _ID.fullmatch(job)
    return (found[1], int(found[2])) if found is not None else None


@dataclass(frozen=True)
class PackBatch(Batch):
    """A batch as Slurm sees it: one job for each pack; ``attempts`` has the first of each."""

    size: int = 1

    @classmethod
    def of(cls, batch: Batch, size: int) -> PackBatch:
        """The packs of a batch; what its jobs ask for is so many times what an attempt does."""
        memory = batch.request.memory_mb
        return cls(
            token=batch.token,
            manifest=batch.manifest,
            attempts=batch.attempts[::size],
            folder=batch.folder,
            request=replace(batch.request, memory_mb=None if memory is None else memory * size),
            warning=batch.warning,
            python=batch.python,
            size=size,
        )

    def command(self, index: int | None = None) -> list[str]:
        """The supervisor's arguments; the pack's number comes last."""
        argv = [self.python, "-u", "-m", "axsched_hpc.pack", str(self.manifest), str(self.size)]
        return argv if index is None else [*argv, str(index)]


@dataclass(frozen=True)
class _Pack:
    """What is known of a job: its batch's files, and its attempts."""

    files: PackFiles
    places: int


class PackedJobs:
    """Submits, watches, finds and cancels packs.

    Parameters
    ----------
    jobs
        Those of Slurm; they ask for ``size`` times what an attempt does.
    size
        Attempts in a job.
    execute
        Runs one command.
    """

    def __init__(self, jobs: SlurmJobs, size: int, *, execute: Execute = run) -> None:
        self._jobs = jobs
        self._size = size
        self._execute = execute
        #: None where Slurm knows nothing of a job's script.
        self._packs: dict[str, _Pack | None] = {}
        self.settle = jobs.settle
        memory = jobs.asked.memory_mb
        self.asked = Asked(None if memory is None else memory // size, jobs.asked.time_s)

    @property
    def answer_time(self) -> float | None:
        """Seconds that the controller took for its last answer."""
        return self._jobs.answer_time

    def prepare(self, folder: Path) -> None:
        """See :meth:`SlurmJobs.prepare`."""
        self._jobs.prepare(folder)

    def submit(self, batch: Batch) -> dict[int, str]:
        """Submit a batch as arrays of packs."""
        files = PackFiles(batch.folder)
        # A supervisor looks for requests by listing: a directory that is there from the start is seen by all.
        atomic.make_directory(files.requests)
        atomic.make_directory(files.reports)
        return self._expanded(batch, self._jobs.submit(PackBatch.of(batch, self._size)))

    def script(self, batch: Batch) -> str:
        """The batch script of a batch's packs."""
        return self._jobs.script(PackBatch.of(batch, self._size))

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """One query for the Slurm jobs, and one file for each of which something is reported."""
        places = {job: split for job in jobs if (split := split_id(job)) is not None}
        known = self._jobs.poll(list(dict.fromkeys(root for root, _ in places.values())))
        reports = self._reports(known)
        found = {}
        for job, (root, place) in places.items():
            if (status := known.get(root)) is not None:
                found[job] = attempt_status(status, reports.get(root), place)
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """See :meth:`SlurmJobs.find`."""
        by_token = {batch.token: batch for batch in batches}
        found = self._jobs.find([PackBatch.of(batch, self._size) for batch in batches])
        return {token: self._expanded(by_token[token], jobs) for token, jobs in found.items()}

    def cancel(self, jobs: Sequence[str]) -> None:
        """One scancel for the jobs of which nothing is to go on, and a request for each attempt of others."""
        wanted: dict[str, set[int]] = {}
        for job in jobs:
            if (split := split_id(job)) is not None:
                wanted.setdefault(split[0], set()).add(split[1])
        self._look_up(wanted)
        reports = self._reports(wanted)
        whole = []
        for root, places in wanted.items():
            pack = self._packs.get(root)
            if pack is None or live_places(pack.places, reports.get(root)) <= places:
                whole.append(root)
                continue
            for place in places:
                atomic.write(pack.files.requests / attempt_job(root, place), "")
        self._jobs.cancel(whole)

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """The job's: what a worker says before it takes its output over goes there."""
        place = split_id(job)
        return self._jobs.log(
            PackBatch.of(batch, self._size), index // self._size, place[0] if place else job
        )

    # ------------------------------------------------------------ inside

    def _expanded(self, batch: Batch, jobs: Mapping[int, str]) -> dict[int, str]:
        found = {}
        for number, root in jobs.items():
            first = number * self._size
            places = min(self._size, len(batch.attempts) - first)
            self._packs[root] = _Pack(PackFiles(batch.folder), places)
            found.update({first + place: attempt_job(root, place) for place in range(places)})
        return found

    def _look_up(self, roots: Iterable[str]) -> None:
        """Find the folders of jobs that another driver has submitted: where their scripts lie."""
        unknown = [root for root in roots if root not in self._packs]
        if not unknown:
            return
        answer = self._execute(render.squeue_scripts(unknown))
        scripts = parse.squeue_scripts(answer.code, answer.out, answer.err)
        for root in unknown:
            path = scripts.get(root)
            self._packs[root] = _Pack(PackFiles(Path(path).parent), self._size) if path else None

    def _reports(self, roots: Iterable[str]) -> dict[str, Report]:
        roots = list(roots)
        self._look_up(roots)
        names: dict[Path, set[str]] = {}
        found = {}
        for root in roots:
            pack = self._packs.get(root)
            if pack is None:
                continue
            path = pack.files.report(root)
            if path.parent not in names:
                names[path.parent] = set(atomic.listing(path.parent))
            if path.name in names[path.parent]:
                try:
                    found[root] = Report.read(path)
                except (OSError, ValueError):
                    continue  # the job's own state is enough, when it ends
        return found


def attempt_status(job: JobStatus, report: Report | None, place: int) -> JobStatus:
    """The status of one attempt, by its job's and by what the supervisor has reported."""
    if report is not None and place in report.cancelled:
        return JobStatus(JobState.CANCELLED, "ended on request", node=job.node)
    code = None if report is None else report.ended.get(place)
    if code is None:
        return job
    number = -code if code < 0 else code - 128 if 128 < code < 160 else None
    return JobStatus(
        JobState.FAILED,
        f"exit {code}" if number is None else f"signal {signal_name(number)}",
        node=job.node,
        exit_code=code if number is None else None,
        signal=number,
    )


def live_places(places: int, report: Report | None) -> set[int]:
    """The attempts of a job that are not known to have ended."""
    ended = set() if report is None else {*report.ended, *report.cancelled}
    return set(range(places if report is None else report.places)) - ended


def signal_name(number: int) -> str:
    """A signal's name, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
