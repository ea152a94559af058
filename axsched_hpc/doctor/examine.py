"""One visit: this machine, Slurm, a job's round trip, the directory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from axsched_hpc.doctor import cluster, judge_trip, machine, mounts, storage, versions
from axsched_hpc.doctor.finding import Finding, Group, Level
from axsched_hpc.doctor.trip import Progress, Trip, make, private_directory
from axsched_hpc.doctor.wanted import Wanted
from axsched_hpc.io import processes
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.runners.local_runner import LocalRunner

#: Seconds of the job's time limit: a short job starts sooner.
_LIMIT = 300


def examine(
    directory: Path, wanted: Wanted, *, named: str, job: bool, wait: float, say: Progress
) -> Iterator[Group]:
    """Check a site, group by group.

    Parameters
    ----------
    directory
        Where experiments are to live; need not exist.
    wanted
        What trials will ask for.
    named
        The option by which the user asked for something of Slurm's; empty without one.
    job
        Whether to submit a job, or start a worker process where there is no Slurm.
    wait
        Seconds for the job to start.
    say
        Told what is waited for.
    """
    say("looking at this machine")
    yield Group(f"This machine ({processes.hostname()})", (*versions.findings(), *machine.findings()))
    slurm = cluster.present()
    site = cluster.Site((), ready=True)
    if slurm:
        say("asking Slurm")
        site = cluster.examine(wanted)
        yield Group("Slurm", site.findings)
    else:
        yield Group("Slurm", (_without_slurm(named),))
    yield from _directory(directory, site, slurm, wanted, job=job, wait=wait, say=say)


def _directory(
    directory: Path,
    site: cluster.Site,
    slurm: bool,
    wanted: Wanted,
    *,
    job: bool,
    wait: float,
    say: Progress,
) -> Iterator[Group]:
    place = _existing(directory)
    title = f"Directory {directory}" + (f" (not there yet; checked in {place})" if place != directory else "")
    trip: Trip | None = None
    settle = 0.0
    tried: tuple[Finding, ...] = ()
    try:
        with private_directory(place) as private:
            say(f"trying {place}")
            (private / "files").mkdir(mode=0o700)
            tried = tuple(storage.findings(private / "files"))
            bad = any(each.level is Level.PROBLEM for each in tried)
            if job and site.ready and not bad:
                runner: BaseRunner = wanted.runner if slurm else LocalRunner(1)
                limit = _limit(site, wanted) if slurm else None
                trip = make(runner, private, wait=wait, say=say, limit=limit)
                settle = runner.settle
    except OSError as error:
        tried = (*tried, storage.unusable(error))
    here = judge_trip.Here(
        processes.boot_id(),
        os.geteuid(),
        platform.python_version(),
        versions.installed_all(),
        str(place),
    )
    kind = mounts.judge(
        mounts.of(place),
        slurm=slurm,
        seen=trip.seen if trip is not None else None,
        same=trip is not None and judge_trip.same_machine(trip, here),
    )
    yield Group(title, (kind, *tried))
    name = "A job's round trip" if slurm else "A worker's round trip"
    if trip is None:
        why = "Not asked for (--no-job)." if not job else "Not tried: mend what is marked FAIL first."
        yield Group(name, (Finding("job" if slurm else "worker", Level.SKIPPED, why),))
        return
    yield Group(name, tuple(judge_trip.judge(trip, here, slurm=slurm, settle=settle)))


def _limit(site: cluster.Site, wanted: Wanted) -> int:
    limits = (_LIMIT, wanted.time_s, site.partition.limit if site.partition is not None else None)
    return min(limit for limit in limits if limit)


def _without_slurm(named: str) -> Finding:
    if named:
        return Finding(
            "commands",
            Level.PROBLEM,
            f"sbatch is not on PATH, so there is no Slurm here for {named}.",
            "Load the site's Slurm module, or run this on a login node.",
        )
    return Finding(
        "commands",
        Level.NOTE,
        "sbatch is not on PATH: there is no Slurm here. LocalRunner works: trials run as processes of this "
        "machine.",
        "On a cluster: load the site's Slurm module, or run this on a login node.",
    )


def _existing(directory: Path) -> Path:
    """The directory, or the nearest above it that exists."""
    return next(place for place in (directory, *directory.parents) if place.is_dir())
