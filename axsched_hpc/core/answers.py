"""What a run under way answers to a request: whether it is taken, and in which words. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from axsched_hpc.core.changes import Change
from axsched_hpc.core.errors import plural
from axsched_hpc.core.events import RequestAnswered, Setting
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.states import RequestKind, TrialState

S = TrialState

#: What cannot be done to a trial any more, in words.
_ENDS = {
    S.COMPLETED: "has completed",
    S.EARLY_STOPPED: "was stopped early, and keeps its curve",
    S.FAILED: "has failed already",
}


class Refused(Exception):
    """A request is not taken; says why."""


@dataclass(frozen=True)
class Place:
    """Where a request has come to.

    Attributes
    ----------
    epoch, run
        Of the driver.
    total
        The trials that the script says there are to be; None for a call that has no such number.
    max_parallel
        The attempts that the script says may be under way.
    pack
        Attempts that share a job.
    drives
        Whether this package drives, rather than Ax itself.
    """

    epoch: int
    run: str | None
    total: int | None
    max_parallel: int
    pack: int = 1
    drives: bool = True


def answered(id: str, change: Change, time: float, answer: str, *, taken: bool = True) -> RequestAnswered:
    """The record of an answer."""
    return RequestAnswered(
        time, id, change.request, change.by, change.time, taken, answer, change.trial, change.cancel
    )


def answer(id: str, change: Change, ledger: Ledger, place: Place, time: float) -> RequestAnswered:
    """Answer a request for which the ledger is all that has to be known.

    Raises
    ------
    Refused
        It is not taken.
    """
    refuse_where_ax_drives(change, place)
    if change.request is RequestKind.SET:
        return _set(id, change, ledger, place, time)
    return answered(id, change, time, _ANSWERS[change.request](change, ledger, place))


def refuse_where_ax_drives(change: Change, place: Place) -> None:
    """Refuse what only who asks Ax for points can do; raises :class:`Refused`."""
    asks_ax = change.request not in (RequestKind.CANCEL, RequestKind.PAUSE, RequestKind.RESUME)
    if not place.drives and (change.trials is not None if change.request is RequestKind.SET else asks_ax):
        raise Refused("Ax itself drives this experiment: only its Orchestrator can do that")


def _stop(change: Change, ledger: Ledger, place: Place) -> str:
    if change.epoch != place.epoch and (change.run is None or change.run != place.run):
        raise Refused("it was for an earlier driver, which has ended; this one goes on")
    left = plural(len(ledger.active), "attempt")
    if not ledger.active:
        return "stopping: nothing is under way"
    if change.cancel:
        return f"stopping: {left} under way {_be(ledger)} cancelled"
    return f"stopping: nothing new is submitted, and the run ends after the {left} under way"


def _be(ledger: Ledger) -> str:
    return "is" if len(ledger.active) == 1 else "are"


def _cancel(change: Change, ledger: Ledger, place: Place) -> str:
    trial = _trial(change, ledger)
    if trial.number in ledger.changes.cancelling:
        return f"trial {trial.label} is being cancelled already"
    if trial.state is S.ABANDONED:
        return f"trial {trial.label} is {trial.word} already"
    if trial.state in _ENDS:
        raise Refused(f"trial {trial.label} {_ENDS[trial.state]}")
    job = trial.attempts[-1].job if trial.state.active else None
    return f"trial {trial.label}: cancelled" + (f", with its job {job}" if job is not None else "")


def _retry(change: Change, ledger: Ledger, place: Place) -> str:
    trial = _trial(change, ledger)
    if trial.state is S.WAITING or trial.state.active:
        return f"trial {trial.label} is {trial.state} already"
    if trial.origin == "external":
        raise Refused(f"trial {trial.label} came with its outcome, and was not run here")
    if trial.state is not S.FAILED and trial.state in _ENDS:
        raise Refused(f"trial {trial.label} {_ENDS[trial.state]}")
    return f"trial {trial.label}: tried again, as attempt {len(trial.attempts) + 1}"


def _trial(change: Change, ledger: Ledger) -> Trial:
    trial = ledger.trials.get(-1 if change.trial is None else change.trial)
    if trial is None:
        raise Refused(f"there is no trial {change.trial}")
    return trial


def _pause(change: Change, ledger: Ledger, place: Place) -> str:
    if ledger.changes.paused is not None:
        return f"paused already, by {ledger.changes.paused.by}"
    running = f"; {plural(len(ledger.active), 'attempt')} under way {_go(ledger)} on" if ledger.active else ""
    return f"paused: nothing new is submitted{running}"


def _go(ledger: Ledger) -> str:
    return "goes" if len(ledger.active) == 1 else "go"


def _resume(change: Change, ledger: Ledger, place: Place) -> str:
    return (
        "resumed: what waits is submitted again" if ledger.changes.paused is not None else "it was not paused"
    )


def _set(id: str, change: Change, ledger: Ledger, place: Place, time: float) -> RequestAnswered:
    words, trials, parallel = [], None, None
    if change.trials is not None:
        if place.total is None:
            raise Refused("this call of the script waits for trials that there are, and asks for no new ones")
        trials = Setting(change.trials, place.total)
        there = f"; there are {ledger.own} already" if ledger.own > change.trials else ""
        words.append(f"the budget is {plural(change.trials, 'trial')} now{_said(trials)}{there}")
    if change.max_parallel is not None:
        if change.max_parallel < place.pack:
            raise Refused(f"max_parallel counts attempts, and each job runs {place.pack} of them")
        parallel = Setting(change.max_parallel, place.max_parallel)
        at_a_time = f"up to {plural(change.max_parallel, 'attempt')} at a time"
        words.append(f"{at_a_time} now{_said(parallel)}")
    return replace(answered(id, change, time, "; ".join(words)), trials=trials, max_parallel=parallel)


def _said(setting: Setting) -> str:
    return f" (instead of {setting.said})" if setting.said != setting.value else ""


_ANSWERS: dict[RequestKind, Callable[[Change, Ledger, Place], str]] = {
    RequestKind.STOP: _stop,
    RequestKind.CANCEL: _cancel,
    RequestKind.PAUSE: _pause,
    RequestKind.RESUME: _resume,
    RequestKind.RETRY: _retry,
}
