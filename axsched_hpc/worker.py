"""The process inside a job: ``python -m axsched_hpc.worker MANIFEST [INDEX]``.

It claims the attempt, runs the objective, and publishes the outcome through files. Without an index it takes
that of its Slurm array task.

Exit codes: 0 the attempt has metrics, or belongs to another process; 1 the objective failed, and its failure
is published; 2 the attempt cannot be found out; 3 the outcome could not be published; 128 + n ended by signal
n, without an outcome.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import claim, manifest, outcome, parameters, processes
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome

#: Seconds for which the worker tries to publish an outcome: what was computed must not be lost to a disk that
#: is full for a while.
PATIENCE = 600.0

_LONGEST_DELAY = 30.0


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
    path = Path(manifest_path)
    try:
        batch = manifest.read(path)
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
    if redirect:
        os.umask(0o077)
    try:
        earlier = _earlier(files)
        if earlier is not None:
            return _announce_again(layout, earlier, batch, named)
        mine = claim.mine(batch.token, claim.Claimer.WORKER)
        if not claim.take(files, mine):
            return _step_aside(files, named)
        if redirect:
            _redirect(files)
    except (OSError, ValueError) as error:
        return _refuse(f"{named} cannot be claimed: {error}")
    return _run_claimed(layout, batch, trial, attempt, in_job=redirect)


def _run_claimed(layout: Layout, batch: Manifest, trial: int, attempt: int, *, in_job: bool) -> int:
    from axsched_hpc.objectives import context, install
    from axsched_hpc.objectives import run as objectives

    started = time.time()
    metrics = failure = None
    try:
        installed = install.load(layout, batch.objective)
        parameters_file = layout.parameters(trial)
        metrics = objectives.run(
            installed,
            context.RunContext(
                trial=trial,
                attempt=attempt,
                token=batch.token,
                parameters=parameters.read(parameters_file),
                parameters_file=parameters_file,
                files=layout.attempt(trial, attempt),
                in_job=in_job,
            ),
        )
    except context.ObjectiveFailed as error:
        failure = error.failure
    except (AxSchedError, OSError) as error:
        failure = context.failed(FailureKind.CANNOT_RUN, f"Trial {trial} could not be run: {error}").failure
    except context.Terminated as error:
        name = signal.Signals(error.signum).name
        _say(f"trial {trial}, attempt {attempt} was ended by {name}, without an outcome.")
        return 128 + error.signum
    if in_job:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
        max_rss_mb=_max_rss_mb(),
    )
    if failure is not None:
        _say(f"trial {trial}, attempt {attempt} failed: {failure.message}")
    if not _publish(layout, ended):
        return 3
    return 0 if failure is None else 1


# ---------------------------------------------------------------- before the objective


def _earlier(files: AttemptFiles) -> Outcome | None:
    """The outcome that an earlier execution published, where the job was killed after that and requeued."""
    try:
        return outcome.read(files.result)
    except FileNotFoundError:
        return None


def _announce_again(layout: Layout, earlier: Outcome, batch: Manifest, named: str) -> int:
    if earlier.token != batch.token:
        _say(f"{named} has ended already, in another batch ({earlier.token}); nothing to do.")
        return 0
    _say(f"{named} has ended already; its outcome is announced again.")
    outcome.announce(layout, earlier)
    return 0


def _step_aside(files: AttemptFiles, named: str) -> int:
    holder = claim.read(files)
    if holder is not None and holder.by is claim.Claimer.DRIVER:
        why = f" ({holder.reason})" if holder.reason else ""
        _say(f"{named} was closed by the driver{why}; nothing to do.")
    elif holder is not None:
        job = f", job {holder.job}" if holder.job else ""
        _say(f"{named} belongs to process {holder.pid} on {holder.host}{job}; nothing to do.")
    return 0


def _redirect(files: AttemptFiles) -> None:
    """Send this process's output, and that of all it starts, to the attempt's logs."""
    for stream, number, path in ((sys.stdout, 1, files.stdout), (sys.stderr, 2, files.stderr)):
        stream.flush()
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, number)
        os.close(log)


# ---------------------------------------------------------------- after it


def _publish(layout: Layout, ended: Outcome) -> bool:
    deadline, delay = time.monotonic() + PATIENCE, 0.25
    while True:
        try:
            outcome.publish(layout, ended)
        except OSError as error:
            if time.monotonic() + delay > deadline:
                _say(f"the outcome could not be published: {error}. It is:\n{outcome.encode(ended)}")
                return False
            _say(f"the outcome cannot be published yet: {error}. Trying again in {delay:g} s.")
        else:
            return True
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY)


def _max_rss_mb() -> float:
    import resource

    processes_of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    largest = max(resource.getrusage(who).ru_maxrss for who in processes_of)
    # Kilobytes of 1024 bytes on Linux, bytes on macOS.
    return round(largest * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def _say(text: str) -> None:
    sys.stderr.write(f"axsched worker: {text}\n")
    sys.stderr.flush()


def _refuse(text: str) -> int:
    _say(text)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
