"""An opened experiment: its directory, lock, journal, ledger and Ax, kept in step.

Whatever happens goes through :meth:`Session.record`: first into the journal, then into the ledger, then to
Ax.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeVar

from axsched_hpc.core.best import Problem
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import AxSchedError, JournalError, StorageError, SupersededError, plural
from axsched_hpc.core.events import BaselineSet, DriverClosed, DriverOpened, Event, PointsEnqueued
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import (
    Action,
    CleanUp,
    Submit,
    TellAbandoned,
    TellCompleted,
    TellFailed,
    TellReported,
    TellRetried,
    TellStopped,
)
from axsched_hpc.io import faults, processes, provenance
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.loop import opening
from axsched_hpc.loop.cleanup import Cleaner
from axsched_hpc.loop.clock import Clock
from axsched_hpc.loop.patience import Patience
from axsched_hpc.loop.snapshot import Snapshot
from axsched_hpc.store import journal
from axsched_hpc.store.lease import Lease

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.bridge import AxBridge

log = logging.getLogger("axsched_hpc")

#: Set by the driver's batch script: the same for a job that is requeued, and for its successors.
RUN_VARIABLE = "AXSCHED_RUN"

Listener = Callable[[Event, Ledger], None]

Told = TypeVar("Told", bound=Action)


class Session:
    """One driver's hold on one experiment, from :meth:`open` to :meth:`close`.

    Attributes
    ----------
    ledger
        The state of the experiment.
    bridge
        Ax.
    problem
        What is optimised.
    ax_is_busy
        Whether Ax is being asked for points beside the loop: it is told nothing then, and not looked at.
    """

    def __init__(
        self,
        layout: Layout,
        bridge: AxBridge,
        config: SchedulerConfig,
        clock: Clock,
        lease: Lease,
        ledger: Ledger,
    ) -> None:
        self.layout = layout
        self.bridge = bridge
        self.config = config
        self.clock = clock
        self.ledger = ledger
        self.problem: Problem = bridge.problem()
        self.ax_is_busy = False
        self.listeners: list[Listener] = []
        self.patience = Patience(clock, layout.root)
        self._lease = lease
        self._superseded = False
        self._owed: list[Event] = []
        self._actions: deque[Action] = deque()
        self._cleanups: deque[CleanUp] = deque()
        self._cleaner = Cleaner(layout) if config.cleanup_after_completion else None
        self._snapshot = Snapshot(layout, config, clock)

    @property
    def epoch(self) -> int:
        """Which of the journal's segments this driver writes."""
        return self._lease.writer.epoch

    # ------------------------------------------------------------ opening and closing

    @classmethod
    def open(cls, layout: Layout, bridge: AxBridge, config: SchedulerConfig, clock: Clock) -> Session:
        """Take an experiment directory, and bring Ax to where its journal stands.

        Raises
        ------
        ConfigError
            The directory cannot be written, or `resume` forbids what lies in it.
        ExperimentLockedError
            Another driver runs it.
        ExperimentMismatchError
            It holds another experiment.
        JournalError
            Its journal is damaged.
        """
        if config.resume == "must":
            # Before directories are made in a place that was misspelt.
            opening.check_resume(layout, config.resume, there=bool(journal.epochs(layout.journal)))
        opening.reconciled(layout, bridge)
        opening.make_directories(layout, config.permissions)
        try:
            lease = Lease.take(
                layout,
                takeover=config.takeover_after,
                say=lambda text: log.warning("%s", text),
                wait=clock.wait,
                monotonic=clock.monotonic,
            )
        except OSError as error:
            raise opening.unwritable(layout, error) from error
        try:
            return cls._open_held(layout, bridge, config, clock, lease)
        except BaseException as error:
            with contextlib.suppress(OSError, AxSchedError):
                lease.writer.append([DriverClosed(clock.now(), finished=False)])
            lease.release()
            refusal = error.__cause__ if isinstance(error, StorageError) else error
            if isinstance(refusal, OSError):
                raise opening.unwritable(layout, refusal) from error
            raise

    @classmethod
    def _open_held(
        cls, layout: Layout, bridge: AxBridge, config: SchedulerConfig, clock: Clock, lease: Lease
    ) -> Session:
        segments = journal.read(layout.journal, before=lease.writer.epoch)
        ledger = journal.replay(segments)
        if segments and segments[-1].torn:
            log.warning(
                "%s: its last line is incomplete (its driver was stopped while writing it); it is dropped.",
                segments[-1].path,
            )
        # To a driver that was superseded meanwhile, the later one's files would look like a lost journal.
        lease.writer.check()
        opening.refuse_lost_end(layout, ledger)
        there = ledger.driver is not None
        # While this driver waited for the lease, another one may have made an experiment of its own here.
        change = opening.reconciled(layout, bridge, ledger, time=clock.now())
        opening.check_resume(layout, config.resume, there=there)
        lease.writer.check()  # right before the first write
        changes = [] if change is None else [change]
        events = deque[Event]([*journal.events(segments), *changes])
        previous = journal.sizes(segments)
        del segments
        digest = opening.settle_definition(
            layout, bridge, events if there else None, mode=opening.file_mode(config.permissions)
        )
        bridge.replay(_let_go(events))
        faults.reach("open.read")
        session = cls(layout, bridge, config, clock, lease, ledger)
        # Nothing is under way yet that would be worth waiting for.
        session.patience.stop = lambda: "nothing has begun"
        # In one group: what Ax is asked for from here on is the new experiment, or there was no driver.
        session.record(
            DriverOpened(
                time=clock.now(),
                format=FORMAT,
                host=processes.hostname(),
                pid=os.getpid(),
                definition=digest,
                problem=session.problem.to_json(),
                versions=opening.versions(),
                previous=previous,
                run=os.environ.get(RUN_VARIABLE) or None,
                provenance=provenance.of_driver(os.environ),
            ),
            *changes,
        )
        faults.reach("open.recorded")
        if there:
            log.info("Going on with the experiment in %s: %s.", layout.root, summary(ledger))
        if change is not None:
            log.warning(
                "The experiment was changed: %s. The %s so far count as they are.",
                "; ".join(change.changes),
                plural(change.trials, "trial"),
            )
        session.adopt()
        session.patience.stop = lambda: None
        if change is not None:
            session.save()
        return session

    def adopt(self, source: str | None = None) -> None:
        """Record what the user did in Ax by himself, so that a replay has it too: trials that he completed,
        batch trials that he left to be run, and his baseline.

        Parameters
        ----------
        source
            What the trials were imported from that are completed and not on record yet.
        """
        self.record()  # what Ax made for this driver and is not recorded yet is none of it
        found = self.bridge.external(self.ledger.trials, time=self.clock.now())
        self.record(*(each if source is None else each.imported(source) for each in found))
        known, baseline = self.ledger.baseline, self.bridge.warm.baseline
        if baseline is not None and (known is None or (known.arm, known.parameters) != baseline):
            self.record(BaselineSet(self.clock.now(), *baseline))
            self.problem = self.bridge.problem()

    def enqueue(
        self, points: Sequence[Mapping[str, Any]], *, ordinal: int | None = None, front: bool = False
    ) -> None:
        """Let points be run before Ax is asked for any.

        Parameters
        ----------
        points
            They fit the search space.
        ordinal
            Which call of the user's script it is; None for none.
        front
            Before those that wait already.
        """
        copies = tuple(dict(point) for point in points)
        self.record(PointsEnqueued(self.clock.now(), self.ledger.next_place, copies, ordinal, front))

    def close(self, *, orderly: bool) -> None:
        """Give the experiment back; doing it again changes nothing. ``orderly``: no call was interrupted.

        An end in good order is worth waiting for: without its record the next run of the script would count
        as a repetition of this one. A driver that was superseded has nothing to give back.
        """
        if self._lease.writer.closed:
            return
        try:
            if self._superseded:
                return
            if self._snapshot.behind:
                self.save()
            faults.reach("close.before")
            orderly = orderly and not self._owed
            last = [*self._owed, DriverClosed(self.clock.now(), finished=orderly)]
            if orderly:
                self._insist(lambda: self._lease.writer.append(last))
            else:
                self._lease.writer.append(last)
            faults.reach("close.after")
        finally:
            self._lease.release()

    # ------------------------------------------------------------ what happens

    def owe(self, *events: Event) -> None:
        """Take on events that have happened in Ax already: they are the first that are recorded, at the next
        call of :meth:`record`, whatever happens in between.
        """
        self._owed += events

    def record(self, *events: Event) -> None:
        """Let events happen: journal, ledger, Ax, in this order; one write for all of them. While Ax is busy
        it is told nothing; the first call afterwards does it.

        Where the filesystem refuses, it waits (see :class:`~axsched_hpc.loop.patience.Patience`). What an
        error left undone, an earlier call's events or what follows from them, is done first.

        Raises
        ------
        SupersededError
            Another driver has taken over; nothing happened.
        StorageError
            The journal could not be written, and nobody may wait any longer; nothing happened.
        """
        new = (*self._owed, *events)
        if new:
            self._insist(lambda: self._lease.writer.append(new))
            self._owed.clear()
            self._snapshot.behind = True
        # What is in the journal is in the ledger, whole, before anything that can fail follows from it.
        for event in new:
            for action in self.ledger.apply(event):
                if isinstance(action, CleanUp):
                    # Apart, so that the ends of several trials stand beside each other.
                    self._cleanups.append(action)
                else:
                    self._actions.append(action)
            for listener in self.listeners:
                listener(event, self.ledger)
        while self._actions and not self.ax_is_busy:
            for _ in range(self._act()):
                self._actions.popleft()
        while self._cleanups:
            if self._cleaner is not None:
                self._cleaner.clean(self.ledger, self._cleanups[0].trial, self._cleanups[0].attempt)
            self._cleanups.popleft()

    def check(self) -> None:
        """Make sure that this is still the driver, before anything is done that the journal does not guard.

        Raises
        ------
        SupersededError
            Another driver has taken over.
        StorageError
            The directory cannot be read, and nobody may wait any longer.
        """
        self._insist(self._lease.writer.check)

    def _insist(self, action: Callable[[], None]) -> None:
        try:
            self.patience.insist(action)
        except SupersededError:
            self._superseded = True
            raise

    def _act(self) -> int:
        """Do the first of the actions, with those of its kind that follow it where Ax takes them in one call,
        since it makes its data anew in each; how many those were.
        """
        if isinstance(self._actions[0], Submit):
            return 1  # The ledger lists the trial among the waiting ones, where the loop finds it.
        with _told():
            match self._actions[0]:
                case TellReported():
                    reports = self._leading(TellReported)
                    self.bridge.report((each.trial, each.points) for each in reports)
                    return len(reports)
                case TellCompleted():
                    ends = self._leading(TellCompleted)
                    self.bridge.complete((each.trial, each.metrics, each.time) for each in ends)
                    return len(ends)
                case TellStopped(trial, reason, time):
                    self.bridge.stop(trial, reason, time=time)
                case TellFailed(trial, reason, time):
                    self.bridge.fail(trial, reason, time=time)
                case TellAbandoned(trial, reason, time):
                    self.bridge.abandon(trial, reason, time=time)
                case TellRetried(trial, time):
                    self.bridge.retry(trial, time=time)
        return 1

    def _leading(self, kind: type[Told]) -> list[Told]:
        """The actions of this kind with which they begin."""
        alike = takewhile(lambda action: isinstance(action, kind), self._actions)
        return [action for action in alike if isinstance(action, kind)]

    # ------------------------------------------------------------ the snapshot

    def save(self) -> None:
        """Write the snapshot now. A driver that was superseded writes nothing, here as in the journal."""
        if self._superseded or self._owed or not self.bridge.keeps_snapshot:
            return
        try:
            self._snapshot.write(self.bridge.snapshot_text, self._lease.writer.check)
        except (SupersededError, JournalError) as error:
            self._superseded = self._superseded or isinstance(error, SupersededError)
            log.warning("The snapshot %s is left alone. %s", self.layout.snapshot, error)

    def save_if_due(self) -> None:
        """Write the snapshot when the last one is old enough for what it costs."""
        if not self.ax_is_busy and self._snapshot.due:
            self.save()


def _let_go(events: deque[Event]) -> Iterator[Event]:
    """The events, of which none is kept."""
    while events:
        yield events.popleft()


def summary(ledger: Ledger) -> str:
    """How many trials stand where, in words."""
    words = [f"{count} {word}" for word, count in sorted(ledger.tally().items())]
    return ", ".join(words) or "no trials yet"


@contextlib.contextmanager
def _told() -> Iterator[None]:
    faults.reach("tell.before")
    yield
    faults.reach("tell.after")
