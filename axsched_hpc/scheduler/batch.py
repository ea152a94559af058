"""Trials of the user's own choosing, submitted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.core.ledger import arm_key

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.bridge import AxBridge


class BatchTrialContext:
    """What ``AxScheduler.batch_trial_context()`` gives: collects points, and checks each at once.

    Parameters
    ----------
    earlier
        The trials of this batch where the script was stopped after it and is started again: their indices and
        parameters. The same points get the same indices, and are not added again.

    Attributes
    ----------
    points
        The parameters that were added, in order.
    first
        The index of the next trial when the batch was opened.
    """

    def __init__(self, bridge: AxBridge, earlier: Sequence[tuple[int, Mapping[str, Any]]] = ()) -> None:
        self._bridge = bridge
        self._earlier = earlier
        self.first = bridge.next_trial
        #: How many of the points, from the first on, are those of before.
        self._same = 0
        self._open = True
        self.points: list[dict[str, Any]] = []

    @property
    def known(self) -> bool:
        """Whether these are, point by point, the trials of before the restart."""
        return bool(self._earlier) and self._same == len(self._earlier) == len(self.points)

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
        place = len(self.points) - 1
        if self._same == place < len(self._earlier):
            number, before = self._earlier[place]
            if arm_key(before) == arm_key(self.points[place]):
                self._same += 1
                return number
        return self.first + place

    def close(self) -> None:
        """Take no further points, and check those that are there against the batch before the restart.

        Raises
        ------
        AxSchedError
            It began as before and went on differently, so that some indices were already given out wrongly.
        """
        self._open = False
        if self._same and not self.known:
            raise AxSchedError(
                f"Before the script was started again this batch had {len(self._earlier)} points "
                f"(trials {self._earlier[0][0]} to {self._earlier[-1][0]}); now it begins with the same ones "
                "and goes on differently. Nothing was submitted. Add the same points as before, and further "
                "ones in a batch of their own; or use another job_output_dir."
            )
