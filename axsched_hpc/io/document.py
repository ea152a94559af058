"""The JSON files that driver and worker exchange: one object each, with the version of its format.

From format 2 on the last member is ``crc``: the CRC-32 (zlib), as eight hexadecimal digits, of the text
without that member, the comma before it and the line end after the object. Files of format 1, which have
none, are read for ever.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from axsched_hpc.core import strict_json
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT

Value = TypeVar("Value")

# Whoever reads such a file by hand finds it like the other members.
_CRC = re.compile(r',\n "crc": "([0-9a-f]{8})"\n\}\n\Z')

#: Whole numbers in files fit into 64 bits.
_LARGEST = 2**63 - 1


def encode(fields: Mapping[str, Any]) -> str:
    """The text of a document with these fields."""
    body = json.dumps({"format": FORMAT, **fields}, allow_nan=False, indent=1)
    return f'{body[:-2]},\n "crc": "{_checksum(body)}"\n}}\n'


def read(path: Path) -> dict[str, Any]:
    """The fields of a document, without format and checksum.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is no such document, damaged, or of a later format. The message names the file.
    """
    return decode(atomic.read_text(path), source=str(path))


def decode(text: str, *, source: str) -> dict[str, Any]:
    """The fields in the text of a document, without format and checksum.

    Raises
    ------
    ValueError
        It is no such document, damaged, or of a later format. The message names the source.
    """
    try:
        fields = strict_json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not JSON ({error.msg}, line {error.lineno}).") from None
    except ValueError as error:
        raise ValueError(f"{source} cannot be used: {error}.") from None
    version = fields.pop("format", None) if isinstance(fields, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"{source} is not a file of axsched-hpc: it has no 'format' number.")
    if version > FORMAT:
        raise ValueError(
            f"{source} has format {version}, written by a later version of axsched-hpc; this one reads "
            f"formats up to {FORMAT}. Update axsched-hpc here."
        )
    if fields.pop("crc", None) is not None or version > 1:
        _check(text, source)
    return dict(fields)


def _check(text: str, source: str) -> None:
    end = _CRC.search(text)
    if end is None or _checksum(f"{text[: end.start()]}\n}}") != end[1]:
        raise ValueError(
            f"{source} is damaged, or was changed by hand: its checksum 'crc' is "
            f"{'not its last member' if end is None else 'wrong'}."
        )


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


# ---------------------------------------------------------------- fields


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


def optional(
    read: Callable[..., Value], fields: Mapping[str, Any], name: str, *, source: str
) -> Value | None:
    """A field that is null, or what :func:`whole` or :func:`number` reads."""
    return None if fields.get(name, "") is None else read(fields, name, source=source)


def whole(fields: Mapping[str, Any], name: str, *, source: str, least: int = 0) -> int:
    """A field that is a whole number of at least ``least``; raises as :func:`field` does."""
    value: int = field(fields, name, int, source=source)
    if not least <= value <= _LARGEST:
        raise ValueError(f"{source}: field {name!r} is {value!r:.80}, not a whole number from {least} on.")
    return value


def number(fields: Mapping[str, Any], name: str, *, source: str) -> float:
    """A field that is a finite number; raises as :func:`field` does."""
    value: float = field(fields, name, (int, float), source=source)
    if not -_LARGEST <= value <= _LARGEST or math.isnan(value):
        raise ValueError(f"{source}: field {name!r} is {value!r:.80}, not a finite number.")
    return value
