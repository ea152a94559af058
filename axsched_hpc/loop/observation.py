"""What has happened: announcements in the inbox, and what the runner knows of jobs."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from axsched_hpc.core.errors import ClusterUnavailableError, MetricsError
from axsched_hpc.core.events import (
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    Event,
    Failure,
    TrialAbandoned,
    TrialStopped,
)
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.metrics import require
from axsched_hpc.core.states import FailureKind, JobState
from axsched_hpc.core.throttle import jittered, poll_pause
from axsched_hpc.core.watch import JobEnd, Sight, Watch, diagnose, look, lost
from axsched_hpc.io import atomic, claim, faults, outcome
from axsched_hpc.io.arrivals import Arrivals
from axsched_hpc.io.layout import parse_notice_name
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.io.requests import parse_name as parse_request
from axsched_hpc.io.storage import is_storage_error
from axsched_hpc.loop.changes import Changer
from axsched_hpc.loop.curves import Curves
from axsched_hpc.loop.failing import failed
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.submission import batch_of
from axsched_hpc.loop.waiting import Waiting
from axsched_hpc.runners.base import BaseRunner, Batch, JobStatus, Usage

log = logging.getLogger("axsched_hpc")

#: Ends after which the scheduler may start the same job again, or after which it may be alive unseen.
_MAY_LIVE = frozenset({FailureKind.NODE_FAILED, FailureKind.PREEMPTED, FailureKind.LOST})

#: Ends for which a job's use of memory and time is of interest.
_OF_INTEREST = frozenset({JobState.OUT_OF_MEMORY, JobState.TIMED_OUT, JobState.FAILED})

#: Seconds for which a record of that is waited for: a busy database is later than its controller.
_RECORDS = 10.0

#: What the worker counts in, and what Slurm and failures do.
_MB, _MIB = 1e6, 2.0**20

#: Seconds after which a driver to which nothing happens makes sure that it is still the driver.
_STILL = 5.0

_UNKNOWN_JOB = JobStatus(JobState.UNKNOWN)

#: (time, trial) -> the record of a trial that is given up.
Gone = Callable[[float, int], TrialAbandoned]


class Observer:
    """Turns files and job states into events, and records them.

    ``stopping`` is what is recorded of a trial whose job the driver itself cancels, since it stops: that end
    is no failure. ``pause``: seconds until the jobs should be asked for again, by how long the answer took.
    """

    def __init__(self, session: Session, runner: BaseRunner, curves: Curves, changer: Changer) -> None:
        self._session = session
        self._runner = runner
        self._changer = changer
        self._curves = curves
        self._watches: dict[str, Watch] = {}
        self._complained: set[str] = set()
        self._given_up: list[str] = []
        self._waiting = Waiting(session)
        self._unanswered = 0
        self._usage: Mapping[str, Usage] | None = None
        self._arrivals = Arrivals(session.layout.inbox, session.clock.monotonic)
        session.clock.listen(self._arrivals)
        self._checked = session.clock.monotonic()
        # Not Python's own dice, which Ax may be using beside the loop, with a seed.
        self._dice = random.Random(random.random())
        self.stopping: Gone | None = None
        self.pause = session.config.monitoring_interval

    # ------------------------------------------------------------ the inbox

    def read_inbox(self) -> int:
        """Take in what workers announced, then what persons ask for; how much has happened so. One listing,
        then one read per file; nothing where the kernel tells that nothing has come.

        Raises
        ------
        SupersededError
            Another driver has taken over: what this one knows is out of date, so it does nothing any more.
        """
        if not self._arrivals.expected():
            return 0
        layout = self._session.layout
        events: list[Event] = []
        read: list[Path] = []
        names = atomic.listing(layout.inbox)
        self._arrivals.listed(len(names))
        if names:
            faults.reach("inbox.listed")
        now = self._session.clock.monotonic()
        if names or now - self._checked >= _STILL:
            # After the listing: else a notice that only a later driver understands would pass for a settled
            # one.
            self._session.check()
            self._checked = now
        if not names:
            return 0
        for name in names:
            place = parse_notice_name(name)
            path = layout.inbox / name
            if place is None:
                if parse_request(name) is None:
                    self._complain(name, f"{path} is neither a notice nor a request; it is left alone.")
                continue
            if not self._current(*place):
                # An attempt that is settled already: announced twice, or given up before it ended.
                read.append(path)
                continue
            try:
                found = self._read(path)
            except OSError:
                # One notice need not be waited for: it is read at a later look, or the result in its place.
                continue
            if found is None:
                continue
            read.append(path)
            events += self._ended(found, *place)
        faults.reach("inbox.read")
        self._session.record(*events)
        faults.reach("inbox.recorded")
        # Only now: had the driver died before the record, the notice would have been there still.
        for path in read:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        faults.reach("inbox.removed")
        # After the notices: a trial that has ended is not cancelled.
        return len(events) + self._changer.take(names)

    def _current(self, number: int, attempt: int) -> bool:
        trial = self._session.ledger.trials.get(number)
        return trial is not None and trial.state.active and trial.attempts[-1].number == attempt

    def _read(self, path: Path) -> Outcome | None:
        """The outcome in a file, or None where it holds none that can be used.

        Raises
        ------
        OSError
            The filesystem fails in a way that can pass: it may hold one.
        """
        try:
            return outcome.read(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and is_storage_error(error, reading=True):
                raise
            self._complain(
                str(path), f"{path} cannot be read ({error}); the job's end will be judged without it."
            )
            return None

    def _ended(self, found: Outcome, number: int, attempt: int) -> list[Event]:
        """The event of an outcome, or nothing where it belongs to another attempt than the one under way."""
        trial = self._session.ledger.trials[number]
        if found.token != trial.attempts[-1].token or (found.trial, found.attempt) != (number, attempt):
            self._complain(
                f"{number}-{attempt}",
                f"The outcome of trial {number}, attempt {attempt} carries the token {found.token!r} of "
                f"another submission than {trial.attempts[-1].token!r}; it is not used.",
            )
            return []
        now = self._session.clock.now()
        if found.metrics is not None:
            source = str(self._session.layout.attempt(number, attempt).metrics)
            try:
                require(found.metrics, self._session.problem.required, source=source)
            except MetricsError as error:
                failure = Failure(FailureKind.BAD_METRICS, str(error), node=found.host)
            else:
                return [
                    *self._curves.rest(trial),
                    AttemptSucceeded(
                        now, number, attempt, found.metrics, found.started, found.ended, found.host
                    ),
                ]
        else:
            failure = found.failure or Failure(
                FailureKind.BAD_METRICS, "the outcome holds neither metrics nor failure"
            )
        used = None if found.max_rss_mb is None else found.max_rss_mb * _MB / _MIB
        failure = replace(failure, used_mb=failure.used_mb or used, elapsed_s=found.ended - found.started)
        return self._without_metrics(trial, failure, started=found.started, ended=found.ended)

    # ------------------------------------------------------------ the jobs

    def poll(self) -> int:
        """Ask the runner for all jobs under way, in one query; how many attempts began, moved or ended."""
        ledger = self._session.ledger
        jobs = {
            job: number
            for number in ledger.active
            if (job := ledger.trials[number].attempts[-1].job) is not None
        }
        self._watches = {job: watch for job, watch in self._watches.items() if job in jobs}
        self._end_given_up()
        if not jobs:
            self._waiting.tell(self._runner.max_parallel, {}, {})
            return 0
        known = self._known(list(jobs))
        if known is None:
            return 0
        faults.reach("poll.seen")
        # The answer may have taken long, and attempts are closed by what it says.
        self._session.check()
        events: list[Event] = []
        self._usage = None
        for job, number in jobs.items():
            events += self._look(job, ledger.trials[number], known.get(job, _UNKNOWN_JOB))
        self._session.record(*events, *self._waiting.changes(known, jobs))
        faults.reach("poll.recorded")
        self._waiting.tell(self._runner.max_parallel, known, jobs)
        # Only now: a driver that died in between would take the cancelled job for one that a user cancelled.
        self._end_given_up()
        return len(events)

    def _known(self, jobs: Sequence[str]) -> Mapping[str, JobStatus] | None:
        """What the runner knows of jobs; None where it does not answer. Sets the pause to the next query."""
        clock, begun = self._session.clock, self._session.clock.monotonic()
        known: Mapping[str, JobStatus] | None = None
        try:
            known = self._runner.poll(jobs)
        except ClusterUnavailableError as error:
            self._unanswered += 1
            log.warning(
                "The scheduler did not answer, so nothing is decided about %d job(s): %s", len(jobs), error
            )
        else:
            self._unanswered = 0
        interval, took = self._session.config.monitoring_interval, clock.monotonic() - begun
        answer = self._runner.answer_time
        self.pause = poll_pause(interval, took if answer is None else answer, self._unanswered)
        if self._unanswered:
            self.pause = jittered(self.pause, self._dice.random())
        return known

    def give_up(self, job: str) -> None:
        """Cancel the job of an attempt that is given up, now or at a later look."""
        self._given_up.append(job)
        self._end_given_up()

    def _end_given_up(self) -> None:
        """Cancel the jobs of attempts that are given up and may be alive, in one call."""
        if not self._given_up:
            return
        # A later driver may have seen them requeued.
        self._session.check()
        try:
            self._runner.cancel(self._given_up)
        except ClusterUnavailableError as error:
            log.warning(
                "%d job(s) of failed attempts could not be cancelled yet: %s", len(self._given_up), error
            )
        else:
            self._given_up = []

    def _look(self, job: str, trial: Trial, status: JobStatus) -> list[Event]:
        clock, config = self._session.clock, self._session.config
        self._watches[job], sight = look(
            self._watches.get(job, Watch()),
            trial.state,
            status.state,
            now=clock.monotonic(),
            settle=self._runner.settle,
            lost_after=config.lost_after,
        )
        attempt = trial.attempts[-1]
        match sight:
            case Sight.STARTED:
                return [AttemptStarted(clock.now(), trial.number, attempt.number, status.node)]
            case Sight.REQUEUED:
                return [AttemptRequeued(clock.now(), trial.number, attempt.number, status.reason)]
            case Sight.ENDED if self._records_missing(job, status):
                return []
            case Sight.ENDED:
                return self._settle(trial, attempt, lambda: self._diagnose(job, trial, attempt, status))
            case Sight.LOST:
                return self._settle(trial, attempt, lambda: lost(job, config.lost_after))
            case _:
                return []

    def _settle(self, trial: Trial, attempt: Attempt, explain: Callable[[], Failure]) -> list[Event]:
        """The event of a job that is over: by its outcome file where one is there, else by what the scheduler
        says.
        """
        if events := self._published(trial.number, attempt.number):
            return events
        files = self._session.layout.attempt(trial.number, attempt.number)
        failure = explain()
        # Should the job live after all, unseen by every query, or be requeued, it must not begin again beside
        # the next attempt: nothing is computed twice.
        claim.give_up(files, f"given up: {failure.message}")
        faults.reach("claim.closed")
        # A job that nothing knows may have ended meanwhile; and where NFS has answered the look before from
        # its cache, the claim has made that out of date.
        if events := self._published(trial.number, attempt.number):
            return events
        if attempt.job is not None and failure.kind in _MAY_LIVE:
            self._given_up.append(attempt.job)
        cancelled = failure.kind in (FailureKind.CANCELLED, FailureKind.WORKER_KILLED)
        if self.stopping is not None and cancelled and not attempt.stop:
            return [self.stopping(self._session.clock.now(), trial.number)]
        return self._without_metrics(trial, failure)

    def _published(self, number: int, attempt: int) -> list[Event]:
        """The event of an attempt's outcome file, or nothing where there is none that can be used."""
        files = self._session.layout.attempt(number, attempt)
        if files.result.name not in atomic.listing(files.root):
            return []
        found = self._read(files.result)
        return [] if found is None else self._ended(found, number, attempt)

    def _diagnose(self, job: str, trial: Trial, attempt: Attempt, status: JobStatus) -> Failure:
        files = self._session.layout.attempt(trial.number, attempt.number)
        claimed = claim.begun(files)
        log_file = self._runner.log(self._batch(attempt), attempt.index, job)
        used = self._used(job)
        failure = diagnose(
            JobEnd(
                job=job,
                state=status.state,
                raw=status.raw,
                reason=status.reason,
                node=status.node or attempt.node,
                exit_code=status.exit_code,
                signal=status.signal,
                claimed=claimed,
                out_of_memory=used.out_of_memory,
                log=str(log_file or self._session.layout.batch(attempt.token)),
                said=outcome.tail(log_file) if log_file is not None else (),
            )
        )
        return replace(
            failure,
            stderr_tail=failure.stderr_tail or outcome.tail(files.stderr),
            used_mb=used.used_mb,
            elapsed_s=used.elapsed_s,
        )

    def _records_missing(self, job: str, status: JobStatus) -> bool:
        """Whether the scheduler may soon tell more of a job that has ended."""
        since = self._watches[job].ended_since
        if status.state not in _OF_INTEREST or since is None:
            return False
        left = since + self._runner.settle + _RECORDS - self._session.clock.monotonic()
        return left > 0 and not self._used(job).complete

    def _used(self, job: str) -> Usage:
        """What a job has used: asked for in one query for all that this look has found ended."""
        if self._usage is None:
            self._usage = self._runner.usage([each for each, watch in self._watches.items() if watch.ended])
        return self._usage.get(job, Usage())

    def _batch(self, attempt: Attempt) -> Batch:
        return batch_of(self._session.ledger, self._session.layout, attempt.token)

    def _without_metrics(
        self, trial: Trial, failure: Failure, *, started: float | None = None, ended: float | None = None
    ) -> list[Event]:
        """The end of an attempt without metrics: a failure, unless it was to be ended."""
        attempt, rest, now = trial.attempts[-1], self._curves.rest(trial), self._session.clock.now()
        cancelled = self._session.ledger.changes.cancelling.get(trial.number)
        if cancelled is not None:
            return [*rest, TrialAbandoned(now, trial.number, cancelled, cancelled=True)]
        if attempt.stop:
            return [*rest, TrialStopped(now, trial.number, attempt.number, attempt.stop, started, ended)]
        return [*rest, failed(self._session, self._runner, trial, failure, started=started, ended=ended)]

    def _complain(self, about: str, message: str) -> None:
        if about not in self._complained:
            self._complained.add(about)
            log.warning("%s", message)
