"""What an objective may report."""

from __future__ import annotations

import math

import pytest

from axsched_hpc.core.errors import MetricsError
from axsched_hpc.core.metrics import normalise, parse_text, require


class FloatLike:
    """Stands for a NumPy or torch scalar: a number through __float__ only."""

    def __float__(self) -> float:
        return 2.5


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"loss": 1}, {"loss": (1.0, None)}),
        ({"loss": (0.5, 0.1)}, {"loss": (0.5, 0.1)}),
        ({"loss": [0.5, None]}, {"loss": (0.5, None)}),
        ({"loss": FloatLike()}, {"loss": (2.5, None)}),
        ({"a": 1, "b": (2, 0)}, {"a": (1.0, None), "b": (2.0, 0.0)}),
    ],
)
def test_accepted_forms(raw: object, expected: object) -> None:
    assert normalise(raw, source="here") == expected


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "here holds null where a mapping"),
        (3.0, "here holds a float where a mapping"),
        ({}, "holds no metric at all"),
        ({"loss": "0.5"}, "metric 'loss' is a string"),
        ({"loss": True}, "metric 'loss' is a boolean"),
        ({"loss": None}, "metric 'loss' is null"),
        ({"loss": math.nan}, "is nan, not a finite number"),
        ({"loss": math.inf}, "is inf, not a finite number"),
        ({"loss": (1, 2, 3)}, "has 3 values"),
        ({"loss": (1, -0.1)}, "standard error of metric 'loss' is negative"),
        ({"loss": (1, math.nan)}, "is nan"),
        ({1: 2.0}, "metric name 1 is not a non-empty string"),
        ({"": 2.0}, "not a non-empty string"),
        ({"loss": {"mean": 1}}, "is a mapping"),
    ],
)
def test_refused_forms_name_the_source_and_the_metric(raw: object, message: str) -> None:
    with pytest.raises(MetricsError, match="here") as caught:
        normalise(raw, source="here")
    assert message in str(caught.value)


def test_text_in_both_forms() -> None:
    assert parse_text('{"loss": [0.5, 0.1]}', source="f") == {"loss": (0.5, 0.1)}
    assert parse_text("# comment\nloss 0.5 0.1\n\nacc 1e-3\n", source="f") == {
        "loss": (0.5, 0.1),
        "acc": (0.001, None),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f is empty"),
        (" \n", "f is empty"),
        ('{"loss": 0.', "is not complete JSON"),
        ('{"loss": NaN}', "is nan"),
        ("[1, 2]", "holds a list"),
        ("loss", "line 1: 'loss' is neither JSON nor"),
        ("loss abc", "line 1: 'abc' is not a number"),
        ("loss nan", "is nan"),
        ("loss 1_0", "line 1: '1_0' is not a number"),
        ("loss \u0663", "is not a number"),
        ("loss 1\nloss 2", "line 2: metric 'loss' is there twice"),
        ('{"loss": 1, "loss": 2}', "f cannot be used: it has the member 'loss' twice"),
        ('{"loss": ' + "9" * 400 + "}", "metric 'loss' is too large for a number"),
        ('{"loss": ' + "[" * 100 + "]" * 100 + "}", "f cannot be used: it is nested too deeply"),
        ('{"\\ud800": 1}', "holds a character that is no text"),
    ],
)
def test_text_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(MetricsError) as caught:
        parse_text(text, source="f")
    assert message in str(caught.value)


def test_a_missing_metric_is_named_with_what_is_there() -> None:
    with pytest.raises(MetricsError, match=r"f lacks 'loss', which the experiment needs; it has 'Loss'"):
        require({"Loss": 1}, ["loss"], source="f")
    require({"loss": 1, "more": 2}, ["loss"], source="f")
