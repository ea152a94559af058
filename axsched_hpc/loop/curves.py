"""What objectives report on their way: their progress files, read from where they were read to before."""

from __future__ import annotations

import contextlib
import logging
import random
from dataclasses import dataclass

from axsched_hpc.core.curve import Report
from axsched_hpc.core.events import AttemptReported
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.core.throttle import jittered, silence
from axsched_hpc.io import atomic, progress
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.loop.session import Session

log = logging.getLogger("axsched_hpc")


@dataclass(frozen=True)
class _Place:
    """Where the reading of one attempt's file stands.

    ``held``: the last report, where it is not recorded: should it be the curve's end, it will be.
    """

    attempt: int
    read: int
    held: Report | None = None


@dataclass(frozen=True)
class _Read:
    """What a look has found: the reports to record, and where the next look goes on."""

    kept: tuple[Report, ...]
    place: _Place


@dataclass(frozen=True)
class _Silence:
    """Since when an attempt has reported nothing new, and until when it is not looked at, on the monotonic
    clock.
    """

    attempt: int
    since: float
    until: float


class Curves:
    """Reads the progress files of running attempts, and turns what is worth keeping into events."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._places: dict[int, _Place] = {}
        self._silent: dict[int, _Silence] = {}
        self._complained: set[AttemptFiles] = set()
        # Not Python's own dice, which Ax may be using beside the loop, with a seed.
        self._dice = random.Random(random.random())

    def look(self) -> list[int]:
        """Record what running attempts have reported since the last look; the trials that reported.

        One small read per attempt whose file is there, and one listing where none has been seen; of attempts
        that report nothing the less often, the longer that goes on.
        """
        ledger = self._session.ledger
        places: dict[int, _Place] = {}
        silent: dict[int, _Silence] = {}
        events: list[AttemptReported] = []
        now = self._session.clock.monotonic()
        for number in ledger.active:
            trial = ledger.trials[number]
            attempt, place = trial.attempts[-1], self._places.get(number)
            if place is not None and place.attempt == attempt.number:
                places[number] = place
            if trial.state is not TrialState.RUNNING:
                continue
            quiet = self._silent.get(number)
            if quiet is None or quiet.attempt != attempt.number:
                quiet = _Silence(attempt.number, now, now)
            silent[number] = quiet
            if now < quiet.until:
                continue
            # A file that cannot be read now is read at a later look.
            with contextlib.suppress(OSError):
                found = self._read(trial, attempt, places.get(number))
                if found is not None:
                    known, places[number] = places.get(number), found.place
                    events += self._events(trial, attempt, found.kept)
                    if known is None or found.place.read != known.read:
                        quiet = _Silence(attempt.number, now, now)
                pause = jittered(silence(now - quiet.since, len(ledger.active)), self._dice.random())
                silent[number] = _Silence(attempt.number, quiet.since, now + pause)
        self._session.record(*events)
        # Only now: what an error has kept out of the journal is read again.
        self._places, self._silent = places, silent
        return [event.trial for event in events]

    def rest(self, trial: Trial) -> list[AttemptReported]:
        """What an attempt that has ended had reported and is not recorded yet: to its last line.

        This changes nothing, so that it may be asked again until it is recorded.
        """
        attempt = trial.attempts[-1]
        place = self._places.get(trial.number)
        try:
            found = self._read(trial, attempt, place, to_end=True)
        except OSError as error:
            log.warning(
                "The end of the curve of trial %d could not be read (%s); it counts as far as it is known.",
                trial.number,
                error,
            )
            return []
        return self._events(trial, attempt, found.kept) if found is not None else []

    def _read(
        self, trial: Trial, attempt: Attempt, place: _Place | None, *, to_end: bool = False
    ) -> _Read | None:
        """What stands in an attempt's file after a place, or after what is recorded; None without a file.

        Raises
        ------
        OSError
            It cannot be read.
        """
        files = self._session.layout.attempt(trial.number, attempt.number)
        if place is None or place.attempt != attempt.number:
            # NFS remembers for a while that a name was not there, unless its directory is listed.
            if files.progress.name not in atomic.listing(files.root):
                return None
            place = _Place(attempt.number, attempt.read)
        if place.read < attempt.read:
            place = _Place(attempt.number, attempt.read)
        found = progress.follow(files.progress, place.read, trial.reach, place.held, to_end=to_end)
        if found.bad is not None:
            self._complain(files, found.bad)
        last = (found.held,) if to_end and found.held is not None else ()
        return _Read((*found.kept, *last), _Place(attempt.number, found.end, found.held))

    def _events(self, trial: Trial, attempt: Attempt, kept: tuple[Report, ...]) -> list[AttemptReported]:
        if not kept:
            return []
        points = tuple((each.step, each.metrics) for each in kept)
        now = self._session.clock.now()
        return [AttemptReported(now, trial.number, attempt.number, points, kept[-1].end)]

    def _complain(self, files: AttemptFiles, position: int) -> None:
        if files in self._complained:
            return
        self._complained.add(files)
        with contextlib.suppress(OSError):
            log.warning(
                "%s. The line is skipped, and so are others like it.",
                progress.complaint(files.progress, position).rstrip("."),
            )
