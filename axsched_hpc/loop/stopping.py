"""Stopping unpromising trials early: Ax decides by their curves, the journal has it, their jobs are ended."""

from __future__ import annotations

import logging
from collections.abc import Collection

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.events import StopDecided
from axsched_hpc.core.states import TrialState
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import BaseRunner

log = logging.getLogger("axsched_hpc")

#: Of the run time, Ax's decisions take at most this share.
SHARE = 0.1


#: Seconds after which a job that has not ended is cancelled again: Slurm may have requeued it in between.
AGAIN = 60.0


class Stopper:
    """Decides which trials are stopped, and ends the jobs of those for which that is decided."""

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        self._session = session
        self._runner = runner
        self._asked: set[int] = set()
        self._due: dict[tuple[int, int], float] = {}
        self._not_before = 0.0

    def decide(self, reported: Collection[int]) -> None:
        """Ask Ax about trials that have reported something new, and record which are to be stopped."""
        ledger, clock = self._session.ledger, self._session.clock
        self._asked.update(reported)
        begun = clock.monotonic()
        if not self._asked or self._session.ax_is_busy or begun < self._not_before:
            return
        running = {
            n for n in self._asked if n in ledger.active and ledger.trials[n].state is TrialState.RUNNING
        }
        candidates = {n for n in running if not ledger.trials[n].attempts[-1].stop}
        self._asked.clear()
        if not candidates:
            return
        found = self._session.bridge.to_stop(candidates)
        ended = clock.monotonic()
        self._not_before = ended + (ended - begun) / SHARE
        now = clock.now()
        self._session.record(
            *(
                StopDecided(now, n, ledger.trials[n].attempts[-1].number, reason)
                for n, reason in sorted(found.items())
            )
        )

    def end(self) -> None:
        """End the jobs of trials that are to be stopped or cancelled, in one call; also those that an earlier
        driver has decided about.
        """
        ledger = self._session.ledger
        wanted = {*ledger.stopping, *ledger.changes.cancelling} & ledger.active.keys()
        if not wanted:
            return
        now = self._session.clock.monotonic()
        jobs: dict[tuple[int, int], str] = {}
        for number in sorted(wanted):
            attempt = ledger.trials[number].attempts[-1]
            key = (number, attempt.number)
            if attempt.job is not None and now >= self._due.get(key, now):
                jobs[key] = attempt.job
        if not jobs:
            return
        # A later driver may have seen them end.
        self._session.check()
        try:
            self._runner.cancel(list(jobs.values()))
        except ClusterUnavailableError as error:
            log.warning("%d job(s) of trials to be stopped could not be cancelled yet: %s", len(jobs), error)
        else:
            self._due.update(dict.fromkeys(jobs, now + AGAIN))
