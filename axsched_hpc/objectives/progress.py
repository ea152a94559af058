"""What an objective calls to report intermediate values, in a Python function or script."""

from __future__ import annotations

import json
import operator
import os
import warnings
from pathlib import Path

from axsched_hpc.core.curve import LARGEST_STEP
from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import normalise
from axsched_hpc.io import progress
from axsched_hpc.objectives.context import PROGRESS_FILE

#: Texts of warnings that were given, and files whose last line may be half a line.
_warned: set[str] = set()
_torn: set[str] = set()


def report(step: int, /, **metrics: object) -> None:
    """Report intermediate values, such as the loss after an epoch: a point of the trial's learning curve.

    Parameters
    ----------
    step
        How far the objective has come, as a whole number: epochs, iterations, time steps. Steps rise; one
        that is lower than the last says that the objective began again from there.
    metrics
        By name, as in what the objective returns: a number, or ``(mean, sem)``. For a name that Python does
        not take: ``report(3, **{"val/loss": 0.5})``.

    Raises
    ------
    MetricsError
        The step is no whole number, there is no metric, or a value is not a finite number.

    Notes
    -----
    A report costs a write to the shared filesystem: one per second is plenty. One that cannot be written is
    lost, with a warning; the objective goes on. Of several processes of an objective one reports. Outside of
    a job nothing is reported, with a warning, so that a function can be tried.
    """
    try:
        number = operator.index(step)
    except TypeError:
        number = -1
    if isinstance(step, bool) or not 0 <= number <= LARGEST_STEP:
        raise MetricsError(
            f"report: the step is {step!r:.80}, but has to be a whole number, 0 or more, such as the epoch."
        )
    if progress.STEP in metrics:
        raise MetricsError(f"report: no metric can be called {progress.STEP!r}.")
    values = normalise(metrics, source=f"report({number}, ...)")
    plain = {name: mean if sem is None else [mean, sem] for name, (mean, sem) in values.items()}
    where = os.environ.get(PROGRESS_FILE)
    if not where:
        _warn(
            f"axsched_hpc.report does nothing here, since no trial runs: {PROGRESS_FILE} is not set. To see "
            "what is reported, set it to the path of a file."
        )
        return
    path = Path(where)
    line = json.dumps({progress.STEP: number, **plain}) + "\n"
    try:
        progress.append(path, "\n" + line if where in _torn else line)
        _torn.discard(where)
    except OSError as error:
        _torn.add(where)
        _warn(f"axsched_hpc.report: intermediate values are lost ({error}); the objective goes on.")


def _warn(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=3)
