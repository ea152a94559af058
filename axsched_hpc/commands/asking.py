"""Laying requests down for the driver, and waiting a moment for its answers in the journal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from axsched_hpc.commands.output import show, show_json
from axsched_hpc.core.changes import Change
from axsched_hpc.core.errors import ConfigError, StorageError
from axsched_hpc.core.events import RequestAnswered
from axsched_hpc.core.states import RequestKind
from axsched_hpc.io import atomic, processes, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.owner import user
from axsched_hpc.reporting.reading import Reading, driven, driver_text, read_experiment
from axsched_hpc.reporting.records import FORMAT, driver_record

#: Seconds between two looks whether requests are answered: the first, and the most.
_FIRST_LOOK, _LAST_LOOK = 0.05, 0.5

#: Seconds in which the record of an answer is to be seen once the request's file is gone.
_RECORD = 2.0


@dataclass(frozen=True)
class _Asked:
    """A request that was laid down, and what became of it; no answer where there is none yet."""

    id: str
    change: Change
    answer: RequestAnswered | None

    @property
    def state(self) -> str:
        if self.answer is None:
            return "waiting"
        return "taken" if self.answer.taken else "refused"

    def record(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "request": str(self.change.request),
            "trial": self.change.trial,
            "state": self.state,
            "answer": self.answer.answer if self.answer is not None else None,
        }


def change(request: RequestKind, **fields: Any) -> Change:
    """A request by whoever runs this command, now."""
    return Change(request, f"{user()}@{processes.hostname()}", time.time(), **fields)


def ask(reading: Reading, changes: Sequence[Change], *, wait: float, as_json: bool) -> None:
    """Lay requests down, wait for the answers, print them, and end with exit code 1 where one is refused.

    Parameters
    ----------
    wait
        The most seconds for that; where no driver is at work, there is no waiting.

    Raises
    ------
    StorageError, ConfigError
        They cannot be laid down.
    """
    layout, at_work = reading.layout, driven(reading, now=time.time())
    ids = [_lay_down(layout, each) for each in changes]
    answers: dict[str, RequestAnswered] = {}
    if at_work:
        answers = _answers(layout, ids, time.monotonic() + wait)
        reading = read_experiment(layout.root)
        at_work = driven(reading, now=time.time())
    asked = [_Asked(id, each, answers.get(id)) for id, each in zip(ids, changes, strict=True)]
    if not at_work:
        # It was for that driver, which has ended by itself.
        for each in asked:
            if each.answer is None and each.change.request is RequestKind.STOP:
                with contextlib.suppress(FileNotFoundError):
                    requests.path_of(layout, each.id).unlink()
    _print(reading, asked, at_work=at_work, as_json=as_json)
    if any(each.state == "refused" for each in asked):
        sys.exit(1)


def nothing_runs(reading: Reading, *, as_json: bool) -> None:
    """Say that there is no driver that could be stopped."""
    if as_json:
        _print(reading, [], at_work=False, as_json=True)
        return
    left = len(reading.ledger.active)
    jobs = " Attempts that it left behind go on; the next driver collects them." if left else ""
    show(f"Nothing to stop: no driver is at work in {reading.layout.root}.{jobs}")


def _lay_down(layout: Layout, each: Change) -> str:
    try:
        return requests.lay_down(layout, each)
    except ValueError as error:
        raise ConfigError(f"The request cannot be made: {error}. Nothing was changed.") from None
    except OSError as error:
        raise StorageError(
            f"{layout.inbox} cannot be written ({error.strerror or error}), so nothing was asked for. Only "
            "the owner of an experiment can change it, on a host that may write there."
        ) from error


def _answers(layout: Layout, ids: Iterable[str], deadline: float) -> dict[str, RequestAnswered]:
    """The answers that come until the deadline. A request is removed once its answer is in the journal, so
    that is read only then.
    """
    ids, pause = set(ids), _FIRST_LOOK
    while True:
        names = set(atomic.listing(layout.inbox))
        left = {id for id in ids if requests.path_of(layout, id).name in names}
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(pause)
        pause = min(2 * pause, _LAST_LOOK)
    last = time.monotonic() + _RECORD
    while True:
        known = read_experiment(layout.root).ledger.changes.answers
        found = {id: known[id] for id in ids if id in known}
        if ids - left <= found.keys() or time.monotonic() >= last:
            return found
        time.sleep(_LAST_LOOK)


def _print(reading: Reading, asked: Sequence[_Asked], *, at_work: bool, as_json: bool) -> None:
    root = reading.layout.root
    if as_json:
        driver = driver_record(reading) if at_work else None
        records = [each.record() for each in asked]
        show_json({"format": FORMAT, "directory": str(root), "driver": driver, "requests": records})
        return
    for each in asked:
        if each.answer is not None:
            refused = not each.answer.taken
            show(("refused: " if refused else "") + each.answer.answer, err=refused)
    waiting = [each for each in asked if each.answer is None]
    if not waiting:
        return
    if waiting[0].change.request is RequestKind.STOP and not at_work:
        show(f"The driver in {root} has ended meanwhile; there is nothing to stop any more.")
        return
    which = "The request waits" if len(waiting) == 1 else f"{len(waiting)} requests wait"
    if not at_work:
        show(f"No driver is at work in {root}. {which} for the next one.")
    else:
        show(f"{which}, and {driver_text(reading, now=time.time())} has not answered yet.{_stopped(reading)}")


def _stopped(reading: Reading) -> str:
    who = reading.holder
    if who is not None and who.pid is not None and who.alive() and processes.stopped(who.pid):
        return f" Its process is stopped: let it go on with kill -CONT {who.pid}."
    return " It does so at its next look; axsched status tells."
