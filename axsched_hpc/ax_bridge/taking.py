"""A trial of Ax's as the records that the journal keeps of it: one for each of its arms."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from ax.core.base_trial import BaseTrial
from ax.core.batch_trial import BatchTrial
from ax.core.data import DataRow
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.trial_status import TrialStatus

from axsched_hpc.ax_bridge.arms import Arms
from axsched_hpc.ax_bridge.data import Observed
from axsched_hpc.ax_bridge.inputs import require_arms
from axsched_hpc.ax_bridge.records import Reference, inherit, row_to_json, run_to_json, trial_fields_to_json
from axsched_hpc.ax_bridge.trials import epoch, final_values, start
from axsched_hpc.core.errors import ExperimentMismatchError
from axsched_hpc.core.events import Event, TrialAdded
from axsched_hpc.core.ledger import CANDIDATE
from axsched_hpc.core.states import TrialState

#: Origins of records, beside CANDIDATE: what Ax suggested, points that were given to this package to be run
#: at once or in their turn, and what came with its outcome.
SUGGESTED, OWN_POINT, ENQUEUED, EXTERNAL = "ax", "batch", "enqueued", "external"

_STATES = {
    TrialStatus.COMPLETED: TrialState.COMPLETED,
    TrialStatus.EARLY_STOPPED: TrialState.EARLY_STOPPED,
    TrialStatus.FAILED: TrialState.FAILED,
    TrialStatus.ABANDONED: TrialState.ABANDONED,
    TrialStatus.STALE: TrialState.ABANDONED,
}


@dataclass(frozen=True)
class Candidate:
    """An arm of a new trial, running as far as Ax is concerned.

    Attributes
    ----------
    trial
        Its number.
    ax
        What makes the same trial again, as JSON values. Of a batch trial the first of its records has that.
    place
        Of a point that was enqueued: its place in the queue.
    """

    trial: int
    arm: str
    parameters: dict[str, Any]
    ax: dict[str, Any]
    time: float
    origin: str
    place: int | None = None

    def event(self) -> TrialAdded:
        """The record of it, for the journal."""
        return TrialAdded(self.time, self.trial, self.arm, self.parameters, self.origin, self.ax, self.place)


def taken(
    trial: BaseTrial,
    arms: Arms,
    reference: Reference,
    *,
    time: float,
    origin: str,
    known: Collection[int] = (),
) -> list[Candidate]:
    """The arms of a trial, each with its number, but for those whose numbers are known already, and those
    of a batch trial that its owner has abandoned before it was run.
    """
    batch = isinstance(trial, BatchTrial)
    wanted = trial.arms if origin == EXTERNAL else trial.active_arms
    numbers = {arm.name: arms.number(trial, arm.name) for arm in wanted}
    whole: dict[str, Any] = {}
    if not any(number in known for number in numbers.values()):
        runs = [_taken_run(run, reference) for run in trial.generator_runs]
        whole = {"generator_runs": runs} if batch else {"generator_run": runs[0]}
        if origin in (CANDIDATE, EXTERNAL):
            whole["trial"] = trial_fields_to_json(trial)
    found = []
    for arm in wanted:
        number = numbers[arm.name]
        if number not in known:
            payload = {"index": trial.index} if batch or number != trial.index else {}
            found.append(Candidate(number, arm.name, dict(arm.parameters), payload | whole, time, origin))
            whole = {}
    return found


def found(
    experiment: Experiment,
    arms: Arms,
    observed: Observed,
    reference: Reference,
    known: Collection[int],
    *,
    time: float,
) -> list[TrialAdded]:
    """The records of what the user made by himself, as :meth:`AxBridge.external` takes and gives them."""
    events = []
    for index, trial in sorted(experiment.trials.items()):
        require_arms(trial)
        numbers = [arms.known(trial, arm.name) for arm in trial.arms]
        if all(number in known for number in numbers):
            continue
        # Where records are there in part, the last lines of a journal were lost.
        begun = any(number is not None for number in numbers)
        if trial.status.is_terminal:
            events += _finished(trial, observed.of(index), arms, reference, known)
        elif begun or (isinstance(trial, BatchTrial) and trial.status.is_candidate):
            if trial.status.is_candidate:
                start(trial, time, new=False)
            left = taken(trial, arms, reference, time=time, origin=CANDIDATE, known=known)
            events += [candidate.event() for candidate in left]
    return events


def recorded(events: Iterable[Event]) -> set[int]:
    """Ax's indices of the trials of which a journal tells."""
    return {index_of(event) for event in events if isinstance(event, TrialAdded)}


def index_of(event: TrialAdded) -> int:
    """Ax's index of the trial whose arm was added.

    Raises
    ------
    ExperimentMismatchError
        What is on record is none.
    """
    index = (event.ax or {}).get("index", event.trial)
    if not isinstance(index, int) or index < 0:
        raise ExperimentMismatchError(
            f"Trial {event.trial} of the journal has {index!r:.80} for Ax's index. Was the journal written "
            "by another version of axsched-hpc?"
        )
    return index


def _finished(
    trial: BaseTrial, rows: Iterable[DataRow], arms: Arms, reference: Reference, known: Collection[int]
) -> list[TrialAdded]:
    ended = epoch(trial.time_completed or trial.time_created)
    events = []
    for arm in taken(trial, arms, reference, time=ended, origin=EXTERNAL, known=known):
        own = [row for row in rows if row.arm_name == arm.arm]
        given_up = any(arm.arm == other.name for other in trial.abandoned_arms)
        outcome = {
            "status": trial.status.name,
            "state": (TrialState.ABANDONED if given_up else _STATES[trial.status]).value,
            "rows": [row_to_json(row) for row in own],
            "metrics": {name: list(v) for name, v in final_values(own).items() if isfinite(v[0])},
        }
        events.append(replace(arm, ax=arm.ax | outcome).event())
    return events


def _taken_run(run: GeneratorRun, reference: Reference) -> dict[str, Any]:
    encoded = run_to_json(run, reference)
    inherit(run, encoded["inherited"], reference)
    return encoded
