"""Check of the option ``extract``, before anything is submitted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from axsched_hpc.core.errors import ConfigError, did_you_mean, wrong_value
from axsched_hpc.objectives import checks
from axsched_hpc.objectives.extraction import paths
from axsched_hpc.objectives.kinds import LOGS, Extraction

_WHICH = ("first", "last", "min", "max")

#: No file has as many values.
_LARGEST_INDEX = 10**9

_EXAMPLE = '{"loss": {"file": "out.log", "regex": r"^loss = (\\S+)"}}'


def extractions(name: str, value: object) -> tuple[Extraction, ...]:
    """Where metrics are to be read from.

    Raises
    ------
    ConfigError
        Anything in it is wrong; the message names the option, and what it takes.
    """
    if not isinstance(value, Mapping) or not value:
        raise wrong_value(name, value, f"a dict from metrics to where they stand, such as {_EXAMPLE}")
    return tuple(_extraction(name, metric, asked) for metric, asked in value.items())


def _extraction(name: str, metric: object, asked: object) -> Extraction:
    if not isinstance(metric, str) or not metric or not metric.isprintable():
        raise ConfigError(f"{name} has the key {metric!r:.80}, which is no name of a metric.")
    where = f"{name}[{metric!r}]"
    if not isinstance(asked, Mapping):
        raise wrong_value(where, asked, 'a dict, such as {"file": "out.log", "regex": r"^loss = (\\S+)"}')
    for key in asked:
        if key not in _KEYS:
            raise ConfigError(f"Unknown key {key!r:.80} in {where}.{did_you_mean(str(key), _KEYS)}")
    given = {key: each for key, each in asked.items() if each is not None}
    kinds = [kind for kind in _ADDRESSES if kind in given]
    if len(kinds) != 1:
        has = f"has {' and '.join(map(repr, kinds))}" if kinds else "has none of them"
        raise ConfigError(f"{where} takes one of {', '.join(map(repr, _ADDRESSES))}, but {has}.")
    (kind,) = kinds
    for key in given:
        if key not in _TAKES[kind] and key not in (kind, "file"):
            raise ConfigError(
                f"{where} has {key!r}, {_NOT_TAKEN.get((kind, key), f'which {kind!r} does not take')}."
            )
    check = _ADDRESSES[kind]
    values = {"address": check(f"{where}[{kind!r}]", given[kind])}
    for key, of in (("file", _file), ("which", _which), ("sem", check), ("separator", _separator)):
        if key in given:
            values[key] = of(f"{where}[{key!r}]", given[key])
    if kind in ("hdf5", "netcdf") and values.get("file", "stdout") in LOGS:
        raise ConfigError(f"{where} has no 'file': {kind!r} reads a file that the program writes.")
    return Extraction(metric=metric, kind=kind, **values)


def _file(name: str, value: object) -> str:
    text = checks.a_text(name, value, "a path in the working directory, 'stdout' or 'stderr'")
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigError(
            f"{name} is {text!r:.120}, but takes a path in the working directory, 'stdout' or 'stderr': a "
            "file elsewhere may be another trial's."
        )
    return text


def _which(name: str, value: object) -> str | int:
    if isinstance(value, str):
        return str(checks.Choice(_WHICH)(name, value))
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_INDEX:
        raise wrong_value(
            name, value, f"{', '.join(map(repr, _WHICH))}, or an index, counted from 0, or from the end"
        )
    return value


def _separator(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in '"#\r\n\0' or value.isalnum():
        raise wrong_value(name, value, "one character, such as ',' or '\\t', or ' ' for any number of blanks")
    return value


def _pattern(name: str, value: object) -> str:
    if isinstance(value, re.Pattern):
        raise ConfigError(
            f"{name} is a compiled pattern, but takes its text; flags go into it, such as '(?i)'."
        )
    text = checks.a_text(name, value, "a pattern as a text, such as r'^loss = (\\S+)'")
    try:
        groups = re.compile(text).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"{name} {text!r:.120} is no pattern that Python can use: {error}.") from None
    if groups > 2:
        raise ConfigError(
            f"{name} {text!r:.120} has {groups} groups, but the first is the value, and a second its "
            "standard error. Write (?:…) for groups that are neither."
        )
    return text


def _path(name: str, value: object) -> str:
    text = checks.a_text(name, value, "a path such as '$.results[-1].error'")
    try:
        paths.parse(text)
    except paths.PathError as error:
        raise ConfigError(f"{name} is {text!r:.120}, which is no path, {error}.") from None
    return text


def _column(name: str, value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return checks.a_text(name, value, "a column's name, or its number, counted from 0").strip()


def _array(name: str, value: object) -> str:
    text = checks.a_text(name, value, "the path of an array, such as '/forces/drag'")
    if not text.strip("/"):
        raise wrong_value(name, value, "the path of an array, such as '/forces/drag'")
    return text


def _yes(name: str, value: object) -> str:
    if value is not True:
        raise wrong_value(name, value, "True")
    return ""


_ADDRESSES: dict[str, Callable[[str, Any], Any]] = {
    "regex": _pattern,
    "json": _path,
    "csv": _column,
    "hdf5": _array,
    "netcdf": _array,
    "last_line": _yes,
}

_TAKES = {
    "regex": ("which",),
    "json": ("which", "sem"),
    "csv": ("which", "sem", "separator"),
    "hdf5": ("which", "sem"),
    "netcdf": ("which", "sem"),
    "last_line": (),
}

_NOT_TAKEN = {
    ("regex", "sem"): "but the standard error is the second group of 'regex'",
    ("last_line", "which"): "but there is one last line",
    ("last_line", "sem"): "but of the last line one number is read; use 'regex'",
}

_KEYS = ("file", *_ADDRESSES, "which", "sem", "separator")
