"""The filesystem that a directory is on, as /proc/self/mountinfo tells, and what is known of its kind."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from axsched_hpc.doctor.finding import Finding, Level, joined

#: Kinds that all nodes of a cluster can share; that live in the memory of one machine, and are gone after a
#: restart; that live on a disk of one machine.
_SHARED = re.compile(
    r"9p|afs|beegfs|ceph|cifs|fhgfs|fuse\b.*|gfs2|glusterfs|gpfs|lustre|nfs4?|ocfs2|orangefs|panfs|pvfs2|smb3"
    r"|virtiofs|wekafs"
)
_MEMORY = re.compile(r"ramfs|tmpfs")
_DISK = re.compile(r"bcachefs|btrfs|exfat|ext[234]|f2fs|jfs|overlay|reiserfs|vfat|xfs|zfs")


#: What to do about a directory that compute nodes do not see.
SHARE = (
    "Use a directory that the compute nodes share: your home directory, or the site's work or scratch file "
    "system."
)


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo: where, which kind, from where, and the options of the mount and of its source."""

    point: str
    kind: str
    source: str
    options: frozenset[str]

    def option(self, name: str) -> str | None:
        """The value of an option ``name=value``."""
        return next((o.partition("=")[2] for o in self.options if o.startswith(f"{name}=")), None)


def parse(mountinfo: str) -> list[Mount]:
    """The mounts, in order of mounting; proc(5) has the format."""
    mounts = []
    for line in mountinfo.splitlines():
        fields = line.split()
        if "-" not in fields[6:]:
            continue
        end = fields.index("-", 6)
        if len(fields) < end + 4:
            continue
        kind, source, superblock = fields[end + 1 : end + 4]
        options = frozenset([*fields[5].split(","), *superblock.split(",")])
        mounts.append(Mount(_plain(fields[4]), kind, _plain(source), options))
    return mounts


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount that an absolute path without symbolic links is on: the deepest, and of those the last."""
    best: Mount | None = None
    for mount in mounts:
        if PurePosixPath(path).is_relative_to(mount.point) and (
            best is None or len(mount.point) >= len(best.point)
        ):
            best = mount
    return best


def judge(mount: Mount | None, *, slurm: bool, seen: bool | None = None, same: bool = False) -> Finding:
    """What the kind of filesystem and its options mean for an experiment.

    Parameters
    ----------
    slurm
        Whether trials are to run on other machines.
    seen
        Whether a job saw the directory; None where none has been asked.
    same
        Whether that job ran on this machine, so that it tells nothing of others.
    """
    check = "file system"
    if mount is None:
        return Finding(check, Level.NOTE, "The system does not tell which kind it is.")
    parts = [Finding("", Level.OK, f"{mount.kind}, mounted at {mount.point}.")]
    if slurm and (same or not seen):
        parts += _reach(mount, seen, same=same)
    elif _MEMORY.fullmatch(mount.kind):
        parts.append(
            Finding(
                "",
                Level.WARNING,
                "It is memory of this machine: nothing in it outlives a restart.",
                "Use a directory on a disk.",
            )
        )
    if "ro" in mount.options:
        parts.append(Finding("", Level.PROBLEM, "It is mounted read-only."))
    parts += _locks(mount)
    if mount.kind.startswith("nfs") and "soft" in mount.options:
        parts.append(
            Finding(
                "",
                Level.NOTE,
                "Mounted `soft`: a slow server shows as errors (EIO). The driver and the jobs try again.",
            )
        )
    longest = max(
        (int(v) for n in ("acdirmax", "actimeo") if (v := mount.option(n) or "").isdecimal()), default=0
    )
    if longest > 60:
        parts.append(
            Finding("", Level.NOTE, f"Directories may be up to {longest} s out of date on other machines.")
        )
    return joined(check, parts)


def _reach(mount: Mount, seen: bool | None, *, same: bool) -> list[Finding]:
    """Whether nodes see it, by its kind, where no node on another machine has told."""
    if seen is False:
        return [Finding("", Level.PROBLEM, "The compute node does not see it.", SHARE)]
    if _SHARED.fullmatch(mount.kind):
        return []
    what = "memory" if _MEMORY.fullmatch(mount.kind) else "a disk" if _DISK.fullmatch(mount.kind) else ""
    if not what:
        return [Finding("", Level.NOTE, "It is not known whether compute nodes share this kind.")]
    if same:
        return [
            Finding(
                "",
                Level.NOTE,
                f"It is {what} of this machine, and the compute node is this machine, too. Nodes on others "
                "do not see it, unless this one serves it.",
            )
        ]
    return [
        Finding(
            "",
            Level.WARNING if what == "a disk" else Level.PROBLEM,
            f"It is {what} of this machine: compute nodes do not see it, unless this machine serves it.",
            SHARE,
        )
    ]


def _locks(mount: Mount) -> list[Finding]:
    options = mount.options
    change = (
        "Nothing, as long as each experiment is driven from one machine. From several, start the next driver "
        "only when the last one has ended, or ask the site to mount it with "
    )
    # Lustre, NFS v2 and v3, NFS in general.
    per_machine = sorted(options & {"localflock", "nolock", "local_lock=all", "local_lock=flock"})
    if per_machine:
        better = "`flock`." if mount.kind == "lustre" else "`lock` and `local_lock=none`."
        return [
            Finding(
                "",
                Level.WARNING,
                f"Mounted with `{per_machine[0]}`: a lock holds on one machine only, and other machines do "
                "not see it. Who drives is decided by the journal all the same; only a driver that is just "
                "starting can be overlooked, and notices before it writes.",
                change + better,
            )
        ]
    if mount.kind == "lustre" and "flock" not in options:
        return [
            Finding(
                "",
                Level.NOTE,
                "Lustre mounted without `flock`: there are no locks. The journal alone decides who drives.",
            )
        ]
    return []


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def of(path: Path) -> Mount | None:
    """The mount that a path is on; None where the system does not tell (macOS)."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return mount_of(os.path.realpath(path), parse(text))
