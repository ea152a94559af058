"""The append-only record of an experiment: reading it, and its lines. docs/format.md specifies the format.

A driver's record of its start says how many bytes of each earlier segment it has read. A driver that was
superseded without noticing (a machine that slept, a lock that a filesystem lost) can therefore not change the
past: what it appends lies beyond that size. A last line without its line end, or a group without its last
line, was never promised to anybody, since appending had not returned; it is dropped. Any other damage is an
error that names file and line.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from axsched_hpc.core.collector import paused
from axsched_hpc.core.errors import JournalError
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import DriverOpened, Event, LeaseTaken
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.record import Record
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT

_CRC = b', "crc": "'
_MORE = "more"

# What a trial's line has of Ax, and what is read of that without Ax: an index, or a whole outcome.
_AX, _PLACE = b', "ax": ', b', "place": '
_INDEX, _EXTERNAL = b'"index": ', b'"origin": "external"'

#: What `raw_decode` calls; where a value is missing it says so in an odd way.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in the stubs


class NewerFormatError(ValueError):
    """The journal was written by a later version; carries its format."""


class Segment(Record):
    """One segment as read.

    Attributes
    ----------
    events
        Its complete events.
    size
        Size in bytes of the lines that they stand in.
    torn
        Bytes after those, of lines whose appending did not come to its end.
    """

    path: Path
    epoch: int
    events: tuple[Event, ...]
    size: int
    torn: int = 0

    @property
    def previous(self) -> Mapping[str, int] | None:
        """What its driver had read of earlier segments; None where none has got so far."""
        for event in self.events[:2]:
            if isinstance(event, DriverOpened):
                return event.previous
        return None

    @property
    def lease(self) -> LeaseTaken | None:
        """Who made it; None for one of format 1, or where nothing of it counts."""
        first = self.events[0] if self.events else None
        return first if isinstance(first, LeaseTaken) else None

    @property
    def base(self) -> bool:
        """Whether it holds all that is known, so that earlier segments do not count."""
        return self.lease is not None and self.lease.base


def segment_name(epoch: int) -> str:
    """The file name of an epoch's segment."""
    return f"{epoch:05d}.jsonl"


def epochs(directory: Path) -> list[int]:
    """The epochs of the segments in a journal's directory, oldest first."""
    found = []
    for name in atomic.listing(directory):
        number = name.removesuffix(".jsonl")
        # One epoch has one name.
        if number.isascii() and number.isdecimal() and len(number) < 19 and name == segment_name(int(number)):
            found.append(int(number))
    return sorted(found)


@paused()
def read(directory: Path, *, before: int | None = None, ax: bool = True) -> list[Segment]:
    """Read a journal.

    Parameters
    ----------
    before
        Leave out the segments from this epoch on.
    ax
        Whether to read what only Ax understands of a trial, which is most of a journal: as of
        :func:`parse_line`.

    Raises
    ------
    JournalError
        A line is damaged, a segment is missing, or the journal was written by a newer version; names file
        and line.
    OSError
        It cannot be read at all.
    """
    segments: list[Segment] = []
    limits: dict[str, int] = {}
    there = [epoch for epoch in epochs(directory) if before is None or epoch < before]
    # From the last segment back: each says how much of the earlier ones counts.
    for epoch in reversed(there):
        name = segment_name(epoch)
        segment = read_segment(directory, epoch, limits.pop(name, None), ax=ax)
        if not segment.events:
            continue
        segments.append(segment)
        if segment.base:
            limits.clear()
            break
        for earlier, size in (segment.previous or {}).items():
            limits.setdefault(earlier, size)
    segments.reverse()
    known = {segment.path.name for segment in segments}
    for name, size in sorted(limits.items()):
        if size and name not in known:
            path = directory / name
            raise _damage(f"{path} is missing, but a later driver read {size} bytes of it.", path)
    return segments


def events(segments: Iterable[Segment]) -> Iterator[Event]:
    """All events, oldest first."""
    for segment in segments:
        yield from segment.events


