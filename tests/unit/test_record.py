"""A record is what a frozen dataclass of the same fields is."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
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


class OursByName(Record, kw_only=True):
    """Given by name alone, before those of a class below that have no default."""

    first: int = 1


class OursBelow(OursByName):
    """Two more, by their places too."""

    second: str
    third: int = 3


@dataclass(frozen=True, kw_only=True)
class TheirsByName:
    """What that is compared with."""

    first: int = 1


@dataclass(frozen=True)
class TheirsBelow(TheirsByName):
    """What that is compared with."""

    second: str
    third: int = 3


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


@pytest.mark.parametrize(
    ("args", "given"),
    [(("b",), {}), (("b", 3), {}), ((), {"first": 4, "second": "b"}), ((), {}), ((5, 6, 7), {})],
)
def test_fields_can_be_given_by_name_alone(args: tuple[Any, ...], given: dict[str, Any]) -> None:
    try:
        theirs = TheirsBelow(*args, **given)
    except TypeError:
        with pytest.raises(TypeError):
            OursBelow(*args, **given)
        return
    assert list(asdict(OursBelow(*args, **given)).items()) == list(asdict(theirs).items())


def test_it_matches_by_the_places_of_its_fields() -> None:
    match Ours(1, "x"):
        case Ours(one, two):
            assert (one, two) == (1, "x")


def test_it_is_defined_and_used_without_dataclasses() -> None:
    code = (
        "from __future__ import annotations\n"
        "import sys\n"
        "from axsched_hpc.core.record import Record\n"
        "class A(Record):\n    x: int\n"
        "assert A(1) == A(1) and 'dataclasses' not in sys.modules\n"
        "from dataclasses import asdict\n"
        "assert asdict(A(1)) == {'x': 1}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
