"""This machine, where the driver is to run: what a process may use here."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.errors import plural
from axsched_hpc.doctor.finding import Finding, Level, joined
from axsched_hpc.reporting.table import duration
from axsched_hpc.runners.submitit_runner import usable_cores

#: Bytes of memory that a driver takes: Ax and torch alone need 0.4 GB, models of many trials more.
NEEDED_MEMORY = 2 * 2**30


@dataclass(frozen=True)
class Resources:
    """What this process may use. Memory in bytes, cpu time in seconds; None where there is no limit."""

    cores: int
    memory: int | None
    cpu_time: int | None
    processes: int | None
    files: int | None


def judge_resources(have: Resources) -> Finding:
    """Whether a driver can live on it, for days."""
    memory = size_text(have.memory) if have.memory is not None else "an unknown amount"
    parts = [Finding("", Level.OK, f"{plural(have.cores, 'core')} and {memory} of memory for this process.")]
    in_job = "Run the driver in a job of its own, or ask the site where long scripts may run."
    if have.memory is not None and have.memory < NEEDED_MEMORY:
        parts.append(
            Finding("", Level.WARNING, f"A driver with Ax takes about {size_text(NEEDED_MEMORY)}.", in_job)
        )
    if have.cpu_time is not None:
        parts.append(
            Finding(
                "",
                Level.WARNING,
                f"A process is killed here after {duration(have.cpu_time)} of CPU time (ulimit -t).",
                in_job,
            )
        )
    if have.processes is not None and have.processes < 100:
        parts.append(
            Finding(
                "",
                Level.WARNING,
                f"A user may have {have.processes} processes and threads here (ulimit -u); Ax starts "
                "threads by the core.",
                "Set OMP_NUM_THREADS=1, or raise it: ulimit -u 1024",
            )
        )
    if have.files is not None and have.files < 256:
        parts.append(
            Finding("", Level.WARNING, f"A process may open {have.files} files.", "Raise it: ulimit -n 1024")
        )
    return joined("resources", parts)


def judge_job(environment: Mapping[str, str]) -> Finding:
    """Whether this process is inside a Slurm job, and what that means for a driver."""
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        return Finding("inside a job", Level.OK, "No.")
    return Finding(
        "inside a job",
        Level.NOTE,
        f"This is inside Slurm job {job}. A driver started here ends with that job; jobs that it has "
        "submitted go on.",
        "Give a job that drives a long time limit; started again, the same script goes on where it was.",
    )


def cgroup_limit(membership: str, read: Mapping[str, str]) -> int | None:
    """The memory limit of a process's control groups, in bytes.

    Parameters
    ----------
    membership
        ``/proc/self/cgroup``.
    read
        Contents of ``memory.max`` and ``memory.limit_in_bytes`` by path, see :func:`limit_files`.
    """
    limits = [
        int(text) for name in limit_files(membership) if (text := read.get(name, "").strip()).isdecimal()
    ]
    # Version 1 says "none" by a number near 2**63.
    limits = [limit for limit in limits if limit < 2**60]
    return min(limits, default=None)


def limit_files(membership: str) -> list[str]:
    """Where the kernel tells the limits: of the group and of all above it, cgroups 2 and 1."""
    files = []
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        files += ["/".join([root, *parts[:depth], name]) for depth in range(len(parts), -1, -1)]
    return files


def measure() -> Resources:
    """Ask the kernel."""
    membership = _text("/proc/self/cgroup")
    total = re.search(r"^MemTotal:\s*(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    limits = [
        cgroup_limit(membership, {name: _text(name) for name in limit_files(membership)}),
        int(total[1]) * 1024 if total is not None else None,
        _soft(resource.RLIMIT_AS),
    ]
    return Resources(
        cores=usable_cores(),
        memory=min((limit for limit in limits if limit is not None), default=None),
        cpu_time=_soft(resource.RLIMIT_CPU),
        processes=_soft(resource.RLIMIT_NPROC) if os.geteuid() != 0 else None,
        files=_soft(resource.RLIMIT_NOFILE),
    )


def findings() -> list[Finding]:
    """Look at this machine."""
    return [judge_resources(measure()), judge_job(os.environ)]


def _soft(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def size_text(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.4g} TB"
