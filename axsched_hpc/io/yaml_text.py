"""YAML that people write by hand: values with the line of each, and what is wrong with the text.

Read as YAML 1.2 means it where YAML 1.1 has surprises: ``12:00:00`` is a time and no number of base 60,
``1e-3`` is a number, ``010`` and ``2026-01-02`` are texts.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The way to a value: the keys, and the places in lists, that lead there.
Way = tuple[str | int, ...]

#: An alias can stand for much: a text of some lines must not become a value that fills the memory.
_MOST = 100_000

_TAG = "tag:yaml.org,2002:"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


@dataclass(frozen=True)
class Document:
    """What a text says.

    Attributes
    ----------
    data
        Dicts with texts as keys, lists, texts, numbers, booleans and None.
    lines
        The line of each key and of each entry of a list, counted from 1.
    problems
        Line (None where it is not known) and sentence of all that is wrong.
    refused
        Where a value stands that is one of the problems; there is None in the data.
    """

    data: Any = None
    lines: Mapping[Way, int] = field(default_factory=dict)
    problems: tuple[tuple[int | None, str], ...] = ()
    refused: frozenset[Way] = frozenset()


def read(text: str, *, strict: bool = False) -> Document:
    """Read a text.

    Parameters
    ----------
    strict
        Whether words and numbers that readers of YAML take for different things are problems, unless they
        stand in quotes: ``on``, ``no``, ``010``.
    """
    import yaml

    try:
        node = _loader()(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return Document(problems=((mark.line + 1 if mark else None, _syntax(error)),))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return Document(problems=((None, f"this is no YAML: {' '.join(str(error).split())}."),))
    if node is None:
        return Document()
    taking = _Taking(strict=strict)
    data = taking.value(node, ())
    return Document(data, taking.lines, tuple(taking.problems), frozenset(taking.refused))


class _Taking:
    """Makes values of nodes."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._above: list[Any] = []
        self._count = 0
        self.refused: set[Way] = set()
        self.lines: dict[Way, int] = {}
        self.problems: list[tuple[int | None, str]] = []

    def value(self, node: Any, way: Way) -> Any:
        import yaml

        self._count += 1
        if any(node is each for each in self._above):
            return self._refuse(node, way, "an alias (*) stands inside what it is an alias of.")
        if self._count > _MOST:
            if self._count == _MOST + 1:
                self._refuse(node, way, f"there are more than {_MOST} values; aliases (*) multiply them.")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, way)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            return self._unknown(node, way)
        self._above.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return self._list(node, way)
            return self._dict(node, way)
        finally:
            self._above.pop()

    def _list(self, node: Any, way: Way) -> list[Any]:
        values = []
        for place, each in enumerate(node.value):
            self.lines[(*way, place)] = _line(each)
            values.append(self.value(each, (*way, place)))
        return values

    def _dict(self, node: Any, way: Way) -> dict[str, Any]:
        import yaml

        values: dict[str, Any] = {}
        for key, each in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, None, "a list or keys with values stand where a key belongs.")
                continue
            if key.tag == f"{_TAG}merge":
                self._refuse(key, way, "keys are merged with <<, which is not read here; write them out.")
                continue
            name = str(key.value)
            inner = (*way, name)
            if name in values:
                self._refuse(key, None, f"{name!r} is there already, in line {self.lines[inner]}.")
                continue
            self.lines[inner] = _line(key)
            values[name] = self.value(each, inner)
        return values

    def _scalar(self, node: Any, way: Way) -> Any:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge" | "value":
                if self._strict and node.style is None and _LEADING_ZERO.fullmatch(text):
                    number = int(text)
                    what = f"{text} is {number} to some readers of YAML, and octal or a text to others"
                    return self._refuse(node, way, f'{what}; write {number}, or "{text}" for the text.')
                return text
            case "null":
                return None
            case "bool":
                if self._strict and text.lower() not in ("true", "false"):
                    meant = str(_WORDS[text.lower()]).lower()
                    what = f"{text} is {meant} to some readers of YAML, and a text to others"
                    return self._refuse(node, way, f'{what}; write {meant}, or "{text}" for the text.')
                return _WORDS[text.lower()]
            case "int":
                return self._number(node, way, int)
            case "float":
                return self._number(node, way, float)
        return self._unknown(node, way)

    def _number(self, node: Any, way: Way, kind: Any) -> Any:
        try:
            return kind(node.value)
        except ValueError:
            # More digits than Python reads, or a tag on what is no number.
            return self._refuse(node, way, f"{node.value:.40} is no number.")

    def _unknown(self, node: Any, way: Way) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._refuse(node, way, f"the tag {tag} is not known here; leave it out.")

    def _refuse(self, node: Any, way: Way | None, what: str) -> None:
        self.problems.append((_line(node), what))
        if way is not None:
            self.refused.add(way)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _syntax(error: Any) -> str:
    problem = str(error.problem or "")
    if "'\\t'" in problem:
        return "a tab stands where only spaces may; YAML indents with spaces."
    if "expected a single document" in str(error.context or ""):
        return "a second document begins here (---); there may be only one."
    begun = error.context_mark
    since = f" (begun in line {begun.line + 1})" if begun is not None and error.context else ""
    what = ": ".join(part for part in (f"{error.context or ''}{since}", problem) if part)
    return f"this is no YAML: {what}."


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader, with numbers as YAML 1.2 has them and without dates."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    tags = {f"{_TAG}{kind}" for kind in ("int", "float", "timestamp")}
    Loader.yaml_implicit_resolvers = {
        first: [rule for rule in rules if rule[0] not in tags]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    digits = list("-+0123456789")
    # YAML 1.2.2, 10.3.2, without infinity and NaN; a leading zero is no number of ours.
    Loader.add_implicit_resolver(
        f"{_TAG}float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"),
        [*digits, "."],
    )
    Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), digits)
    return Loader
