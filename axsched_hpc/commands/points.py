"""Files with points that are to be run, read without Ax: the driver checks what they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.core import strict_json
from axsched_hpc.core.errors import ParameterError, plural
from axsched_hpc.core.evaluations import plainly, refusal
from axsched_hpc.io import table

Named = tuple[str, Mapping[str, Any]]


def read(path: Path) -> list[Named]:
    """The points of a CSV or JSON file, each with its place there.

    Raises
    ------
    ParameterError
        It cannot be read, or some of it is no point; the message names each.
    """
    text = text_of(path)
    points, bad = _of_json(text, path) if text.lstrip().startswith(("{", "[")) else _of_csv(text, path)
    if bad:
        raise ParameterError(refusal(f"{plural(len(points), 'point')} in {path}", bad, "None was added."))
    if not points:
        raise ParameterError(f"{path} has no points. Nothing was added.")
    return points


def text_of(path: Path) -> str:
    """The text of a file; raises ParameterError where it is none."""
    try:
        # Spreadsheets put a byte order mark before the first name.
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(f"{path} cannot be read ({reason}). Nothing was changed.") from error


def _of_csv(text: str, path: Path) -> tuple[list[Named], list[str]]:
    rows = table.parse(text, str(path))
    # An empty cell is no value: a branch of a hierarchical space that the point does not have.
    points: list[Named] = [
        (row.where, {n: v for n, v in plainly(row.cells).items() if v is not None}) for row in rows
    ]
    return points, [f"{row.where}: {row.problem}" for row in rows if row.problem]


def _of_json(text: str, path: Path) -> tuple[list[Named], list[str]]:
    try:
        found = strict_json.loads(text)
    except json.JSONDecodeError as error:
        raise ParameterError(
            f"{path} is not JSON ({error.msg}, line {error.lineno}). Nothing was added."
        ) from None
    except ValueError as error:
        raise ParameterError(f"{path} cannot be used: {error}. Nothing was added.") from None
    named = [(f"point {n}", each) for n, each in enumerate(found if isinstance(found, list) else [found])]
    bad = []
    for place, point in named:
        if not isinstance(point, dict):
            bad.append(f"{place}: it is no object with a value for each parameter, but {point!r:.60}")
        else:
            bad += [
                f"{place}: the value of {name!r} is a list or an object"
                for name, value in point.items()
                if isinstance(value, list | dict)
            ]
    return named, bad
