"""Whether the kernel has killed a process here for lack of memory: it counts that, by memory cgroup.

Sources of the formats: cgroups(7), proc(5) for ``/proc/self/mountinfo``, and the kernel's documentation of
``memory.events`` (version 2) and ``memory.oom_control`` (version 1).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_SELF = Path("/proc/self")

# mountinfo writes space, tab, line end and backslash as octal numbers.
_OCTAL = re.compile(r"\\([0-7]{3})")

# Slurm's name for the cgroup of a whole job, of which each step has one below it.
_JOB = re.compile(r"job_\d+")


def counter(cgroup: str, mountinfo: str) -> Path | None:
    """The file in which the kills of a process's memory cgroup are counted; None where that cannot be told.

    Parameters
    ----------
    cgroup, mountinfo
        The texts of ``/proc/PID/cgroup`` and ``/proc/PID/mountinfo``.
    """
    lines = [parts for line in cgroup.splitlines() if len(parts := line.split(":", 2)) == 3]
    # Where both versions are mounted, memory belongs to the first if that has it.
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            place = _mounted(mountinfo, "cgroup", path, "memory")
            return None if place is None else place / "memory.oom_control"
    for number, controllers, path in lines:
        if (number, controllers) == ("0", ""):
            place = _mounted(mountinfo, "cgroup2", path)
            return None if place is None else _job(place) / "memory.events"
    return None


def kills(text: str) -> int | None:
    """The number of kills in the text of such a file; None where it has none (kernels before 4.13)."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.strip().isdecimal():
            return int(number)
    return None


def oom_kills() -> int | None:
    """How often the kernel has killed for lack of memory in this process's memory cgroup; None if unknown."""
    try:
        found = counter(_read(_SELF / "cgroup"), _read(_SELF / "mountinfo"))
        return None if found is None else kills(_read(found))
    except (OSError, ValueError):
        return None


def own() -> str:
    """The text of ``/proc/self/cgroup``: the cgroups of this process; empty where there are none."""
    try:
        return _read(_SELF / "cgroup")
    except OSError:
        return ""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _mounted(mountinfo: str, kind: str, path: str, option: str | None = None) -> Path | None:
    """Where a cgroup is seen in the file tree."""
    for line in mountinfo.splitlines():
        mount, dash, filesystem = line.partition(" - ")
        fields, (name, _, options) = mount.split(" "), (*filesystem.split(" "), "", "", "")[:3]
        if not dash or len(fields) < 5 or name != kind:
            continue
        if option is not None and option not in options.split(","):
            continue
        root, target = _plain(fields[3]), _plain(fields[4])
        # In a container the mount may show a part of the tree. What lies outside of it, or of the cgroup
        # namespace (``/../…``), is not seen here.
        if ".." not in PurePosixPath(root).parts and PurePosixPath(path).is_relative_to(root):
            below = PurePosixPath(path).relative_to(root)
            if ".." not in below.parts:
                return Path(target) / below
    return None


def _job(place: Path) -> Path:
    """The cgroup of the whole Slurm job that a cgroup of version 2 is in: an objective may start steps of its
    own, and version 2 counts for all cgroups above as well.
    """
    for above in (place, *place.parents):
        if _JOB.fullmatch(above.name):
            return above
    return place


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
