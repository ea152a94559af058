"""How a driver leaves its experiment: for a signal that comes in a call, at a request, at its end."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from axsched_hpc.core.errors import AxSchedError, ClusterUnavailableError, StorageError, plural
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import EXIT_AGAIN, Interrupts, watching
from axsched_hpc.objectives.containers.prepare import Stopped

log = logging.getLogger("axsched_hpc")

#: Seconds after Ctrl-C in which a second one cancels what runs.
SECOND_SIGNAL = 3.0


class Interruptible:
    """An open session, of which each call ends as a signal asks for.

    Attributes
    ----------
    again
        What one does to go on after a stop.
    """

    again = "start the same script again"

    def __init__(self, session: Session) -> None:
        self.session = session
        self._clock = session.clock
        self._interrupts: Interrupts | None = None

    @contextmanager
    def _interruptible(self, deadline: float | None) -> Iterator[Interrupts]:
        """Note signals rather than dying of them, and end after one as it asks for; until then, or until the
        deadline, a filesystem in trouble is waited for.
        """
        session = self.session
        with watching(self._clock) as interrupts:
            self._interrupts = interrupts
            session.patience.stop = lambda: self._must_stop(interrupts, deadline)
            try:
                yield interrupts
            except (StorageError, ClusterUnavailableError, Stopped) as error:
                if interrupts.first is None:
                    raise
                log.warning("%s", error)
            finally:
                session.patience.stop = lambda: None
        if interrupts.first is not None:
            self._leave(interrupts)

    def _must_stop(self, interrupts: Interrupts, deadline: float | None) -> str | None:
        if interrupts.first is not None:
            return f"{interrupts.first.name} came"
        if deadline is not None and self._clock.monotonic() >= deadline:
            return "the time of the call is over"
        return None

    def _wants_cancel(self, interrupts: Interrupts) -> bool:
        """Whether a second signal comes. After Ctrl-C a person has some seconds for it; a scheduler that
        sends SIGTERM kills soon, and is not kept waiting.
        """
        left = len(self.session.ledger.active)
        if interrupts.count == 1 and interrupts.first is signal.SIGINT and left:
            log.warning(
                "Interrupted, and saved. %s under way; Ctrl-C again within %g s cancels them too.",
                plural(left, "attempt"),
                SECOND_SIGNAL,
            )
            end = self._clock.monotonic() + SECOND_SIGNAL
            while interrupts.count == 1 and (rest := end - self._clock.monotonic()) > 0:
                self._clock.wait(rest)
        return interrupts.count > 1

    def _leave(self, interrupts: Interrupts) -> None:
        """Say how to go on, and end the way the signal asks for."""
        session = self.session
        left = len(session.ledger.active)
        running = f"{plural(left, 'attempt')} {'goes' if left == 1 else 'go'} on running; " if left else ""
        log.warning(
            "Stopped by %s. Everything is saved in %s; %s%s to go on and to collect what has finished.",
            interrupts.first.name if interrupts.first else "a signal",
            session.layout.root,
            running,
            self.again,
        )
        match interrupts.first:
            case signal.SIGUSR1:
                raise SystemExit(EXIT_AGAIN)
            case signal.SIGTERM:
                raise SystemExit(128 + signal.SIGTERM)
            case _:
                raise KeyboardInterrupt

    def _tell_of_stop(self) -> None:
        """Say who has stopped the run, and how to go on."""
        session = self.session
        request, waiting = session.ledger.changes.stopping, len(session.ledger.waiting)
        left = f" {plural(waiting, 'trial')} left to be run;" if waiting else ""
        log.warning(
            "Stopped, as %s has asked for. Everything is saved in %s;%s %s to go on.",
            request.by if request is not None else "somebody",
            session.layout.root,
            left,
            self.again,
        )


def close(session: Session) -> None:
    """Close a session, at the end of its scheduler or of the process; never raises.

    A script that ends by an error will be mended and started again, so its calls are remembered as if it had
    been killed.
    """
    crashed = getattr(sys, "last_value", None) is not None
    try:
        session.close(orderly=session.ledger.interrupted() is None and not crashed)
    except (OSError, AxSchedError) as error:
        log.warning("The experiment in %s could not be closed in good order: %s", session.layout.root, error)
