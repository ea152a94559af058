"""What a job's round trip means: pure judgements over what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from axsched_hpc.doctor.finding import Finding, Level, joined
from axsched_hpc.doctor.judge_silence import judge_silence
from axsched_hpc.doctor.machine import size_text
from axsched_hpc.doctor.mounts import SHARE
from axsched_hpc.doctor.storage import after, milliseconds
from axsched_hpc.doctor.trip import FREED, Exchange, Trip


@dataclass(frozen=True)
class Here:
    """This process, to compare with: what it is, and where it works."""

    boot: str | None
    uid: int
    python: str
    versions: Mapping[str, str | None]
    directory: str


@dataclass(frozen=True)
class Clocks:
    """How two clocks and two caches differ, in seconds.

    Attributes
    ----------
    skew, bound
        The node's clock is ahead by this much, give or take ``bound``.
    there, here
        The longest that a file took to appear on the node, and in this process.
    missed
        Files that listings did not show until the directory was changed; not counted in the others.
    """

    skew: float
    bound: float
    there: float
    here: float
    missed: int = 0


def same_machine(trip: Trip, here: Here) -> bool:
    """Whether the job ran on this machine."""
    return trip.node is not None and trip.node["boot"] is not None and trip.node["boot"] == here.boot


def clocks(exchanges: Sequence[Exchange], hint: float) -> Clocks:
    """The clocks' difference, and how late files appear.

    A file cannot be seen before it was made: so each question bounds the difference from above and each
    answer from below, whatever share of a round trip either took. Between the bounds the hint is taken.

    Parameters
    ----------
    hint
        The difference by the filesystem's clock: exact on NFS, where the server has the only one, and 0 on
        filesystems that take the time from each client.
    """
    above = min(each.seen - each.asked for each in exchanges)
    below = max(each.sent - each.answered for each in exchanges)
    low, high = min(above, below), max(above, below)
    skew = min(max(hint, low), high)
    return Clocks(
        skew,
        max(high - skew, skew - low),
        max([0.0, *(each.seen - each.asked - skew for each in exchanges if not each.missed_there)]),
        max([0.0, *(each.answered - each.sent + skew for each in exchanges if not each.missed_here)]),
        sum(each.missed_there + each.missed_here for each in exchanges),
    )


def judge(trip: Trip, here: Here, *, slurm: bool, settle: float) -> list[Finding]:
    """All that a round trip tells.

    Parameters
    ----------
    settle
        Seconds that the runner gives a file to appear after a job was seen ended.
    """
    if trip.refused:
        change = "" if not slurm else "axsched doctor --partition NAME --account NAME"
        return [Finding("submission", Level.PROBLEM, trip.refused, change), *_left(trip)]
    node = trip.node
    found = [Finding("submission", Level.OK, f"Job {trip.job}, taken in {milliseconds(trip.submitting)}.")]
    if node is None:
        return [*(found if slurm else []), judge_silence(trip, here.directory), *_left(trip)]
    known = clocks(trip.exchanges, trip.file_clock - node["file_clock"]) if trip.exchanges else None
    found.append(_judge_start(trip, known))
    if same_machine(trip, here):
        found.append(
            Finding(
                "machine",
                Level.NOTE,
                f"{_name(node)} is this machine: how files, locks and clocks fare between two machines "
                "cannot be seen from here.",
                "Run this again on a login node, where it is another machine.",
            )
        )
    found += [_judge_sight(node, here), _judge_lateness(trip, known, settle), _judge_claim(node)]
    found.append(judge_locks(trip.lock_there, trip.lock_here, trip.released, holds=bool(node["holds"])))
    found += [judge_skew(known.skew, known.bound)] if known is not None else []
    found += [judge_python(node, here), judge_owner(trip, here), _judge_scratch(node), judge_cores(node)]
    found.append(judge_engines(trip.engines))
    if not slurm:
        # On one machine these go without saying, where they are in order.
        alike = ("submission", "machine", "directory there", "clocks", "user")
        found = [each for each in found if each.check not in alike or each.level > Level.NOTE]
    return [*found, *_left(trip)]


def judge_lateness(seconds: float, where: str, settle: float) -> Finding:
    """How late a new file appears, in a directory that is listed.

    Parameters
    ----------
    where
        Who waited for it.
    """
    check, found = "", f"{milliseconds(seconds)} {where}"
    if seconds <= 1:
        return Finding(check, Level.OK, found)
    if seconds <= settle:
        return Finding(check, Level.NOTE, found)
    return Finding(
        check,
        Level.WARNING,
        found,
        "Use another file system, or have the site look at the caching of directories (NFS: acdirmax, "
        "lookupcache).",
    )


def judge_skew(skew: float, bound: float) -> Finding:
    """Clocks: only ages and times are told by them."""
    check = "clocks"
    within = f"within {milliseconds(bound)}"
    if abs(skew) <= max(1.0, bound):
        return Finding(
            check,
            Level.OK,
            f"The node's agrees with this one, {milliseconds(abs(skew) + bound)} at most apart.",
        )
    where = "ahead" if skew > 0 else "behind"
    found = f"The node's is {abs(skew):.1f} s {where} ({within})."
    if abs(skew) <= 30:
        return Finding(
            check, Level.NOTE, f"{found} Nothing depends on that; start and end times are off by it."
        )
    return Finding(
        check,
        Level.WARNING,
        f"{found} Nothing of the driver depends on that, but times in results and logs are wrong, and "
        "Slurm's own authentication fails from some minutes on.",
        "Tell the site: a node's clock is not synchronised.",
    )


def judge_locks(there: str, here: str, released: float | None, *, holds: bool) -> Finding:
    """Locks between the two processes.

    Parameters
    ----------
    there, here
        What became of taking a lock there that was held here, and the other way round.
    released
        Seconds after which a lock of a killed process there was free here.
    holds
        Whether the other process could lock at all.
    """
    check = "locks"
    alone = (
        "Nothing, as long as each experiment is driven from one machine. From several, start the next driver "
        "only when the last one has ended."
    )
    if "granted" in (there, here):
        return Finding(
            check,
            Level.WARNING,
            "A lock held on one machine is granted on the other: locks hold on one machine only (nolock, "
            "local_lock or localflock). Who drives is decided by the journal all the same; only a driver "
            "that is just starting can be overlooked, and notices before it writes.",
            alone,
        )
    if not holds or there != "refused":
        why = f" ({there})" if there not in ("refused", "") else ""
        return Finding(
            check, Level.NOTE, f"There are none{why}; the journal alone decides who drives.", alone
        )
    if not here:
        return Finding(check, Level.NOTE, "A lock held here is respected there; the other way was not tried.")
    if released is None:
        return Finding(
            check,
            Level.WARNING,
            "Respected both ways, but a lock whose holder was killed there was not free here after "
            f"{FREED:g} s.",
            "After a crash of the driver on another machine: axsched unlock DIR.",
        )
    return Finding(
        check,
        Level.OK,
        f"flock is respected both ways, and free here {after(released)} its holder there was killed.",
    )


def judge_python(node: Mapping[str, Any], here: Here) -> Finding:
    """Python and packages on the node against those of this process."""
    same = (
        "Install into a directory that all nodes share, and load the same modules in jobs: "
        "config={'modules': [...]}."
    )
    parts = [Finding("", Level.OK, f"{node['python']}, {node['executable']}.")]
    if node["python"] != here.python:
        parts.append(Finding("", Level.PROBLEM, f"Here it is {here.python}.", same))
    theirs = node["versions"]
    for name in sorted({*theirs, *here.versions}):
        if theirs.get(name) != here.versions.get(name):
            parts.append(
                Finding(
                    "",
                    Level.PROBLEM,
                    f"{name} is {theirs.get(name) or 'missing'} there and "
                    f"{here.versions.get(name) or 'missing'} here.",
                    same,
                )
            )
    if len(parts) == 1:
        parts.append(Finding("", Level.OK, f"The same versions of all {len(theirs)} packages as here."))
    return joined("python there", parts)


def judge_owner(trip: Trip, here: Here) -> Finding:
    """Whose files the node makes."""
    check = "user"
    if trip.node is not None and trip.node["uid"] != here.uid:
        return Finding(
            check,
            Level.PROBLEM,
            f"You are user {here.uid} here and user {trip.node['uid']} on the node: files of another user "
            "are refused.",
            "Tell the site; user numbers have to be the same on all nodes.",
        )
    if trip.owner != here.uid:
        return Finding(
            check,
            Level.PROBLEM,
            f"Files made on the node belong to user {trip.owner} here, and not to you ({here.uid}).",
            "Use another file system; root is often mapped to nobody on NFS.",
        )
    if trip.mode & 0o077:
        return Finding(
            check, Level.NOTE, f"A private file made there has mode {trip.mode:04o} here: others may read it."
        )
    return Finding(check, Level.OK, f"User {here.uid} on both sides; what the node writes is yours alone.")


def judge_engines(engines: Mapping[str, Any] | None) -> Finding:
    """Container engines on the node."""
    check = "containers"
    if engines is None:
        return Finding(check, Level.SKIPPED, "The node did not tell which engines it has.")
    if not engines:
        return Finding(
            check,
            Level.OK,
            "No engine on PATH there (apptainer, singularity, podman, docker, ch-run). Only container "
            "objectives "
            "need one; it may be a module: config={'modules': [...]}.",
        )
    return Finding(check, Level.OK, f"{', '.join(_engine(name, text) for name, text in engines.items())}.")


# ---------------------------------------------------------------- the parts


def _judge_start(trip: Trip, known: Clocks | None) -> Finding:
    assert trip.node is not None
    if known is None:
        return Finding("start", Level.OK, f"On {_name(trip.node)}.")
    took = max(0.0, trip.node["started"] - known.skew - trip.submitted)
    return Finding(
        "start", Level.OK, f"On {_name(trip.node)}; Python ran {milliseconds(took)} after submission."
    )


def _judge_sight(node: Mapping[str, Any], here: Here) -> Finding:
    check = "directory there"
    mount = f" ({node['mount'][0]})" if node["mount"] else ""
    if node["seen"]:
        return Finding(
            check, Level.OK, f"The node sees {here.directory}{mount}, and what this process wrote before."
        )
    return Finding(
        check,
        Level.PROBLEM,
        f"The node has {here.directory}{mount}, but does not see what this process wrote there.",
        SHARE,
    )


def _judge_lateness(trip: Trip, known: Clocks | None, settle: float) -> Finding:
    check = "late files"
    if trip.mute or known is None:
        return Finding(
            check,
            Level.PROBLEM,
            f"The node did not answer {trip.mute or 'any question'} in time: what one side writes does not "
            "appear on the other.",
            "Use another file system.",
        )
    parts = [
        judge_lateness(known.there, "until a file made here appears there,", settle),
        judge_lateness(known.here, "until one made there appears here.", settle),
    ]
    if known.missed:
        parts.append(
            Finding(
                "",
                Level.NOTE,
                f"{known.missed} of {2 * len(trip.exchanges)} files did not appear before the directory was "
                "changed again: NFS 3 overlooks what happens within one tick of its server's clock. The "
                "driver finds such a result with the next one, or when its job has ended.",
            )
        )
    finding = joined(check, parts)
    if finding.level is not Level.WARNING:
        return finding
    more = " A job can be seen ended before its result is: then its trial would be repeated."
    return Finding(check, finding.level, finding.found + more, finding.change)


def _judge_claim(node: Mapping[str, Any]) -> Finding:
    check = "claims"
    if node["claimed"] == "refused":
        return Finding(check, Level.OK, "A name taken here cannot be taken there: no trial runs twice.")
    what = (
        "A name taken here was taken there again: two jobs could run one trial."
        if node["claimed"] == "granted"
        else f"The node cannot take a name with link(2): {node['claimed']}."
    )
    return Finding(check, Level.PROBLEM, what, "Use another file system.")


def _judge_scratch(node: Mapping[str, Any]) -> Finding:
    named = (
        f"TMPDIR is {node['tmpdir']}"
        if node["tmpdir"]
        else f"TMPDIR is not set; Python uses {node['scratch']}"
    )
    return Finding("scratch", Level.OK, f"{named}, {size_text(node['scratch_free'])} free.")


def judge_cores(node: Mapping[str, Any]) -> Finding:
    """Whether the job is kept to its cores, and which GPUs it has."""
    check, gpus = "cores and GPUs", node["gpus"]
    gpu = "CUDA_VISIBLE_DEVICES is not set" if gpus is None else f"CUDA_VISIBLE_DEVICES={gpus}"
    granted = int(node["granted"]) if str(node["granted"]).isdecimal() else None
    if granted is not None and node["cores"] > granted:
        return Finding(
            check,
            Level.NOTE,
            f"The job has {granted} of the {node['cores']} cores that it sees; {gpu}. Slurm does not keep "
            "it to them, and numerical libraries would start a thread for each.",
            "SlurmRunner(config={'environment': {'OMP_NUM_THREADS': '1'}}), or as many as cpus_per_task.",
        )
    return Finding(check, Level.OK, f"{node['cores']} seen; {gpu}.")


def _left(trip: Trip) -> list[Finding]:
    if not trip.left:
        return []
    return [
        Finding("left over", Level.WARNING, trip.left, f"scancel {trip.job}" if trip.job else "squeue --me")
    ]


def _name(node: Mapping[str, Any]) -> str:
    host, name = str(node["host"]), str(node["node"])
    return host if name in ("", host, host.split(".")[0]) else f"{name} ({host})"


def _engine(name: str, text: str) -> str:
    number = re.search(r"\d+(\.\d+)+", text)
    return f"{name} {number[0]}" if number is not None else name
