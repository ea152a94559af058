"""What early stopping has spared: an estimate from the executions that went on to their end."""

from __future__ import annotations

from collections.abc import Iterable

from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import TrialState


class Saved(Record):
    """What trials that were stopped early have not spent.

    Attributes
    ----------
    trials
        How many were stopped while they ran.
    hours
        Hours of their jobs: each would have run as long as the median of the completed trials. None where no
        trial is completed, so that there is nothing to compare with.
    node_hours
        The same, times the nodes of each job.
    """

    trials: int
    hours: float | None
    node_hours: float | None


def saved(trials: Iterable[Trial]) -> Saved:
    """Estimate what was spared, from the times of the last attempts."""
    complete: list[float] = []
    stopped: list[tuple[float, int]] = []
    for trial in trials:
        attempt = trial.attempt
        seconds = None if attempt is None else _ran(attempt)
        if attempt is None or seconds is None:
            continue
        if trial.state is TrialState.COMPLETED:
            complete.append(seconds)
        elif trial.state is TrialState.EARLY_STOPPED:
            from axsched_hpc.slurm.allocation import hosts  # few looks need it

            # A name that is no list of Slurm's, of a local machine for example, is one node.
            stopped.append((seconds, len(hosts(attempt.node or "")) or 1))
    if not complete:
        return Saved(len(stopped), 0.0 if not stopped else None, 0.0 if not stopped else None)
    typical = _median(complete)
    spared = [(max(0.0, typical - seconds) / 3600, nodes) for seconds, nodes in stopped]
    return Saved(
        len(stopped), sum(hours for hours, _ in spared), sum(hours * nodes for hours, nodes in spared)
    )


def saved_text(found: Saved) -> str | None:
    """The same in a line; None where nothing was stopped."""
    if not found.trials:
        return None
    what = f"early stopping: {found.trials} trial{'s' if found.trials > 1 else ''} stopped"
    if found.node_hours is None:
        return f"{what}; what that spares is known once a trial is completed"
    return f"{what}, about {found.node_hours:.3g} node-hours not spent"


def _ran(attempt: Attempt) -> float | None:
    if attempt.started is None or attempt.ended is None:
        return None
    return max(0.0, attempt.ended - attempt.started)


def _median(values: list[float]) -> float:
    # The module statistics takes as long to load as all the rest of a look at a small experiment.
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