@paused()
def replay(segments: Iterable[Segment]) -> Ledger:
    """The state of an experiment: the fold of what its journal tells.

    Raises
    ------
    JournalError
        It tells of something that cannot have happened; names file and line.
    """
    ledger = Ledger()
    for _ in replayed(segments, ledger):
        pass
    return ledger


def replayed(segments: Iterable[Segment], ledger: Ledger) -> Iterator[Event]:
    """Take the events into a ledger, and give each when that is done.

    Raises
    ------
    JournalError
        As :func:`replay`.
    """
    for segment in segments:
        for line, event in enumerate(segment.events, 1):
            try:
                ledger.take(event)
            except ValueError as error:
                raise _damage(
                    f"{segment.path}, line {line} tells of something that cannot have happened: {error}. "
                    "Nothing was changed.",
                    segment.path,
                    line,
                ) from error
            yield event


def sizes(segments: Sequence[Segment]) -> dict[str, int]:
    """What a driver that has read these segments says of them: how much counts of each of which no later one
    has spoken.
    """
    spoken = max((segment.epoch for segment in segments if segment.previous is not None), default=0)
    return {segment.path.name: segment.size for segment in segments if segment.epoch >= spoken}


# ---------------------------------------------------------------- lines


def encode_line(event: Event, epoch: int, seq: int, *, more: bool = False) -> str:
    """One line of the journal, with its line end. ``more``: the next line belongs to the same group."""
    head = {"epoch": epoch, "seq": seq, _MORE: True} if more else {"epoch": epoch, "seq": seq}
    try:
        body = json.dumps({**head, **encode(event)}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"an event of kind {event.kind!r} cannot be written as JSON: {error}") from None
    return f'{body[:-1]}{_CRC.decode()}{zlib.crc32(body.encode()):08x}"}}\n'


class Line(NamedTuple):
    """What a line says. ``more``: the next line belongs to the same group."""

    epoch: int
    seq: int
    event: Event
    more: bool


def parse_line(data: bytes, *, ax: bool = True) -> Line:
    """What a line says, wherever it stands; ``data`` without its line end.

    Parameters
    ----------
    ax
        False to leave out what only Ax understands of a trial, as if it were null. Its bytes are held to the
        line's checksum all the same.

    Raises
    ------
    NewerFormatError
        It was written by a later version.
    ValueError
        It is no such line; says why.
    """
    at = data.rfind(_CRC)
    body = data[:at] + b"}"
    if data[at:] != b'%b%08x"}' % (_CRC, zlib.crc32(body)):
        there = at >= 0 and data.endswith(b'"}')
        raise ValueError("its checksum is wrong" if there else "it has no checksum at its end")
    record = (None if ax else _without_ax(body)) or _object(body)
    epoch, seq = record.pop("epoch", None), record.pop("seq", None)
    if type(epoch) is not int or type(seq) is not int or seq < 1:
        raise ValueError("it does not tell its epoch and number")
    newer = record.get("format")
    if type(newer) is int and newer > FORMAT and record.get("kind") in (LeaseTaken.kind, DriverOpened.kind):
        raise NewerFormatError(newer)
    more = _MORE in record
    if more and record.pop(_MORE) is not True:
        raise ValueError("its member 'more' is something else than true")
    return Line(epoch, seq, decode(record), more)


def _object(body: bytes) -> dict[str, Any]:
    text = body.decode()
    try:
        record, end = _scan(text, 0)
    except StopIteration as missing:
        raise json.JSONDecodeError("Expecting value", text, missing.value) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if type(record) is not dict or end < len(text):
        raise ValueError("it is no JSON object")
    return record


