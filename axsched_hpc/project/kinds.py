"""What a value of a project file may be: each kind checks a value, and has its JSON Schema.

Checks and schema come from the same tables, so that an editor and ``axsched run`` agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.io.yaml_text import Way
from axsched_hpc.project.findings import Findings, near, way_text

Schema = dict[str, Any]


class Kind(Protocol):
    """What a value may be."""

    def check(self, findings: Findings, way: Way, value: Any) -> None:
        """Note all that is wrong with a value."""

    def schema(self) -> Schema:
        """Its JSON Schema."""


@dataclass(frozen=True)
class Plain:
    """A value that is judged by itself, and as an entry of what else is wanted here."""

    wanted: str
    what: Schema
    fits: Callable[[Any], bool]
    known: tuple[str, ...] = ()

    def check(self, findings: Findings, way: Way, value: Any) -> None:
        """Note a value that does not fit."""
        if not self.fits(value):
            findings.wrong(way, value, self.wanted, self.known)

    def schema(self) -> Schema:
        """Its JSON Schema."""
        return dict(self.what)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


NUMBER = Plain("a number", {"type": "number"}, _number)
POSITIVE = Plain(
    "a number above 0", {"type": "number", "exclusiveMinimum": 0}, lambda value: _number(value) and value > 0
)
INTEGER = Plain("a whole number", {"type": "integer"}, _whole)
COUNT = Plain(
    "a whole number, 1 or more",
    {"type": "integer", "minimum": 1},
    lambda value: _whole(value) and value >= 1,
)
BOOLEAN = Plain("true or false", {"type": "boolean"}, lambda value: isinstance(value, bool))
TEXT = Plain(
    "a text",
    {"type": "string", "minLength": 1},
    lambda value: isinstance(value, str) and bool(value.strip()) and "\0" not in value,
)
SCALAR = Plain(
    "a number, a text, true or false",
    {"type": ["number", "string", "boolean"]},
    lambda value: _number(value) or isinstance(value, bool | str),
)


def words(*allowed: str) -> Plain:
    """One of some words."""
    either = " or ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))
    what = {"enum": list(allowed)}
    return Plain(either, what, lambda value: isinstance(value, str) and value in allowed, allowed)


@dataclass(frozen=True)
class Many:
    """A list, or a mapping of names of one's own, of which each entry is of one kind."""

    each: Kind
    wanted: str
    named: bool = False
    least: int = 0

    def check(self, findings: Findings, way: Way, value: Any) -> None:
        """Note what is wrong with it, or with its entries."""
        if not isinstance(value, dict if self.named else list) or len(value) < self.least:
            findings.wrong(way, value, self.wanted)
            return
        entries: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for step, each in entries:
            self.each.check(findings, (*way, step), each)

    def schema(self) -> Schema:
        """Its JSON Schema."""
        if self.named:
            return {
                "type": "object",
                "additionalProperties": self.each.schema(),
                **({"minProperties": self.least} if self.least else {}),
            }
        return {
            "type": "array",
            "items": self.each.schema(),
            **({"minItems": self.least} if self.least else {}),
        }


@dataclass(frozen=True)
class Option:
    """An option that another package checks.

    Attributes
    ----------
    check_value
        Takes the option's name and its value.
    """

    check_value: Callable[[str, Any], Any]
    what: Schema

    def check(self, findings: Findings, way: Way, value: Any) -> None:
        """Note what its package says."""
        try:
            self.check_value(way_text(way), value)
        except ConfigError as error:
            findings.take(way, error)
        else:
            # None is a default to Python, and a value that was forgotten in a file.
            if value is None and "null" not in self.what.get("type", ()):
                findings.add(way, f"{way_text(way)} is empty; give it a value, or leave it out.")

    def schema(self) -> Schema:
        """Its JSON Schema."""
        return dict(self.what)


@dataclass(frozen=True)
class Key:
    """A key of a section.

    Attributes
    ----------
    doc
        What it says, for the documentation and for editors.
    """

    name: str
    kind: Kind
    doc: str = ""
    needed: bool = False


@dataclass(frozen=True)
class Keys:
    """A section with keys that are known.

    Attributes
    ----------
    wanted
        What it is, where something else stands.
    short
        A short form, in the place of the mapping.
    moved
        Keys that people look for here, and where they belong.
    others
        Whether any other key is taken as well.
    """

    keys: tuple[Key, ...]
    wanted: str
    short: Plain | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    others: bool = False

    def check(self, findings: Findings, way: Way, value: Any) -> None:
        """Note unknown and missing keys, and what is wrong with the others."""
        if self.short is not None and self.short.fits(value):
            return
        if not isinstance(value, dict):
            findings.wrong(way, value, self.wanted, self.short.known if self.short else ())
            return
        known = {key.name: key for key in self.keys}
        for name, each in value.items():
            if name in known:
                known[name].kind.check(findings, (*way, name), each)
            elif name in self.moved or not self.others:
                hint = f" {self.moved[name]}" if name in self.moved else ""
                findings.unknown((*way, name), list(known), hint)
        missing = [key.name for key in self.keys if key.needed and key.name not in value]
        unknown = [name for name in value if name not in known]
        # One that is misspelt was named already.
        missing = [name for name in missing if not any(near(each, [name]) for each in unknown)]
        if missing:
            text = ", ".join(map(repr, missing))
            findings.add((*way, missing[0]), f"{way_text(way)} lacks {text}.")

    def schema(self) -> Schema:
        """Its JSON Schema."""
        needed = [key.name for key in self.keys if key.needed]
        inner = {
            key.name: {**key.kind.schema(), **({"description": key.doc} if key.doc else {})}
            for key in self.keys
        }
        mapping = {
            "type": "object",
            "properties": inner,
            "additionalProperties": self.others,
            **({"required": needed} if needed else {}),
        }
        return mapping if self.short is None else {"anyOf": [self.short.schema(), mapping]}


@dataclass(frozen=True)
class OneOf:
    """A section of which one of several is meant, as ``chosen`` says: by the value of a key, or by the key.

    Attributes
    ----------
    chosen
        The name of the variant that a mapping means; None where it means none.
    short
        A short form, in the place of the mapping.
    """

    variants: Mapping[str, Keys]
    chosen: Callable[[Mapping[str, Any]], str | None]
    wanted: str
    ask: str
    short: Plain | None = None

    def check(self, findings: Findings, way: Way, value: Any) -> None:
        """Note what is wrong with the variant that is meant."""
        if self.short is not None and self.short.fits(value):
            return
        if not isinstance(value, dict):
            findings.wrong(way, value, self.wanted, self.short.known if self.short else ())
            return
        name = self.chosen(value)
        if name in self.variants:
            self.variants[str(name)].check(findings, way, value)
        elif self.ask in value:
            findings.wrong((*way, self.ask), value[self.ask], self.choice, tuple(self.variants))
        else:
            findings.add(way, f"{way_text(way)} {self.missing}.")

    @property
    def choice(self) -> str:
        """The variants, in words."""
        return words(*self.variants).wanted

    @property
    def missing(self) -> str:
        """What is said where nothing tells which variant is meant."""
        if self.ask:
            return f"lacks {self.ask!r}; {self.choice} is wanted there"
        return f"says what is run, by one of the keys {self.choice}; what is minimized stands in objectives"

    def schema(self) -> Schema:
        """Its JSON Schema."""
        each = [variant.schema() for variant in self.variants.values()]
        return {"anyOf": [*([self.short.schema()] if self.short else []), *each]}
