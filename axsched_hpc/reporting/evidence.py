"""What the directory of an attempt tells beside the journal: its logs, what it used."""

from __future__ import annotations

import contextlib
from dataclasses import field
from pathlib import Path

from axsched_hpc.core.record import Record
from axsched_hpc.io import atomic, outcome
from axsched_hpc.io.layout import AttemptFiles

#: MiB of a megabyte.
_MIB = 1e6 / 2**20


class Evidence(Record):
    """What lies in an attempt's directory.

    Attributes
    ----------
    names
        Its files and directories.
    tail
        The last lines of its stderr.
    used_mb
        The largest resident memory of one of its processes, in MiB; None where that is not known.
    """

    root: Path
    names: tuple[str, ...] = ()
    tail: tuple[str, ...] = field(default=())
    used_mb: float | None = None


def look(files: AttemptFiles) -> Evidence:
    """Look into an attempt's directory, which need not exist."""
    names = tuple(atomic.listing(files.root))
    tail = outcome.tail(files.stderr) if files.stderr.name in names else ()
    used = None
    if files.result.name in names:
        # What it says counts once it is in the journal; here only what the journal does not have is wanted.
        with contextlib.suppress(OSError, ValueError):
            used = outcome.read(files.result).max_rss_mb
    return Evidence(files.root, names, tail, None if used is None else used * _MIB)
