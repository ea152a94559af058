"""An opened experiment: its directory, lock, journal, ledger and Ax, kept in step.

Whatever happens goes through :meth:`Session.record`: first into the journal, then into the ledger, then to
Ax.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import socket
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from axsched_hpc._version import __version__
from axsched_hpc.ax_bridge import definition
from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.best import Problem
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError, JournalError
from axsched_hpc.core.events import DriverClosed, DriverOpened, Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Action, CleanUp, TellAbandoned, TellCompleted, TellFailed
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.loop.cleanup import Cleaner
from axsched_hpc.loop.clock import Clock
from axsched_hpc.store import journal
from axsched_hpc.store.lock import DriverLock, guarded_write

log = logging.getLogger("axsched_hpc")

Listener = Callable[[Event, Ledger], None]

#: Of the run time, snapshots take at most this share.
SAVE_SHARE = 0.05


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
    """

    def __init__(
        self,
        layout: Layout,
        bridge: AxBridge,
        config: SchedulerConfig,
        clock: Clock,
        lock: DriverLock,
        ledger: Ledger,
        writer: journal.JournalWriter,
    ) -> None:
        self.layout = layout
        self.bridge = bridge
        self.config = config
        self.clock = clock
        self.ledger = ledger
        self.problem: Problem = bridge.problem()
        self.listeners: list[Listener] = []
        self._lock = lock
        self._writer = writer
        self._cleaner = Cleaner(layout) if config.cleanup_after_completion else None
        self._saved_at = clock.monotonic()
        self._save_pause = 0.0
        self._unsaved = False

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
        _check_resume(layout, config.resume, there=bool(journal.epochs(layout.journal)))
        _make_directories(layout)
        lock = DriverLock(layout)
        lock.acquire()
        try:
            return cls._open_locked(layout, bridge, config, clock, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open_locked(
        cls, layout: Layout, bridge: AxBridge, config: SchedulerConfig, clock: Clock, lock: DriverLock
    ) -> Session:
        segments = journal.read(layout.journal)
        ledger = Ledger()
        past = list(journal.events(segments))
        _replay(ledger, past, segments)
        digest = _settle_definition(layout, bridge, ledger, fresh=not segments)
        bridge.replay(past)
        writer = journal.JournalWriter(layout.journal, max(journal.epochs(layout.journal), default=0) + 1)
        session = cls(layout, bridge, config, clock, lock, ledger, writer)
        session.record(
            DriverOpened(
                time=clock.now(),
                format=FORMAT,
                host=socket.gethostname(),
                pid=os.getpid(),
                definition=digest,
                problem=session.problem.to_json(),
                versions=_versions(),
                previous=_previous(layout, segments),
            )
        )
        if past:
            log.info("Going on with the experiment in %s: %s.", layout.root, summary(ledger))
        session.adopt()
        return session

    def adopt(self) -> None:
        """Record the trials that the user completed in Ax by himself, so that a replay has them too."""
        self.record(*self.bridge.external(self.ledger.trials))

    def close(self, *, orderly: bool) -> None:
        """Give the experiment back; doing it again changes nothing. ``orderly``: no call was interrupted."""
        if self._writer.closed:
            return
        try:
            if self._unsaved:
                self.save()
            if orderly:
                self.record(DriverClosed(self.clock.now()))
        finally:
            self._writer.close()
            self._lock.release()

    # ------------------------------------------------------------ what happens

    def record(self, *events: Event) -> None:
        """Let events happen: journal, ledger, Ax, in this order; one write for all of them.

        Raises
        ------
        SupersededError
            Another driver has taken over; nothing happened.
        OSError
            The journal cannot be written; nothing happened.
        """
        if not events:
            return
        self._writer.append(events)
        for event in events:
            for action in self.ledger.apply(event):
                self._act(action)
            for listener in self.listeners:
                listener(event, self.ledger)
        self._unsaved = True

    def _act(self, action: Action) -> None:
        match action:
            case TellCompleted(trial, metrics, time):
                self.bridge.complete(trial, metrics, time=time)
            case TellFailed(trial, reason, time):
                self.bridge.fail(trial, reason, time=time)
            case TellAbandoned(trial, reason, time):
                self.bridge.abandon(trial, reason, time=time)
            case CleanUp(trial, attempt) if self._cleaner is not None:
                self._cleaner.clean(self.ledger, trial, attempt)
            case _:
                # Submit: the ledger lists the trial among the waiting ones, where the loop finds it.
                pass

    # ------------------------------------------------------------ the snapshot

    def save(self) -> None:
        """Write the snapshot now. A failure is logged: the journal has everything.

        A driver that was superseded writes nothing, here as in the journal.
        """
        started = self.clock.monotonic()
        try:
            self._writer.check()
            guarded_write(self.layout.snapshot, self.bridge.snapshot_text())
            self._unsaved = False
        except (journal.SupersededError, JournalError) as error:
            log.warning("The snapshot %s is left alone. %s", self.layout.snapshot, error)
        except OSError as error:
            log.warning(
                "The snapshot %s could not be written (%s); the journal has everything.",
                self.layout.snapshot,
                error,
            )
        self._saved_at = self.clock.monotonic()
        self._save_pause = (self._saved_at - started) / SAVE_SHARE

    def save_if_due(self) -> None:
        """Write the snapshot when the last one is old enough for what it costs."""
        age = self.clock.monotonic() - self._saved_at
        if self._unsaved and age >= max(self.config.save_interval, self._save_pause):
            self.save()


def summary(ledger: Ledger) -> str:
    """How many trials stand where, in words."""
    words = [f"{count} {state}" for state, count in sorted(ledger.counts.items()) if count]
    return ", ".join(words) or "no trials yet"


def _make_directories(layout: Layout) -> None:
    for path in (layout.root, layout.journal, layout.inbox, layout.trials, layout.submitit, layout.objective):
        try:
            atomic.make_directory(path)
        except OSError as error:
            raise _unwritable(layout, error) from error
    if not os.access(layout.root, os.W_OK | os.X_OK) or not os.access(layout.journal, os.W_OK | os.X_OK):
        raise _unwritable(layout, PermissionError("no permission to write"))


def _unwritable(layout: Layout, error: OSError) -> ConfigError:
    reason = error.strerror or str(error)
    return ConfigError(
        f"config['job_output_dir'] is {str(layout.root)!r}, which cannot be written ({reason}). "
        "Nothing was submitted. Choose a directory of your own on the filesystem that all nodes share."
    )


def _check_resume(layout: Layout, resume: str, *, there: bool) -> None:
    if resume == "never" and there:
        raise ConfigError(
            f"{layout.root} already holds an experiment, and config['resume'] is 'never'. "
            "Choose another job_output_dir, or 'auto' to go on with it."
        )
    if resume == "must" and not there:
        raise ConfigError(
            f"{layout.root} holds no experiment, and config['resume'] is 'must'. "
            "Check the path of job_output_dir, or use 'auto' to start a new one."
        )


def _settle_definition(layout: Layout, bridge: AxBridge, ledger: Ledger, *, fresh: bool) -> str:
    """Write the definition of a new experiment, or compare with the one that lies there; its digest."""
    here = bridge.definition()
    if fresh:
        text = json.dumps(here) + "\n"
        try:
            atomic.write(layout.definition, text)
        except OSError as error:
            raise _unwritable(layout, error) from error
        return _digest(text)
    text = read_definition(layout)
    there = json.loads(text)
    differences = definition.compare(there, here)
    if differences:
        raise ExperimentMismatchError(
            f"{layout.root} holds another experiment than the one passed in: {'; '.join(differences)}. "
            "Nothing was changed. Use another job_output_dir for the new one, or pass in the same definition "
            "to go on."
        )
    definition.check_base(there, bridge.experiment, recorded=ledger.trials)
    return _digest(text)


def read_definition(layout: Layout) -> str:
    """The definition of the experiment in a directory, as it was written.

    Raises
    ------
    JournalError
        It is missing or not JSON.
    """
    try:
        text = atomic.read_text(layout.definition)
        json.loads(text)
    except (OSError, ValueError) as error:
        raise JournalError(
            f"{layout.definition} cannot be read ({error}). It is written once, when an experiment starts; "
            "restore it from a backup.",
            file=str(layout.definition),
        ) from None
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replay(ledger: Ledger, past: list[Event], segments: list[journal.Segment]) -> None:
    for event in past:
        try:
            ledger.apply(event)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            name = segments[-1].path if segments else Path()
            raise JournalError(
                f"The journal below {name.parent} tells of something that cannot have happened: {error}. "
                "Nothing was changed. Please report it with a copy of the journal.",
                file=str(name),
            ) from error


def _previous(layout: Layout, segments: list[journal.Segment]) -> dict[str, int]:
    """How much of the earlier segments counts, for those about which no later segment has spoken yet."""
    last = segments[-1].epoch if segments else 0
    sizes = {segment.path.name: segment.size for segment in segments}
    return {
        journal.segment_name(epoch): sizes.get(journal.segment_name(epoch), 0)
        for epoch in journal.epochs(layout.journal)[:-1]
        if epoch >= last
    }


def _versions() -> dict[str, str]:
    found = {"axsched_hpc": __version__, "python": platform.python_version()}
    for package in ("ax-platform", "submitit"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
