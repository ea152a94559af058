"""What an experiment directory tells beside its journal, for a journal that is damaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from axsched_hpc.core.curve import Report
from axsched_hpc.core.events import DriverOpened, Failure, ObjectiveSet
from axsched_hpc.core.metrics import Metrics


@dataclass(frozen=True)
class FoundEnd:
    """How an attempt ended, by its result file: metrics or a failure. ``source`` names the file."""

    token: str
    metrics: Metrics | None
    failure: Failure | None
    started: float
    ended: float
    node: str
    source: str


@dataclass(frozen=True)
class FoundAttempt:
    """An attempt's directory. ``token`` is that of its result or its worker's claim; None without either.
    ``reports``: what is worth keeping of its progress file.
    """

    token: str | None = None
    end: FoundEnd | None = None
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True)
class FoundBatch:
    """A batch: by its manifest (``exact``), or else by the attempts that carry its token."""

    time: float
    attempts: tuple[tuple[int, int], ...]
    source: str
    exact: bool = True


@dataclass(frozen=True)
class Found:
    """What an experiment directory tells beside its journal.

    Attributes
    ----------
    trials
        (time, parameters) by trial.
    attempts
        By (trial, attempt).
    batches
        By token, oldest first.
    opened, objective
        What stands for the record of a driver, and of the objective, where no such record can be read.
    """

    trials: Mapping[int, tuple[float, dict[str, object]]] = field(default_factory=dict)
    attempts: Mapping[tuple[int, int], FoundAttempt] = field(default_factory=dict)
    batches: Mapping[str, FoundBatch] = field(default_factory=dict)
    opened: DriverOpened | None = None
    objective: ObjectiveSet | None = None
