"""The manifest of a batch: all that its jobs need to know.

It is complete on disk, under a name that is known without the job id, before the scheduler is asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from axsched_hpc.core.record import Record
from axsched_hpc.io import atomic, document
from axsched_hpc.io.layout import Layout

_NAME = re.compile(r"[A-Za-z0-9_-]+")

#: Trials and attempts are counted below this.
_MOST = 10**9


class Manifest(Record):
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


def write(layout: Layout, manifest: Manifest, *, sync: bool = True) -> Path:
    """Write a batch's manifest and return where it is; see :func:`axsched_hpc.io.atomic.write`."""
    path = layout.manifest(manifest.token)
    atomic.make_directory(path.parent)
    fields = {
        "token": manifest.token,
        "root": str(manifest.root),
        "objective": manifest.objective,
        "attempts": [list(pair) for pair in manifest.attempts],
    }
    atomic.write(path, document.encode(fields), sync=sync)
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
    token = document.field(fields, "token", str, source=source)
    root = Path(document.field(fields, "root", str, source=source))
    objective = document.field(fields, "objective", str, source=source)
    for pair in pairs:
        if not _is_attempt(pair):
            raise ValueError(f"{source}: {pair!r:.80} is not a pair of trial and attempt.")
    if path.name != f"{token}.json":
        raise ValueError(f"{source} is the manifest of another batch, {token!r:.80}.")
    if not root.is_absolute() or "\0" in str(root):
        raise ValueError(f"{source}: field 'root' is {str(root)!r:.80}, not a full path.")
    if not _NAME.fullmatch(objective):
        raise ValueError(f"{source}: field 'objective' is {objective!r:.80}, no name below objective/.")
    return Manifest(token, root, objective, tuple((trial, attempt) for trial, attempt in pairs))


def _is_attempt(pair: object) -> bool:
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(number) is int for number in pair):
        return False
    trial, attempt = pair
    return bool(0 <= trial < _MOST and 1 <= attempt < _MOST)
