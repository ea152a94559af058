"""The JSON files that driver and worker exchange: one object each, with the version of its format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT


def encode(fields: Mapping[str, Any]) -> str:
    """The text of a document with these fields."""
    return json.dumps({"format": FORMAT, **fields}, allow_nan=False, indent=1) + "\n"


def read(path: Path) -> dict[str, Any]:
    """The fields of a document, without its format.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no such document, or of a later format. The message names the file.
    """
    return decode(atomic.read_text(path), source=str(path))


def decode(text: str, *, source: str) -> dict[str, Any]:
    """The fields in the text of a document, without its format.

    Raises
    ------
    ValueError
        It is no such document, or of a later format. The message names the source.
    """
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not JSON ({error.msg}, line {error.lineno}).") from None
    version = fields.pop("format", None) if isinstance(fields, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        raise ValueError(f"{source} is not a file of axsched-hpc: it has no 'format' number.")  # noqa: TRY004 - callers expect one type
    if version > FORMAT:
        raise ValueError(
            f"{source} has format {version}, written by a later version of axsched-hpc; this one reads "
            f"formats up to {FORMAT}. Update axsched-hpc here."
        )
    return dict(fields)


def field(fields: Mapping[str, Any], name: str, kind: type | tuple[type, ...], *, source: str) -> Any:
    """One field, of one of the given types; a boolean is no number.

    Raises
    ------
    ValueError
        It is missing or has another type.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if name not in fields:
        raise ValueError(f"{source} lacks the field {name!r}.")
    value = fields[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(each.__name__ for each in kinds)
        raise ValueError(f"{source}: field {name!r} is {value!r:.80}, not {wanted}.")
    return value
