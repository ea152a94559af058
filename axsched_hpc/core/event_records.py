"""Events as JSON objects, one a record of the journal; what is read is checked.

What the fields mean stands with the events; how they are laid out in a file, in docs/format.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from axsched_hpc.core import typed
from axsched_hpc.core.curve import LARGEST_STEP
from axsched_hpc.core.events import (
    LAST_TIME,
    AttemptFailed,
    AttemptReported,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWaits,
    AttemptWithdrawn,
    BaselineSet,
    BatchPlanned,
    BatchSubmitted,
    CallEnded,
    CallStarted,
    DefinitionChanged,
    DriverClosed,
    DriverOpened,
    Event,
    LeaseTaken,
    ObjectiveSet,
    PointsEnqueued,
    RequestAnswered,
    StopDecided,
    TrialAbandoned,
    TrialAdded,
    TrialRetried,
    TrialStopped,
)
from axsched_hpc.core.metrics import Metrics

_EVENTS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        LeaseTaken,
        DriverOpened,
        DefinitionChanged,
        DriverClosed,
        CallStarted,
        CallEnded,
        ObjectiveSet,
        BaselineSet,
        PointsEnqueued,
        RequestAnswered,
        TrialAdded,
        BatchPlanned,
        BatchSubmitted,
        AttemptWithdrawn,
        AttemptWaits,
        AttemptStarted,
        AttemptRequeued,
        AttemptReported,
        StopDecided,
        TrialStopped,
        AttemptSucceeded,
        AttemptFailed,
        TrialAbandoned,
        TrialRetried,
    )
}

#: Least and greatest values of numbers, by the name of the field.
_RANGES: dict[str, tuple[float, float]] = {
    "time": (0, LAST_TIME),
    "asked": (0, LAST_TIME),
    "started": (0, LAST_TIME),
    "ended": (0, LAST_TIME),
    "takeover": (0, LAST_TIME),
    "trial": (0, typed.LARGEST),
    "attempt": (1, typed.LARGEST),
    "format": (1, typed.LARGEST),
    "pid": (1, typed.LARGEST),
    "ordinal": (0, typed.LARGEST),
    "first": (0, typed.LARGEST),
    "place": (0, typed.LARGEST),
    "read": (0, typed.LARGEST),
}


def encode(event: Event) -> dict[str, Any]:
    """The event as a JSON object. It shares what it holds with the event, which nobody may change."""
    return {"kind": event.kind, **_members(event)}


def _members(record: Any) -> dict[str, Any]:
    # dataclasses.asdict copies whole generator runs, which takes longer than to write them as JSON.
    return {name: _plain(value) for name, value in vars(record).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return _members(value) if is_dataclass(value) else value


def decode(record: dict[str, Any]) -> Event:
    """The event that a JSON object stands for; the object is used up.

    Raises
    ------
    ValueError
        The kind is unknown, or a field is missing, superfluous, of the wrong type or out of range.
    """
    kind = record.get("kind")
    cls: Any = _EVENTS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"unknown kind of record {kind!r:.80}")
    del record["kind"]
    known, check = _rules(cls)
    try:
        event: Event = typed.record(cls, known, record)
        if check is not None:
            check(event)
    except ValueError as error:
        raise ValueError(f"a record of kind {kind!r} {error}") from None
    return event


@cache
def _rules(cls: Any) -> tuple[dict[str, typed.Reader], Callable[[Any], None] | None]:
    """A reader for each field, which holds numbers to their ranges; and what checks the event as a whole."""
    known = {
        name: typed.within(reader, *_RANGES[name]) if name in _RANGES else reader
        for name, reader in typed.readers(cls).items()
    }
    return known, _CHECKS.get(cls)


def _check_sizes(event: DriverOpened) -> None:
    if any(size < 0 for size in event.previous.values()):
        raise ValueError("has a size below zero in its field 'previous'")


def _check_trials(event: DefinitionChanged) -> None:
    if event.trials < 0:
        raise ValueError(f"has a field 'trials' that is out of range: {event.trials}")


def _check_parameters(event: TrialAdded | BaselineSet) -> None:
    _check_point(event.parameters)


def _check_queue(event: PointsEnqueued) -> None:
    if not event.points:
        raise ValueError("has no point")
    for point in event.points:
        _check_point(point)


def _check_point(point: dict[str, Any]) -> None:
    for name, value in point.items():
        if not name or isinstance(value, dict | list):
            raise ValueError(f"has a parameter {name!r:.80} that is {value!r:.80}")


def _check_metrics(event: AttemptSucceeded) -> None:
    _check_values(event.metrics)


def _check_points(event: AttemptReported) -> None:
    if not event.points:
        raise ValueError("has no point")
    for step, metrics in event.points:
        if not 0 <= step <= LARGEST_STEP:
            raise ValueError(f"has a step that is out of range: {step}")
        _check_values(metrics)


def _check_values(metrics: Metrics) -> None:
    if not metrics:
        raise ValueError("has no metric")
    for name, (_, sem) in metrics.items():
        if not name or (sem is not None and sem < 0):
            raise ValueError(f"has a metric {name!r:.80} with a standard error of {sem}")


def _check_request(event: BatchPlanned) -> None:
    request = event.request
    if any(amount is not None and amount < 1 for amount in (request.memory_mb, request.time_s)):
        raise ValueError("has a field 'request' that asks for less than 1")


def _check_settings(event: RequestAnswered) -> None:
    for setting in (event.trials, event.max_parallel):
        if setting is not None and (setting.value < 1 or setting.said < 0):
            raise ValueError(f"has a setting out of range: {setting.value} for {setting.said}")


_CHECKS: dict[type[Event], Callable[[Any], None]] = {
    DriverOpened: _check_sizes,
    DefinitionChanged: _check_trials,
    BatchPlanned: _check_request,
    BaselineSet: _check_parameters,
    PointsEnqueued: _check_queue,
    RequestAnswered: _check_settings,
    TrialAdded: _check_parameters,
    AttemptReported: _check_points,
    AttemptSucceeded: _check_metrics,
}
