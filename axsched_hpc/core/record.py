"""Frozen dataclasses that cost next to nothing to define.

``@dataclass(frozen=True)`` compiles six methods for each class, which takes the better part of a millisecond;
a look at an experiment, and every job, would pay it fifty times. Here they are written once, for all classes.
``fields``, ``replace`` and ``asdict`` of :mod:`dataclasses` take a record as they take any dataclass: what
they want to know of its class is worked out when one of them first asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform


class _Fields:
    """Stands in a class for what :mod:`dataclasses` leaves there, until that is asked for."""

    def __get__(self, made: object, cls: type) -> dict[str, Field[Any]]:
        dataclass(init=False, repr=False, eq=False)(cls)
        found: dict[str, Field[Any]] = vars(cls)["__dataclass_fields__"]
        return found


def annotated(cls: type) -> dict[str, str]:
    """The fields that a class adds to those of its base, with their types as they are written."""
    written = vars(cls).get("__annotations__", {})
    return {name: kind for name, kind in written.items() if not kind.startswith("ClassVar")}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """Base of classes whose annotations are their fields, as those of a frozen dataclass."""

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    _names: ClassVar[tuple[str, ...]] = ()
    #: What the fields have by themselves; those from the place `_free` on have a value there.
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[dict[str, Callable[[], Any]]] = {}
    _free: ClassVar[int] = 0

    def __init_subclass__(cls) -> None:
        cls.__dataclass_fields__ = _Fields()  # type: ignore[assignment]
        own = {name: vars(cls).get(name, MISSING) for name in annotated(cls)}
        told = {name: each for name, each in own.items() if isinstance(each, Field)}
        cls._defaults = cls._defaults | own | {name: each.default for name, each in told.items()}
        cls._factories = cls._factories | {
            name: each.default_factory for name, each in told.items() if each.default_factory is not MISSING
        }
        cls._names = tuple(cls._defaults)
        cls.__match_args__ = cls._names  # type: ignore[attr-defined, misc]  # which mypy works out by itself
        bare = [place for place, each in enumerate(cls._defaults.values(), 1) if each is MISSING]
        cls._free = max(bare, default=0)

    def __init__(self, *args: Any, **given: Any) -> None:
        members = self._defaults.copy()
        members.update(zip(self._names, args))  # noqa: B905 - counted below
        if given or not self._free <= len(args) <= len(self._names):
            self._complete(members, args, given)
        _fill(self, members)

    @classmethod
    def _complete(cls, members: dict[str, Any], args: tuple[Any, ...], given: dict[str, Any]) -> None:
        twice = given.keys() & cls._names[: len(args)]
        members.update(given)
        for name, made in cls._factories.items():
            if members[name] is MISSING:
                members[name] = made()
        lacking = any(value is MISSING for value in members.values())
        if twice or lacking or max(len(args), len(members)) > len(cls._names):
            raise TypeError(f"{cls.__name__} takes {', '.join(cls._names)}")

    @classmethod
    def of(cls, members: dict[str, Any]) -> Self:
        """One with these members, which are all of them: quicker than a call, and nothing is checked."""
        made = _new(cls)
        _fill(made, members)
        return made

    def changed(self, **changes: Any) -> Self:
        """The same with other members, as :func:`dataclasses.replace` has it, at a tenth of its time."""
        made = _new(self.__class__)
        _fill(made, self.__dict__ | changes)
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__[name] for name in self._names))

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._names)
        return f"{type(self).__qualname__}({members})"


_new = object.__new__
#: Gives a record its members, past its own `__setattr__`.
_fill: Callable[[Record, dict[str, Any]], None] = Record.__dict__["__dict__"].__set__
