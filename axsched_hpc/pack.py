"""Several attempts side by side in one job: ``python -m axsched_hpc.pack MANIFEST SIZE NUMBER``.

The job runs the attempts ``SIZE * NUMBER`` to ``SIZE * (NUMBER + 1) - 1`` of a batch, each by a worker of
its own with its share of the CPUs and GPUs. Each fails alone: what a worker that was killed cannot report,
this process reports in its place. A signal goes on to all workers. One attempt is ended where the driver has
left a request for it.

Exit codes: 0 all workers have ended, however; 2 the attempts cannot be found out; 128 + n told to end by
signal n.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from axsched_hpc.core.shares import Share, shares
from axsched_hpc.io import atomic, claim, manifest, oom, outcome, processes, storage
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.io.packs import PackFiles, Report, attempt_job
from axsched_hpc.objectives import guardian
from axsched_hpc.objectives.context import LIFETIME, say

#: Seconds for which the manifest is waited for.
PATIENCE = 600.0

#: Seconds between two looks for requests to end an attempt.
LOOK = 2.0

#: Seconds from the end of a worker by a signal until that counts as its own fate: Slurm signals the processes
#: of a job one after the other, and this one's turn may still come.
LATE = 1.0

#: Seconds between TERM and KILL when one attempt is ended; below the 30 s that Slurm gives a job (KillWait).
GRACE = 15.0

#: The worker has published what there is, or said why it cannot.
_REPORTED = frozenset({0, 1, 2, 3})


def main(arguments: list[str]) -> int:
    """Run the attempts that the command line names; returns the exit code."""
    if len(arguments) != 3 or not all(text.isdecimal() for text in arguments[1:]) or arguments[1] == "0":
        say("usage: python -m axsched_hpc.pack MANIFEST SIZE NUMBER")
        return 2
    path, size, number = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    try:
        batch = storage.patiently(
            lambda: manifest.read(path),
            what=f"the manifest {path} cannot be read",
            say=say,
            patience=PATIENCE,
        )
    except (OSError, ValueError) as error:
        say(f"the manifest {path} cannot be read: {error}")
        return 2
    indices = range(size * number, min(size * (number + 1), len(batch.attempts)))
    if not indices:
        say(
            f"{path} has {len(batch.attempts)} attempts, counted from 0; there is no pack {number} of {size}."
        )
        return 2
    return _Supervisor(path, batch, indices, size).run()


@dataclass
class _Worker:
    place: int
    process: subprocess.Popen[bytes]
    #: ``pid.start@host``
    name: str
    #: When the end by a signal counts, on the monotonic clock; and when the worker is killed that was told to
    #: end.
    counts_at: float | None = None
    kill_at: float | None = None


class _Supervisor:
    """Starts the workers and stays until the last one has ended."""

    def __init__(self, path: Path, batch: Manifest, indices: range, size: int) -> None:
        self._path = path
        self._batch = batch
        self._indices = indices
        self._size = size
        self._layout = Layout.at(batch.root)
        self._files = PackFiles(self._layout.batch(batch.token))
        self._job = claim.job_id() or f"local-{os.getpid()}"
        self._report = Report(len(indices))
        self._workers: list[_Worker] = []
        self._told: int | None = None
        self._oom_kills = oom.kills() or 0
        self._last_will = processes.end_with_parent()

    def run(self) -> int:
        """Run the pack to its end."""
        with self._signals() as wake:
            # What an earlier execution of a requeued job has reported is out of date.
            self._write_report()
            wanted = self._requests()
            for place, (index, share) in enumerate(zip(self._indices, _shares(self._size), strict=False)):
                if self._told is not None:
                    break
                if attempt_job(self._job, place) in wanted:
                    self._cancelled(place)
                    continue
                try:
                    process = self._start(index, place, share)
                    self._workers.append(_Worker(place, process, claim.process_name(process.pid)))
                except OSError as error:
                    say(f"no worker could be started for attempt {index} of {self._path}: {error}")
                    self._report.ended[place] = os.EX_OSERR
                    self._write_report()
            looked = time.monotonic()
            while self._workers:
                self._reap()
                if self._workers:
                    _wait(wake, LOOK if all(each.counts_at is None for each in self._workers) else LATE / 4)
                if time.monotonic() - looked >= LOOK:
                    self._obey()
                    looked = time.monotonic()
        return 0 if self._told is None else 128 + self._told

    # ------------------------------------------------------------ beginning

    def _start(self, index: int, place: int, share: Share) -> subprocess.Popen[bytes]:
        mine = {claim.JOB_VARIABLE: attempt_job(self._job, place), **share.variables}
        with processes.bound(share.cpus):
            return subprocess.Popen(
                [sys.executable, "-u", "-m", "axsched_hpc.worker", str(self._path), str(index)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **mine},
                # Slurm sees only this process end; a site without cgroups leaves the others alone.
                preexec_fn=self._last_will,
                # By its session what a killed worker has left running is found.
                start_new_session=True,
            )

    # ------------------------------------------------------------ ends

    def _reap(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is None:
                if worker.kill_at is not None and now >= worker.kill_at:
                    worker.kill_at = None
                    self._kill(worker)
                continue
            if worker.counts_at is None and code not in _REPORTED and worker.kill_at is None:
                _end_left(worker)
                worker.counts_at = now + (LATE if self._told is None else 0.0)
            if worker.counts_at is None or now >= worker.counts_at or self._told is not None:
                self._workers.remove(worker)
                self._ended(worker, code)

    def _ended(self, worker: _Worker, code: int) -> None:
        if self._is_cancelled(worker.place):
            _end_left(worker)
            return
        # What ends because the job ends is judged by the job, which may be requeued.
        if code == 0 or self._told is not None:
            return
        if code not in _REPORTED:
            self._stand_in(worker, code)
        self._report.ended[worker.place] = code
        self._write_report()

    def _stand_in(self, worker: _Worker, code: int) -> None:
        """Publish the outcome of an attempt whose worker could not."""
        trial, attempt = self._batch.attempts[self._indices[worker.place]]
        files, named = self._layout.attempt(trial, attempt), f"trial {trial}, attempt {attempt}"

        def publish() -> None:
            owner = claim.read(files)
            mine = (self._batch.token, worker.process.pid, processes.hostname())
            # An attempt that it did not have is not this job's; an outcome that is there stays.
            if owner is None or owner.by is not claim.Claimer.WORKER:
                return
            if (owner.token, owner.pid, owner.host) != mine or files.result.name in atomic.listing(
                files.root
            ):
                return
            outcome.publish(self._layout, self._failed(trial, attempt, owner, code, files.stderr))
            say(f"{named} ended without an outcome ({code}), which was published in its place.")

        try:
            storage.patiently(
                publish,
                what=f"the end of {named} cannot be published",
                say=say,
                patience=LIFETIME,
                pause=self._pause,
            )
        except (OSError, ValueError) as error:
            say(f"the end of {named} ({code}) could not be published: {error}")
        except InterruptedError:
            pass

    def _failed(self, trial: int, attempt: int, owner: claim.Claim, code: int, log: Path) -> Outcome:
        from axsched_hpc.core.states import JobState
        from axsched_hpc.core.watch import JobEnd, diagnose

        number = -code if code < 0 else code - 128 if 128 < code < 160 else None
        end = JobEnd(
            job=owner.job or self._job,
            state=JobState.OUT_OF_MEMORY if self._short_of_memory(number) else JobState.FAILED,
            node=processes.hostname(),
            exit_code=code if number is None else None,
            signal=number,
            claimed=True,
            said=outcome.tail(log),
        )
        return Outcome(
            trial=trial,
            attempt=attempt,
            token=self._batch.token,
            metrics=None,
            failure=diagnose(end),
            host=processes.hostname(),
            job=owner.job,
            started=owner.time,
            ended=time.time(),
        )

    def _short_of_memory(self, number: int | None) -> bool:
        """Whether a worker's end is the kernel's answer to too much memory in this job."""
        before, self._oom_kills = self._oom_kills, oom.kills() or 0
        return number == signal.SIGKILL and self._oom_kills > before

    # ------------------------------------------------------------ requests

    def _obey(self) -> None:
        """End the attempts for which there is a request."""
        wanted = self._requests()
        for worker in self._workers:
            if attempt_job(self._job, worker.place) in wanted and not self._is_cancelled(worker.place):
                self._cancelled(worker.place)
                worker.kill_at = time.monotonic() + GRACE
                _send(worker.process, signal.SIGTERM)

    def _requests(self) -> set[str]:
        try:
            return set(atomic.listing(self._files.requests))
        except OSError:
            return set()

    def _cancelled(self, place: int) -> None:
        self._report.cancelled.append(place)
        self._write_report()

    def _is_cancelled(self, place: int) -> bool:
        return place in self._report.cancelled

    def _kill(self, worker: _Worker) -> None:
        _send(worker.process, signal.SIGKILL)
        worker.process.wait()
        _end_left(worker)

    def _write_report(self) -> None:
        # Without it the driver judges by the job as a whole, when that has ended.
        try:
            atomic.make_directory(self._files.reports)
            atomic.write(self._files.report(self._job), self._report.encode())
        except OSError as error:
            say(f"the report of job {self._job} cannot be written: {error}")

    # ------------------------------------------------------------ signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[int]:
        """Pass signals on; what is yielded can be read when one has come."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(read, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGUSR1, self._pass_on)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        yield read

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._told = number
        self._pass_on(number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for worker in self._workers:
            _send(worker.process, number)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._told is None and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        if self._told is not None:
            raise InterruptedError


def _end_left(worker: _Worker) -> None:
    """Kill what a worker that has ended has left running."""
    processes.end_session(worker.process.pid)
    guardian.end_marked(worker.name)


def _send(process: subprocess.Popen[bytes], number: int) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _wait(wake: int, seconds: float) -> None:
    """Wait for a signal, such as that of a child's end, for so many seconds at the most."""
    select.select([wake], [], [], seconds)
    with contextlib.suppress(BlockingIOError):
        os.read(wake, 4096)


# ---------------------------------------------------------------- shares


def _shares(size: int) -> list[Share]:
    environment = os.environ
    granted = environment.get("SLURM_CPUS_ON_NODE", "")
    memory = environment.get("SLURM_MEM_PER_NODE", "")
    cpus = processes.usable_cpus()
    return shares(
        environment,
        cpus,
        {cpu: processes.core_of(cpu) for cpu in cpus},
        size,
        granted=int(granted) if granted.isdecimal() else None,
        memory_mb=int(memory) if memory.isdecimal() and int(memory) else None,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
