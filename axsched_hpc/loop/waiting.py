"""Why jobs wait: told to those who watch. Of jobs that may never start it is recorded, and reported after a
while.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from axsched_hpc.core.errors import plural
from axsched_hpc.core.events import AttemptWaits
from axsched_hpc.core.states import JobState, TrialState
from axsched_hpc.core.waiting import stuck
from axsched_hpc.io.queue import Queue, write
from axsched_hpc.loop.opening import file_mode
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import JobStatus

log = logging.getLogger("axsched_hpc")

#: What squeue says of a job that it has not looked at yet.
_NO_REASON = ("", "None", "(null)")


class Waiting:
    """Follows why jobs wait."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: dict[str, str] = {}
        self._since: dict[str, float] = {}
        self._reported: set[str] = set()
        self._told: Queue | None = None

    def changes(self, known: Mapping[str, JobStatus], jobs: Mapping[str, int]) -> list[AttemptWaits]:
        """The events of a look at jobs (job -> trial). Reports what has waited too long.

        A reason counts when two looks in a row give it: the scheduler may name another each time.
        """
        now = self._session.clock.now()
        before, self._seen = self._seen, {}
        events = []
        for job, number in jobs.items():
            status = known.get(job)
            trial = self._session.ledger.trials[number]
            if status is None or status.state is not JobState.QUEUED or trial.state is not TrialState.QUEUED:
                continue
            reason = status.reason if stuck(status.reason) is not None else ""
            self._seen[job] = reason
            attempt = trial.attempts[-1]
            if before.get(job) == reason and reason != attempt.waits:
                events.append(AttemptWaits(now, number, attempt.number, reason))
        self._report()
        return events

    def tell(self, slots: int, known: Mapping[str, JobStatus], jobs: Mapping[str, int]) -> None:
        """Tell those who watch how many slots there are, and why jobs wait, in a file: when that changes."""
        waits: dict[str, list[int]] = {}
        for job, number in jobs.items():
            status = known.get(job)
            if status is not None and status.state is JobState.QUEUED and status.reason not in _NO_REASON:
                waits.setdefault(status.reason, []).append(number)
        queue = Queue(slots, {reason: tuple(sorted(trials)) for reason, trials in sorted(waits.items())})
        if queue == self._told:
            return
        session = self._session
        session.check()
        # Nobody waits for it, and the next look tries it again.
        with contextlib.suppress(OSError):
            write(session.layout, queue, mode=file_mode(session.config.permissions))
            self._told = queue

    def _report(self) -> None:
        """Warn of jobs that have waited too long, once for each, in one message per reason."""
        now, patience = self._session.clock.monotonic(), self._session.config.stuck_after
        stuck_now = {job: reason for job, reason in self._seen.items() if reason}
        self._since = {job: self._since.get(job, now) for job in stuck_now}
        self._reported &= stuck_now.keys()
        overdue: dict[str, list[str]] = {}
        for job, reason in stuck_now.items():
            if job not in self._reported and now - self._since[job] >= patience:
                overdue.setdefault(reason, []).append(job)
        for reason, late in overdue.items():
            self._reported.update(late)
            log.warning(
                "%s (%s%s) may never start. Slurm's reason: %s. What to do: %s.",
                plural(len(late), "job"),
                ", ".join(late[:5]),
                ", …" if len(late) > 5 else "",
                reason,
                stuck(reason, late[0]),
            )
