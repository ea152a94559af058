"""Damaged files: an error that says so, or the values that were there; never another exception.

``AXSCHED_FUZZ_EXAMPLES`` says how many examples each test tries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from ax.storage.json_store.encoder import object_to_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.files import Loaded, read_any
from axsched_hpc.core.errors import ConfigError
from tests.ax.harness import Driver, new_bridge

EXAMPLES = int(os.environ.get("AXSCHED_FUZZ_EXAMPLES", "80"))

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

#: What may stand where something else belongs.
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**70,
    float("nan"),
    float("inf"),
    "",
    "null",
    "text",
    "\ud800",
    [],
    [None],
    {},
    {"__type": "Arm"},
    {"__type": "datetime", "value": "never"},
    {"__type": "TrialStatus", "name": "FAILED"},
    {"__type": 5},
    {"": {"": 0}},
]


@cache
def bridge() -> AxBridge:
    """A short history with every kind of outcome and of generator run."""
    driver = Driver(new_bridge("ax.Client"))
    driver.run(6)
    own = driver.attach({"x": 1, "y": 2.5}, arm_name="mine")
    driver.complete(own.trial, {"f": (0.1 + 0.2, None), "seconds": (1 / 3, 0.25)})
    (candidate,) = driver.ask()
    driver.abandon(candidate.trial, "the call's time was over")
    driver.attach({"x": 2, "y": 2.5})
    return driver.bridge


@cache
def snapshot() -> str:
    return bridge().snapshot_text()


@cache
def of_ax() -> str:
    """The same without what is ours: with no checksum, as Ax's own files are."""
    content = json.loads(snapshot())
    del content["axsched"]
    return json.dumps(content)


@cache
def bare() -> str:
    """An experiment as Ax saves it alone."""
    return json.dumps(object_to_json(bridge().experiment))


def load(text: str) -> Loaded | None:
    """What is read of a text; None where it is refused with a message that names the file."""
    try:
        loaded = read_any(text, "some.json")
    except ConfigError as error:
        assert str(error)
        return None
    return loaded


def saved(loaded: Loaded) -> Any:
    return json.loads(AxBridge(loaded.handles).snapshot_text())["experiment"]


@cache
def original() -> Any:
    return saved(read_any(snapshot(), "some.json"))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from places(item, (*path, key))


@cache
def paths(text: str) -> list[tuple[Any, ...]]:
    return list(places(json.loads(text)))


@st.composite
def torn(draw: st.DrawFn, whole: Callable[[], str]) -> str:
    """A text with bytes flipped, cut out, doubled or swapped."""
    data = bytearray(whole().encode())
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        start = draw(st.integers(0, len(data) - 1))
        end = min(len(data), start + draw(st.integers(1, 40)))
        match draw(st.sampled_from(["flip", "byte", "cut", "tail", "double", "swap"])):
            case "flip":
                data[start] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[start] = draw(st.sampled_from(b'0123456789"{}[],:-.eNnt\x00 '))
            case "cut":
                del data[start:end]
            case "tail":
                del data[max(start, 1) :]
            case "double":
                data[start:start] = data[start:end]
            case "swap":
                other = draw(st.integers(0, len(data) - 1))
                data[start], data[other] = data[other], data[start]
    return data.decode(errors="replace")


@st.composite
def altered(draw: st.DrawFn, whole: Callable[[], str]) -> str:
    """A text in whose JSON one value is replaced, deleted, renamed, doubled or moved."""
    content = json.loads(whole())
    places = paths(whole())
    path = draw(st.sampled_from(places))
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    match draw(st.sampled_from(["value", "delete", "rename", "double", "exchange", "wrap"])):
        case "value":
            parent[key] = draw(st.sampled_from(VALUES))
        case "delete":
            del parent[key]
        case "rename" if isinstance(parent, dict):
            parent[draw(st.sampled_from(["", "0", "99", "null", "name", f"{key} "]))] = parent.pop(key)
        case "exchange":
            other = draw(st.sampled_from(places))
            there = content
            for step in other:
                there = there[step]
            parent[key] = json.loads(json.dumps(there))
        case "wrap":
            parent[key] = [parent[key]] if draw(st.booleans()) else {"value": parent[key]}
        case _ if isinstance(parent, list):
            parent.append(json.loads(json.dumps(parent[key])))
        case _:
            # A key twice: json.dumps cannot write that, so it takes the detour over a name.
            parent["\x07"] = draw(st.sampled_from(VALUES))
            return json.dumps(content).replace('"\\u0007"', json.dumps(key))
    return json.dumps(content)


def check_ours(text: str) -> None:
    loaded = load(text)
    if loaded is not None:
        assert saved(loaded) == original()


@fuzz
@given(torn(snapshot))
def test_a_torn_snapshot_is_refused_or_has_its_values(text: str) -> None:
    check_ours(text)


@fuzz
@given(altered(snapshot))
def test_an_altered_snapshot_is_refused_or_has_its_values(text: str) -> None:
    check_ours(text)


@fuzz
@given(torn(of_ax))
def test_a_torn_file_of_ax_is_refused_or_can_be_used(text: str) -> None:
    check_usable(text)


@fuzz
@given(altered(of_ax))
def test_an_altered_file_of_ax_is_refused_or_can_be_used(text: str) -> None:
    check_usable(text)


@fuzz
@given(st.one_of(torn(bare), altered(bare)))
def test_a_damaged_experiment_is_refused_or_can_be_used(text: str) -> None:
    check_usable(text)


def check_usable(text: str) -> None:
    """A digit that changed cannot be seen without a checksum; but what is taken can be worked with."""
    loaded = load(text)
    if loaded is None:
        return
    taken = AxBridge(loaded.handles)
    taken.definition()
    taken.problem()
    taken.external((), time=0.0)
    taken.trials_frame()
    again = read_any(taken.snapshot_text(), "again.json")
    # As text, since NaN is not equal to itself.
    assert json.dumps(saved(again)) == json.dumps(saved(loaded))


@fuzz
@given(
    st.recursive(st.sampled_from(VALUES), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_any_other_json_is_refused(value: Any) -> None:
    assert load(json.dumps(value)) is None


@fuzz
@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert load(text) is None
