"""Numbers, paths into JSON and tables, over generated input; and rubbish, of which one error may come."""

# Messages stand in one line, word for word.
# ruff: noqa: E501

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axsched_hpc.objectives.extraction import extract, numbers, paths, tables
from axsched_hpc.objectives.extraction.values import ExtractionError
from axsched_hpc.objectives.kinds import Extraction
from tests.unit.fuzz import changed_bytes

# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5e3", 1500.0),
        ("+2", 2.0),
        ("-0", -0.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.0D-03", 1e-3),
        ("-1.0d+03", -1e3),
        ("0.25Q0", 0.25),
        ("1.0-103", 1e-103),
        ("-.5+100", -0.5e100),
        ("1.0-400", 0.0),
        (" 7 ", 7.0),
        ("007", 7.0),
    ],
)
def test_numbers_as_programs_write_them(text: str, value: float) -> None:
    assert numbers.read(text) == value
    assert numbers.is_number(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((text, "is no number") for text in ("", "abc", "1.5 eV", "1e", "e5", ".", "+", "--1", "1.2.3", "0x10", "1_0", "1'000", "٣", "\u22121", "1-103", "1.0-10", "1 2", "True", "1.0D", "1j")),
        *((text, "is not finite; let the program fail where no value can be computed") for text in ("nan", "NaN", "-NAN", "nan(ind)", "inf", "-Infinity", "+INF", "1.#INF", "-1.#IND00", "1.#QNAN")),
        *((text, "is too large for a number") for text in ("1e999", "-1D+400", "1.0+999")),
        *((text, "is no number: commas are read neither as thousands separators nor as decimal points") for text in ("1,234", "1,5", "1.000,5", "3,")),
        ("****", "is what Fortran writes where a number does not fit into its field; give the field more digits"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        numbers.read(text)
    assert str(caught.value) == why


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, st.sampled_from("eEdDqQ"), st.integers(0, 17), st.sampled_from(["", " ", "\t"]))
def test_numbers_of_any_length_are_read_as_python_does(
    number: float, letter: str, digits: int, blank: str
) -> None:
    text = f"{number:+.{digits}e}"
    expected = float(text)
    if math.isfinite(expected):
        assert numbers.read(blank + text.replace("e", letter) + blank) == expected
        mantissa, exponent = text.split("e")
        if len(exponent) == 4 and "." in mantissa:
            assert (
                numbers.read(mantissa + exponent) == expected
            )  # as Fortran's E0.0 edit descriptors write it
    assert numbers.read(repr(number)) == number


@given(st.text(st.sampled_from("0123456789+-.eEdD ,*naif"), max_size=12) | st.text(max_size=8))
def test_of_any_text_there_is_a_finite_number_or_a_reason(text: str) -> None:
    try:
        number = numbers.read(text)
    except ValueError as error:
        assert str(error).startswith("is ")
    else:
        assert math.isfinite(number)
        assert numbers.is_number(text)
        with contextlib.suppress(ValueError):
            assert float(text) == number  # where Python reads it too, it is the same


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        ("a", ("a",)),
        (".a[0]", ("a", 0)),
        ("[0].b", (0, "b")),
        ("$.a['x y'][-1]", ("a", "x y", -1)),
        ('$["a"]["b"]', ("a", "b")),
        ("$ .a\n[ 'b' ]\t[ 10 ]", ("a", "b", 10)),
        ("$['']", ("",)),
        (r"$['\'\"'.replace", None),
        (r"""$['it\'s']["say \"x\""]""", ("it's", 'say "x"')),
        (r"""$['"']["'"]""", ('"', "'")),
        (r"$['\b\f\n\r\t\/\\']", ("\b\f\n\r\t/\\",)),
        (r"$['\u263A\uD83D\ude00']", ("☺😀",)),
        ("$.größe_1", ("größe_1",)),
        ("$.☺", ("☺",)),
    ],
)
def test_singular_queries(text: str, path: paths.Path | None) -> None:
    if path is None:
        with pytest.raises(paths.PathError):
            paths.parse(text)
    else:
        assert paths.parse(text) == path
        assert paths.parse(paths.render(path)) == path