def _without_ax(body: bytes) -> dict[str, Any] | None:
    """A line without what Ax alone understands of its trial; None where it has to be read as a whole.

    The member is cut out unread, where `_AX` begins it and `_PLACE` the last one. Quotation marks within
    texts have a backslash, so that both are members. `_PLACE` is one of the line itself, since nothing but
    its value follows; and then so is `_AX`: else what is left would not be JSON.
    """
    start, end = body.find(_AX), body.rfind(_PLACE)
    if not 0 < start < end:
        return None
    head, place = body[:start], body[end:]
    number = place[len(_PLACE) : -1]
    if (
        not (number == b"null" or number.isdigit())
        or head.endswith(_EXTERNAL)
        or body.find(_INDEX, start, end) >= 0
    ):
        return None
    try:
        return _object(head + place)
    except ValueError:
        return None


def read_segment(directory: Path, epoch: int, limit: int | None = None, *, ax: bool = True) -> Segment:
    """Read one segment, up to ``limit`` bytes where a later driver has said how much counts.

    Raises
    ------
    JournalError, OSError
        As for :func:`read`.
    """
    path = directory / segment_name(epoch)
    data = atomic.read_bytes(path)
    if limit is not None:
        if len(data) < limit:
            raise _damage(
                f"{path} has {len(data)} bytes, but a later driver read {limit}: its end is lost.", path
            )
        data = data[:limit]
    found, size = whole_groups(path, data, epoch, ax=ax)
    if limit is not None and size != limit:
        # What a driver has read ends where a group ends.
        raise _damage(
            f"{path}, line {len(found) + 1} is damaged: a later driver read {limit} bytes, which end within "
            "a line or a group. Nothing was changed.",
            path,
            len(found) + 1,
        )
    return Segment(path, epoch, tuple(found), size, torn=len(data) - size if limit is None else 0)


def whole_groups(
    path: Path, data: bytes, epoch: int, after: int = 0, *, ax: bool = True
) -> tuple[list[Event], int]:
    """The events in a part of a segment, and how many bytes they take; an end that is torn is left out.

    Parameters
    ----------
    after
        How many lines stand before it.
    ax
        As for :func:`read`.

    Raises
    ------
    JournalError
        A line is damaged, or of a newer version; names file and line.
    """
    found: list[Event] = []
    whole = size = start = 0
    try:
        while (end := data.find(b"\n", start)) >= 0:
            line = parse_line(data[start:end], ax=ax)
            number = after + len(found) + 1
            if line.epoch != epoch or line.seq != number:
                raise ValueError(f"it is not record {number} of epoch {epoch}")  # noqa: TRY301
            if number == 1 and not isinstance(line.event, LeaseTaken | DriverOpened):
                raise _damage(f"{path} does not start with a driver's record.", path, 1)
            found.append(line.event)
            start = end + 1
            if not line.more:
                whole, size = len(found), start
    except NewerFormatError as error:
        raise JournalError(newer_text(path, error), file=str(path), line=after + len(found) + 1) from None
    except ValueError as error:
        number = after + len(found) + 1
        raise _damage(
            f"{path}, line {number} is damaged: {error}. Nothing was changed.", path, number
        ) from None
    return found[:whole], size


def ends(directory: Path, epoch: int) -> tuple[Event | None, Event | None]:
    """The first and the last record of a segment that need not be readable in between; None where one is not.

    Raises
    ------
    OSError
        It cannot be read.
    """
    lines = (directory / segment_name(epoch)).read_bytes().removesuffix(b"\n").split(b"\n")
    return _event(lines[0]), _event(lines[-1])


def _event(line: bytes) -> Event | None:
    try:
        return parse_line(line).event
    except ValueError:
        return None


def newer_text(path: Path, newer: NewerFormatError) -> str:
    """What to say of a segment that a later version has written."""
    return (
        f"{path} was written in format {newer}; this version of axsched_hpc reads up to {FORMAT}. "
        "Install a newer axsched_hpc to go on with this experiment."
    )


def _damage(what: str, path: Path, line: int | None = None) -> JournalError:
    return JournalError(
        f"{what} Restore the file from a backup, or let `axsched repair {path.parent.parent}` keep a copy "
        "and drop what cannot be read.",
        file=str(path),
        line=line,
    )
