"""Frozen dataclasses that cost next to nothing to define.

``@dataclass(frozen=True)`` compiles six methods for each class, which takes the better part of a millisecond;
a look at an experiment, and every job, would pay it fifty times. Here they are written once, for all classes.
``fields``, ``replace`` and ``asdict`` of :mod:`dataclasses` take a record as they take any dataclass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform


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
        found = fields(dataclass(init=False, repr=False, eq=False)(cls))
        cls._names = tuple(each.name for each in found)
        cls._defaults = {each.name: each.default for each in found}
        cls._factories = {
            each.name: each.default_factory for each in found if each.default_factory is not MISSING
        }
        bare = [place for place, each in enumerate(found, 1) if each.default is MISSING]
        cls._free = max(bare, default=0)

    def __init__(self, *args: Any, **given: Any) -> None:
        members = self._defaults.copy()
        members.update(zip(self._names, args))  # noqa: B905 - counted below
        if given or not self._free <= len(args) <= len(self._names):
            self._complete(members, args, given)
        object.__setattr__(self, "__dict__", members)

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
        made = object.__new__(cls)
        object.__setattr__(made, "__dict__", members)
        return made

    def changed(self, **changes: Any) -> Self:
        """The same with other members, as :func:`dataclasses.replace` has it, at a tenth of its time."""
        made = object.__new__(type(self))
        object.__setattr__(made, "__dict__", {**self.__dict__, **changes})
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
