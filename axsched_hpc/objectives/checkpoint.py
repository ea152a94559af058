"""What an objective that saves checkpoints calls, in a Python function or script."""

from __future__ import annotations

import os
from pathlib import Path

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.objectives import warning
from axsched_hpc.objectives.context import CHECKPOINT_DIR


class ContinueLater(Exception):
    """Raised by an objective function that has saved its state, to be called again in another job.

    The next call finds the same :func:`checkpoint_directory`. Something must have been written there since
    this call began: else nothing would ever come forward, and the trial fails.
    """


def checkpoint_directory() -> Path:
    """The trial's directory for checkpoints: the same in each of its attempts, and empty in the first.

    Raises
    ------
    ObjectiveError
        No trial runs in this process.
    """
    value = os.environ.get(CHECKPOINT_DIR)
    if not value:
        raise ObjectiveError(
            f"There is no checkpoint directory, since no trial runs here: {CHECKPOINT_DIR} is not set. To "
            "try an objective outside of a job, set that variable to a directory of your choice."
        )
    return Path(value)


def warned() -> bool:
    """Whether the end of the job's time is near, so that the function should save its state and raise
    :class:`ContinueLater`.

    For a function objective that is checkpointable; False anywhere else. A script gets a signal instead.
    """
    return warning.came()
