"""The learning curves of an experiment, from its journal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from axsched_hpc.core.curve import extend, finish
from axsched_hpc.core.events import AttemptReported, AttemptSucceeded, Event
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.reporting.reading import experiment_at
from axsched_hpc.store import journal

#: Trial -> step -> metrics.
Curves = dict[int, dict[int, Metrics]]


def read_curves(directory: str | Path) -> Curves:
    """The curves of the trials that have one, as Ax has them: trial -> step -> metrics, by rising steps.

    Raises
    ------
    ConfigError
        There is no experiment in the directory.
    JournalError
        Its journal is damaged.
    """
    return curves(journal.events(journal.read(experiment_at(directory).journal)))


def curves(events: Iterable[Event]) -> Curves:
    """The same from the events of a journal, oldest first."""
    found: Curves = {}
    for event in events:
        match event:
            case AttemptReported(trial=trial, points=points):
                extend(found.setdefault(trial, {}), points)
            case AttemptSucceeded(trial=trial, metrics=metrics):
                finish(found.get(trial, {}), metrics)
    return found
