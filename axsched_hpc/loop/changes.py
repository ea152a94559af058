"""Requests to the run: taken from the inbox, answered in the journal, and only then removed.

What a request changes is recorded in the same group of lines as its answer. So a driver that is killed at any
moment has done all of it or nothing, and its successor knows by the request's id which.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from axsched_hpc.core.answers import Place, Refused, answer, answered, refuse_where_ax_drives
from axsched_hpc.core.changes import Change
from axsched_hpc.core.errors import AxSchedError, StorageError, SupersededError, plural
from axsched_hpc.core.evaluations import refusal
from axsched_hpc.core.events import Event, PointsEnqueued, RequestAnswered, TrialRetried
from axsched_hpc.core.states import RequestKind
from axsched_hpc.io import atomic, faults, requests
from axsched_hpc.io.storage import is_storage_error
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import BaseRunner

log = logging.getLogger("axsched_hpc")


class Changer:
    """Answers requests.

    Attributes
    ----------
    total
        The trials that the script's present call says there are to be; None where it has no such number.
    drives
        Whether a call of this package is under way, rather than one of Ax itself.
    """

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        self._session = session
        self._runner = runner
        self._left: set[str] = set()
        self.total: int | None = None
        self.drives = False

    def take(self, names: Sequence[str]) -> int:
        """Answer these requests, one after the other; how many were there."""
        count = 0
        for name in names:
            path, id = self._session.layout.inbox / name, requests.parse_name(name)
            if id is None:
                continue
            if id not in self._session.ledger.changes.answers:
                change = self._read(path)
                if change is None or (change.request is RequestKind.IMPORT and self._session.ax_is_busy):
                    continue  # it is read at a later look
                faults.reach("request.read")
                self._answer(id, change)
                faults.reach("request.recorded")
                count += 1
            # Only now: had the driver died before the record, the request would have been there still.
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            faults.reach("request.removed")
        return count

    def _read(self, path: Path) -> Change | None:
        """The request in a file; None where there is none, or none yet."""
        try:
            return requests.read(path)
        except FileNotFoundError:
            return None  # whoever asked has taken it back
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError) or not is_storage_error(error, reading=True):
                self._put_aside(path, error)
            return None

    def _put_aside(self, path: Path, error: Exception) -> None:
        aside = self._session.layout.refused / path.name
        try:
            atomic.make_directory(aside.parent)
            path.replace(aside)
        except FileNotFoundError:
            return  # whoever asked has taken it back
        except OSError as problem:
            if is_storage_error(problem):
                raise
            if path.name not in self._left:
                self._left.add(path.name)
                log.warning("A request could not be read (%s), nor put aside: %s", error, problem)
            return
        log.warning("A request could not be read, and is put aside as %s: %s", aside, error)

    # ------------------------------------------------------------ answers

    def _answer(self, id: str, change: Change) -> None:
        """Record what becomes of a request, with all that follows from it."""
        session, now = self._session, self._session.clock.now()
        place = Place(
            session.epoch,
            session.ledger.driver.run if session.ledger.driver is not None else None,
            self.total,
            self._runner.max_parallel,
            self._runner.pack,
            self.drives,
        )
        try:
            match change.request:
                case RequestKind.ADD:
                    events = self._add(id, change, place, now)
                case RequestKind.IMPORT:
                    events = self._import(id, change, place, now)
                case _:
                    taken = answer(id, change, session.ledger, place, now)
                    events = [taken, *self._followed(taken)]
        except (SupersededError, StorageError):
            raise
        except (Refused, AxSchedError, OSError) as error:
            events = [answered(id, change, now, str(error), taken=False)]
        except Exception as error:
            # A request is anybody's; one that Ax cannot take must not end the run, now and at every restart.
            log.exception("The request %s could not be taken.", id)
            text = f"it could not be taken ({type(error).__name__}: {error})"
            events = [answered(id, change, now, text, taken=False)]
        session.record(*events)

    def _followed(self, taken: RequestAnswered) -> list[Event]:
        """What a request changes beside the run itself."""
        if taken.request is not RequestKind.RETRY or taken.trial is None:
            return []
        if not self._session.ledger.trials[taken.trial].state.final:
            return []
        if not self._session.bridge.may_be_retried(taken.trial):
            raise Refused(
                f"trial {taken.trial} is an arm of a batch trial, which Ax ends whole: add its point"
            )
        return [TrialRetried(taken.time, taken.trial, f"asked for by {taken.by}")]

    def _add(self, id: str, change: Change, place: Place, now: float) -> list[Event]:
        refuse_where_ax_drives(change, place)
        from axsched_hpc.loop import sources  # loads Ax, which `axsched try` does without

        session = self._session
        good, bad = sources.given_points(zip(change.places, change.points, strict=True), session.bridge)
        if bad:
            total = plural(len(change.points), "point") + (f" in {change.source}" if change.source else "")
            raise Refused(refusal(total, bad, "None was added."))
        ledger = session.ledger
        room = ledger.changes.total(self.total) - ledger.own if self.total is not None else 0
        waiting = len(ledger.queue) + len(good)
        late = (
            "; the budget has no room for "
            + ("it" if waiting == 1 else "all that wait")
            + (f": axsched set --trials {ledger.own + waiting}")
        )
        text = f"{plural(len(good), 'point')} added, to be run before Ax is asked for any"
        return [
            answered(id, change, now, text + (late if waiting > room else "")),
            PointsEnqueued(now, ledger.next_place, tuple(good)),
        ]

    def _import(self, id: str, change: Change, place: Place, now: float) -> list[Event]:
        refuse_where_ax_drives(change, place)
        from axsched_hpc.loop import sources

        bridge, ledger, source = self._session.bridge, self._session.ledger, change.source or ""
        # What the user has made in Ax by himself is none of the source's.
        self._session.adopt()
        if change.text is None:
            read = sources.evaluations(Path(source), bridge)
        else:
            read = sources.evaluations_in(change.text, source, bridge)
        good, bad = bridge.warm.check(bridge.objective_names, read.evaluations)
        refused = partial(refusal, f"{plural(len(read.evaluations), 'evaluation')} in {read.name}", bad)
        if bad and not change.skip_bad:
            raise Refused(refused(f"{read.reading}None was taken; --skip-bad takes the others."))
        bridge.warm.attach(good, time=now)
        events = [each.imported(read.name) for each in bridge.external(ledger.trials, time=now)]
        known = len(good) - len(events)
        words = [f"{plural(len(events), 'evaluation')} imported as completed trials"]
        words += [f"{known} {'was' if known == 1 else 'were'} there already"] if known else []
        words += [f"{len(bad)} cannot be used"] if bad else []
        return [answered(id, change, now, "\n".join(("; ".join(words), *bad, *read.remarks))), *events]


def tell_of_changes(session: Session, max_parallel: int, trials: int | None) -> None:
    """Say at the beginning of a call what earlier requests make of it.

    Parameters
    ----------
    max_parallel
        The runner's.
    trials
        The number of the experiment's own trials that the call wants; None where it is no budget.
    """
    changes = session.ledger.changes
    if changes.paused is not None:
        log.warning(
            "Paused by %s: nothing new is submitted until `axsched resume %s`.",
            changes.paused.by,
            session.layout.root,
        )
    if trials is not None and changes.budget and (total := changes.total(trials)) != trials:
        log.warning(
            "The budget is %s, as %s has set it, instead of %d.",
            plural(total, "trial"),
            changes.budget.by,
            trials,
        )
    if changes.parallel and (slots := changes.slots(max_parallel)) != max_parallel:
        log.warning(
            "Up to %s at a time, as %s has set it, instead of %d.",
            plural(slots, "attempt"),
            changes.parallel.by,
            max_parallel,
        )
