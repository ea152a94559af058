"""Tables in text files: comma-separated values, with the names of the columns in the first line."""

from __future__ import annotations

import csv
import io

from axsched_hpc.core.errors import ParameterError
from axsched_hpc.core.evaluations import Row

#: What may stand between cells; the one that the first line has most of does.
_DELIMITERS = ",;\t"


def parse(text: str, name: str) -> list[Row]:
    """Read a table. Cells are texts; an empty one is None.

    Parameters
    ----------
    name
        What it is, for messages.

    Raises
    ------
    ParameterError
        There is no line with names, or a name is missing or there twice.
    """
    head = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    columns = [column.strip() for column in next(reader, [])]
    if not any(columns):
        raise ParameterError(f"{name} is empty: its first line has to name the columns.")
    for place, column in enumerate(columns):
        # The first one may go without: pandas writes its index so.
        if (not column and place) or columns.count(column) > 1:
            raise ParameterError(
                f"{name}: column {place + 1} has no name of its own in the first line, but {column!r}."
            )
    rows = []
    try:
        for cells in reader:
            if not cells:
                continue
            where = f"line {reader.line_num}"
            if len(cells) != len(columns):
                rows.append(
                    Row(where, problem=f"it has {len(cells)} cells, and the first line {len(columns)}")
                )
            else:
                named = zip(columns, cells, strict=True)
                rows.append(Row(where, {column: cell or None for column, cell in named if column}))
    except csv.Error as error:
        raise ParameterError(f"{name}, line {reader.line_num}: it is no table ({error}).") from None
    return rows


def number(text: str) -> float:
    """The number in a cell; ValueError where it is none."""
    # Python's own literals allow more, such as 1_0 for ten and digits of any script.
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)
