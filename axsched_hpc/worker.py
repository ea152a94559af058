"""The process inside a job: ``python -m axsched_hpc.worker MANIFEST [INDEX]``.

It claims the attempt, runs the objective, and publishes the outcome through files. Without an index it takes
that of its Slurm array task.

Exit codes: 0 the attempt has metrics, or belongs to another process; 1 the objective failed, and its failure
is published; 2 the attempt cannot be found out; 3 the outcome could not be published, and stands on standard
error; 128 + n ended by signal n, without an outcome.

A filesystem that fails is waited for: some minutes before the attempt is claimed, since another job can take
its place; from then on as long as the job lives, since nothing that was computed may be lost.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import access, atomic, cgroup, claim, manifest, outcome, parameters, processes, storage
from axsched_hpc.io.faults import reach
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.objectives import warning
from axsched_hpc.objectives.context import LIFETIME, Terminated, insist, say
from axsched_hpc.objectives.leaving import leave

Result = TypeVar("Result")

#: Seconds for which a worker waits for its filesystem before it has its attempt.
PATIENCE = 600.0

#: Seconds for which a worker that was told to end tries on to publish an outcome; below the 30 s after which
#: Slurm kills it (KillWait).
LAST_TRY = 20.0

#: Seconds for which processes that a function has left behind may go on after SIGTERM.
LEAVE = 2.0

_NAP = 0.2


def main(arguments: list[str]) -> int:
    """Run the attempt that the command line names; returns the exit code."""
    if len(arguments) not in (1, 2):
        return _refuse("usage: python -m axsched_hpc.worker MANIFEST [INDEX]")
    text = arguments[1] if len(arguments) == 2 else os.environ.get("SLURM_ARRAY_TASK_ID") or "0"
    if not text.isdecimal():
        return _refuse(f"the index {text!r} is not a whole number.")
    return run(arguments[0], int(text))


def run(manifest_path: str | Path, index: int, *, redirect: bool = True) -> int:
    """Run one attempt of a batch; returns the exit code.

    Parameters
    ----------
    manifest_path, index
        The batch's manifest, and the attempt's place in it.
    redirect
        Whether this process is the attempt's own: its output goes to the attempt's logs, and signals end the
        objective. False runs the attempt inside another process, as the debug executor does.
    """
    if redirect:
        warning.watch()
    path = Path(manifest_path)

    def read() -> Manifest:
        reach("worker.started")
        return manifest.read(path)

    try:
        batch = _wait_for(read, f"the manifest {path} cannot be read")
    except OSError as error:
        return _refuse(
            f"the manifest {path} cannot be read: {error.strerror}. "
            "Was the experiment directory moved or removed?"
        )
    except ValueError as error:
        return _refuse(str(error))
    if not 0 <= index < len(batch.attempts):
        count = len(batch.attempts)
        return _refuse(f"{path} has {count} attempts, counted from 0; there is none of index {index}.")
    trial, attempt = batch.attempts[index]
    layout = Layout.at(batch.root)
    files = layout.attempt(trial, attempt)
    named = f"trial {trial}, attempt {attempt}"
    # Made once: a claim that is tried again after an error is the same claim.
    mine = claim.mine(batch.token, claim.Claimer.WORKER)
    try:
        code = _wait_for(lambda: _claim(layout, files, mine, named), f"{named} cannot be claimed")
        if code is not None:
            return code
        if redirect:
            _wait_for(lambda: _redirect(files), f"the logs of {named} cannot be opened")
    except (OSError, ValueError) as error:
        return _refuse(f"{named} cannot be claimed: {error}")
    if redirect:
        _leave_nothing()
    return _run_claimed(layout, batch, trial, attempt, in_job=redirect)


def _leave_nothing() -> None:
    """See to it that what the attempt starts ends with this process, however that ends."""
    import atexit

    from axsched_hpc.objectives import descendants, guardian

    descendants.adopt()
    worker = guardian.mark(os.environ, claim.process_name(os.getpid()))
    watch = guardian.Guardian(worker) if guardian.needed(os.environ, cgroup.own()) else None
    if watch is not None:
        descendants.spare(watch.start())

    def end() -> None:
        # What a script or container has started has ended by now; a function's processes live in this one.
        descendants.end(LEAVE, ask=True, leave=descendants.is_tracker)
        if watch is not None:
            watch.done()

    # It is called last, when the modules that a function uses have ended what they started in their own way.
    atexit.register(end)


def _run_claimed(layout: Layout, batch: Manifest, trial: int, attempt: int, *, in_job: bool) -> int:
    from axsched_hpc.objectives import context, install
    from axsched_hpc.objectives import run as objectives

    started = time.time()
    metrics = failure = None
    files, parameters_file = layout.attempt(trial, attempt), layout.parameters(trial)
    checkpoint = layout.checkpoint(trial)
    try:
        insist(lambda: atomic.make_directory(checkpoint), f"{checkpoint} cannot be made")
        access.require_inside(layout.root, checkpoint)
        own = insist(lambda: claim.latest(files), f"the claim in {files.root} cannot be read", reading=True)
        installed = insist(
            lambda: install.load(layout, batch.objective),
            f"the objective {batch.objective} cannot be read",
            reading=True,
        )
        values = insist(
            lambda: parameters.read(parameters_file), f"{parameters_file} cannot be read", reading=True
        )
        metrics = objectives.run(
            installed,
            context.RunContext(
                trial=trial,
                attempt=attempt,
                token=batch.token,
                parameters=values,
                parameters_file=parameters_file,
                files=files,
                claim=own,
                checkpoint=checkpoint,
                restarts=_begun_before(layout, trial, attempt),
                in_job=in_job,
            ),
        )
    except context.ObjectiveFailed as error:
        failure = error.failure
    except (AxSchedError, OSError, ValueError) as error:
        failure = context.failed(FailureKind.CANNOT_RUN, f"Trial {trial} could not be run: {error}").failure
    except Terminated as error:
        name = signal.Signals(error.signum).name
        say(f"trial {trial}, attempt {attempt} was ended by {name}, without an outcome.")
        return 128 + error.signum
    told = _Told(in_job)
    ended = Outcome(
        trial=trial,
        attempt=attempt,
        token=batch.token,
        metrics=metrics,
        failure=failure,
        host=processes.hostname(),
        job=claim.job_id(),
        started=started,
        ended=time.time(),
        max_rss_mb=processes.max_rss_mb(),
    )
    if failure is not None:
        say(f"trial {trial}, attempt {attempt} failed: {failure.message}")
    if not _publish(layout, ended, told):
        return 3
    return 0 if failure is None else 1


# ---------------------------------------------------------------- before the objective


def _wait_for(action: Callable[[], Result], what: str) -> Result:
    return storage.patiently(action, what=what, say=say, patience=PATIENCE)


def _claim(layout: Layout, files: AttemptFiles, mine: claim.Claim, named: str) -> int | None:
    """Take the attempt; the exit code where there is nothing to run."""
    access.require_inside(layout.root, files.root, layout.inbox)
    earlier = _earlier(files)
    if earlier is not None:
        return _announce_again(layout, earlier, mine.token, named)
    if not claim.take(files, mine):
        return _step_aside(files, named)
    return None


def _earlier(files: AttemptFiles) -> Outcome | None:
    """The outcome that an earlier execution published, where the job was killed after that and requeued."""
    try:
        return outcome.read(files.result)
    except FileNotFoundError:
        return None


def _announce_again(layout: Layout, earlier: Outcome, token: str, named: str) -> int:
    if earlier.token != token:
        say(f"{named} has ended already, in another batch ({earlier.token}); nothing to do.")
        return 0
    say(f"{named} has ended already; its outcome is announced again.")
    outcome.announce(layout, earlier)
    return 0


def _step_aside(files: AttemptFiles, named: str) -> int:
    holder = claim.read(files)
    if holder is not None and holder.by is claim.Claimer.DRIVER:
        why = f" ({holder.reason})" if holder.reason else ""
        say(f"{named} was closed by the driver{why}; nothing to do.")
    elif holder is not None:
        job = f", job {holder.job}" if holder.job else ""
        say(f"{named} belongs to process {holder.pid} on {holder.host}{job}; nothing to do.")
    return 0


def _begun_before(layout: Layout, trial: int, attempt: int) -> int:
    """How often the trial's objective was begun before this execution of it."""
    count = -1
    for number in range(1, attempt + 1):
        try:
            count += claim.executions(layout.attempt(trial, number))
        except (OSError, ValueError):
            count += 1  # there is a claim, and it cannot be read
    return count


