"""Removing the working files of what is completed or was stopped early. Parameters, metrics, curves,
outcomes, claims, and all of failed trials stay.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import faults
from axsched_hpc.io.layout import Layout

log = logging.getLogger("axsched_hpc")


#: The trials whose working files are of no more use: their metrics, or curves, are in Ax.
DONE = (TrialState.COMPLETED, TrialState.EARLY_STOPPED)


class Cleaner:
    """Removes the logs of an attempt that was completed or stopped early and its trial's checkpoints, and a
    batch's files once all its trials have ended so.

    The objective's working directory stays where anything lies in it: it is the user's.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def clean(self, ledger: Ledger, trial: int, attempt: int) -> None:
        """Clean up after such an attempt; what cannot be removed is logged and left."""
        faults.reach("cleanup.before")
        for path in logs(self._layout, trial, attempt):
            remove(path, failed=_left)
        faults.reach("cleanup.half")
        for path in empty(self._layout, trial, attempt):
            remove_empty(path)
        remove(self._layout.checkpoint(trial), failed=_left)
        token = ledger.trials[trial].attempts[-1].token
        if ended(ledger, token, DONE):
            for path in of_batch(self._layout, token):
                remove(path, failed=_left)
        faults.reach("cleanup.after")


def logs(layout: Layout, trial: int, attempt: int) -> tuple[Path, ...]:
    """What an attempt has said."""
    files = layout.attempt(trial, attempt)
    return files.stdout, files.stderr


def empty(layout: Layout, trial: int, attempt: int) -> tuple[Path, ...]:
    """The directories of an attempt that go where nothing lies in them."""
    files = layout.attempt(trial, attempt)
    return files.work, files.root / layout.checkpoint(trial).name


def of_batch(layout: Layout, token: str) -> tuple[Path, ...]:
    """What a batch was submitted with, and what its runner has kept of it."""
    return layout.manifest(token), layout.batch(token)


def ended(ledger: Ledger, token: str, states: Collection[TrialState]) -> bool:
    """Whether all trials of a batch have ended in one of these states."""
    return all(ledger.trials[number].state in states for number, _ in ledger.batches[token])


def remove(path: Path, *, failed: Callable[[Path, BaseException], None]) -> None:
    """Remove a file or a directory with all that is in it; a symbolic link is a file."""
    try:
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            shutil.rmtree(path, onerror=lambda _, place, info: failed(Path(place), info[1]))
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        failed(path, error)


def remove_empty(path: Path) -> None:
    """Remove a directory where nothing lies in it."""
    with contextlib.suppress(OSError):
        path.rmdir()


def _left(path: Path, error: BaseException) -> None:
    log.info("%s could not be removed (%s); it is left.", path, error)
