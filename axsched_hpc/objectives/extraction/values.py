"""Values as they are found in a file, and the choice of one among them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from axsched_hpc.core.errors import MetricsError, plural
from axsched_hpc.objectives.extraction import numbers, paths


class ExtractionError(MetricsError):
    """A metric cannot be had from what a program has written.

    Attributes
    ----------
    advice
        What to do, where that is not to correct the option or the program's output.
    """

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class Found(NamedTuple):
    """One value, not yet read as a number.

    Attributes
    ----------
    value
        A text, a number, or whatever else stood there.
    sem
        The same for its standard error; None where there is none.
    place
        Where in the file: its line's number, or a phrase.
    problem
        Why it cannot be used.
    """

    value: Any
    sem: Any = None
    place: int | str = ""
    problem: str | None = None

    @property
    def where(self) -> str:
        """Its place, as a message begins a phrase."""
        return f"line {self.place}" if isinstance(self.place, int) else self.place

    def numbers(self, path: object) -> tuple[float, float | None]:
        """The value and its standard error.

        Raises
        ------
        ExtractionError
            One of them is no finite number, or the standard error is negative.
        """
        if self.problem:
            raise ExtractionError(f"{self.where} of {path} {self.problem}")
        value = self._number(self.value, "", path)
        if self.sem is None or self.sem == "":
            return value, None
        sem = self._number(self.sem, "the standard error in ", path)
        if sem < 0:
            raise ExtractionError(f"the standard error in {self.where} of {path} is negative ({sem})")
        return value, sem

    def _number(self, value: Any, what: str, path: object) -> float:
        try:
            return _number(value)
        except ValueError as error:
            text = f"'{shown(value)}' in " if isinstance(value, str) else ""
            raise ExtractionError(f"{text}{what}{self.where} of {path} {error}") from None


def choose(values: Iterable[Found], which: str | int, path: object) -> tuple[float, float | None] | None:
    """One of the values, and its standard error; None where there are no values at all.

    What is kept in memory does not grow with the number of values, but for an index from the end.

    Raises
    ------
    ExtractionError
        The index is out of range, or the value no number; of ``min`` and ``max``, any of them.
    """
    if which in ("min", "max"):
        sign = 1 if which == "max" else -1
        return max((each.numbers(path) for each in values), key=lambda pair: sign * pair[0], default=None)
    index, count = index_of(which), 0
    # From the end, as many are kept as the index needs; from the beginning, reading stops at the one.
    kept: deque[Found] = deque(maxlen=max(1, -index))
    for each in values:
        count += 1
        if index < 0:
            kept.append(each)
        elif count == index + 1:
            return each.numbers(path)
    if not count:
        return None
    if index >= 0 or count < -index:
        raise out_of_range(index, count, path)
    return kept[0].numbers(path)


def index_of(which: str | int) -> int:
    """The index that ``first``, ``last`` or an index is."""
    return {"first": 0, "last": -1}[which] if isinstance(which, str) else which


def out_of_range(index: int, count: int, path: object) -> ExtractionError:
    """The error of an index beyond the values."""
    return ExtractionError(f"'which' is {index}, but {path} has {plural(count, 'value')}")


def shown(text: str, most: int = 80) -> str:
    """A text from a file as a part of a message."""
    clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return clean if len(clean) <= most else clean[:most] + " …"


def _number(value: Any) -> float:
    if isinstance(value, str):
        return numbers.read(value)
    if isinstance(value, (bool, list, dict)) or not hasattr(value, "__float__"):
        raise ValueError(f"is {paths.kind(value)}, no number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("is too large for a number") from None
    if not math.isfinite(number):
        raise ValueError(f"is {number}; let the program fail where no value can be computed")
    return number
