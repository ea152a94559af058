"""A job's way to a compute node and back, submitted by the runner that submits trials."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import AxSchedError, ClusterUnavailableError
from axsched_hpc.core.events import Request
from axsched_hpc.core.states import JobState
from axsched_hpc.doctor import probe, storage
from axsched_hpc.io import access, atomic
from axsched_hpc.runners.base import BaseRunner, Batch, BatchAttempt, JobStatus

#: Questions to the node; the clocks and the lateness are known the better the more there are.
QUESTIONS = 5

#: Seconds between an answer and the next question. The node lists the directory meanwhile, so that what it
#: keeps of it is older than the question: a cache that is filled only afterwards shows no lateness.
BETWEEN = 0.3

#: Seconds to wait for one answer, for the lock of a killed process, and for the end of the job.
ANSWER, FREED, ENDING = 60.0, 10.0, 15.0

#: Seconds between two questions to the scheduler, at first and at most.
FIRST_LOOK, LONGEST_LOOK = 1.0, 5.0

#: Ends of a job that tell nothing of the node and the directory.
UNTOLD = frozenset({JobState.CANCELLED, JobState.NODE_FAILED, JobState.PREEMPTED, JobState.TIMED_OUT})

#: Characters of a job's log that are looked at.
_LOG = 4000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ProbeBatch(Batch):
    """A batch that runs the probe where a trial's batch runs the worker."""

    def command(self, index: int | None = None) -> list[str]:
        """See :meth:`axsched_hpc.runners.base.Batch.command`."""
        argv = [self.python, "-u", "-m", "axsched_hpc.doctor.probe", str(self.manifest)]
        return argv if index is None else [*argv, str(index)]


@dataclass(frozen=True)
class Exchange:
    """One question and its answer: when it was asked and answered by the clock here, when it was seen and
    the answer sent by the clock there; seconds since the epoch. A listing can have missed either until the
    directory was nudged, see :class:`axsched_hpc.doctor.probe.Waiting`.
    """

    asked: float
    seen: float
    sent: float
    answered: float
    missed_there: bool = False
    missed_here: bool = False


@dataclass
class Trip:
    """What was seen on the way.

    Attributes
    ----------
    refused
        Why there is no job.
    job, submitted
        Its id; when it was submitted, in seconds since the epoch, or 0 where there can be no job.
    submitting
        Seconds that the submission took.
    status
        The scheduler's last word on the job.
    log
        The end of what the job wrote, where it did not report.
    node, engines
        The probe's reports.
    exchanges
        Questions and answers.
    file_clock
        Seconds by which the filesystem's clock is ahead of this machine's.
    owner, mode
        Of a file that the node made, as seen here.
    lock_there, lock_here
        What became of taking a lock there that was held here, and the other way round.
    released
        Seconds after which a lock was free here whose holder there was killed; None: not while it was tried.
    mute
        A question that was not answered in time.
    left
        What could not be cleaned up.
    """

    refused: str = ""
    job: str = ""
    submitted: float = 0.0
    submitting: float = 0.0
    status: JobStatus | None = None
    log: str | None = None
    node: dict[str, Any] | None = None
    engines: dict[str, Any] | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    file_clock: float = 0.0
    owner: int = -1
    mode: int = 0
    lock_here: str = ""
    released: float | None = None
    mute: str = ""
    left: str = ""

    @property
    def lock_there(self) -> str:
        """What became of taking a lock there that was held here."""
        return str((self.node or {}).get("lock", ""))

    @property
    def seen(self) -> bool | None:
        """Whether the directory was seen there; None where that is not known."""
        if self.node is not None:
            return bool(self.node["seen"])
        if self.status is None or self.status.state in UNTOLD | {JobState.QUEUED, JobState.UNKNOWN}:
            return None
        # A job that has left a log has seen the directory, whatever else was wrong.
        return None if self.log is not None else False


@contextlib.contextmanager
def private_directory(parent: Path) -> Iterator[Path]:
    """A hidden directory that is the user's alone, and gone at the end of the block.

    Raises
    ------
    OSError
        It cannot be made.
    """
    made = Path(tempfile.mkdtemp(prefix=".axsched-doctor-", dir=parent))
    try:
        yield made
    finally:
        # NFS keeps a file that another process has still open under another name until it is closed.
        for _ in range(20):
            shutil.rmtree(made, ignore_errors=True)
            if not made.exists():
                break
            time.sleep(0.1)


