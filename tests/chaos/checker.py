"""Whether an experiment is as it should be, judged by its directory and the objective's own log alone.

Nothing of the drivers that ran it is believed: what was computed is known from the log, and what became of it
from the journal. Ax's part is in :mod:`tests.chaos.ax_checker`, so that this module does without Ax.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import FailureKind, RetryClass, TrialState
from axsched_hpc.io import atomic, claim
from axsched_hpc.io.claim import Claimer
from axsched_hpc.io.layout import AttemptFiles, Layout, parse_notice_name
from axsched_hpc.io.requests import parse_name
from axsched_hpc.reporting.reading import read_experiment
from tests.chaos.asked import Laid, cancelled_attempts, check_requests, history
from tests.chaos.objective import Execution, ExecutionLog
from tests.chaos.violation import Kind, Violation

#: Attempts by trial and number.
Attempts = Collection[tuple[int, int]]

#: Seconds for which processes and jobs of an experiment that has ended may still be ending.
ENDING = 30.0


def check(
    directory: Path,
    log: Path,
    *,
    trials: int,
    slots: int = 4,
    pack: int = 1,
    laid: Sequence[Laid] = (),
    killed: Collection[int] | None = None,
    driver_logs: Iterable[Path] = (),
) -> list[Violation]:
    """Check an experiment whose run has come to its end.

    Parameters
    ----------
    directory
        The experiment directory.
    log
        What the objective logged.
    trials, slots
        How many trials the run had to have in the end, and how many attempts at a time, by its script.
    pack
        Attempts in one job, which all fail before they begin where their supervisor is killed.
    laid
        The requests that were laid into the inbox.
    killed
        The processes of workers that were killed: attempts of others must not have failed. None where that
        is not known.
    driver_logs
        What each of the drivers said.
    """
    try:
        ledger, events = read_experiment(directory).ledger, history(directory)
    except AxSchedError as error:
        return [Violation(Kind.INCONSISTENT, f"the journal cannot be read: {error}")]
    executions = ExecutionLog(log).read()
    layout, cancelled = Layout.at(directory), cancelled_attempts(events)
    return [
        *_computed(layout, ledger, executions, killed, cancelled),
        *_repeated(layout, ledger, executions, cancelled),
        *_unfounded_failures(ledger, executions, killed, pack),
        *_whole(layout, ledger, executions, ledger.changes.total(trials), cancelled),
        *_inbox(layout, ledger, executions, killed or ()),
        *check_requests(layout, events, laid, trials=trials, slots=slots),
        *_logs(driver_logs),
    ]


# ---------------------------------------------------------------- what was computed is there


def _computed(
    layout: Layout,
    ledger: Ledger,
    executions: Iterable[Execution],
    killed: Collection[int] | None,
    cancelled: Attempts,
) -> Iterator[Violation]:
    for run in executions:
        trial = ledger.trials.get(run.trial)
        attempt = None if trial is None else _attempt(trial, run.attempt)
        if trial is None or attempt is None:
            what = "trial" if trial is None else "attempt"
            kind = Kind.DOUBLED if run.value is None else Kind.LOST
            yield Violation(kind, f"{run} ran, but the journal has no such {what}.")
            continue
        if run.parameters != trial.parameters:
            yield Violation(
                Kind.INCONSISTENT, f"{run} ran with {run.parameters}, but the trial has {trial.parameters}."
            )
        if attempt.withdrawn:
            yield Violation(Kind.DOUBLED, f"{run} ran, but the journal says that the attempt never did.")
        elif run.value is not None and (run.trial, run.attempt) in cancelled:
            # One that was cancelled before its result was on the disk has none.
            if layout.attempt(run.trial, run.attempt).result.exists():
                words = f"{run} computed {run.value}, which was there when the trial was cancelled."
                yield Violation(Kind.LOST, words)
        elif run.value is not None:
            yield from _has_value(run, trial, attempt, killed)


def _has_value(
    run: Execution, trial: Trial, attempt: Attempt, killed: Collection[int] | None
) -> Iterator[Violation]:
    if trial.state is TrialState.COMPLETED and attempt is trial.attempt:
        stored = (trial.metrics or {}).get("loss", (None, None))[0]
        if stored != run.value:
            yield Violation(Kind.LOST, f"{run} computed {run.value}, but the experiment has {stored}.")
    elif attempt.failure is None:
        yield Violation(
            Kind.LOST, f"{run} computed {run.value}, but the trial is {trial.state} and has no value."
        )
    elif attempt.failure.kind.retry_class is not RetryClass.INFRASTRUCTURE:
        yield Violation(
            Kind.LOST, f"{run} computed {run.value}, but counts as failed: {attempt.failure.message}"
        )
    elif killed is not None and run.pid not in killed:
        yield Violation(
            Kind.LOST,
            f"{run} computed {run.value} and was not killed, but counts as failed: {attempt.failure.message}",
        )


# ---------------------------------------------------------------- nothing was computed twice


def _repeated(
    layout: Layout, ledger: Ledger, executions: Iterable[Execution], cancelled: Attempts
) -> Iterator[Violation]:
    by_trial: dict[int, list[Execution]] = defaultdict(list)
    for run in executions:
        by_trial[run.trial].append(run)
    for number, runs in sorted(by_trial.items()):
        for earlier, later in pairwise(runs):
            yield from _in_order(ledger.trials.get(number), earlier, later, cancelled)
        for attempt in sorted({run.attempt for run in runs}):
            ran = [(run.host, run.pid) for run in runs if run.attempt == attempt]
            yield from _claimed(layout.attempt(number, attempt), f"trial {number}, attempt {attempt}", ran)


def _in_order(
    trial: Trial | None, earlier: Execution, later: Execution, cancelled: Attempts
) -> Iterator[Violation]:
    if earlier.last > later.first:
        yield Violation(Kind.DOUBLED, f"{earlier} still ran when {later} had begun.")
    if later.attempt < earlier.attempt:
        yield Violation(Kind.DOUBLED, f"{later} began after {earlier}.")
    if trial is None or later.attempt == earlier.attempt or (earlier.trial, earlier.attempt) in cancelled:
        return
    attempt = _attempt(trial, earlier.attempt)
    if attempt is None or attempt.failure is None:
        yield Violation(
            Kind.DOUBLED, f"{later} ran, but the journal has no failure of {earlier}, which ran before."
        )
    elif not attempt.failure.message:
        yield Violation(Kind.INCONSISTENT, f"the failure of {earlier} has no reason.")
    elif attempt.failure.kind is FailureKind.LAUNCH_FAILED:
        yield Violation(
            Kind.INCONSISTENT,
            f"{earlier} ran, but its failure says that it did not: {attempt.failure.message}",
        )


def _claimed(files: AttemptFiles, named: str, ran: list[tuple[str, int]]) -> Iterator[Violation]:
    """Each process that ran an attempt must have held its claim, one after the other.

    There are several where Slurm has requeued the job.
    """
    owners = [(c.host, c.pid) for c in _claims(files) if c.by is Claimer.WORKER]
    rest = iter(owners)
    for process in ran:
        if process not in rest:
            yield Violation(
                Kind.DOUBLED,
                f"{named} was run by the processes {ran}, but was claimed by {owners or 'none'}.",
            )
            return


def _claims(files: AttemptFiles) -> list[claim.Claim]:
    names = [name for name in atomic.listing(files.root) if name.startswith("claim")]
    # claim.json, then claim-restart-1.json and so on.
    names.sort(key=lambda name: int("".join(filter(str.isdecimal, name)) or 0))
    return [claim._read(files.root / name) for name in names]


def _unfounded_failures(
    ledger: Ledger, executions: Iterable[Execution], killed: Collection[int] | None, pack: int
) -> Iterator[Violation]:
    """Attempts that count as failed though nobody killed their worker: their repetition was needless."""
    if killed is None:
        return
    ran = defaultdict(list)
    for run in executions:
        ran[run.trial, run.attempt].append(run)
    unseen: list[str] = []
    for number, trial in sorted(ledger.trials.items()):
        for attempt in trial.attempts:
            if attempt.failure is None:
                continue
            said = f"{attempt.failure.kind}: {attempt.failure.message}"
            runs = ran.get((number, attempt.number), [])
            if not runs:
                unseen.append(f"trial {number}, attempt {attempt.number} ({said})")
            elif runs[-1].value is None and runs[-1].pid not in killed:
                yield Violation(Kind.DOUBLED, f"{runs[-1]} was not killed, but counts as failed: {said}")
    spare = pack * len(set(killed) - {run.pid for run in executions})
    if len(unseen) > spare:
        yield Violation(
            Kind.INCONSISTENT,
            f"{len(unseen)} attempts failed before their objective began, but only {spare} workers were "
            f"killed before that: {'; '.join(unseen)}.",
        )


# ---------------------------------------------------------------- the experiment is whole


def _whole(
    layout: Layout, ledger: Ledger, executions: Iterable[Execution], total: int, cancelled: Attempts
) -> Iterator[Violation]:
    numbers = sorted(ledger.trials)
    if numbers != list(range(len(numbers))):
        holes = sorted(set(range(max(numbers) + 1)) - set(numbers))
        yield Violation(Kind.INCONSISTENT, f"trials {holes} are missing among {len(numbers)} trials.")
    # That there are no more than there may be is seen as they are added.
    if len(numbers) < total:
        yield Violation(Kind.INCONSISTENT, f"the run ended at {len(numbers)} trials, not at {total}.")
    if not ledger.closed:
        yield Violation(Kind.INCONSISTENT, "the last driver has not recorded its end.")
    values = {(run.trial, run.attempt) for run in executions if run.value is not None}
    for number in numbers:
        trial = ledger.trials[number]
        latest = trial.attempt
        named = f"trial {number}, attempt {latest.number if latest else 0}"
        if trial.state is TrialState.ABANDONED and (number, len(trial.attempts)) in cancelled:
            continue
        if trial.state is not TrialState.COMPLETED or latest is None:
            yield Violation(Kind.INCONSISTENT, f"{named} is {trial.state} at the end: {trial.reason}")
            continue
        if (number, latest.number) not in values:
            yield Violation(Kind.INCONSISTENT, f"{named} is completed, but its objective never ended.")
        yield from _files(layout, trial, latest, named)


def _files(layout: Layout, trial: Trial, attempt: Attempt, named: str) -> Iterator[Violation]:
    """What stays for a person to read, whatever was cleaned up."""
    wanted = {
        layout.parameters(trial.number): trial.parameters,
        layout.attempt(trial.number, attempt.number).metrics: {"loss": (trial.metrics or {})["loss"][0]},
    }
    for path, content in wanted.items():
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            yield Violation(Kind.LOST, f"{named}: {path} cannot be read ({error}).")
            continue
        if found != content:
            yield Violation(Kind.INCONSISTENT, f"{named}: {path} has {found}, but the journal has {content}.")


def _inbox(
    layout: Layout, ledger: Ledger, executions: Iterable[Execution], killed: Collection[int]
) -> Iterator[Violation]:
    """Notices that nobody has taken in.

    One kind may be there: a job that Slurm requeues although its result is known comes when the run is over,
    and announces that result a second time.
    """
    runs = [run for run in executions if run.job is not None]
    # Attempts that share a job are requeued together.
    packs = {_slurm_job(run) for run in runs if run.pid in killed and "#" in str(run.job)}
    again = {(run.trial, run.attempt) for run in runs if run.pid in killed or _slurm_job(run) in packs}
    for name in atomic.listing(layout.inbox):
        if parse_name(name) is not None:
            continue  # a request
        place = parse_notice_name(name)
        trial = ledger.trials.get(place[0]) if place in again else None
        if trial is not None and place is not None and trial.state is TrialState.COMPLETED:
            files = layout.attempt(*place)
            if (layout.inbox / name).read_bytes() == files.result.read_bytes():
                continue
        yield Violation(Kind.ORPHAN, f"the notice {name} is left in the inbox.")


def _slurm_job(run: Execution) -> str:
    """The job of an execution, which it may share with others."""
    return (run.job or "").partition("#")[0]


def _logs(logs: Iterable[Path]) -> Iterator[Violation]:
    for path in logs:
        text = path.read_text(errors="replace")
        if "Traceback (most recent call last)" in text:
            last = text.rstrip().splitlines()[-1]
            yield Violation(Kind.INCONSISTENT, f"the log {path} has a traceback; its last line: {last}")


def _attempt(trial: Trial, number: int) -> Attempt | None:
    return trial.attempts[number - 1] if 0 < number <= len(trial.attempts) else None


# ---------------------------------------------------------------- nothing is left that runs


def check_orphans(
    directory: Path,
    *,
    aliases: Iterable[Path] = (),
    slurm: Mapping[str, str] | None = None,
    patience: float = ENDING,
) -> list[Violation]:
    """Look for workers and jobs of an experiment that has ended, for as long as they may be ending.

    Parameters
    ----------
    aliases
        Other paths of the same directory.
    slurm
        The environment in which squeue speaks to the cluster; None where there is none.
    """
    ledger = read_experiment(directory).ledger
    roots = [str(path) for path in (directory, *aliases)]
    deadline = time.monotonic() + patience
    while True:
        left = [f"process {pid} runs on: {words}" for pid, words in _workers(roots)]
        if slurm is not None:
            left += [f"job {job} is left in Slurm's queue" for job in _jobs(set(ledger.batches), slurm)]
        if not left or time.monotonic() > deadline:
            return [Violation(Kind.ORPHAN, f"{what}.") for what in left]
        time.sleep(0.2)


def _workers(roots: Iterable[str]) -> Iterator[tuple[int, str]]:
    for name in atomic.listing(Path("/proc")):
        if name.isdecimal():
            try:
                words = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "axsched_hpc.worker" in words and any(w.startswith(f"{r}/") for w in words for r in roots):
                yield int(name), " ".join(words).strip()


def _jobs(tokens: Collection[str], environment: Mapping[str, str]) -> Iterator[str]:
    states = "pending,running,suspended,configuring,completing,requeued,stopped"
    shown = subprocess.run(
        ["squeue", "--noheader", "--array", f"--states={states}", "--format=%i %j %T"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    for line in shown.splitlines():
        job, name, state = line.split()
        if name in tokens:
            yield f"{job} ({name}, {state})"
