"""Frozen dataclasses that cost next to nothing to define.

``@dataclass(frozen=True)`` compiles six methods for each class, which takes the better part of a millisecond;
a look at an experiment, and every job, would pay it fifty times, and for loading :mod:`dataclasses` with all
that it needs some more. Here the methods are written once, for all classes. ``fields``, ``replace`` and
``asdict`` of :mod:`dataclasses` take a record as they take any dataclass: it becomes one when they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import Field, field
else:
    field = None  # for type checkers

_NOTHING: Any = object()


class _Fields:
    """What :mod:`dataclasses` knows of a class, found out when it is asked for."""

    def __get__(self, record: object, cls: type) -> dict[str, Field[Any]]:
        from dataclasses import dataclass

        dataclass(init=False, repr=False, eq=False)(cls)
        fields: dict[str, Field[Any]] = vars(cls)["__dataclass_fields__"]
        return fields


def annotated(cls: type) -> dict[str, str]:
    """The fields that a class adds to those of its base, with their types as they are written."""
    written = vars(cls).get("__annotations__", {})
    return {name: kind for name, kind in written.items() if not kind.startswith("ClassVar")}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """Base of classes whose annotations are their fields, as those of a frozen dataclass.

    With ``kw_only=True`` a class says that its own fields are given by name alone. Annotations are texts
    (``from __future__ import annotations``).
    """

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    #: The fields, and those that can be given by their places.
    _names: ClassVar[tuple[str, ...]] = ()
    _places: ClassVar[tuple[str, ...]] = ()
    #: What the fields have by themselves; with so many arguments as `_free`, all have a value.
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[dict[str, Callable[[], Any]]] = {}
    _free: ClassVar[int] = 0

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        own = {name: vars(cls).get(name, _NOTHING) for name in annotated(cls)}
        factories = cls._factories.copy()
        for name, value in own.items():
            if type(value).__name__ == "Field":
                own[name], factory = _given(value)
                if factory is not None:
                    factories[name] = factory
        cls._factories = factories
        cls._defaults = cls._defaults | own
        cls._names = tuple(cls._defaults)
        if not kw_only:
            cls._places = tuple(dict.fromkeys((*cls._places, *own)))
        setattr(cls, "__match_args__", cls._places)  # noqa: B010 - a type checker has its own
        places = {name: place for place, name in enumerate(cls._places, 1)}
        never = len(places) + 1
        bare = [name for name, value in cls._defaults.items() if value is _NOTHING]
        cls._free = max((places.get(name, never) for name in bare), default=0)
        cls.__dataclass_fields__ = _Fields()  # type: ignore[assignment]

    def __init__(self, *args: Any, **given: Any) -> None:
        members = self._defaults.copy()
        members.update(zip(self._places, args))  # noqa: B905 - counted below
        if given or not self._free <= len(args) <= len(self._places):
            self._complete(members, args, given)
        _fill(self, members)

    @classmethod
    def _complete(cls, members: dict[str, Any], args: tuple[Any, ...], given: dict[str, Any]) -> None:
        twice = given.keys() & set(cls._places[: len(args)])
        members.update(given)
        for name, made in cls._factories.items():
            if members[name] is _NOTHING:
                members[name] = made()
        lacking = any(value is _NOTHING for value in members.values())
        if twice or lacking or len(args) > len(cls._places) or len(members) > len(cls._names):
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
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__[name] for name in self._names))

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._names)
        return f"{type(self).__qualname__}({members})"


def _given(field: Field[Any]) -> tuple[Any, Callable[[], Any] | None]:
    """The default of a field, and what makes one."""
    from dataclasses import MISSING

    default = _NOTHING if field.default is MISSING else field.default
    return default, None if field.default_factory is MISSING else field.default_factory


_new = object.__new__
#: Gives a record its members, past its own `__setattr__`.
_fill: Callable[[Record, dict[str, Any]], None] = Record.__dict__["__dict__"].__set__
