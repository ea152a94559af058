"""How often the kernel has killed a process of this job for lack of memory, as its cgroup counts."""

from __future__ import annotations

from pathlib import Path

_MINE, _ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def kills(mine: Path = _MINE, root: Path = _ROOT) -> int | None:
    """The count, or None where nothing keeps one.

    cgroups(7): a line of ``/proc/self/cgroup`` is ``hierarchy:controllers:path``; version 2 has hierarchy 0
    and no controllers, and its count in ``memory.events``; version 1 has it in ``memory.oom_control``.
    """
    try:
        lines = [line.split(":", 2) for line in mine.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    for hierarchy, controllers, path in (line for line in lines if len(line) == 3):
        if "memory" in controllers.split(","):
            places = [root / "memory" / path.lstrip("/") / "memory.oom_control"]
        elif hierarchy == "0":
            places = [base / path.lstrip("/") / "memory.events" for base in (root, root / "unified")]
        else:
            continue
        for place in places:
            if (count := _count(place)) is not None:
                return count
    return None


def _count(path: Path) -> int | None:
    try:
        words = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except OSError:
        return None
    return next((int(word[1]) for word in words if len(word) == 2 and word[0] == "oom_kill"), None)
