"""Whether an objective has saved its state. What the state is, is the objective's own affair."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: Files that are looked at; a program that saves more of them has saved something.
_MOST = 10_000


def saved_since(directory: Path, mark: Path) -> bool:
    """Whether a file below a directory was written after another one, by the clock of their filesystem.

    Parameters
    ----------
    directory
        The trial's checkpoint directory; need not exist.
    mark
        The claim that the attempt's worker made before it ran anything.
    """
    try:
        begun = mark.stat().st_mtime_ns
    except OSError:
        return False
    for count, entry in enumerate(_files(directory)):
        if count >= _MOST:
            return True
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        # An empty file holds nothing to go on from.
        if status.st_size and status.st_mtime_ns > begun:
            return True
    return False


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield entry
