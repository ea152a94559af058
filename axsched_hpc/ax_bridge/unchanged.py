"""That the user's objects are still the ones that were taken over: what is on record speaks of those."""

from __future__ import annotations

from axsched_hpc.ax_bridge import definition
from axsched_hpc.ax_bridge.inputs import Handles
from axsched_hpc.core.errors import ExperimentMismatchError


class Unchanged:
    """What an experiment was when it was taken over."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles
        self._before = definition.fingerprint(handles.experiment)

    def check(self) -> None:
        """Refuse what has become another experiment.

        Raises
        ------
        ExperimentMismatchError
            The user has changed the search space, the objective or the constraints meanwhile, or has given
            his client another experiment or strategy.
        """
        client, experiment = self._handles.client, self._handles.experiment
        strategy = self._handles.generation_strategy
        if client._maybe_experiment is not experiment or client._maybe_generation_strategy is not strategy:
            raise ExperimentMismatchError(
                "The client was given another experiment or generation strategy after AxScheduler took it. "
                "Make a new AxScheduler, with a job_output_dir of its own where trials were run already."
            )
        # A status quo may come later; nothing that was suggested or recorded before depends on it.
        now = {**definition.fingerprint(experiment), "status_quo": self._before["status_quo"]}
        if now == self._before:
            return
        differences = definition.compare(self._before, now)
        raise ExperimentMismatchError(
            f"The experiment was changed after AxScheduler took it: {'; '.join(map(str, differences))}. "
            "Change it back, or hand the changed one to a new AxScheduler with a job_output_dir of its own: "
            "its trials so far come along."
        )
