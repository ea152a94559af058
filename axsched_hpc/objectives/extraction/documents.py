"""Values in JSON documents, and in JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from axsched_hpc.core import strict_json
from axsched_hpc.objectives.extraction import paths
from axsched_hpc.objectives.extraction.lines import last_text, lines
from axsched_hpc.objectives.extraction.values import ExtractionError, Found, shown

#: Bytes of the largest document that is read.
LARGEST = 10**8

#: Endings of the names of files with one document a line.
LINES = (".jsonl", ".ndjson")


def values(file: BinaryIO, path: object, address: str, sem: str | None) -> Iterator[Found]:
    """What a document has at a path: one value, or the elements of an array.

    Raises
    ------
    ExtractionError
        It is not JSON, is too large, or has nothing there.
    """
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ExtractionError(
            f"{path} has more than {LARGEST // 10**6} MB, and JSON has to be read as a whole",
            advice="Let the program write the value to a file of its own.",
        )
    text = _text(data, path)
    if text.strip():
        yield from _found(_document(text, str(path)), path, address, sem)


def values_of_log(file: BinaryIO, path: object, address: str, sem: str | None) -> Iterator[Found]:
    """As :func:`values`, of what a program has printed: its last line, or all of it."""
    start = file.tell()
    number, text = last_text(file, path)
    try:
        document = strict_json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, (dict, list)):
        yield from _found(document, path, address, sem, number)
        return
    file.seek(start)
    yield from values(file, path, address, sem)


def values_of_lines(file: BinaryIO, path: object, address: str, sem: str | None) -> Iterator[Found]:
    """What each line has at a path, of a file with one document a line; lines without it are left out.

    Raises
    ------
    ExtractionError
        A line is not JSON, or none has anything there.
    """
    steps, other = paths.parse(address), paths.parse(sem) if sem is not None else None
    nothing, found = None, False
    for number, line in enumerate(lines(file, path), 1):
        if not line.strip():
            continue
        document = _document(line, f"line {number} of {path}")
        try:
            value = paths.follow(document, steps)
            error = None if other is None else paths.follow(document, other)
        except paths.NothingThereError as problem:
            nothing = nothing or f"in line {number} of {path}, {problem}; nor is it in any other line"
            continue
        found = True
        yield Found(value, error, number)
    if nothing and not found:
        raise ExtractionError(nothing)


def _found(document: Any, path: object, address: str, sem: str | None, line: int = 0) -> Iterator[Found]:
    steps = paths.parse(address)
    try:
        value = paths.follow(document, steps)
        error = None if sem is None else paths.follow(document, paths.parse(sem))
    except paths.NothingThereError as nothing:
        raise ExtractionError(f"in {f'line {line} of ' if line else ''}{path}, {nothing}") from None
    here = paths.render(steps)
    if not isinstance(value, list):
        yield Found(value, error, here)
        return
    errors = error if isinstance(error, list) else [error] * len(value)
    if sem is not None and (not isinstance(error, list) or len(errors) != len(value)):
        raise ExtractionError(
            f"{here} of {path} is an array of {len(value)}, and {paths.render(paths.parse(sem))} no array of "
            "as many standard errors"
        )
    for index, (each, error) in enumerate(zip(value, errors, strict=True)):
        yield Found(each, error, f"{here}[{index}]")


def _text(data: bytes, path: object) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExtractionError(f"{path} is no JSON: it is no text (byte {error.start})") from None


def _document(text: str, where: str) -> Any:
    try:
        return strict_json.loads(text)
    except json.JSONDecodeError as error:
        line = error.doc.split("\n")[error.lineno - 1]
        raise ExtractionError(
            f"{where} is no JSON ({error.msg}, line {error.lineno}, column {error.colno}: '{shown(line)}')",
            advice="Was it cut short, or is it in another format?",
        ) from None
    except ValueError as error:
        raise ExtractionError(f"{where} cannot be used: {error}") from None
