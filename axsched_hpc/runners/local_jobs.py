"""Attempts as processes of this machine: detached, so that they survive the driver, and found again by pid
and start time. They are forked where that is possible (see :mod:`axsched_hpc.forking`), else started.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from axsched_hpc import forking
from axsched_hpc.core.errors import SubmissionError
from axsched_hpc.core.shares import Share
from axsched_hpc.core.states import JobState
from axsched_hpc.io import access, atomic, claim, faults, processes
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.objectives import guardian
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.runners.forks import Forks
from axsched_hpc.slurm.run import scrubbed

log = logging.getLogger("axsched_hpc")

#: What an attempt has that is not bound to a part of the machine.
WHOLE = Share(frozenset(), {})

#: Seconds between TERM and KILL when an attempt is cancelled.
GRACE = 15.0


class LocalJobs:
    """Starts, watches, finds and ends worker processes. A job id is ``pid.start@host``."""

    settle = 0.0

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._forks: Forks | None = None
        #: By job, of those that were forked: where, and the exit code of those that have ended.
        self._forked: dict[str, Forks] = {}
        self._codes: dict[str, int] = {}
        self._kill_at: dict[str, float] = {}

    def prepare(self, folder: Path) -> None:
        """Have what workers are forked of at hand when the first ones are to run."""
        self._source(sys.executable, scrubbed(os.environ, inside=True))

    def submit(self, batch: Batch) -> dict[int, str]:
        """Start one process per attempt.

        Raises
        ------
        SubmissionError
            No process can be started.
        OSError
            The log of the first one cannot be opened.
        """
        jobs: dict[int, str] = {}
        environment = scrubbed(os.environ, inside=True)
        for index in range(len(batch.attempts)):
            try:
                jobs[index] = self._begin(batch, index, environment)
            except (OSError, SubmissionError) as error:
                # Those that run are told of, whatever hinders the others.
                if not jobs:
                    raise
                log.warning("Only %d of %d processes were started: %s", len(jobs), len(batch.attempts), error)
                return jobs
            faults.reach("submit.half")
        return jobs

    def poll(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        """Look at the processes; those of another machine are not known here."""
        self._collect()
        found = {}
        for job in jobs:
            status = self._look(job)
            if status is None:
                continue
            found[job] = status
            if status.state is JobState.RUNNING:
                self._kill_if_due(job)
            else:
                self._kill_at.pop(job, None)
                self._end_orphans(job, status)
        return found

    def find(self, batches: Sequence[Batch]) -> dict[str, dict[int, str]]:
        """Look into the attempts' claims, and for workers with the manifests on their command line."""
        manifests = {str(batch.manifest): batch.token for batch in batches}
        found: dict[str, dict[int, str]] = {}
        for batch in batches:
            for index, item in enumerate(batch.attempts):
                owner = claim.read(AttemptFiles(item.directory))
                if owner is not None and owner.by is claim.Claimer.WORKER:
                    job = claim.process_name(owner.pid, owner.start or 0, owner.host)
                    found.setdefault(batch.token, {})[index] = job
        for pid, words in command_lines():
            if "axsched_hpc.worker" not in words:
                continue
            for place, word in enumerate(words[:-1]):
                if word in manifests and words[place + 1].isdecimal():
                    job = claim.process_name(pid)
                    found.setdefault(manifests[word], {}).setdefault(int(words[place + 1]), job)
        return found

    def cancel(self, jobs: Sequence[str]) -> None:
        """Ask the processes to end; those that have not after the grace time are killed at a later look."""
        for job in jobs:
            if self._look(job) is not None and _signal(job, signal.SIGTERM):
                self._kill_at.setdefault(job, time.monotonic() + GRACE)

    def log(self, batch: Batch, index: int, job: str) -> Path:
        """Where a process writes before the worker takes its output over."""
        return log_of(batch, index)

    # ------------------------------------------------------------ inside

    def _begin(self, batch: Batch, index: int, environment: Mapping[str, str], share: Share = WHOLE) -> str:
        command, log_file = batch.command(index), log_of(batch, index)
        forks = self._source(batch.python, environment) if forking.runs(command) else None
        job = None if forks is None else fork(forks, command, log_file, share)
        if forks is None or job is None:
            process = start(command, log_file, {**environment, **share.variables}, share.cpus)
            job = claim.process_name(process.pid)
            self._children[job] = process
        else:
            self._forked[job] = forks
        return job

    def _collect(self) -> None:
        """Take the exit codes of the forked workers that have ended."""
        for forks in set(self._forked.values()):
            for job, code in forks.ended().items():
                del self._forked[job]
                self._codes[job] = code

    def _source(self, python: str, environment: Mapping[str, str]) -> Forks | None:
        """What workers of this environment are forked of; None where they have to be started."""
        if self._forks is None or not self._forks.suits(python, environment):
            self._forks = None
            with contextlib.suppress(OSError):
                self._forks = Forks(python, environment)
        return self._forks

    def _look(self, job: str) -> JobStatus | None:
        child = self._children.get(job)
        if child is not None:
            code = child.poll()
            if code is None:
                return JobStatus(JobState.RUNNING, "running", node=processes.hostname())
            return ended(code)
        if job in self._codes:
            return ended(self._codes[job])
        if job in self._forked and self._forked[job].works:
            return JobStatus(JobState.RUNNING, "running", node=processes.hostname())
        place = _place(job)
        if place is None:
            return None
        pid, start, host = place
        alive = processes.alive(host, pid, start, processes.boot_id())
        if alive is None:
            return None
        if alive:
            return JobStatus(JobState.RUNNING, "running", node=host)
        return JobStatus(JobState.FAILED, "gone", "the process has ended", node=host)

    def _end_orphans(self, job: str, status: JobStatus) -> None:
        """Kill what a worker that did not end by itself has left running: its attempt is repeated."""
        place = _place(job)
        if status.exit_code is not None or place is None:
            return
        # Some may have left its session.
        if left := processes.end_session(place[0]) + guardian.end_marked(job):
            log.info("Killed %d process(es) that the worker of job %s had left.", left, job)

    def _kill_if_due(self, job: str) -> None:
        if time.monotonic() >= self._kill_at.get(job, float("inf")):
            del self._kill_at[job]
            _signal(job, signal.SIGKILL)