SEVERAL = "finds several values: only names and indices, which find one, can be used"
NAME = "a name has to follow; one with other characters than letters, digits and '_' goes into brackets and quotes: $['my-name']"
INDEX = "an index, or a name in quotes, has to follow, as in [0], [-1] or ['name']"
QUOTED = "the name in quotes is not ended, or has a character or escape that is not allowed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty; '$' is the whole document"),
        ("$.", f"at its end: {NAME}"),
        ("$.1a", f"at character 3: {NAME}"),
        ("$.*", f"at character 3: '*' {SEVERAL}"),
        ("$..a", f"at character 2: '..' {SEVERAL}"),
        ("$[*]", f"at character 3: '*' {SEVERAL}"),
        ("$[?@.a]", f"at character 3: '?' {SEVERAL}"),
        ("$[0:2]", f"at character 4: ':' {SEVERAL}"),
        ("$[:2]", f"at character 3: ':' {SEVERAL}"),
        ("$[0,1]", f"at character 4: ',' {SEVERAL}"),
        ("$['a','b']", f"at character 6: ',' {SEVERAL}"),
        ("$[]", f"at character 3: {INDEX}"),
        ("$[a]", f"at character 3: {INDEX}"),
        ("$[", f"at its end: {INDEX}"),
        ("$[-0]", f"at character 3: {INDEX}"),
        ("$[01]", "at character 4: ']' has to follow"),
        ("$[9007199254740992]", "at character 3: the index is too large"),
        ("$['a", f"at character 3: {QUOTED}"),
        (r"$['\x']", f"at character 3: {QUOTED}"),
        (r"$['\"']", f"at character 3: {QUOTED}"),
        (r"$['\uD83D']", f"at character 3: {QUOTED}"),
        ("$['a\n']", f"at character 3: {QUOTED}"),
        ("$['a'", "at its end: ']' has to follow"),
        ("$.a b", "at character 5: 'b' does not belong there. A name with it goes into brackets and quotes: $['my-name']"),
        ("$a", "at character 2: 'a' does not belong there. A name with it goes into brackets and quotes: $['my-name']"),
        ("a-b", "at character 2: '-' does not belong there. A name with it goes into brackets and quotes: $['my-name']"),
        ("a]", "at character 2: ']' does not belong there"),
    ],
)  # fmt: skip
def test_what_is_no_singular_query_is_refused(text: str, message: str) -> None:
    with pytest.raises(paths.PathError) as caught:
        paths.parse(text)
    assert str(caught.value) == message


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def _places(value: Any, path: paths.Path = ()) -> list[tuple[paths.Path, Any]]:
    """All that a document has, with the path of each."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = [(index, each) for place, each in enumerate(value) for index in (place, place - len(value))]
    return [(path, value), *(found for step, each in inner for found in _places(each, (*path, step)))]


def _in_single_quotes(path: paths.Path) -> str:
    """The other way in which RFC 9535 lets names be written."""
    return "".join(
        f"[{step}]"
        if isinstance(step, int)
        else "['" + json.dumps(step)[1:-1].replace('\\"', '"').replace("'", "\\'") + "']"
        for step in path
    )


@given(DOCUMENTS)
def test_every_place_of_a_document_has_a_path_that_finds_it(document: Any) -> None:
    for path, value in _places(document):
        assert paths.parse(paths.render(path)) == path
        assert paths.parse("$" + _in_single_quotes(path)) == path
        assert paths.follow(document, path) is value or paths.follow(document, path) == value


@given(st.text(st.sampled_from("$.[]'\"\\u0D8 a-1*:?@,"), max_size=12) | st.text(max_size=8))
def test_any_text_is_a_path_or_refused_with_its_place(text: str) -> None:
    try:
        path = paths.parse(text)
    except paths.PathError as error:
        assert str(error).startswith(("at ", "it is empty"))
    else:
        assert paths.parse(paths.render(path)) == path


# ---------------------------------------------------------------- tables

CELLS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]) | st.sampled_from(" ,;\t\"'\n"),
    max_size=5,
)


@given(
    st.lists(
        CELLS.map(str.strip).filter(lambda name: name and not numbers.is_number(name) and "\n" not in name),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    st.lists(st.lists(FINITE, min_size=4, max_size=4), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_tables_as_csv_writes_them_are_read(
    names: list[str], rows: list[list[float]], separator: str, end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *(row[: len(names)] for row in rows)])
    for place, name in enumerate(names):
        column = tables.column(io.BytesIO(text.getvalue().encode()), "f", name, None, separator)
        assert [numbers.read(found.value) for found in column] == [row[place] for row in rows]


@given(
    st.lists(st.from_regex(r"[a-z][a-z_]{0,4}", fullmatch=True), min_size=1, max_size=4, unique=True),
    st.lists(st.lists(FINITE, min_size=4, max_size=4), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t", "  ", ", ", "\t ", "; "]),
    st.sampled_from(["", "#", "# "]),
)
def test_separators_are_found_out(
    names: list[str], rows: list[list[float]], separator: str, comment: str
) -> None:
    cells = [names, *([repr(number) for number in row[: len(names)]] for row in rows)]
    lines = [separator.join(row) for row in cells]
    data = (comment + "\n\n".join(lines)).encode()
    for place, name in enumerate(names):
        for address in (name, place, place - len(names)):
            column = tables.column(io.BytesIO(data), "f", address, address, None)
            assert [numbers.read(found.sem) for found in column] == [row[place] for row in rows]


# ---------------------------------------------------------------- rubbish

ASKED = [
    Extraction("m", "regex", r"(\S+) (\S+)", "out"),
    Extraction("m", "regex", r"\d*", "out", "min"),
    Extraction("m", "json", "$.a[-1]", "out", sem="$.b"),
    Extraction("m", "json", "a", "stdout"),
    Extraction("m", "json", "a", "out.jsonl"),
    Extraction("m", "csv", "a", "out", "max", sem="b"),
    Extraction("m", "csv", -2, "out", 1, sem=0),
    Extraction("m", "csv", 1, "out", separator="|"),
    Extraction("m", "last_line", "", "out"),
]


def _only_extraction_errors(data: bytes, asked: list[Extraction]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for file in ("out", "out.jsonl", "stdout", "stderr"):
            (root / file).write_bytes(data)
        for each in asked:
            try:
                ((value, sem),) = extract.metrics([each], root, root / "stdout", root / "stderr").values()
            except ExtractionError as error:
                assert str(error).startswith("Metric 'm': ")
            else:
                assert math.isfinite(value)
                assert sem is None or (math.isfinite(sem) and sem >= 0)


@settings(deadline=None)
@given(
    st.binary(max_size=100)
    | st.text(st.sampled_from('ab,;\t "#|{}[]:01.-e\r\n'), max_size=60).map(str.encode)
)
def test_of_rubbish_only_extraction_errors_come(data: bytes) -> None:
    _only_extraction_errors(data, ASKED)


VALID = [
    b'{"a": [1, 2.5], "b": 0.5}\n',
    b'{"a": 1}\n{"a": 2}\n',
    b"# a b\n1 2\n3 4\n",
    b'a,b\n"1",2\n3,4\n',
]


@settings(deadline=None)
@given(st.sampled_from(VALID).flatmap(changed_bytes))
def test_of_damaged_files_only_extraction_errors_come(data: bytes) -> None:
    _only_extraction_errors(data, ASKED)
