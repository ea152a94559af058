"""The append-only record of an experiment.

Format (version 1). ``journal/00001.jsonl``, ``00002.jsonl``, ...: one segment per driver, numbered by the
driver's epoch. A line is one event as a JSON object, with ``epoch``, ``seq`` (counted from 1 in its segment)
before its fields, and as its last member ``crc``: the CRC-32 (zlib) of the line without that member, as eight
hexadecimal digits.

The first record of a segment says how many bytes of each earlier segment its driver has read. A driver that
was superseded without noticing (a machine that slept, a lock that a filesystem lost) can therefore not change
the past: what it appends lies beyond that size. A last line without its line end was never promised to
anybody, since appending had not returned; it is dropped. Any other damage is an error that names file and
line.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import AxSchedError, JournalError
from axsched_hpc.core.events import DriverOpened, Event, decode, encode
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT

log = logging.getLogger("axsched_hpc")

_CRC = ', "crc": "'


class SupersededError(AxSchedError):
    """Another driver has taken the experiment over; this one may not write any more."""


class NewerFormatError(ValueError):
    """The journal was written by a later version; carries its format."""


@dataclass(frozen=True)
class Segment:
    """One segment as read: its complete events, and the size in bytes of the lines that they stand in."""

    path: Path
    epoch: int
    events: tuple[Event, ...]
    size: int


def segment_name(epoch: int) -> str:
    """The file name of an epoch's segment."""
    return f"{epoch:05d}.jsonl"


def epochs(directory: Path) -> list[int]:
    """The epochs of the segments in a journal's directory, oldest first."""
    names = (name.removesuffix(".jsonl") for name in atomic.listing(directory) if name.endswith(".jsonl"))
    return sorted(int(name) for name in names if name.isdecimal())


def read(directory: Path) -> list[Segment]:
    """Read a journal.

    Raises
    ------
    JournalError
        A line is damaged, or the journal was written by a newer version; names file and line.
    OSError
        It cannot be read at all.
    """
    segments: list[Segment] = []
    limits: dict[str, int] = {}
    # From the last segment back: each says how much of the earlier ones counts.
    for epoch in reversed(epochs(directory)):
        path = directory / segment_name(epoch)
        segment = _read_segment(path, epoch, limits.get(path.name))
        if segment.events:
            segments.append(segment)
            first = segment.events[0]
            if isinstance(first, DriverOpened):
                for name, size in first.previous.items():
                    limits.setdefault(name, size)
    segments.reverse()
    return segments


def events(segments: Iterable[Segment]) -> Iterator[Event]:
    """All events, oldest first."""
    for segment in segments:
        yield from segment.events


def encode_line(event: Event, epoch: int, seq: int) -> str:
    """One line of the journal, with its line end."""
    try:
        body = json.dumps({"epoch": epoch, "seq": seq, **encode(event)}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"an event of kind {event.kind!r} cannot be written as JSON: {error}") from None
    return f'{body[:-1]}{_CRC}{_checksum(body)}"}}\n'


def decode_line(line: str, epoch: int, seq: int) -> Event:
    """The event of a line.

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
    if record.get("kind") == DriverOpened.kind and isinstance(newer, int) and newer > FORMAT:
        raise NewerFormatError(newer)
    return decode(record)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _read_segment(path: Path, epoch: int, limit: int | None) -> Segment:
    data = path.read_bytes()
    if limit is not None:
        if len(data) < limit:
            raise JournalError(
                f"{path} has {len(data)} bytes, but a later driver read {limit}: its end is lost. "
                "Restore the file from a backup.",
                file=str(path),
            )
        data = data[:limit]
    end = data.rfind(b"\n") + 1
    if end < len(data) and limit is None:
        log.warning(
            "%s: the last line is incomplete (its driver was stopped while writing it); it is dropped.", path
        )
    found: list[Event] = []
    for number, line in enumerate(data[:end].splitlines(), 1):
        try:
            event = decode_line(line.decode(), epoch, number)
        except NewerFormatError as error:
            raise JournalError(
                f"{path} was written in format {error}; this version of axsched_hpc reads up to {FORMAT}. "
                "Install a newer axsched_hpc to go on with this experiment.",
                file=str(path),
                line=number,
            ) from None
        except ValueError as error:
            raise JournalError(
                f"{path}, line {number} is damaged: {error}. Nothing was changed. "
                "Restore the file from a backup, or move aside the damaged line and all that follows, "
                "to go on from the state before it.",
                file=str(path),
                line=number,
            ) from None
        if number == 1 and not isinstance(event, DriverOpened):
            raise JournalError(f"{path} does not start with a driver's record.", file=str(path), line=number)
        found.append(event)
    return Segment(path, epoch, tuple(found), end)


class JournalWriter:
    """The end of the journal that this driver appends to.

    Parameters
    ----------
    directory
        The journal's directory.
    epoch
        This driver's epoch; its segment is made now and must not exist.

    Raises
    ------
    SupersededError
        Another driver made a segment of that epoch first.
    """

    def __init__(self, directory: Path, epoch: int) -> None:
        self.directory = directory
        self.epoch = epoch
        self.path = directory / segment_name(epoch)
        try:
            self._file = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, atomic.FILE_MODE
            )
        except FileExistsError:
            raise self._superseded(epoch) from None
        atomic.sync_directory(directory)
        self._size = 0
        self._seq = 0

    def append(self, new: Sequence[Event]) -> None:
        """Write events, and return when they are on the disk: one write and one sync, whatever their number.

        Raises
        ------
        SupersededError
            Another driver has taken over; nothing was written.
        JournalError
            The segment is gone.
        OSError
            The disk is full or gone; nothing was written, and the same events may be appended again.
        """
        if not new:
            return
        self.check()
        data = "".join(
            encode_line(event, self.epoch, self._seq + number) for number, event in enumerate(new, 1)
        ).encode()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            # Take a half-written line back, so that the next append starts on a line of its own.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._seq += len(new)

    def check(self) -> None:
        """Make sure that this is still the driver.

        Raises
        ------
        SupersededError
            Another driver has taken over.
        JournalError
            The segment is gone.
        """
        there = epochs(self.directory)
        if self.epoch not in there:
            raise JournalError(
                f"{self.path} has been moved or removed while this driver ran. Nothing more is recorded or "
                "submitted. Put the experiment directory back as it was, and start again.",
                file=str(self.path),
            )
        if there[-1] > self.epoch:
            raise self._superseded(there[-1])

    @property
    def closed(self) -> bool:
        """Whether nothing more can be appended."""
        return self._file < 0

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _superseded(self, epoch: int) -> SupersededError:
        return SupersededError(
            f"Another driver has taken this experiment over ({self.directory / segment_name(epoch)}). "
            "This one has stopped without changing anything; `axsched status` tells where the other runs."
        )
