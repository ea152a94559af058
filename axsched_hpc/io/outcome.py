"""How an attempt ended, as its worker publishes it.

The result lies beside the attempt's files, and a copy of it in the inbox is the notice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc.core import metrics as metric_values
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record
from axsched_hpc.io import access, atomic, document
from axsched_hpc.io.faults import reach
from axsched_hpc.io.layout import Layout, named_attempt

if TYPE_CHECKING:
    from axsched_hpc.core.events import Failure

#: What a failure keeps of a log's end.
TAIL_LINES, TAIL_BYTES, LINE_LENGTH = 20, 16_384, 500


class Outcome(Record):
    """The end of an attempt: either metrics or a failure.

    Attributes
    ----------
    started, ended
        On the node's clock, in seconds since the epoch.
    max_rss_mb
        Largest resident memory of the worker or of one of the objective's processes, in MB (10^6 bytes).
    """

    trial: int
    attempt: int
    token: str
    metrics: Metrics | None
    failure: Failure | None
    host: str
    job: str | None
    started: float
    ended: float
    max_rss_mb: float | None = None


def encode(outcome: Outcome) -> str:
    """The text of the outcome's file.

    Raises
    ------
    ValueError
        It has neither metrics nor a failure, or both.
    """
    if (outcome.metrics is None) == (outcome.failure is None):
        raise ValueError("an outcome has either metrics or a failure")
    members = dict(vars(outcome))
    if outcome.failure is not None:
        from dataclasses import asdict  # as below

        members["failure"] = asdict(outcome.failure)
    return document.encode(members)


def read(path: Path) -> Outcome:
    """Read a result or a notice.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is malformed, or of another attempt than its name says; the message names the file.
    """
    found = decode(document.read(path), source=str(path))
    if (found.trial, found.attempt) != named_attempt(path):
        raise ValueError(f"{path} holds the outcome of trial {found.trial}, attempt {found.attempt}.")
    return found


def decode(fields: Mapping[str, Any], *, source: str) -> Outcome:
    """The outcome in a document's fields.

    Raises
    ------
    ValueError
        They are malformed. The message names the source.
    """
    nothing = type(None)
    raw_metrics = document.field(fields, "metrics", (dict, nothing), source=source)
    raw_failure = document.field(fields, "failure", (dict, nothing), source=source)
    if (raw_metrics is None) == (raw_failure is None):
        raise ValueError(f"{source}: it needs either 'metrics' or 'failure', and not both.")
    return Outcome(
        trial=document.whole(fields, "trial", source=source),
        attempt=document.whole(fields, "attempt", source=source, least=1),
        token=document.field(fields, "token", str, source=source),
        metrics=None if raw_metrics is None else metric_values.normalise(raw_metrics, source=source),
        failure=None if raw_failure is None else _failure(raw_failure, source),
        host=document.field(fields, "host", str, source=source),
        job=document.field(fields, "job", (str, nothing), source=source),
        started=document.number(fields, "started", source=source),
        ended=document.number(fields, "ended", source=source),
        max_rss_mb=document.optional(document.number, fields, "max_rss_mb", source=source),
    )


def publish(layout: Layout, outcome: Outcome) -> None:
    """Write the result, then announce it: a notice never speaks of a result that is not there.

    Raises
    ------
    OSError
        One of the two could not be written; publishing again is right.
    """
    atomic.write(layout.attempt(outcome.trial, outcome.attempt).result, encode(outcome))
    reach("worker.result")
    announce(layout, outcome)


def announce(layout: Layout, outcome: Outcome) -> None:
    """Put the notice of a published result into the inbox. It is not synced: where a power failure takes it
    away, the driver looks at the result, once it finds the job gone.
    """
    atomic.make_directory(layout.inbox)
    atomic.write(layout.notice(outcome.trial, outcome.attempt), encode(outcome), sync=False)
    reach("worker.announced")


def tail(log: Path, start: int = 0) -> tuple[str, ...]:
    """The last lines of a log from byte ``start`` on, without blank ones; a large log is not read whole."""
    try:
        with os.fdopen(access.open_read(log), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            begin = max(start, end - TAIL_BYTES)
            file.seek(begin)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ()
    if begin > start and len(lines) > 1:
        lines = lines[1:]  # the first one is cut
    return tuple(line.rstrip()[:LINE_LENGTH] for line in lines if line.strip())[-TAIL_LINES:]


def _failure(raw: Mapping[str, Any], source: str) -> Failure:
    # Imported where it is needed: defining all events costs a job 8 ms, and most jobs succeed.
    from axsched_hpc.core import typed
    from axsched_hpc.core.events import Failure

    try:
        failure: Failure = typed.read(Failure, raw)
    except ValueError as error:
        raise ValueError(f"{source}: the field 'failure' {error}.") from None
    if failure.signal is not None and failure.signal < 0:
        raise ValueError(f"{source}: the field 'failure' has the signal {failure.signal}, which is none.")
    return failure
