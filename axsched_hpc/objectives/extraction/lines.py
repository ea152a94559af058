"""What stands in lines: a log that is searched for a pattern, and its last line.

Logs can have several GB: they are read in blocks, and one block is kept at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from axsched_hpc.objectives.extraction.values import ExtractionError, Found, shown

#: Bytes that are read at once, and the most of a single line.
BLOCK, LONGEST = 2**20, 2**24

_BOM = "\ufeff"


def lines(file: BinaryIO, path: object) -> Iterator[str]:
    """The lines of a file from where it stands, without their ends.

    A line ends with LF, CRLF, or CR as of a progress bar. What is no UTF-8 is replaced.

    Raises
    ------
    ExtractionError
        A line is too long for a text.
    """
    first, rest = file.tell() == 0, b""
    while block := file.read(BLOCK):
        block = rest + block
        cut = (
            block.rfind(b"\n") + 1 or block.rfind(b"\r", 0, len(block) - 1) + 1
        )  # the last CR may be half a CRLF
        rest = block[cut:]
        if len(rest) > LONGEST:
            raise ExtractionError(f"{path} is no text: it has a line of more than {LONGEST // 2**20} MB")
        if cut:
            yield from _split(block[:cut], first)
            first = False
    if rest:
        yield from _split(rest, first)


def _split(block: bytes, first: bool) -> list[str]:
    text = block.decode(errors="replace")
    if first:
        text = text.removeprefix(_BOM)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return found


def matches(file: BinaryIO, path: object, pattern: str) -> Iterator[Found]:
    """What a pattern finds: its first group, or all of the match where it has none.

    A second group is the standard error. A match lies within one line, so that what is found does not depend
    on how the file is cut into blocks.
    """
    compiled = re.compile(pattern)
    value, sem = min(1, compiled.groups), 2 if compiled.groups > 1 else None
    search, finditer = compiled.search, compiled.finditer
    for number, line in enumerate(lines(file, path), 1):
        if search(line) is None:
            continue
        for match in finditer(line):
            yield Found(match[value] or "", None if sem is None else match[sem], number)


def last_line(file: BinaryIO, path: object) -> Iterator[Found]:
    """The number with which the last line ends that is not blank."""
    number, text = last_text(file, path)
    if not text:
        return
    word = re.split(r"[\s=:]+", text)[-1]
    try_to = "use 'regex' to say which part of a line is the number"
    problem = None if word else f"ends with {shown(text[-1:])!r}, which is no number; {try_to}"
    yield Found(word, None, number, problem)


def last_text(file: BinaryIO, path: object) -> tuple[int, str]:
    """The last line that is not blank, and its number; 0 and nothing where there is none."""
    found = 0, ""
    for number, line in enumerate(lines(file, path), 1):
        if not line.isspace() and line:
            found = number, line
    return found[0], found[1].strip()
