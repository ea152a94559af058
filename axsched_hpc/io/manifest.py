"""The manifest of a batch: all that its jobs need to know.

It is complete on disk, under a name that is known without the job id, before the scheduler is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.io import atomic, document
from axsched_hpc.io.layout import Layout


@dataclass(frozen=True)
class Manifest:
    """What the jobs of a batch run.

    Attributes
    ----------
    token
        The batch's unique name.
    root
        The experiment directory.
    objective
        The directory of the objective, below ``objective/``.
    attempts
        (trial, attempt) by array index.
    """

    token: str
    root: Path
    objective: str
    attempts: tuple[tuple[int, int], ...]


def write(layout: Layout, manifest: Manifest) -> Path:
    """Write a batch's manifest and return where it is."""
    path = layout.manifest(manifest.token)
    atomic.make_directory(path.parent)
    fields = {
        "token": manifest.token,
        "root": str(manifest.root),
        "objective": manifest.objective,
        "attempts": [list(pair) for pair in manifest.attempts],
    }
    atomic.write(path, document.encode(fields))
    return path


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is malformed, or of a later format.
    """
    source = str(path)
    fields = document.read(path)
    pairs = document.field(fields, "attempts", list, source=source)
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(number) is int for number in pair):
            raise ValueError(f"{source}: {pair!r:.80} is not a pair of trial and attempt.")
    return Manifest(
        token=document.field(fields, "token", str, source=source),
        root=Path(document.field(fields, "root", str, source=source)),
        objective=document.field(fields, "objective", str, source=source),
        attempts=tuple((trial, attempt) for trial, attempt in pairs),
    )
