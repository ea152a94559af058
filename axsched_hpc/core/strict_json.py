"""JSON as files of an experiment hold it: each member once, and nested as far as anything of ours can be."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

#: Levels of lists and objects; the deepest file of ours has five.
DEEPEST = 50


def loads(text: str) -> Any:
    """Read a JSON text.

    NaN and infinity come through, since Python's writer and others put them there; who needs a number has to
    refuse them by name.

    Raises
    ------
    ValueError
        It is not JSON (a ``JSONDecodeError``), has a member twice, is nested too deeply, or holds a number
        of thousands of digits.
    """
    try:
        value = json.loads(text, object_pairs_hook=_members)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value, DEEPEST)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the member {twice!r:.80} twice")
    return members


def _check_depth(value: Any, left: int) -> None:
    inner: Iterable[Any]
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return
    if not left:
        raise _too_deep()
    for each in inner:
        _check_depth(each, left - 1)


def _too_deep() -> ValueError:
    return ValueError("it is nested too deeply")
