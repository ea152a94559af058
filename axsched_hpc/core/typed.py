"""JSON values as what a dataclass says that its fields are. Nothing is guessed: a value of another type is an
error, and so is a number that is not finite or does not fit into 64 bits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from axsched_hpc.core.record import Record, annotated

#: Whole numbers fit into 64 bits.
LARGEST = 2**63 - 1

Reader = Callable[[Any], Any]

#: Types whose values can all be written again.
_SAFE = frozenset({str, int, bool, NoneType})


def read(kind: Any, value: Any) -> Any:
    """A JSON value as a value of a type.

    Parameters
    ----------
    kind
        ``int``, ``float``, ``bool``, ``str``, a ``StrEnum``, a dataclass, any of these ``| None``, and pairs,
        tuples of any length and dicts of them. ``Any`` is any JSON value.

    Raises
    ------
    ValueError
        It is none; says what is wrong, as the end of a sentence.
    """
    return reader(kind)(value)


@cache
def reader(kind: Any) -> Reader:
    """What :func:`read` does for one type, worked out once."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return lambda value: _word(kind, value)
    if isinstance(kind, type) and (issubclass(kind, Record) or is_dataclass(kind)):
        return lambda value: record(kind, readers(kind), _object(value))
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and len(inner) == 2 and NoneType in inner:
        other = reader(next(each for each in inner if each is not NoneType))
        return lambda value: None if value is None else other(value)
    if origin is dict:
        keys, values = _KEYS[inner[0]], reader(inner[1])
        return lambda value: {keys(key): values(each) for key, each in _object(value).items()}
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        each_one = reader(inner[0])
        return lambda value: tuple(map(each_one, _list(value)))
    if origin is tuple and len(inner) == 2:
        first, second = reader(inner[0]), reader(inner[1])
        return lambda value: _pair(first, second, value)
    raise TypeError(f"no rule for {kind}")


@cache
def readers(kind: type) -> dict[str, Reader]:
    """A reader for each field of a dataclass."""
    return {
        name: reader(_meaning(text, base.__module__))
        for base in reversed(kind.__mro__)
        for name, text in annotated(base).items()
    }


@cache
def _meaning(text: str, module: str) -> Any:
    """The type that a module's source calls so; ``get_type_hints`` takes ten times as long."""
    return eval(text, vars(sys.modules[module]))


@cache
def required(kind: type) -> frozenset[str]:
    """The fields of a dataclass that have no default."""
    return frozenset(
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    )


def within(reader: Reader, least: float, greatest: float) -> Reader:
    """A reader of numbers in a range; null stays what it is."""
    usual = type(reader(1))

    def read(value: Any) -> Any:
        if type(value) is usual and least <= value <= greatest:
            return value
        number = reader(value)
        if number is not None and not least <= number <= greatest:
            raise ValueError(f"is out of range: {number}")
        return number

    return read


def record(kind: Any, known: Mapping[str, Reader], value: dict[str, Any]) -> Any:
    """A dataclass from a JSON object, by a reader for each field; raises as :func:`read` does."""
    try:
        if len(value) == len(known) and issubclass(kind, Record):
            # With the class's own texts for names: by those its attributes are found at once.
            return kind.of({name: read(value[name]) for name, read in known.items()})
        found = {name: known[name](each) for name, each in value.items()}
    except (KeyError, ValueError):
        raise ValueError(_fault(known, value)) from None
    if missing := required(kind) - found.keys():
        raise ValueError(f"lacks the field {min(missing)!r}")
    return kind(**found)


def _fault(known: Mapping[str, Reader], value: dict[str, Any]) -> str:
    """What is wrong with an object's first field that is wrong."""
    for name, each in value.items():
        if name not in known:
            return f"has the unknown field {name!r:.80}"
        try:
            known[name](each)
        except ValueError as error:
            return f"has a field {name!r} that {error}"
    raise AssertionError("unreachable")


def _whole(value: Any) -> int:
    if type(value) is not int or not -LARGEST <= value <= LARGEST:
        raise ValueError(f"is {value!r:.80}, not a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or (type(value) is int and abs(value) > LARGEST):
        raise ValueError(f"is {value!r:.80}, not a number")
    if not isfinite(value):
        raise ValueError(f"is {value}, not a finite number")
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"is {value!r:.80}, not true or false")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"is {value!r:.80}, not a text")
    return value


def _anything(value: Any) -> Any:
    # What could not be written again is not taken either: NaN, infinities, and depths without end.
    try:
        _check((value,))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return value


def _check(values: Iterable[Any]) -> None:
    for value in values:
        kind = type(value)
        if kind in _SAFE or (kind is float and isfinite(value)):
            continue
        if kind is not dict and kind not in (list, tuple):
            raise ValueError(f"holds {value!r:.80}, which is no JSON value or no finite number")
        _check(value.values() if kind is dict else value)


def _word(kind: type[StrEnum], value: Any) -> StrEnum:
    try:
        return kind(_text(value))
    except ValueError:
        raise ValueError(f"is {value!r:.80}, none of {', '.join(kind)}") from None


def _object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError(f"is {value!r:.80}, not an object")
    return value


def _list(value: Any, length: int | None = None) -> Sequence[Any]:
    # What `asdict` gives has tuples where JSON has lists.
    if type(value) not in (list, tuple) or (length is not None and len(value) != length):
        raise ValueError(f"is {value!r:.80}, not a list" + (f" of {length}" if length is not None else ""))
    found: Sequence[Any] = value
    return found


def _pair(first: Reader, second: Reader, value: Any) -> tuple[Any, Any]:
    one, other = _list(value, 2)
    return first(one), second(other)


def _index(key: str) -> int:
    # JSON has texts for keys only; one number has one text.
    if not (key.isascii() and key.isdecimal() and len(key) < 19 and str(int(key)) == key):
        raise ValueError(f"has the key {key!r:.80}, which is no index")
    return int(key)


_PLAIN: dict[Any, Reader] = {int: _whole, float: _number, bool: _flag, str: _text, Any: _anything}
_KEYS: dict[Any, Callable[[str], Any]] = {int: _index, str: str}
