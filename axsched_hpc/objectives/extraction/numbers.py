"""Numbers as programs write them: C, Python and Fortran, in full and as edit descriptors cut them."""

from __future__ import annotations

import math
import re

_DIGITS = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
# Fortran writes D for double and Q for quadruple precision.
_NUMBER = re.compile(rf"({_DIGITS})(?:[eEdDqQ]([+-]?[0-9]+))?")
# Fortran leaves the letter out where the exponent has three digits, which its field has no room for.
_WITHOUT_LETTER = re.compile(r"([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+))([+-][0-9]{3})")
# Of C, Fortran, and of Microsoft's older library.
_NOT_FINITE = re.compile(
    r"[+-]?(?:nan(?:\(.*\))?|inf(?:inity)?|[0-9]+\.[0-9]*#(?:inf|ind|.?nan)[0-9]*)", re.IGNORECASE
)


def read(text: str) -> float:
    """The number that a text is, blanks around it aside.

    Raises
    ------
    ValueError
        It is none, or not finite. The message goes on after the text: "is no number".
    """
    word = text.strip()
    match = _NUMBER.fullmatch(word) or _WITHOUT_LETTER.fullmatch(word)
    if match is None:
        raise ValueError(_why_not(word))
    number = float(f"{match[1]}e{match[2] or 0}")
    if not math.isfinite(number):
        raise ValueError("is too large for a number")
    return number


def is_number(text: str) -> bool:
    """Whether a text stands for a number, be it finite or not."""
    word = text.strip()
    return any(form.fullmatch(word) for form in (_NUMBER, _WITHOUT_LETTER, _NOT_FINITE))


def _why_not(word: str) -> str:
    if _NOT_FINITE.fullmatch(word):
        return "is not finite; let the program fail where no value can be computed"
    if word and not word.strip("*"):
        return "is what Fortran writes where a number does not fit into its field; give the field more digits"
    if "," in word and any(letter.isdigit() for letter in word):
        return "is no number: commas are read neither as thousands separators nor as decimal points"
    return "is no number"