def fork(forks: Forks, argv: Sequence[str], log_file: Path, share: Share = WHOLE) -> str | None:
    """Fork a worker that has a share of the machine; None where it has to be started.

    Raises
    ------
    SubmissionError
        There can be no further process.
    OSError
        Its log cannot be opened.
    """
    handle = access.open_append(log_file)
    try:
        return forks.start(argv, handle, share.variables, share.cpus)
    except OSError as error:
        raise _no_process(error) from error
    finally:
        os.close(handle)


def start(
    argv: Sequence[str], log_file: Path, environment: Mapping[str, str], cpus: frozenset[int] = frozenset()
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, bound to CPUs where some are given.

    Raises
    ------
    SubmissionError
        It cannot be started.
    OSError
        Its log cannot be opened.
    """
    handle = access.open_append(log_file)
    try:
        with processes.bound(cpus):
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise _no_process(error) from error
    finally:
        os.close(handle)


def _no_process(error: OSError) -> SubmissionError:
    return SubmissionError(
        f"No process could be started ({error}). Is the machine out of memory or of processes? "
        "Lower max_parallel.",
        transient=error.errno in (errno.EAGAIN, errno.ENOMEM),
    )


def ended(code: int) -> JobStatus:
    """The status of a worker that ended with this exit code, or minus the signal that ended it."""
    node = processes.hostname()
    # The worker ends with 128 + n where signal n ended it in good order.
    number = -code if code < 0 else code - 128 if 128 < code < 160 else None
    if number in (signal.SIGTERM, signal.SIGINT):
        return JobStatus(
            JobState.CANCELLED, f"ended by {signal.Signals(number).name}", node=node, signal=number
        )
    if code == 0:
        return JobStatus(JobState.SUCCEEDED, "exit 0", node=node, exit_code=0)
    return JobStatus(
        JobState.FAILED, f"exit {code}", node=node, exit_code=code if number is None else None, signal=number
    )


def log_of(batch: Batch, index: int) -> Path:
    """Where a process writes before the worker takes its output over."""
    return batch.folder / f"worker-{index}.log"


def _place(job: str) -> tuple[int, int | None, str] | None:
    process, at, host = job.partition("@")
    pid, dot, start = process.partition(".")
    if not at or not dot or not pid.isdecimal() or not start.isdecimal():
        return None
    return int(pid), int(start) or None, host


def _signal(job: str, number: signal.Signals) -> bool:
    """Signal a worker's whole session; whether it was there."""
    place = _place(job)
    if place is None or processes.alive(place[2], place[0], place[1], processes.boot_id()) is not True:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(place[0], number)
        except ProcessLookupError:
            os.kill(place[0], number)  # one that was forked a moment ago, and leads no session yet
        return True
    return False


def command_lines() -> list[tuple[int, list[str]]]:
    """(pid, words) of this user's processes; none where the system has no /proc."""
    found = []
    for name in atomic.listing(Path("/proc")):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                path = Path("/proc", name, "cmdline")
                if path.stat().st_uid == os.geteuid():
                    words = path.read_bytes().decode(errors="replace").split("\0")
                    found.append((int(name), words))
    return found
