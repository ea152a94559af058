"""What ``axsched clean`` removes: what a driver would have removed by itself, and more where it is asked for.

Parameters, metrics, curves, outcomes, claims, the objective and the journal are never among it. Work per
trial is bounded, but for the files in directories that are to be removed, which are counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import access, atomic
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop import cleanup

#: Trials that ended without a result.
_FAILED = (TrialState.FAILED, TrialState.ABANDONED)

#: What can be removed, in the order in which it is told of, and what it is.
KINDS = {
    "logs": "what completed trials have printed",
    "checkpoints": "what completed trials had saved to go on from",
    "batches": "job scripts and logs of batches whose trials are all completed",
    "failed": "logs, checkpoints and batches of failed and abandoned trials",
    "work": "working directories of the objective",
    "images": "prepared container images; the next call prepares them again",
    "leftovers": "temporary files of killed processes, older than a day",
}


@dataclass(frozen=True)
class Piece:
    """One path that can be removed.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    files, size
        How many files it is, and their bytes.
    """

    path: Path
    kind: str
    files: int
    size: int


@dataclass(frozen=True)
class Asked:
    """What is to be removed beside that which needs no asking: kinds of the same names."""

    failed: bool = False
    work: bool = False
    images: bool = False


def pieces(layout: Layout, ledger: Ledger, asked: Asked) -> list[Piece]:
    """What there is to remove.

    Raises
    ------
    OSError
        A symbolic link leads out of the experiment, or a directory cannot be read.
    """
    places = (layout.trials, layout.submitit, layout.images, layout.inbox, layout.objective, layout.journal)
    access.require_inside(layout.root, *(place for place in places if os.path.lexists(place)))
    found = list(_of_trials(layout, ledger, asked))
    found += _of_batches(layout, ledger, asked)
    if asked.images:
        found += _present("images", [layout.images])
    for place in (layout.root, *places):
        found += _leftovers(place)
    return found


def remove(layout: Layout, found: Iterable[Piece], ledger: Ledger) -> list[tuple[Path, BaseException]]:
    """Remove pieces, and directories of attempts that are empty then; what could not be removed, and why."""
    failed: list[tuple[Path, BaseException]] = []
    for piece in found:
        cleanup.remove(piece.path, failed=lambda path, error: failed.append((path, error)))
    for trial in ledger.trials.values():
        if trial.state in cleanup.DONE and trial.attempts:
            for path in cleanup.empty(layout, trial.number, len(trial.attempts)):
                cleanup.remove_empty(path)
    return failed


def _of_trials(layout: Layout, ledger: Ledger, asked: Asked) -> Iterator[Piece]:
    for trial in ledger.trials.values():
        if not trial.attempts or not trial.state.final or layout.trial(trial.number).is_symlink():
            continue
        done = trial.state in cleanup.DONE
        for attempt in range(1, len(trial.attempts) + 1):
            root = layout.attempt(trial.number, attempt).root
            if root.is_symlink():
                continue
            yield from _of_attempt(layout, trial, attempt, asked)
            yield from _leftovers(root)
        if done or asked.failed:
            kind = "checkpoints" if done else "failed"
            yield from _present(kind, [layout.checkpoint(trial.number)])
        yield from _leftovers(layout.trial(trial.number))


def _of_attempt(layout: Layout, trial: Trial, attempt: int, asked: Asked) -> Iterator[Piece]:
    succeeded = trial.state in cleanup.DONE and attempt == len(trial.attempts)
    if succeeded or asked.failed:
        kind = "logs" if succeeded else "failed"
        yield from _present(kind, cleanup.logs(layout, trial.number, attempt))
        if asked.work:
            yield from _present("work", [layout.attempt(trial.number, attempt).work])


def _of_batches(layout: Layout, ledger: Ledger, asked: Asked) -> Iterator[Piece]:
    for token in ledger.batches:
        if cleanup.ended(ledger, token, cleanup.DONE):
            yield from _present("batches", cleanup.of_batch(layout, token))
        elif asked.failed and cleanup.ended(ledger, token, (*cleanup.DONE, *_FAILED)):
            yield from _present("failed", cleanup.of_batch(layout, token))


def _present(kind: str, paths: Collection[Path]) -> Iterator[Piece]:
    for path in paths:
        files, size = _measured(path)
        if files:
            yield Piece(path, kind, files, size)


def _leftovers(directory: Path) -> Iterator[Piece]:
    for path in atomic.stale(directory):
        files, size = _measured(path)
        # A directory that was to be filled may be empty.
        yield Piece(path, "leftovers", max(1, files), size)


def _measured(path: Path) -> tuple[int, int]:
    """How many files a path is, and their bytes; a symbolic link is a file."""
    try:
        stat = path.lstat()
    except FileNotFoundError:
        return 0, 0
    if not S_ISDIR(stat.st_mode):
        return 1, stat.st_size
    files = size = 0
    for place, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += (Path(place) / name).lstat().st_size
                files += 1
    return files, size
