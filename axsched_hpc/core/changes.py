"""Requests by which a person changes a run under way: what they are, and what they have changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from axsched_hpc.core.events import LAST_TIME, CallStarted, RequestAnswered, Setting
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import RequestKind

#: The kinds that are about one trial.
OF_TRIALS = (RequestKind.CANCEL, RequestKind.RETRY)


class Change(Record):
    """A request, as its file has it.

    Attributes
    ----------
    by, time
        Who asked, as ``user@host``, and when, on that machine's clock.
    epoch, run
        Of a stop: the driver that it is for, by its segment's epoch and its run. A later one is not stopped.
    trial
        Of ``cancel`` and ``retry``.
    cancel
        Of a stop: end what is under way, too.
    trials, max_parallel
        Of ``set``: trials of the experiment, and attempts under way at a time; None for no change.
    points, places
        Of ``add``: points, whose texts stand for values of the parameters' types, and what to call each.
    source, text
        Of ``import``: what the evaluations are from, and where that is a file, what is in it.
    skip_bad
        Of ``import``: take the good ones where some are bad.
    """

    request: RequestKind
    by: str
    time: float
    epoch: int | None = None
    run: str | None = None
    trial: int | None = None
    cancel: bool = False
    trials: int | None = None
    max_parallel: int | None = None
    points: tuple[dict[str, Any], ...] = ()
    places: tuple[str, ...] = ()
    source: str | None = None
    text: str | None = None
    skip_bad: bool = False

    def check(self) -> None:
        """Refuse what says nothing, or too much to be meant.

        Raises
        ------
        ValueError
            As the end of a sentence.
        """
        if not 0 <= self.time <= LAST_TIME:
            raise ValueError(f"has the time {self.time}")
        if self.trial is not None and self.trial < 0:
            raise ValueError(f"has the trial {self.trial}")
        numbers = [each for each in (self.trials, self.max_parallel) if each is not None]
        if self.request in OF_TRIALS and self.trial is None:
            raise ValueError(f"has no trial to {self.request}")
        if self.request is RequestKind.SET and (not numbers or min(numbers) < 1):
            raise ValueError("has no number of at least 1 to set")
        if self.request is RequestKind.ADD and not (self.points and len(self.places) == len(self.points)):
            raise ValueError("has no points, or not a name for each")
        if self.request is RequestKind.IMPORT and not self.source:
            raise ValueError("does not say what to import")


@dataclass
class Changes:
    """What requests have changed, as the fold of their answers.

    Attributes
    ----------
    answers
        By the request's id.
    paused, stopping
        The request by which it is so; None where it is not. A pause outlives its driver, a stop only its own
        restarts.
    cancelling
        Trials that are to be cancelled and have not ended yet, with the reasons.
    cancelled
        Trials that have ended so, and say nothing of the objective.
    budget, parallel
        The requests that hold for the number of trials, and of attempts at a time.
    """

    answers: dict[str, RequestAnswered] = field(default_factory=dict)
    paused: RequestAnswered | None = None
    stopping: RequestAnswered | None = None
    cancelling: dict[int, str] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    budget: RequestAnswered | None = None
    parallel: RequestAnswered | None = None

    @property
    def halted(self) -> bool:
        """Whether nothing new may be submitted."""
        return self.paused is not None or self.stopping is not None

    def total(self, said: int) -> int:
        """The trials that there are to be, where the script says ``said``."""
        return _value(self.budget.trials if self.budget else None, said)

    def slots(self, said: int) -> int:
        """The attempts that may be under way, where the script says ``said``."""
        return _value(self.parallel.max_parallel if self.parallel else None, said)

    # ------------------------------------------------------------ the fold

    def take(self, event: RequestAnswered, active: Iterable[int]) -> None:
        """Take an answer in; ``active`` trials have an attempt under way."""
        self.answers[event.id] = event
        if not event.taken:
            return
        reason = f"cancelled by {event.by}"
        match event.request:
            case RequestKind.PAUSE:
                self.paused = self.paused or event
            case RequestKind.RESUME:
                self.paused = None
            case RequestKind.STOP:
                self.stopping = self.stopping or event
                if event.cancel:
                    self.cancelling = dict.fromkeys(active, reason) | self.cancelling
            case RequestKind.CANCEL if event.trial is not None:
                self.cancelling.setdefault(event.trial, reason)
            case RequestKind.SET:
                if event.trials is not None:
                    self.budget = event if event.trials.value != event.trials.said else None
                if event.max_parallel is not None:
                    changed = event.max_parallel.value != event.max_parallel.said
                    self.parallel = event if changed else None

    def ended(self, trial: int, *, abandoned: bool) -> None:
        """A trial has come to its end."""
        if self.cancelling.pop(trial, None) is not None and abandoned:
            self.cancelled.add(trial)

    def opened(self, *, same_run: bool) -> None:
        """Another driver begins."""
        if not same_run:
            self.stopping = None

    def called(self, event: CallStarted) -> None:
        """A call begins: where the script says another number than before, that one holds."""
        if self.budget and event.total is not None and not _holds(self.budget.trials, event.total):
            self.budget = None
        if (
            self.parallel
            and event.max_parallel is not None
            and not _holds(self.parallel.max_parallel, event.max_parallel)
        ):
            self.parallel = None


def _holds(setting: Setting | None, said: int) -> bool:
    return setting is not None and setting.said == said


def _value(setting: Setting | None, said: int) -> int:
    return setting.value if setting is not None and setting.said == said else said
