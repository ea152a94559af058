"""Mounts on the command lines of container engines, for paths with any characters. Pure.

Each engine takes some characters of a path for separators:

- docker and podman: ``-v`` splits at colons. ``--mount`` is one record of comma-separated values, in which a
  field may be quoted; both read it with the same library, which takes a carriage return off a line's end.
- apptainer and singularity: ``--bind`` splits at colons and commas, and drops ``^``. ``--mount`` is such a
  record too, but only since Apptainer 1.0 and SingularityCE 3.9; so it is for paths that need it.
- charliecloud: ``--bind`` splits at colons, and has no way to quote one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Where the attempt's directory is seen in the container.
INSIDE = "/axsched"


@dataclass(frozen=True)
class Mount:
    """A file or directory of the host, as seen in the container."""

    host: str
    inside: str
    read_only: bool = False


_NOT_FOR_BIND = re.compile(r"[,:^\\\"'\x00-\x1f]|\s$")
_QUOTED = re.compile(r'[,"\r\n]')


def with_mount(mounts: Iterable[Mount]) -> list[str]:
    """Options ``--mount`` of docker and podman."""
    return [word for mount in mounts for word in ("--mount", _record(mount))]


def with_bind(mounts: Iterable[Mount]) -> list[str]:
    """Options ``--bind`` of apptainer and singularity, and ``--mount`` where that is needed."""
    words = []
    for mount in mounts:
        if _NOT_FOR_BIND.search(mount.host) or _NOT_FOR_BIND.search(mount.inside):
            words += ["--mount", _record(mount)]
        else:
            words += ["--bind", f"{mount.host}:{mount.inside}" + (":ro" if mount.read_only else "")]
    return words


def with_ch_bind(mounts: Iterable[Mount]) -> list[str]:
    """Options ``--bind`` of charliecloud, which mounts nothing read-only."""
    return [f"--bind={mount.host}:{mount.inside}" for mount in mounts]


def unmountable(engine: str, path: str) -> str | None:
    """The character for which an engine cannot mount a path, in words; None where it can."""
    if engine == "charliecloud":
        return "a ':' in a path for a separator" if ":" in path else None
    return "a carriage return in a path for the end of a line" if "\r" in path else None


def _record(mount: Mount) -> str:
    fields = ["type=bind", f"source={mount.host}", f"target={mount.inside}"]
    fields += ["readonly"] if mount.read_only else []
    return ",".join(_field(field) for field in fields)


def _field(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if _QUOTED.search(text) else text
