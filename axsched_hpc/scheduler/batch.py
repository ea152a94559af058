"""Trials of the user's own choosing, submitted together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import AxSchedError


class BatchTrialContext:
    """What ``AxScheduler.batch_trial_context()`` gives: collects points, and checks each at once.

    Attributes
    ----------
    points
        The parameters that were added, in order.
    """

    def __init__(self, bridge: AxBridge, first_index: int) -> None:
        self._bridge = bridge
        self._first = first_index
        self._open = True
        self.points: list[dict[str, Any]] = []

    def add_trial(self, parameters: Mapping[str, Any]) -> int:
        """Add one point to the batch.

        Parameters
        ----------
        parameters
            A value for each parameter of the search space.

        Returns
        -------
        int
            The index that the trial will have.

        Raises
        ------
        ParameterError
            The point does not fit the search space; nothing was added.
        """
        if not self._open:
            raise AxSchedError(
                "add_trial was called after the end of the with-block. Open a new batch_trial_context()."
            )
        self.points.append(self._bridge.validate(parameters))
        return self._first + len(self.points) - 1

    def close(self) -> None:
        """Take no further points."""
        self._open = False
