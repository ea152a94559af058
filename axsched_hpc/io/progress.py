"""The progress file of an attempt: one line per report, appended. A line is JSON, such as
``{"step": 3, "loss": 0.5}``, or has the words ``step metric value [sem]``.

It is read while it is written, from where it was read to before. Half a last line waits for its end; a line
that cannot be used is told of, and skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

from axsched_hpc.core import metrics, strict_json
from axsched_hpc.core.curve import LARGEST_STEP, Reach, Report, reached, thinned
from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.record import Record
from axsched_hpc.io import access

#: Bytes that are read at a time; a longer line is no report.
CHUNK = 1 << 20

STEP = "step"


class Chunk(Record):
    """A part of a progress file.

    Attributes
    ----------
    end
        Bytes of the file up to the end of its last whole line here.
    more
        Whether there was more to read.
    bad
        Position of the first line that could not be used.
    """

    reports: tuple[Report, ...]
    end: int
    more: bool = False
    bad: int | None = None


class Followed(Record):
    """What is worth keeping of a part of a progress file.

    Attributes
    ----------
    held
        The last report, where it is not among those to keep: it may become the curve's end.
    end, bad
        As of a chunk.
    """

    kept: tuple[Report, ...]
    held: Report | None
    end: int
    bad: int | None = None


def follow(
    path: Path, start: int, reach: Reach | None = None, held: Report | None = None, *, to_end: bool = True
) -> Followed:
    """Read a progress file from byte ``start`` on: a chunk of it, or to its end.

    Parameters
    ----------
    reach
        How far the curve has come with what is kept already.
    held
        What was held when it was read up to ``start``.

    Raises
    ------
    OSError
        As of :func:`read`.
    """
    kept: list[Report] = []
    bad: int | None = None
    more = True
    while more:
        chunk = read(path, start)
        new, held = thinned(reach, (held, *chunk.reports) if held is not None else chunk.reports)
        reach = reached(reach, ((each.step, each.metrics) for each in new))
        kept += new
        bad = chunk.bad if bad is None else bad
        start, more = chunk.end, chunk.more and to_end
    return Followed(tuple(kept), held, start, bad)


def read(path: Path, start: int) -> Chunk:
    """Read what stands in a progress file from byte ``start`` on, and not more than a chunk of it.

    A file that has become shorter was written anew, and is read from its beginning.

    Raises
    ------
    OSError
        It is not there, cannot be read, is a symbolic link or no regular file.
    """
    handle = access.open_read(path)
    try:
        if os.fstat(handle).st_size < start:
            start = 0
        data = os.pread(handle, CHUNK, start)
    finally:
        os.close(handle)
    return parse(data, start, full=len(data) == CHUNK)


def parse(data: bytes, start: int, *, full: bool = False) -> Chunk:
    """The reports in a part of a file from byte ``start`` on. ``full``: the file may go on after it."""
    end = data.rfind(b"\n") + 1
    if not end and full:
        return Chunk((), start + len(data), more=True, bad=start)
    reports: list[Report] = []
    bad: int | None = None
    position = start
    for line in data[:end].split(b"\n")[:-1]:
        begin, position = position, position + len(line) + 1
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            reports.append(parse_line(line, position))
        except ValueError:
            bad = begin if bad is None else bad
    return Chunk(tuple(reports), start + end, full, bad)


def parse_line(line: bytes, end: int, *, source: str = "the line") -> Report:
    """One report.

    Raises
    ------
    ValueError
        It is none; the message begins with the source.
    """
    try:
        text = line.decode().strip()
        step, found = (_json if text.startswith("{") else _words)(text)
    except UnicodeDecodeError:
        raise ValueError(f"{source}: it is not text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    if isinstance(step, float) and step.is_integer():
        step = int(step)
    if type(step) is not int or not 0 <= step <= LARGEST_STEP:
        raise ValueError(f"{source}: the step is {step!r:.80}, but has to be a whole number, 0 or more")
    try:
        return Report(step, metrics.normalise(found, source=source), end)
    except MetricsError as error:
        raise ValueError(str(error)) from None


def _json(text: str) -> tuple[object, dict[str, object]]:
    try:
        found = strict_json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from None
    if not isinstance(found, dict) or STEP not in found:
        raise ValueError('it is no object with a step, such as {"step": 3, "loss": 0.5}')
    return found.pop(STEP), found


def _words(text: str) -> tuple[object, dict[str, object]]:
    words = text.split()
    if len(words) not in (3, 4) or words[1] == STEP:
        raise ValueError(
            f"{text[:80]!r} is neither 'step metric value [sem]' nor JSON such as "
            '{"step": 3, "loss": 0.5}'
        )
    step = int(words[0]) if words[0].isascii() and words[0].isdigit() else words[0]
    return step, {words[1]: metrics.plain_numbers(words[2:])}


def complaint(path: Path, position: int) -> str:
    """What is wrong with the line at a position of a file, with its number. This reads the file up to it."""
    number = 1
    with os.fdopen(access.open_read(path), "rb") as file:
        left = position
        while left > 0 and (data := file.read(min(left, CHUNK))):
            number += data.count(b"\n")
            left -= len(data)
        line = file.readline(CHUNK)
    source = f"{path}, line {number}"
    try:
        parse_line(line, 0, source=source)
    except ValueError as error:
        return str(error)
    return f"{source}: it is longer than {CHUNK} bytes"


def end_line(path: Path) -> None:
    """End the last line, where a killed process has left half of one: the next report is one of its own.

    That line is no report then, even where half a number is a number.

    Raises
    ------
    OSError
        The file is there, and cannot be read or written.
    """
    try:
        handle = access.open_read(path)
    except FileNotFoundError:
        return
    try:
        size = os.fstat(handle).st_size
        whole = not size or os.pread(handle, 1, size - 1) == b"\n"
    finally:
        os.close(handle)
    if not whole:
        append(path, " (cut off)\n")


def append(path: Path, text: str) -> None:
    """Append to the file in one write, and make it where it is not there.

    Raises
    ------
    OSError
        Not all of it could be written.
    """
    data = text.encode()
    handle = access.open_append(path)
    try:
        written = os.write(handle, data)
    finally:
        os.close(handle)
    if written < len(data):
        raise OSError(f"only {written} of {len(data)} bytes were written to {path}")
