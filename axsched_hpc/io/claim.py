"""Who runs an attempt: the first to claim it, and nobody else.

The claim is a file that exactly one process can make. A second job with the same token finds it and steps
aside. The one exception is a job that Slurm itself requeued: its earlier execution is dead, so the same job
id with a higher restart count takes over by a claim file of its own, ``claim-restart-1.json`` and so on. A
claim by the driver closes the attempt for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from axsched_hpc.core.record import Record
from axsched_hpc.io import atomic, document, processes
from axsched_hpc.io.layout import AttemptFiles

_RESTART = "claim-restart-"

#: The variable by which a worker knows its job where several attempts share one: the job with the attempt's
#: place in it, or ``1234/`` for a process of its own in allocation 1234.
JOB_VARIABLE = "AXSCHED_JOB"


class Claimer(StrEnum):
    """Who made a claim."""

    WORKER = "worker"
    DRIVER = "driver"


class Claim(Record):
    """One process's claim of an attempt.

    Attributes
    ----------
    token
        The batch to which the worker belongs; empty for the driver.
    start, boot
        Start time of the process in clock ticks, and the boot of its machine: they tell a reused pid.
    job
        The Slurm job (``123``, or ``123_4`` in an array, ``123_4#1`` for one of several attempts in it, or
        ``123/...`` inside an allocation); None outside Slurm.
    restart
        How often Slurm has requeued the job.
    time
        Seconds since the epoch.
    reason
        Why the driver closed the attempt.
    """

    token: str
    by: Claimer
    host: str
    pid: int
    start: int | None
    boot: str | None
    job: str | None
    restart: int
    time: float
    reason: str = ""


def mine(token: str, by: Claimer, *, reason: str = "", environment: Mapping[str, str] = os.environ) -> Claim:
    """The claim that this process would make."""
    restart = environment.get("SLURM_RESTART_COUNT", "0")
    return Claim(
        token=token,
        by=by,
        host=processes.hostname(),
        pid=os.getpid(),
        start=processes.start_ticks(os.getpid()),
        boot=processes.boot_id(),
        job=job_id(environment) if by is Claimer.WORKER else None,
        restart=int(restart) if by is Claimer.WORKER and restart.isdecimal() else 0,
        time=time.time(),
        reason=reason,
    )


def job_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """The Slurm job that this process belongs to, as squeue shows it, or what its starter calls it where
    several attempts share a job; None outside Slurm.
    """
    if given := environment.get(JOB_VARIABLE):
        return given + process_name(os.getpid()) if given.endswith("/") else given
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID") or None


def process_name(pid: int, start: int | None = None, host: str | None = None) -> str:
    """What a process is called as a job: ``pid.start@host``."""
    ticks = processes.start_ticks(pid) if start is None else start
    return f"{pid}.{ticks or 0}@{host or processes.hostname()}"


def take(files: AttemptFiles, claim: Claim) -> bool:
    """Claim an attempt; False where another process has it. The same claim may be taken again.

    Raises
    ------
    OSError, ValueError
        The claim cannot be written, or the one that is there cannot be read.
    """
    number = 0
    while not _make(files, number, claim):
        holder, number = _last(files)
        if holder == claim:
            # Made by a call before this one, which then met an error of the filesystem.
            return True
        if holder is None or not _requeued(claim, holder):
            return False
        number += 1
    return True


def close(files: AttemptFiles, reason: str) -> bool:
    """Close an attempt for ever by the driver's claim, unless a worker has claimed it before.

    Returns
    -------
    bool
        Whether it is closed; False where a worker has it.

    Raises
    ------
    OSError, ValueError
        The claim cannot be written, or the one that is there cannot be read.
    """
    if _make(files, 0, mine("", Claimer.DRIVER, reason=reason)):
        return True
    holder = read(files)
    return holder is not None and holder.by is Claimer.DRIVER


def give_up(files: AttemptFiles, reason: str) -> None:
    """Close an attempt for ever, whoever has claimed it: a job that Slurm requeues later cannot take it over.

    An execution that runs now is not ended by it.

    Raises
    ------
    OSError, ValueError
        The claim cannot be written, or the one that is there cannot be read.
    """
    claim, number = mine("", Claimer.DRIVER, reason=reason), 0
    while not _make(files, number, claim):
        holder, number = _last(files)
        if holder is None or holder.by is Claimer.DRIVER:
            return
        number += 1


def read(files: AttemptFiles) -> Claim | None:
    """The claim that counts, which is the last; None where nobody has claimed the attempt.

    Raises
    ------
    OSError, ValueError
        A claim cannot be read; the message names the file.
    """
    return _last(files)[0]


def begun(files: AttemptFiles) -> bool:
    """Whether a worker has claimed the attempt, also where the driver has given it up since.

    Raises
    ------
    OSError, ValueError
        The claim cannot be read; the message names the file.
    """
    # The first claim tells: the driver's would have kept every worker away.
    return files.claim.name in atomic.listing(files.root) and _read(files.claim).by is Claimer.WORKER


def latest(files: AttemptFiles) -> Path:
    """The file of the claim that counts, or that of the first one where there is none.

    Raises
    ------
    OSError, ValueError
        A claim cannot be read; the message names the file.
    """
    return _path(files, _last(files)[1])


def executions(files: AttemptFiles) -> int:
    """How many workers have claimed the attempt: one, and one more for each time that Slurm requeued its job.

    Raises
    ------
    OSError, ValueError
        A claim cannot be read; the message names the file.
    """
    # Nobody takes over from the driver, so that only the last claim can be the driver's.
    holder, number = _last(files)
    return 0 if holder is None else number + (holder.by is Claimer.WORKER)


def _requeued(claim: Claim, holder: Claim) -> bool:
    same_job = claim.job is not None and holder.job == claim.job and holder.token == claim.token
    return holder.by is Claimer.WORKER and same_job and claim.restart > holder.restart


def _make(files: AttemptFiles, number: int, claim: Claim) -> bool:
    # A loss of power ends a worker too, so that its claim may go with it; what the driver closes stays so.
    text = document.encode(vars(claim))
    return atomic.create(_path(files, number), text, sync_name=claim.by is Claimer.DRIVER)


def _path(files: AttemptFiles, number: int) -> Path:
    # Numbered one by one, not by Slurm's count, which can skip: so a worker and the driver compete for one
    # name.
    return files.claim.with_name(f"{_RESTART}{number}.json") if number else files.claim


def _last(files: AttemptFiles) -> tuple[Claim | None, int]:
    names = atomic.listing(files.root)
    numbers = [int(number) for name in names if (number := _restart_number(name)) is not None]
    if not numbers and files.claim.name not in names:
        return None, 0
    last = max(numbers, default=0)
    return _read(_path(files, last)), last


def _restart_number(name: str) -> str | None:
    number = name.removeprefix(_RESTART).removesuffix(".json")
    return number if name == f"{_RESTART}{number}.json" and number.isascii() and number.isdecimal() else None


def _read(path: Path) -> Claim:
    source = str(path)
    fields = document.read(path)
    try:
        by = Claimer(document.field(fields, "by", str, source=source))
    except ValueError:
        raise ValueError(f"{source}: field 'by' is neither 'worker' nor 'driver'.") from None
    nothing = type(None)
    return Claim(
        token=document.field(fields, "token", str, source=source),
        by=by,
        host=document.field(fields, "host", str, source=source),
        pid=document.whole(fields, "pid", source=source, least=1),
        start=document.optional(document.whole, fields, "start", source=source),
        boot=document.field(fields, "boot", (str, nothing), source=source),
        job=document.field(fields, "job", (str, nothing), source=source),
        restart=document.whole(fields, "restart", source=source),
        time=document.number(fields, "time", source=source),
        reason=document.field(fields, "reason", str, source=source),
    )
