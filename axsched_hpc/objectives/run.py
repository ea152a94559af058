"""Run an objective, whatever its kind."""

from __future__ import annotations

from axsched_hpc.core.metrics import Metrics
from axsched_hpc.io import progress
from axsched_hpc.objectives.context import RunContext, insist
from axsched_hpc.objectives.install import Installed
from axsched_hpc.objectives.kinds import ContainerObjective, FunctionObjective, ScriptObjective


def run(installed: Installed, context: RunContext) -> Metrics:
    """Run an objective and return its metrics.

    Raises
    ------
    ObjectiveFailed
        It ended without valid metrics.
    """
    # What an earlier execution of a requeued job has left there is not this one's.
    metrics = context.files.metrics
    insist(lambda: metrics.unlink(missing_ok=True), f"{metrics} cannot be removed")
    reports = context.files.progress
    insist(lambda: progress.end_line(reports), f"{reports} cannot be written")
    # A job imports only what its kind needs.
    match installed.objective:
        case FunctionObjective():
            from axsched_hpc.objectives.function import run_function

            return run_function(installed, context)
        case ScriptObjective() as script:
            from axsched_hpc.objectives.script import run_script

            return run_script(script, installed.files, context)
        case ContainerObjective() as container:
            from axsched_hpc.objectives.containers.run import run_container

            return run_container(container, installed.files, context)
