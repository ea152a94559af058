"""What objectives report on their way: their progress files, read from where they were read to before."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

from axsched_hpc.core.curve import Report, reached, thinned
from axsched_hpc.core.events import AttemptReported
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import atomic, progress
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.loop.session import Session

log = logging.getLogger("axsched_hpc")


@dataclass
class _Place:
    """Where the reading of one attempt's file stands.

    ``held``: the last report, where it is not recorded: should it be the curve's end, it will be.
    """

    attempt: int
    read: int
    held: Report | None = None
    there: bool = False
    complained: bool = False


class Curves:
    """Reads the progress files of running attempts, and turns what is worth keeping into events."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._places: dict[int, _Place] = {}

    def look(self) -> list[int]:
        """Record what running attempts have reported since the last look; the trials that reported.

        One small read per attempt whose file is there, and one listing where none has been seen.
        """
        ledger = self._session.ledger
        self._places = {n: place for n, place in self._places.items() if n in ledger.active}
        events: list[AttemptReported] = []
        for number in ledger.active:
            trial = ledger.trials[number]
            if trial.state is TrialState.RUNNING:
                # A file that cannot be read now is read at a later look.
                with contextlib.suppress(OSError):
                    events += self._read(trial, trial.attempts[-1])
        self._session.record(*events)
        return [event.trial for event in events]

    def rest(self, trial: Trial) -> list[AttemptReported]:
        """What an attempt that has ended had reported and is not recorded yet: to its last line."""
        try:
            return self._read(trial, trial.attempts[-1], to_end=True)
        except OSError as error:
            log.warning(
                "The end of the curve of trial %d could not be read (%s); it counts as far as it is known.",
                trial.number,
                error,
            )
            return []

    def _read(self, trial: Trial, attempt: Attempt, *, to_end: bool = False) -> list[AttemptReported]:
        files = self._session.layout.attempt(trial.number, attempt.number)
        place = self._places.get(trial.number)
        if place is None or place.attempt != attempt.number:
            place = self._places[trial.number] = _Place(attempt.number, attempt.read)
        # NFS remembers for a while that a name was not there, unless its directory is listed.
        if not place.there and files.progress.name not in atomic.listing(files.root):
            return []
        place.there = True
        kept: list[Report] = []
        reach, held, more = trial.reach, place.held, True
        read, bad = place.read, None
        while more:
            chunk = progress.read(files.progress, read)
            waiting = (held, *chunk.reports) if held is not None else chunk.reports
            new, held = thinned(reach, waiting)
            reach = reached(reach, ((each.step, each.metrics) for each in new))
            kept += new
            bad = chunk.bad if bad is None else bad
            read, more = chunk.end, chunk.more and to_end
        if to_end and held is not None:
            kept.append(held)
            held = None
        # Only now: where a read fails, all is read again.
        place.read, place.held = read, held
        if bad is not None and not place.complained:
            place.complained = True
            self._complain(files, bad)
        if not kept:
            return []
        points = tuple((each.step, each.metrics) for each in kept)
        now = self._session.clock.now()
        return [AttemptReported(now, trial.number, attempt.number, points, kept[-1].end)]

    def _complain(self, files: AttemptFiles, position: int) -> None:
        with contextlib.suppress(OSError):
            log.warning(
                "%s. The line is skipped, and so are others like it.",
                progress.complaint(files.progress, position).rstrip("."),
            )
