"""Memory and time as people and Slurm write them."""

from __future__ import annotations

import math
import re

_UNITS: dict[str, float] = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])?(?:i?B)?", re.IGNORECASE)
# sbatch(1), --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def memory_mb(text: str | int) -> int | None:
    """MiB of ``4G``, ``500M`` or a number of megabytes, rounded up; None for anything else, and for 0, which
    asks Slurm for all of a node's.
    """
    found = _MEMORY.fullmatch(str(text).strip())
    if found is None:
        return None
    return math.ceil(float(found[1]) * _UNITS[(found[2] or "M").upper()]) or None


def time_s(text: str | int) -> int | None:
    """Seconds of ``HH:MM:SS``, ``D-HH[:MM[:SS]]``, ``MM:SS`` or minutes, as sbatch reads them; None for
    anything else, such as ``infinite``.
    """
    found = _CLOCK.fullmatch(str(text).strip())
    if found is None:
        return None
    days, first, second, third = (None if part is None else int(part) for part in found.groups())
    if days is not None:
        hours, minutes, seconds = first or 0, second or 0, third or 0
    elif third is not None:
        hours, minutes, seconds = first or 0, second or 0, third
    else:
        hours, minutes, seconds = 0, first or 0, second or 0
    return ((days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds) or None


def memory_text(mb: float) -> str:
    """MiB as people read them: ``500 MB``, ``3.9 GB``."""
    if mb < 1024:
        return f"{mb:.0f} MB"
    return f"{mb / 1024:.1f}".removesuffix(".0") + " GB"


def time_text(seconds: float) -> str:
    """Seconds as Slurm writes a time limit: ``01:00:00``, ``2-00:00:00``."""
    left = math.ceil(seconds)
    days, left = divmod(left, 86_400)
    clock = f"{left // 3600:02d}:{left % 3600 // 60:02d}:{left % 60:02d}"
    return f"{days}-{clock}" if days else clock