def _redirect(files: AttemptFiles) -> None:
    """Send this process's output, and that of all it starts, to the attempt's logs."""
    reach("worker.claimed")
    # What the objective writes is readable by whom the attempt's directory is.
    os.umask(0o777 & ~access.directory_mode(files.root))
    for stream, number, path in ((sys.stdout, 1, files.stdout), (sys.stderr, 2, files.stderr)):
        stream.flush()
        log = access.open_append(path)
        os.dup2(log, number)
        os.close(log)


# ---------------------------------------------------------------- after it


def _publish(layout: Layout, ended: Outcome, told: _Told) -> bool:
    """Publish the outcome as soon as the filesystem lets it; whether it is published."""
    named = f"trial {ended.trial}, attempt {ended.attempt}"
    files = layout.attempt(ended.trial, ended.attempt)

    def publish() -> None:
        reach("worker.ended")
        _write_metrics(files, ended)
        outcome.publish(layout, ended)

    def try_for(patience: float, pause: Callable[[float], None] = time.sleep) -> None:
        storage.patiently(
            publish,
            what=f"the outcome of {named} cannot be published",
            say=say,
            patience=patience,
            retry=lambda _: True,  # somebody may put right whatever it is
            pause=pause,
        )

    try:
        try:
            try_for(LIFETIME, told.pause)
        except Terminated as error:
            name = signal.Signals(error.signum).name
            say(
                f"{named} was told to end by {name} before its outcome could be published. It is tried for "
                f"{LAST_TRY:g} s more. The outcome is:\n{outcome.encode(ended)}"
            )
            try_for(LAST_TRY)
    except OSError as error:
        say(f"the outcome of {named} could not be published: {error}. It is:\n{outcome.encode(ended)}")
        return False
    return True


def _write_metrics(files: AttemptFiles, ended: Outcome) -> None:
    """Write the metric file of a function; scripts and containers have written theirs. What counts is the
    result, which is synced.
    """
    if ended.metrics is None or files.metrics.name in atomic.listing(files.root):
        return
    plain = {name: mean if sem is None else [mean, sem] for name, (mean, sem) in ended.metrics.items()}
    atomic.write_json(files.metrics, plain, sync=False)


class _Told:
    """Remembers SIGTERM and SIGINT: they do not interrupt a write, but a wait."""

    def __init__(self, enabled: bool) -> None:
        self._signum: int | None = None
        if enabled:
            warning.watch()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._handle)

    def pause(self, seconds: float) -> None:
        """Wait; raises Terminated when the process is told to end."""
        deadline = time.monotonic() + seconds
        while self._signum is None and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _NAP))
        if self._signum is not None:
            raise Terminated(self._signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum


def _refuse(text: str) -> int:
    say(text)
    return 2


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
