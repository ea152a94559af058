"""Whether requests were answered once, and what followed from them happened: nothing more, nothing less.

Judged by the journal, one event after the other, and by what was laid into the inbox.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.changes import Change
from axsched_hpc.core.events import (
    BatchPlanned,
    Event,
    RequestAnswered,
    TrialAbandoned,
    TrialAdded,
    TrialEvent,
    TrialRetried,
)
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import RequestKind
from axsched_hpc.io import atomic, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal
from tests.chaos.violation import Kind, Violation


@dataclass(frozen=True)
class Laid:
    """A request that was laid into the inbox, where it was whole at ``time``."""

    id: str
    change: Change
    time: float


def history(directory: Path) -> list[Event]:
    """All that has happened, oldest first."""
    return list(journal.events(journal.read(Layout.at(directory).journal)))


def told(directory: Path, laid: Sequence[Laid]) -> Counter[str]:
    """How many requests were taken, refused, and not answered, by their kinds."""
    answers = _answers(history(directory))
    counted = Counter[str]()
    for each in laid:
        given = answers.get(each.id, ())
        became = "too late" if not given else "taken" if given[0].taken else "refused"
        counted[f"{each.change.request} {became}"] += 1
    return counted


def cancelled_attempts(events: Iterable[Event]) -> set[tuple[int, int]]:
    """The attempts that ended because somebody has asked for it: (trial, attempt)."""
    ledger, found = Ledger(), set()
    for event in events:
        ledger.apply(event)
        if isinstance(event, TrialAbandoned) and event.trial in ledger.changes.cancelled:
            found.add((event.trial, len(ledger.trials[event.trial].attempts)))
    return found


def check_requests(
    layout: Layout, events: Sequence[Event], laid: Sequence[Laid], *, trials: int, slots: int
) -> Iterator[Violation]:
    """Check what became of all requests.

    Parameters
    ----------
    laid
        All requests that were made.
    trials, slots
        What the script says of its trials, and of attempts at a time.
    """
    yield from _obeyed(events, trials, slots)
    yield from _answered(layout, events, laid)
    yield from _added_points(events, laid)


def _obeyed(events: Iterable[Event], trials: int, slots: int) -> Iterator[Violation]:
    """Whether each step of the run was allowed by the requests before it."""
    ledger, cancelled = Ledger(), set[int]()
    for event in events:
        changes = ledger.changes
        match event:
            case TrialAdded() if ledger.own >= changes.total(trials):
                words = f"trial {event.trial} was added though the budget was {changes.total(trials)} trials."
                yield Violation(Kind.INCONSISTENT, words)
            case BatchPlanned():
                again = sorted(cancelled.intersection(trial for trial, _ in event.attempts))
                if again:
                    yield Violation(Kind.DOUBLED, f"{event.token} has trials {again}, which were cancelled.")
                if changes.halted:
                    yield Violation(Kind.INCONSISTENT, f"{event.token} was planned while the run was paused.")
                if (under_way := len(ledger.active) + len(event.attempts)) > changes.slots(slots):
                    words = f"{under_way} attempts were under way, in {changes.slots(slots)} slots."
                    yield Violation(Kind.INCONSISTENT, words)
            case RequestAnswered(taken=True, request=RequestKind.CANCEL, trial=int(trial)):
                cancelled.add(trial)
            case TrialRetried():
                cancelled.discard(event.trial)
        ledger.apply(event)


def _answered(layout: Layout, events: Sequence[Event], laid: Iterable[Laid]) -> Iterator[Violation]:
    answers = _answers(events)
    left = {requests.parse_name(name) for name in atomic.listing(layout.inbox)}
    # A driver looks into the inbox once more after the last thing that has happened to a trial.
    last = max((event.time for event in events if isinstance(event, TrialEvent)), default=0.0)
    for each in laid:
        given, named = len(answers.get(each.id, ())), f"the request {each.id} ({each.change.request})"
        if given > 1:
            yield Violation(Kind.DOUBLED, f"{named} was answered {given} times.")
        if not given and each.id not in left:
            yield Violation(Kind.LOST, f"{named} is gone without an answer.")
        if each.id in left and each.time < last:
            yield Violation(Kind.ORPHAN, f"{named} is left in the inbox.")
    for name in atomic.listing(layout.refused):
        yield Violation(Kind.INCONSISTENT, f"{name} was put aside as if it could not be read.")


def _added_points(events: Iterable[Event], laid: Iterable[Laid]) -> Iterator[Violation]:
    """Each point that was taken is in one trial, or waits in the queue."""
    ledger = Ledger()
    ledger.replay(events)
    there = [trial.parameters for trial in ledger.trials.values()] + list(ledger.queue.values())
    for each in laid:
        answer = ledger.changes.answers.get(each.id)
        wanted = int(answer is not None and answer.taken)
        for point in each.change.points:
            if (found := there.count(point)) != wanted:
                kind = Kind.LOST if found < wanted else Kind.DOUBLED
                yield Violation(kind, f"the point {point} of the request {each.id} is there {found} times.")


def _answers(events: Iterable[Event]) -> dict[str, list[RequestAnswered]]:
    answers: dict[str, list[RequestAnswered]] = {}
    for event in events:
        if isinstance(event, RequestAnswered):
            answers.setdefault(event.id, []).append(event)
    return answers
