"""YAML as people write it: what values are, where they stand, and what is refused."""

from __future__ import annotations

import pytest

from axsched_hpc.io.yaml_text import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.5e+2", -50.0),
        ("12", 12),
        ("0", 0),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:00:00", "12:00:00"),
        ("2026-01-02", "2026-01-02"),
        (".inf", ".inf"),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("true", True),
        ("'on'", "on"),
        ("'010'", "010"),
        ("~", None),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    document = read(f"a: {text}\n", strict=True)
    assert not document.problems
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


def test_every_value_has_its_line() -> None:
    document = read("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n")
    assert document.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "d"): 5,
    }


def test_keys_are_texts() -> None:
    assert read("on: 1\n2: 3\n", strict=True).data == {"on": 1, "2": 3}


def test_an_alias_is_what_it_stands_for() -> None:
    assert read("a: &x [1]\nb: *x\n").data == {"a": [1], "b": [1]}


def test_aliases_cannot_fill_the_memory() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = read("\n".join(lines)).problems
    assert problem[1] == "there are more than 100000 values; aliases (*) multiply them."


def test_only_where_it_matters_is_a_word_refused() -> None:
    assert read("a: on\nb: no\nc: 010\n").data == {"a": True, "b": False, "c": "010"}
    document = read("a: on\nb: no\nc: 010\n", strict=True)
    assert [line for line, _ in document.problems] == [1, 2, 3]
    assert document.refused == {("a",), ("b",), ("c",)}
