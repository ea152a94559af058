"""Bayesian optimisation with Ax on a batch cluster: every evaluation a Slurm job or a local process, and
nothing computed is lost.

The names below are loaded when they are first used (PEP 562): importing the package costs a few milliseconds
and loads neither Ax, torch, submitit, pandas nor NumPy, since every job and every ``axsched status`` imports
it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from axsched_hpc._version import __version__

if TYPE_CHECKING:
    from axsched_hpc.core.errors import (
        AxSchedError,
        ClusterUnavailableError,
        ConfigError,
        ExperimentLockedError,
        ExperimentMismatchError,
        FailureRateError,
        JournalError,
        MetricsError,
        ObjectiveError,
        ParameterError,
        StorageError,
        SubmissionError,
        SupersededError,
    )
    from axsched_hpc.objectives.checkpoint import ContinueLater, checkpoint_directory, warned
    from axsched_hpc.objectives.progress import report
    from axsched_hpc.runners.base import BaseRunner
    from axsched_hpc.runners.local_runner import LocalRunner
    from axsched_hpc.runners.slurm_runner import SlurmRunner
    from axsched_hpc.runners.submitit_runner import SubmititRunner
    from axsched_hpc.scheduler.batch import BatchTrialContext
    from axsched_hpc.scheduler.scheduler import AxScheduler

_ERRORS = (
    "AxSchedError",
    "ClusterUnavailableError",
    "ConfigError",
    "ExperimentLockedError",
    "ExperimentMismatchError",
    "FailureRateError",
    "JournalError",
    "MetricsError",
    "ObjectiveError",
    "ParameterError",
    "StorageError",
    "SubmissionError",
    "SupersededError",
)

_WHERE = {
    "AxScheduler": "axsched_hpc.scheduler.scheduler",
    "BatchTrialContext": "axsched_hpc.scheduler.batch",
    "BaseRunner": "axsched_hpc.runners.base",
    "LocalRunner": "axsched_hpc.runners.local_runner",
    "SlurmRunner": "axsched_hpc.runners.slurm_runner",
    "SubmititRunner": "axsched_hpc.runners.submitit_runner",
    **dict.fromkeys(("ContinueLater", "checkpoint_directory", "warned"), "axsched_hpc.objectives.checkpoint"),
    "report": "axsched_hpc.objectives.progress",
    **dict.fromkeys(_ERRORS, "axsched_hpc.core.errors"),
}

__all__ = [
    "AxSchedError",
    "AxScheduler",
    "BaseRunner",
    "BatchTrialContext",
    "ClusterUnavailableError",
    "ConfigError",
    "ContinueLater",
    "ExperimentLockedError",
    "ExperimentMismatchError",
    "FailureRateError",
    "JournalError",
    "LocalRunner",
    "MetricsError",
    "ObjectiveError",
    "ParameterError",
    "SlurmRunner",
    "StorageError",
    "SubmissionError",
    "SubmititRunner",
    "SupersededError",
    "__version__",
    "checkpoint_directory",
    "report",
    "warned",
]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
