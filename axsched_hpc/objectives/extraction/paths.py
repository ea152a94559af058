"""Paths into JSON documents: the singular queries of RFC 9535 (JSONPath), which find one value at most.

    singular-query = "$" *(S (name-segment / index-segment))
    name-segment   = "[" name-selector "]" / "." member-name-shorthand
    index-segment  = "[" index-selector "]"

``$`` may be left out: ``results[-1].error`` is ``$.results[-1].error``.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Names of members and indices of elements, from the root on.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\n\r]*")
_SHORTHAND = re.compile(r"[A-Za-z_\x80-\ud7ff\ue000-\U0010ffff][A-Za-z0-9_\x80-\ud7ff\ue000-\U0010ffff]*")
_INDEX = re.compile(r"0|-?[1-9][0-9]*")
_STRINGS = {
    quote: re.compile(
        rf"{quote}((?:[^{quote}\\\x00-\x1f\ud800-\udfff]|\\[bfnrt/\\{quote}]"
        r"|\\u(?:[0-9A-CE-Fa-ce-f][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}"
        rf"|[Dd][89ABab][0-9A-Fa-f]{{2}}\\u[Dd][C-Fc-f][0-9A-Fa-f]{{2}}))*){quote}"
    )
    for quote in "'\""
}
# RFC 9535 takes the integers that every JSON implementation has (I-JSON).
_LARGEST = 2**53 - 1

_SEVERAL = "finds several values: only names and indices, which find one, can be used"


class PathError(ValueError):
    """The text is no path; the message says where."""


class NothingThereError(LookupError):
    """A document has nothing at a path; the message says where it stopped, and what is there."""


def parse(text: str) -> Path:
    """The names and indices of a path.

    Raises
    ------
    PathError
        It is malformed, or finds several values. The message names the character, counted from 1.
    """
    if not text.strip():
        raise PathError("it is empty; '$' is the whole document")
    place = _blanks(text, 0)
    if text.startswith("$", place):
        place += 1
    elif text[place] not in ".[":
        name, place = _shorthand(text, place)
        return (name, *_segments(text, place))
    return _segments(text, place)


def render(path: Path) -> str:
    """A path as text, in the short form where there is one."""
    return "$" + "".join(_segment(each) for each in path)


def follow(document: Any, path: Path) -> Any:
    """What a document has at a path.

    Raises
    ------
    NothingThereError
        It has nothing there.
    """
    value = document
    for depth, step in enumerate(path):
        try:
            value = _member(value, step)
        except LookupError as error:
            raise NothingThereError(f"{render(path[:depth])} {error.args[0]}") from None
    return value


def _member(value: Any, step: str | int) -> Any:
    match value, step:
        case dict(), str() if step in value:
            return value[step]
        case list(), int() if -len(value) <= step < len(value):
            return value[step]
        case dict(), str():
            there = ", ".join(repr(name) for name in list(value)[:_SHOWN]) or "nothing"
            more = f" and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
            raise LookupError(f"has no member {step!r:.80}; it has {there}{more}")
        case list(), int():
            raise LookupError(f"has no element {step}; it has {len(value)}")
    what = f"member {step!r:.80}" if isinstance(step, str) else f"element {step}"
    raise LookupError(f"is {kind(value)}, which has no {what}")


#: Names that a message lists.
_SHOWN = 12


def kind(value: Any) -> str:
    """What a JSON value is, for people."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case dict():
            return "an object"
        case list():
            return "an array"
    return "a number"


def _segments(text: str, place: int) -> Path:
    path: list[str | int] = []
    while (place := _blanks(text, place)) < len(text):
        step: str | int
        if text.startswith("..", place):
            raise _wrong(text, place, f"'..' {_SEVERAL}")
        if text[place] == ".":
            step, place = _shorthand(text, place + 1)
        elif text[place] == "[":
            step, place = _bracketed(text, place)
        else:
            letter = text[place]
            hint = (
                "" if letter in "]*?@$," else ". A name with it goes into brackets and quotes: $['my-name']"
            )
            raise _wrong(text, place, f"{letter!r} does not belong there{hint}")
        path.append(step)
    return tuple(path)


def _shorthand(text: str, place: int) -> tuple[str, int]:
    match = _SHORTHAND.match(text, place)
    if match is None:
        if text.startswith("*", place):
            raise _wrong(text, place, f"'*' {_SEVERAL}")
        raise _wrong(
            text,
            place,
            "a name has to follow; one with other characters than letters, digits and '_' "
            "goes into brackets and quotes: $['my-name']",
        )
    return match[0], match.end()


def _bracketed(text: str, place: int) -> tuple[str | int, int]:
    start = _blanks(text, place + 1)
    step: str | int
    if start < len(text) and text[start] in _STRINGS:
        match = _STRINGS[text[start]].match(text, start)
        if match is None:
            raise _wrong(
                text,
                start,
                "the name in quotes is not ended, or has a character or escape that is not allowed",
            )
        step = _unescaped(match[1])
    else:
        match = _INDEX.match(text, start)
        if match is None:
            raise _wrong(text, start, _no_index(text[start : start + 1]))
        step = int(match[0]) if len(match[0]) < 20 else _LARGEST + 1
        if abs(step) > _LARGEST:
            raise _wrong(text, start, "the index is too large")
    end = _blanks(text, match.end())
    if text.startswith("]", end):
        return step, end + 1
    if text[end : end + 1] in (",", ":"):
        raise _wrong(text, end, f"{text[end]!r} {_SEVERAL}")
    raise _wrong(text, end, "']' has to follow")


def _no_index(letter: str) -> str:
    if letter and letter in "*?:":
        return f"{letter!r} {_SEVERAL}"
    return "an index, or a name in quotes, has to follow, as in [0], [-1] or ['name']"


def _unescaped(inner: str) -> str:
    # A string in single quotes is one of JSON, but for the quotes.
    double = re.sub(r"""\\.|["]""", lambda match: {"\\'": "'", '"': '\\"'}.get(match[0], match[0]), inner)
    return str(json.loads(f'"{double}"'))


def _segment(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if _SHORTHAND.fullmatch(step):
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"


def _blanks(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    assert match is not None
    return match.end()


def _wrong(text: str, place: int, why: str) -> PathError:
    where = f"at character {place + 1}" if place < len(text) else "at its end"
    return PathError(f"{where}: {why}")