def make(
    runner: BaseRunner,
    folder: Path,
    *,
    wait: float,
    say: Progress,
    limit: int | None = None,
    python: str = sys.executable,
) -> Trip:
    """Submit the probe, speak with it, and end it.

    Parameters
    ----------
    folder
        An empty directory of its own, on the filesystem that is checked.
    wait
        Seconds for the job to start.
    say
        Told what is waited for; called often.
    limit
        Seconds of the job's time limit, if not the runner's: a short job starts sooner.
    python
        The node's Python.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    trip = Trip()
    talk, files = folder / "talk", folder / "job"
    for directory in (talk, files):
        atomic.make_directory(directory)
    attempts = (BatchAttempt(0, 1, talk),)
    token = f"axsched-doctor-{os.urandom(4).hex()}"
    batch = ProbeBatch(token, talk, attempts, files, request=Request(time_s=limit), python=python)
    with _locked(talk / probe.LOCK):
        atomic.create(talk / probe.CLAIM, "doctor\n")
        probe.publish(talk, probe.BEFORE, {})
        try:
            if _submit(runner, batch, trip, say) and _await(runner, batch, trip, wait, say):
                _speak(talk, trip, say)
        finally:
            _end(runner, batch, trip, say)
    return trip


# ---------------------------------------------------------------- there


def _submit(runner: BaseRunner, batch: Batch, trip: Trip, say: Progress) -> bool:
    say("submitting a job")
    try:
        runner.prepare(batch.folder)
        trip.submitted, before = time.time(), time.monotonic()
        jobs = runner.submit(batch)
    except AxSchedError as error:
        trip.refused = str(error)
        if not error.transient:
            trip.submitted = 0.0
        return False
    trip.submitting = time.monotonic() - before
    trip.job = jobs[0]
    return True


def _await(runner: BaseRunner, batch: Batch, trip: Trip, wait: float, say: Progress) -> bool:
    """Wait until the probe reports; False where it does not."""
    began, look, waiting = time.monotonic(), FIRST_LOOK, probe.Waiting(batch.manifest)
    asked = began
    deadline, ran, ended = began + wait, False, False
    while True:
        if probe.NODE in atomic.listing(batch.manifest):
            trip.node = probe.read(batch.manifest, probe.NODE)
            made = (batch.manifest / probe.NODE).stat()
            trip.owner, trip.mode = made.st_uid, stat.S_IMODE(made.st_mode)
            return True
        now = time.monotonic()
        if now - asked >= look and not ended:
            with contextlib.suppress(ClusterUnavailableError):
                trip.status = runner.poll([trip.job]).get(trip.job, trip.status)
            asked, look = time.monotonic(), min(1.5 * look, LONGEST_LOOK)
            state = trip.status.state if trip.status is not None else None
            if state is not None and state.final:
                # What it wrote last can be on its way.
                ended, deadline = True, now + max(5.0, runner.settle)
            elif state in (JobState.RUNNING, JobState.ENDING) and not ran:
                # From here on it is not the queue that is waited for.
                ran, deadline = True, now + ANSWER
        if now > deadline:
            if ended:
                trip.log = _log(runner.log(batch, 0, trip.job))
            return False
        say(f"waiting for job {trip.job}{_why(trip.status)}, {now - began:.0f} s of {deadline - began:.0f} s")
        waiting.pause()


def _why(status: JobStatus | None) -> str:
    if status is None:
        return ""
    return f" ({status.raw}{f', {status.reason}' if status.reason not in ('', 'None') else ''})"


def _speak(talk: Path, trip: Trip, say: Progress) -> None:
    """Ask the node some questions, and try its lock."""
    assert trip.node is not None
    trip.file_clock = probe.file_clock(talk)
    for number in range(QUESTIONS):
        name = f"{number:03d}"
        time.sleep(BETWEEN)
        say(f"speaking with {trip.node['host']}, {number + 1} of {QUESTIONS}")
        asked = time.time()
        probe.publish(talk, probe.PING + name, {})
        nudges = probe.appears(talk, probe.PONG + name, ANSWER)
        answered = time.time()
        if nudges is None:
            trip.mute = f"question {number + 1}"
            return
        pong = probe.read(talk, probe.PONG + name)
        there, sent = float(pong["seen"]), float(pong["sent"])
        trip.exchanges.append(Exchange(asked, there, sent, answered, pong["nudges"] > 0, nudges > 0))
    say(f"trying locks with {trip.node['host']}")
    if trip.node["holds"]:
        trip.lock_here = probe.try_lock(talk / probe.NODE_LOCK)
    probe.publish(talk, probe.KILL, {})
    if trip.node["holds"] and probe.appears(talk, probe.KILLED, ANSWER) is not None:
        trip.released = storage.waited_for_lock(talk / probe.NODE_LOCK, FREED)
    say(f"asking {trip.node['host']} for container engines")
    if probe.appears(talk, probe.ENGINES, ANSWER) is not None:
        trip.engines = probe.read(talk, probe.ENGINES)


# ---------------------------------------------------------------- and back


def _end(runner: BaseRunner, batch: Batch, trip: Trip, say: Progress) -> None:
    """End the job, however far it has come; what is left of it is said in ``trip.left``."""
    with contextlib.suppress(OSError):
        probe.publish(batch.manifest, probe.END, {})
    if not trip.submitted:
        return
    try:
        if not trip.job:
            # The submission was interrupted, or its answer lost: whether there is a job, only the scheduler
            # knows.
            trip.job = runner.find([batch]).get(batch.token, {}).get(0, "")
        if not trip.job or (trip.node is not None and _ended(runner, trip, say)):
            return
        say(f"cancelling job {trip.job}")
        runner.cancel([trip.job])
        if not _ended(runner, trip, say):
            trip.left = f"Job {trip.job} was cancelled, and has not ended yet."
    except AxSchedError as error:
        trip.left = f"Job {trip.job or batch.token} may be left: {error}"


def _ended(runner: BaseRunner, trip: Trip, say: Progress) -> bool:
    """Wait for the end of the job."""
    deadline, pause, known = time.monotonic() + ENDING, 0.2, False
    while time.monotonic() < deadline:
        status = runner.poll([trip.job]).get(trip.job)
        # A job that was known and is not any more has ended, too.
        if status.state.final if status is not None else known:
            return True
        known = status is not None
        say(f"waiting for the end of job {trip.job}")
        time.sleep(pause)
        pause = min(1.5 * pause, 2.0)
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock where the filesystem has any; that it has none is found by the directory's own check."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, atomic.FILE_MODE)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _log(path: Path | None) -> str | None:
    """The end of a log; None where there is none."""
    if path is None:
        return None
    atomic.listing(path.parent)
    try:
        with os.fdopen(access.open_read(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG))
            return file.read().decode(errors="replace")
    except OSError:
        return None
