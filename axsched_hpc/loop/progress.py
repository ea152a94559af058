"""What a person sees while trials run: a live bar on a terminal, one log line per change elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from axsched_hpc.core.best import Incumbent, Problem
from axsched_hpc.core.events import AttemptSucceeded, Event, TrialAdded
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState
from axsched_hpc.loop.session import Listener, Session
from axsched_hpc.reporting.changes import describe, is_failure

log = logging.getLogger("axsched_hpc")


class LogLines:
    """One log line per change. Failures are warnings, so that they are seen without any set-up of logging; an
    attempt that goes on from its checkpoint is none.
    """

    def __init__(self, incumbent: Incumbent) -> None:
        self._incumbent = incumbent

    def __call__(self, event: Event, ledger: Ledger) -> None:
        """Log an event."""
        text = describe(event, ledger, self._incumbent)
        if text is not None:
            log.log(logging.WARNING if is_failure(event) else logging.INFO, "%s", text)


class Tracker:
    """Keeps the best trial so far; comes before the listeners that show it."""

    def __init__(self, incumbent: Incumbent) -> None:
        self._incumbent = incumbent

    def __call__(self, event: Event, ledger: Ledger) -> None:
        """Take an event in."""
        if isinstance(event, AttemptSucceeded | TrialAdded):  # one that is imported has its metrics
            self._incumbent.update(ledger.trials[event.trial])


def incumbent_of(problem: Problem, ledger: Ledger) -> Incumbent:
    """The best trial of what is there already."""
    incumbent = Incumbent(problem)
    for trial in ledger.trials.values():
        if trial.state is TrialState.COMPLETED:
            incumbent.update(trial)
    return incumbent


@contextmanager
def shown(session: Session, total: int) -> Iterator[None]:
    """Show the progress of a call towards ``total`` trials of the experiment."""
    incumbent = incumbent_of(session.problem, session.ledger)
    listeners: list[Listener] = [Tracker(incumbent), LogLines(incumbent)]
    before = list(session.listeners)
    session.listeners += listeners
    try:
        if sys.stderr.isatty():
            from axsched_hpc.loop.bar import live_bar

            with live_bar(session, incumbent, total):
                yield
        else:
            yield
    finally:
        session.listeners[:] = before
