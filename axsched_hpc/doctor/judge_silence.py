"""Why a job did not report: pure judgements."""

from __future__ import annotations

import re

from axsched_hpc.core.states import JobState
from axsched_hpc.doctor.finding import Finding, Level
from axsched_hpc.doctor.mounts import SHARE
from axsched_hpc.doctor.trip import UNTOLD, Trip

#: Slurm's reasons why a job waits, whether that is for ever, and what to do; squeue(1), JOB REASON CODES.
_REASONS = (
    (
        "PartitionTimeLimit",
        Level.PROBLEM,
        "It asks for more time than the partition has: lower time_limit; `sinfo -o '%P %l'` shows it.",
    ),
    ("BadConstraints|PartitionNodeLimit", Level.PROBLEM, "No node can ever take it: ask for less."),
    (
        "PartitionDown|PartitionInactive",
        Level.PROBLEM,
        "It is closed: choose another, `sinfo -s`.",
    ),
    (
        "InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed",
        Level.PROBLEM,
        "Name an account that is allowed there: --account.",
    ),
    (
        "JobHeld",
        Level.PROBLEM,
        "It is held, perhaps by a rule of the site: `scontrol show job` tells more; ask the site's support.",
    ),
    (
        "NodeNotAvail|Reserved",
        Level.WARNING,
        "The nodes are down, or reserved for a maintenance: `sinfo -R` and `scontrol show reservation` tell.",
    ),
    (
        "Assoc|QOS|MaxJobs|MaxSubmit",
        Level.WARNING,
        "A limit of your account or QOS is reached, perhaps by your other jobs: see `account` above.",
    ),
)


def judge_silence(trip: Trip, directory: str) -> Finding:
    """A job that did not report: it waits, has ended, or runs and is not heard."""
    status = trip.status
    if status is None or status.state is JobState.QUEUED:
        reason = status.reason if status is not None and status.reason != "None" else ""
        found = (
            f"The job has not started in time, and was cancelled. Slurm's reason: {reason or 'none given'}. "
            "What a job would show is not checked."
        )
        for pattern, level, change in _REASONS:
            if re.search(pattern, reason):
                return Finding("start", level, found, change)
        return Finding(
            "start",
            Level.WARNING,
            found,
            "The queue is long: wait longer (--wait 1800), or name another partition (--partition NAME).",
        )
    where = f" on {status.node}" if status.node else ""
    if not status.state.final:
        return Finding(
            "start",
            Level.PROBLEM,
            f"The job runs{where} ({status.raw}), and no file of it has appeared in {directory}.",
            SHARE,
        )
    code = f", exit code {status.exit_code}" if status.exit_code is not None else ""
    ended = f"The job ended{where} ({status.raw}{code}) without a report."
    if status.state in UNTOLD:
        return Finding("start", Level.WARNING, ended, "Run this again.")
    if trip.log is None:
        return Finding(
            "start",
            Level.PROBLEM,
            f"{ended} Not even its log was written to {directory}: the node does not see that "
            "directory, or may not write there.",
            SHARE,
        )
    last = next((line.strip() for line in reversed(trip.log.splitlines()) if line.strip()), "nothing")
    return Finding("start", Level.PROBLEM, f"{ended} Its last words: {last}", _remedy(trip.log))


def _remedy(log: str) -> str:
    if "is not seen on" in log:
        return SHARE
    if "No module named" in log:
        return (
            "The packages are not seen on the node: install them into a virtual environment in a directory "
            "that all nodes share."
        )
    if re.search(r"not found|No such file|Permission denied", log):
        return (
            "Python, or a library that it needs, is not there on the node: use a virtual environment in a "
            "directory that all nodes share, and load in jobs the modules that you load here: "
            "config={'modules': [...]}."
        )
    return ""
