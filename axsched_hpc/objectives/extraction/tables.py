"""Columns of tables as text: CSV of any kind, and the columns of numbers that simulations write.

The names of the columns stand in a line before the first line of numbers, which may begin with ``#``. Lines
between the names and the numbers, such as units, are left out, as are blank lines, comments that begin with
``#``, and empty cells.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from axsched_hpc.core.errors import plural
from axsched_hpc.objectives.extraction import numbers
from axsched_hpc.objectives.extraction.lines import lines
from axsched_hpc.objectives.extraction.values import ExtractionError, Found, shown

#: Separators in the order in which they are tried; a blank stands for blanks and tabs of any number.
SEPARATORS = ("\t", ";", ",", " ")

_SHOWN = 20
_BY_NUMBER = "give the column by its number, counted from 0"

Line = tuple[int, str]
Row = tuple[int, list[str]]


def column(
    file: BinaryIO, path: object, name: str | int, sem: str | int | None, separator: str | None
) -> Iterator[Found]:
    """The values of a column, with those of another one as their standard errors.

    Parameters
    ----------
    name, sem
        The columns' names, or their numbers, counted from 0, or from the end.
    separator
        One character; a blank for any number of blanks and tabs; None: found out.

    Raises
    ------
    ExtractionError
        There is no such column, or a row cannot be read.
    """
    everything = enumerate(lines(file, path), 1)
    numbered: Iterator[Line] = ((number, line) for number, line in everything if line.strip())
    names = [each for each in (name, sem) if isinstance(each, str)]
    header: Row | None = None
    if names:
        header, separator = _header(numbered, path, names, separator)
    else:
        numbered, separator = _begun(numbered, separator)
    rows = _rows(numbered, path, separator)
    yield from _numeric(
        _cells(rows, header, _place(header, name), None if sem is None else _place(header, sem))
    )


def _place(header: Row | None, name: str | int) -> int:
    return header[1].index(name) if header and isinstance(name, str) else int(name)


# ---------------------------------------------------------------- the line with the names


def _header(
    numbered: Iterator[Line], path: object, names: list[str], separator: str | None
) -> tuple[Row, str]:
    """The line that names the columns, and what separates them."""
    likely: Row | None = None
    plain = False
    for number, line in numbered:
        comment = _is_comment(line)
        text = line.strip().lstrip("#").strip() if comment else line
        if not comment and _is_data(text):
            break
        for each in (separator,) if separator else SEPARATORS:
            cells = _split(text, each)
            if any(name in cells for name in names):
                for name in names:
                    if cells.count(name) != 1:
                        raise _no_column(name, (number, cells), path)
                return (number, cells), each
        # To be shown: the first line that is no comment, or else the last comment.
        if not plain:
            likely, plain = (number, _split(text, separator or _separator(text))), not comment
    raise _no_column(names[0], likely, path)


def _no_column(name: str, header: Row | None, path: object) -> ExtractionError:
    if header is None:
        return ExtractionError(f"{path} has no line with names before its numbers; {_BY_NUMBER}")
    number, cells = header
    if name in cells:
        return ExtractionError(
            f"line {number} of {path} names {cells.count(name)} columns {name!r}; {_BY_NUMBER}"
        )
    there = ", ".join(repr(shown(cell, 40)) for cell in cells[:_SHOWN])
    more = f" and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else ""
    return ExtractionError(
        f"there is no column {name!r} in {path}; line {number} names {there}{more}",
        advice=f"Correct the name, or {_BY_NUMBER}.",
    )


def _begun(numbered: Iterator[Line], separator: str | None) -> tuple[Iterator[Line], str]:
    """Find out what separates the columns of a table whose names are not asked for."""
    before = []
    for each in numbered:
        before.append(each)
        if not _is_comment(each[1]):
            separator = separator or _separator(each[1])
            break
    return chain(before[-1:], numbered), separator or " "


# ---------------------------------------------------------------- the rows


def _numeric(cells: Iterator[Found]) -> Iterator[Found]:
    """The cells of a column from the first one on that is a number."""
    before = None
    for found in cells:
        if found.problem is None and numbers.is_number(found.value):
            yield found
            yield from cells
            return
        before = before or found
    if before is not None:
        yield before  # it tells what is wrong with the column


def _cells(rows: Iterator[Row], header: Row | None, value_at: int, sem_at: int | None) -> Iterator[Found]:
    for number, cells in rows:
        if header and any(cells[len(header[1]) :] or header[1][len(cells) :]):
            here, there = plural(len(cells), "column"), len(header[1])
            yield Found("", None, number, f"has {here}, where line {header[0]} names {there}; {_BY_NUMBER}")
            continue
        try:
            value = cells[value_at].strip()
            sem = None if sem_at is None else cells[sem_at].strip()
        except IndexError:
            yield Found("", None, number, f"has only {plural(len(cells), 'column')}")
        else:
            if value:
                yield Found(value, sem, number)


def _rows(numbered: Iterator[Line], path: object, separator: str) -> Iterator[Row]:
    if separator == " ":
        for number, line in numbered:
            if not _is_comment(line):
                yield number, _split(line, " ") if '"' in line else line.split()
        return
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for at, line in numbered:
            number = at
            if not _is_comment(line):
                yield line

    try:
        # Cells in quotes may have several lines; strict refuses quotes that are never closed.
        for cells in csv.reader(texts(), delimiter=separator, skipinitialspace=True, strict=True):
            yield number, cells
    except csv.Error as error:
        raise ExtractionError(f"line {number} of {path} is no row of a table ({error})") from None


def _split(text: str, separator: str) -> list[str]:
    # csv skips blanks after a separator, which may be one itself.
    text = text.replace("\t", " ").strip() if separator == " " else text
    try:
        rows = list(csv.reader([text], delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return []
    return [cell.strip() for row in rows for cell in row]


def _separator(line: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", line.strip())
    return next((each for each in SEPARATORS if each in unquoted), " ")


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _is_data(text: str) -> bool:
    return all(numbers.is_number(word.strip('"')) for word in re.split(r"[\s,;]+", text) if word)
