"""Mutations of files, for hypothesis: of their bytes, and of their JSON values."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

#: JSON texts that stand where something else belongs.
NASTY = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "-0",
        "-0.0",
        "0",
        "1",
        "-1",
        "2",
        "12",
        "1e5",
    ),
    *(
        "13",
        "0.5",
        "-0.5",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[[]]",
        "[1]",
        "[1, 2]",
        "[1, 2, 3]",
        "[0.5, -1]",
    ),
    *(
        "[null, 1]",
        "[1, NaN]",
        '["1", null]',
        "[true, null]",
        "[1e999, 1]",
        '""',
        '"0.5"',
        '"12"',
        '"worker"',
    ),
    *('"driver"', '"crashed"', '"\\u0000"', '"\\ud800"', '"../../x"', '"/"', '"nan"', '{"loss": 1}'),
    *('{"": 1}', '{"\\ud800": 1}', '{"loss": NaN}', '{"a": 1, "a": 2}', "9" * 18, "9" * 20, "9" * 400),
    *(
        "9" * 5000,
        "-" + "9" * 400,
        "[" * 60 + "]" * 60,
        "[" * 3000 + "]" * 3000,
        '{"a":' * 60 + "1" + "}" * 60,
    ),
)


@dataclass
class Raw:
    """A JSON text, as it stands."""

    text: str


@dataclass
class Members:
    """A JSON object that may have a member twice."""

    pairs: list[list[Any]]


Place = tuple[list[Any], int]


def tree(value: Any) -> Any:
    """A JSON value with objects as :class:`Members`."""
    if isinstance(value, dict):
        return Members([[name, tree(each)] for name, each in value.items()])
    return [tree(each) for each in value] if isinstance(value, list) else value


def text_of(node: Any) -> str:
    """A tree as JSON."""
    if isinstance(node, Raw):
        return node.text
    if isinstance(node, Members):
        return "{" + ", ".join(f"{json.dumps(name)}: {text_of(value)}" for name, value in node.pairs) + "}"
    return "[" + ", ".join(map(text_of, node)) + "]" if isinstance(node, list) else json.dumps(node)


def places(node: Any) -> list[Place]:
    """Every value below a node, as a list and an index in it."""
    found: list[Place] = []
    if isinstance(node, Members):
        for pair in node.pairs:
            found += [(pair, 1), *places(pair[1])]
    elif isinstance(node, list):
        for index, each in enumerate(node):
            found += [(node, index), *places(each)]
    return found


def objects(node: Any) -> list[Members]:
    """Every object in a tree."""
    inner = [node] + [container[index] for container, index in places(node)]
    return [each for each in inner if isinstance(each, Members) and each.pairs]


def sealed(text: str) -> str:
    """The text of an object with the checksum that belongs to it."""
    head = text[:-1]
    return f'{head},\n "crc": "{zlib.crc32((head + chr(10) + "}").encode()):08x}"\n}}\n'


@st.composite
def changed_bytes(draw: st.DrawFn, original: bytes) -> bytes:
    """A file with some of its bytes changed, cut, doubled or put in."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "set", "cut", "remove", "insert", "double"])):
            case "flip" if place < len(data):
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "set" if place < len(data):
                data[place] = draw(st.sampled_from(b'0123456789-.eE"{}[],: \n\0\xff\xc3aN'))
            case "cut":
                del data[place:]
            case "remove":
                del data[place : place + draw(st.integers(1, 30))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "double":
                data[place:place] = data[place : place + draw(st.integers(1, 60))]
            case _:
                pass
    return bytes(data)


@st.composite
def changed_values(draw: st.DrawFn, original: Any) -> str:
    """The JSON text of a value with some of its parts changed."""
    node = tree(original)
    for _ in range(draw(st.integers(1, 3))):
        there = places(node)
        if not there:
            break
        container, index = draw(st.sampled_from(there))
        action = draw(
            st.sampled_from(["replace", "replace", "replace", "swap", "remove", "double", "rename"])
        )
        holder = draw(st.sampled_from(objects(node))) if objects(node) else None
        if action == "replace":
            container[index] = Raw(draw(st.sampled_from(NASTY)))
        elif action == "swap":
            other, place = draw(st.sampled_from(there))
            if not any(other is each for each, _ in places(container[index])) and not any(
                container is each for each, _ in places(other[place])
            ):
                container[index], other[place] = other[place], container[index]
        elif holder is not None:
            number = draw(st.integers(0, len(holder.pairs) - 1))
            if action == "remove":
                del holder.pairs[number]
            elif action == "double":
                holder.pairs.append([holder.pairs[number][0], Raw(draw(st.sampled_from(NASTY)))])
            else:
                holder.pairs[number][0] = draw(
                    st.sampled_from(["", "trial", "loss", "x", "\0", "format", "crc"])
                )
    return text_of(node)


def documents(fields: dict[str, Any], encoded: str) -> st.SearchStrategy[bytes]:
    """A document with changed bytes; or with changed values, as format 1, or with a right checksum."""
    old = {"format": 1, **fields}
    return st.one_of(
        changed_bytes(encoded.encode()),
        changed_bytes((json.dumps(old, indent=1) + "\n").encode()),
        changed_values(old).map(str.encode),
        changed_values({"format": 2, **fields}).map(lambda text: sealed(text).encode()),
    )
