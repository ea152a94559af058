"""A record is what a frozen dataclass of the same fields is."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

import pytest

from axsched_hpc.core.record import Record


class Base(Record):
    """With a member that is none of its fields."""

    kind: ClassVar[str] = "base"
    one: int


class Ours(Base):
    """Defaults of both kinds."""

    two: str = "b"
    three: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Theirs:
    """What it is compared with."""

    one: int
    two: str = "b"
    three: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("args", "given"),
    [((1,), {}), ((1, "x", {"a": 1}), {}), ((), {"three": {}, "one": 2}), ((1,), {"two": "y"})],
)
def test_it_holds_what_a_dataclass_would(args: tuple[Any, ...], given: dict[str, Any]) -> None:
    ours, theirs = Ours(*args, **given), Theirs(*args, **given)
    assert asdict(ours) == asdict(theirs)
    assert repr(ours).partition("(")[2] == repr(theirs).partition("(")[2]
    assert [each.name for each in fields(ours)] == [each.name for each in fields(theirs)]
    assert ours == Ours(*args, **given) == pickle.loads(pickle.dumps(ours)) == copy.deepcopy(ours)
    assert ours != replace(ours, one=9) == ours.changed(one=9)
    assert ours != theirs
    match ours:
        case Ours(one, two, three):
            assert (one, two, three) == (ours.one, ours.two, ours.three)
    assert Ours(1).three is not Ours(1).three


@pytest.mark.parametrize(
    ("args", "given"),
    [((), {}), ((1, "x", {}, 4), {}), ((1,), {"one": 1}), ((1,), {"four": 4}), ((), {"two": ""})],
)
def test_it_refuses_the_arguments_that_a_dataclass_would(
    args: tuple[Any, ...], given: dict[str, Any]
) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*args, **given)


def test_it_is_frozen_and_hashed_by_its_fields() -> None:
    ours = Base(1)
    assert hash(ours) == hash(Base(1))
    with pytest.raises(FrozenInstanceError):
        ours.one = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del ours.one
    assert ours.one == 1
