"""Removing the working files of what is completed or was stopped early. Parameters, metrics, curves,
outcomes, claims, and all of failed trials stay.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import faults
from axsched_hpc.io.layout import Layout

log = logging.getLogger("axsched_hpc")


#: The trials whose working files are of no more use: their metrics, or curves, are in Ax.
_DONE = (TrialState.COMPLETED, TrialState.EARLY_STOPPED)


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
        files = self._layout.attempt(trial, attempt)
        for path in (files.stdout, files.stderr):
            _remove(path)
        faults.reach("cleanup.half")
        checkpoint = self._layout.checkpoint(trial)
        for place in (files.work, files.root / checkpoint.name):
            with contextlib.suppress(OSError):
                place.rmdir()
        _remove_tree(checkpoint)
        token = ledger.trials[trial].attempts[-1].token
        if all(ledger.trials[number].state in _DONE for number, _ in ledger.batches[token]):
            _remove(self._layout.manifest(token))
            _remove_tree(self._layout.batch(token))
        faults.reach("cleanup.after")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _left(path, error)


def _remove_tree(directory: Path) -> None:
    if directory.is_dir() and not directory.is_symlink():
        shutil.rmtree(directory, onerror=lambda _, path, info: _left(Path(path), info[1]))


def _left(path: Path, error: BaseException) -> None:
    log.info("%s could not be removed (%s); it is left.", path, error)
