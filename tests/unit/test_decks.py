"""Input decks: what a template may hold, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.objectives import decks

OWN = ("metrics", "trial", "workdir")
NASTY = "a b'\"`$(touch oh) {{ x }} {% if %}\n-rf ü \\ #"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return tmp_path / "deck.j2"


def rendered(template: Path, text: str | bytes, **parameters: Any) -> str:
    template.write_bytes(text if isinstance(text, bytes) else text.encode())
    return decks.render(template, parameters, {"trial": "3", "workdir": "/w"}).decode(
        errors="surrogateescape"
    )


def test_parameters_and_names_of_our_own(template: Path) -> None:
    text = "rate {{ rate }} of {{ trial }} in {{ workdir }}, {{ params['layers.0'] }}, {{ '%.3f' % rate }}\n"
    made = rendered(template, text, rate=1e-05, **{"layers.0": 7})
    assert made == "rate 1e-05 of 3 in /w, 7, 0.000\n"


def test_booleans_and_nothing_are_as_in_arguments(template: Path) -> None:
    assert rendered(template, "{{ a }} {{ b }} [{{ c }}]", a=True, b=False, c=None) == "true false []"


def test_conditions_and_loops(template: Path) -> None:
    text = "{% for i in range(n) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}{# gone #}"
    assert rendered(template, text, n=3) == "0,1,2"


def test_what_is_around_placeholders_stays(template: Path) -> None:
    text = b"# caf\xe9 ${x} #{y} {z}\r\n\tvalue {{ x }}\r\n\r\n"
    made = rendered(template, text, x=1)
    assert made.encode(errors="surrogateescape") == text.replace(b"{{ x }}", b"1")


def test_a_value_is_never_part_of_the_template(template: Path) -> None:
    assert rendered(template, "<{{ x }}>", x=NASTY) == f"<{NASTY}>"


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (True, ".true."),
        (False, ".false."),
        (3, "3"),
        (-2.5, "-2.5d0"),
        (1e-05, "1.0d-05"),
        (1.5e300, "1.5d+300"),
        ("it's", "'it''s'"),
        (None, "''"),
    ],
)
def test_literals_of_a_namelist(template: Path, value: Any, literal: str) -> None:
    assert rendered(template, "{{ x | fortran }}", x=value) == literal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\n{{ rat }}", "line 2, has the name 'rat', which nothing gives a value to."),
        ("{{ rat }}", "Did you mean 'rate'?"),
        ("{% if stuff %}{{ rate }}{% endif %}", "has the name 'stuff'"),
        ("{{ params['rat'] }}", "has the name 'rat'"),
        ("{{ rate", "line 1, cannot be rendered: unexpected end of template"),
        ("\n{% if rate %}", "line 2, cannot be rendered: Unexpected end of template"),
        ("{{ rate | roundd }}", "No filter named 'roundd'"),
        ("{% include 'other' %}", "includes or extends another one"),
        ("a\0b", "it holds a null character"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_told_before(template: Path, text: str, words: str) -> None:
    template.write_text(text)
    with pytest.raises(ObjectiveError) as caught:
        decks.check(template, ["rate", "n"], OWN)
    assert str(template) in str(caught.value)
    assert words in str(caught.value)


def test_a_name_with_two_meanings(template: Path) -> None:
    template.write_text("{{ trial }}")
    decks.check(template, ["rate"], OWN)
    with pytest.raises(ObjectiveError, match=r"Write params\['trial'\] for the parameter"):
        decks.check(template, ["trial"], OWN)
    template.write_text("{{ params['trial'] }} {% raw %}{{ unknown }}{% endraw %}")
    decks.check(template, ["trial"], OWN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ 1 / x }}", "ZeroDivisionError"),
        ("{{ x.real.nothing }}", "has no attribute 'nothing'"),
        ("{{ params[y] }}", "cannot be rendered: 'y' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__'"),
    ],
)
def test_what_only_the_values_show(template: Path, text: str, words: str) -> None:
    template.write_text(text)
    with pytest.raises(decks.DeckError) as caught:
        decks.render(template, {"x": 0}, {})
    assert words in str(caught.value)
