"""What a project file says, checked: plain data, of which the run is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from axsched_hpc.objectives.kinds import ContainerObjective, ScriptObjective


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    type
        ``float`` or ``int``: a range; ``choice``; ``bool``; ``fixed``.
    values
        Those of a choice, and the one of what is fixed.
    when
        Name and value of the parameter on which it depends: without that value it has none.
    """

    name: str
    type: str
    lower: float = 0.0
    upper: float = 0.0
    log: bool = False
    step: float | None = None
    values: tuple[Any, ...] = ()
    ordered: bool | None = None
    when: tuple[str, Any] | None = None


@dataclass(frozen=True)
class Goal:
    """One metric that is to be small or large.

    Attributes
    ----------
    weight
        Its share in the weighted sum; None: the objectives are kept apart.
    threshold
        The worst value of interest, for a Pareto front.
    """

    metric: str
    minimize: bool
    weight: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Function:
    """A Python function: ``module:name``."""

    module: str
    name: str
    checkpointable: bool = False
    warning: int | None = None


@dataclass(frozen=True)
class Where:
    """Where trials run: a runner's arguments, over those of a profile."""

    type: str
    arguments: Mapping[str, Any]
    profile: str | None = None


@dataclass(frozen=True)
class Stopping:
    """A strategy of Ax by its name, with its settings."""

    strategy: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Project:
    """All that a project file says.

    Attributes
    ----------
    trials, seconds
        The experiment's budget; None: no bound of time.
    early_stopping
        True: Ax's default; False and None as in the scheduler's config.
    config
        For :class:`axsched_hpc.core.config.SchedulerConfig`, but for the two strategies.
    """

    name: str | None
    parameters: tuple[Parameter, ...]
    parameter_constraints: tuple[str, ...]
    baseline: Mapping[str, Any] | None
    goals: tuple[Goal, ...]
    constraints: tuple[str, ...]
    tracked_metrics: tuple[str, ...]
    objective: ScriptObjective | ContainerObjective | Function
    where: Where
    trials: int
    seconds: float | None
    early_stopping: bool | Stopping | None
    global_stopping: bool | Stopping | None
    config: Mapping[str, Any]
