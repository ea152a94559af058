"""Ax's own runner and metric over Slurm: for ``Client.run_trials`` and ``Orchestrator``.

Importing this imports Ax, and makes the two classes known to its stores.
"""

from __future__ import annotations

from axsched_hpc.ax_plugin.errors import AxRunnerError
from axsched_hpc.ax_plugin.metric import FileMetric
from axsched_hpc.ax_plugin.runner import SubmititAxRunner, bring_back
from axsched_hpc.ax_plugin.storage import register, registry_bundle, storage_config

__all__ = [
    "AxRunnerError",
    "FileMetric",
    "SubmititAxRunner",
    "bring_back",
    "register",
    "registry_bundle",
    "storage_config",
]

register()
