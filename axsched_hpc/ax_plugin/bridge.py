"""Ax's experiment as the loop sees it where Ax drives: Ax is told nothing, it asks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from ax.core.experiment import Experiment
from ax.core.trial import Trial

from axsched_hpc.ax_bridge import definition
from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.files import DRIVEN_BY_AX
from axsched_hpc.ax_bridge.inputs import handles_from
from axsched_hpc.ax_bridge.snapshot import FORMAT, seal
from axsched_hpc.ax_bridge.taking import SUGGESTED
from axsched_hpc.core.curve import Point
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import Event, TrialAdded
from axsched_hpc.core.metrics import Metrics


class AskingAx(AxBridge):
    """An experiment that Ax itself drives.

    Its trials' ends and curves are in the journal, for Ax to ask for; Ax keeps its own state, and saves it.

    Attributes
    ----------
    current
        The experiment that Ax works with now: the same, loaded again perhaps.
    """

    keeps_snapshot = False

    def __init__(self, experiment: Experiment) -> None:
        # The strategy is Ax's secret here: what stands in its place is never asked.
        super().__init__(handles_from(experiment), early_stopping=False)
        self._fingerprint = definition.fingerprint(experiment)
        self.current = experiment

    def check(self, experiment: Experiment) -> None:
        """Refuse another experiment than the one that this directory is for.

        Raises
        ------
        ExperimentMismatchError
            Has the differences.
        """
        if experiment is self.current:
            return
        if differences := definition.compare(self._fingerprint, definition.fingerprint(experiment)):
            raise ExperimentMismatchError(
                f"This runner's directory is another experiment's: {'; '.join(map(str, differences))}. "
                "Give each experiment a runner with a directory of its own."
            )
        self.current = experiment

    def added(self, trial: Trial, *, time: float) -> TrialAdded:
        """The record of a trial that Ax wants to run, from which it can be made again."""
        (candidate,) = self._taken(trial, time, SUGGESTED)
        return candidate.event()

    def definition(self) -> dict[str, Any]:
        """What makes it the same experiment; how points are generated is not known here."""
        ours: dict[str, Any] = {
            "format": FORMAT,
            "seed": None,
            "fingerprint": self._fingerprint,
            "base_trials": [],
        }
        defined: dict[str, Any] = json.loads(seal({"_type": DRIVEN_BY_AX}, ours))
        return defined

    # ------------------------------------------------------------ what Ax asks for by itself

    def replay(self, events: Iterable[Event]) -> None:
        """Nothing: what Ax does not know yet it asks for."""

    def external(self, known: Collection[int], *, time: float) -> list[TrialAdded]:
        """None: what the user completes in Ax by himself, Ax keeps."""
        return []

    def report(self, curves: Iterable[tuple[int, Iterable[Point]]]) -> None:
        """Nothing; see :class:`~axsched_hpc.ax_plugin.FileMetric`."""

    def complete(self, ends: Iterable[tuple[int, Metrics, float]]) -> None:
        """Nothing; see :class:`~axsched_hpc.ax_plugin.FileMetric`."""

    def to_stop(self, trials: Collection[int]) -> dict[int, str]:
        """None: Ax's Orchestrator decides."""
        return {}

    def stop(self, trial: int, reason: str, *, time: float) -> None:
        """Nothing: it was Ax that stopped it."""

    def fail(self, trial: int, reason: str, *, time: float) -> None:
        """Nothing: Ax polls."""

    def abandon(self, trial: int, reason: str, *, time: float) -> None:
        """Nothing: Ax polls."""
