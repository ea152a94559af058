"""The append-only record of an experiment: its format, and reading it.

Format (version 2). ``journal/00001.jsonl``, ``00002.jsonl``, ...: one segment per driver, numbered by the
driver's epoch. A line is one event as a JSON object, with ``epoch``, ``seq`` (counted from 1 in its segment)
before its fields, and as its last member ``crc``: the CRC-32 (zlib) of the line without that member, as eight
hexadecimal digits. Events that were appended together count together or not at all: every line of such a
group but the last one has the member ``"more": true``. Version 1 had no groups.

The driver's record of its start says how many bytes of each earlier segment it has read. A driver that was
superseded without noticing (a machine that slept, a lock that a filesystem lost) can therefore not change the
past: what it appends lies beyond that size. A last line without its line end, or a group without its last
line, was never promised to anybody, since appending had not returned; it is dropped. Any other damage is an
error that names file and line.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import JournalError
from axsched_hpc.core.events import DriverOpened, Event, LeaseTaken, decode, encode
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT

_CRC = ', "crc": "'
_MORE = "more"


class NewerFormatError(ValueError):
    """The journal was written by a later version; carries its format."""


@dataclass(frozen=True)
class Segment:
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
    names = (name.removesuffix(".jsonl") for name in atomic.listing(directory) if name.endswith(".jsonl"))
    return sorted(int(name) for name in names if name.isdecimal())


def read(directory: Path, *, before: int | None = None) -> list[Segment]:
    """Read a journal; ``before`` leaves out the segments from that epoch on.

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
        segment = read_segment(directory, epoch, limits.pop(name, None))
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
            raise JournalError(
                f"{path} is missing, but a later driver read {size} bytes of it. {_repair(path)}",
                file=str(path),
            )
    return segments


def events(segments: Iterable[Segment]) -> Iterator[Event]:
    """All events, oldest first."""
    for segment in segments:
        yield from segment.events


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
    return f'{body[:-1]}{_CRC}{_checksum(body)}"}}\n'


def decode_line(line: str, epoch: int, seq: int) -> tuple[Event, bool]:
    """The event of a line, and whether the next line belongs to the same group.

    Raises
    ------
    ValueError
        It is no such line; says why.
    """
    body, mark, rest = line.rpartition(_CRC)
    if not mark or not rest.endswith('"}'):
        raise ValueError("it has no checksum at its end")
    body += "}"
    if rest[:-2] != _checksum(body):
        raise ValueError("its checksum is wrong")
    record: Any = json.loads(body)
    if record.pop("epoch", None) != epoch or record.pop("seq", None) != seq:
        raise ValueError(f"it is not record {seq} of epoch {epoch}")
    newer = record.get("format")
    if (
        record.get("kind") in (LeaseTaken.kind, DriverOpened.kind)
        and isinstance(newer, int)
        and newer > FORMAT
    ):
        raise NewerFormatError(newer)
    more = record.pop(_MORE, False) is True
    return decode(record), more


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def read_segment(directory: Path, epoch: int, limit: int | None = None) -> Segment:
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
            raise JournalError(
                f"{path} has {len(data)} bytes, but a later driver read {limit}: its end is lost. "
                f"{_repair(path)}",
                file=str(path),
            )
        data = data[:limit]
    found: list[Event] = []
    whole = size = 0
    start = 0
    while (end := data.find(b"\n", start) + 1) > 0:
        event, more = _decode_at(path, data[start : end - 1], epoch, len(found) + 1)
        found.append(event)
        start = end
        if not more:
            whole, size = len(found), end
    return Segment(path, epoch, tuple(found[:whole]), size, torn=len(data) - size if limit is None else 0)


def _decode_at(path: Path, line: bytes, epoch: int, number: int) -> tuple[Event, bool]:
    try:
        event, more = decode_line(line.decode(), epoch, number)
    except NewerFormatError as error:
        raise JournalError(
            f"{path} was written in format {error}; this version of axsched_hpc reads up to {FORMAT}. "
            "Install a newer axsched_hpc to go on with this experiment.",
            file=str(path),
            line=number,
        ) from None
    except ValueError as error:
        raise JournalError(
            f"{path}, line {number} is damaged: {error}. Nothing was changed. {_repair(path)}",
            file=str(path),
            line=number,
        ) from None
    if number == 1 and not isinstance(event, LeaseTaken | DriverOpened):
        raise JournalError(
            f"{path} does not start with a driver's record. {_repair(path)}", file=str(path), line=number
        )
    return event, more


def _repair(path: Path) -> str:
    return (
        f"Restore the file from a backup, or let `axsched repair {path.parent.parent}` keep a copy and drop "
        "what cannot be read."
    )
