"""The learning curves of an experiment, from its journal."""

from __future__ import annotations

from pathlib import Path

from axsched_hpc.core.curve import extend, finish
from axsched_hpc.core.events import AttemptReported, AttemptSucceeded
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.reporting.reading import experiment_at
from axsched_hpc.store import journal


def read_curves(directory: str | Path) -> dict[int, dict[int, Metrics]]:
    """The curves of the trials that have one, as Ax has them: trial -> step -> metrics, by rising steps.

    Raises
    ------
    ConfigError
        There is no experiment in the directory.
    JournalError
        Its journal is damaged.
    """
    curves: dict[int, dict[int, Metrics]] = {}
    for event in journal.events(journal.read(experiment_at(directory).journal)):
        match event:
            case AttemptReported(trial=trial, points=points):
                extend(curves.setdefault(trial, {}), points)
            case AttemptSucceeded(trial=trial, metrics=metrics):
                finish(curves.get(trial, {}), metrics)
    return curves
