"""Linear inequalities as people write them: ``2*a + b <= 10``, ``latency <= 1.2 * baseline``. Pure."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass

_NUMBER = r"\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
_NAME = r"[A-Za-z_]\w*"
_TOKEN = re.compile(rf"\s*({_NUMBER}|{_NAME}|[-+*/])")
_SIGN = re.compile(r"<=|>=|==|<|>|=")

#: Stands for the constant terms, among the names.
_ONE = ""


@dataclass(frozen=True)
class Inequality:
    """A weighted sum of names on one side, a number on the other.

    Attributes
    ----------
    op
        ``<=`` or ``>=``.
    """

    weights: dict[str, float]
    op: str
    bound: float


def parse(text: str) -> Inequality:
    """Read an inequality.

    Raises
    ------
    ValueError
        It is none, or not linear; says what is wrong, as a sentence's end.
    """
    signs = _SIGN.findall(text)
    if len(signs) != 1 or signs[0] in ("<", ">", "=", "=="):
        raise ValueError("takes one <= or >= between two sides, such as a + 2*b <= 10")
    left, right = (_sum(side) for side in text.split(signs[0]))
    total = {name: left.get(name, 0.0) - right.get(name, 0.0) for name in {**left, **right}}
    bound = -total.pop(_ONE, 0.0) + 0.0
    weights = {name: weight for name, weight in total.items() if weight}
    if not weights:
        raise ValueError("has no name in it, or names that cancel")
    return Inequality(weights, signs[0], bound)


def _sum(text: str) -> dict[str, float]:
    tokens = _tokens(text)
    if not tokens:
        raise ValueError("has nothing on one side")
    terms: dict[str, float] = defaultdict(float)
    place = 0
    while place < len(tokens):
        weight = 1.0
        if tokens[place] in "+-":
            weight = -1.0 if tokens[place] == "-" else 1.0
            place += 1
        elif place:
            raise ValueError(f"has no + or - before {tokens[place]}")
        name, factor, place = _product(tokens, place)
        terms[name] += weight * factor
    return terms


def _product(tokens: list[str], place: int) -> tuple[str, float, int]:
    """One term: its name, its factor, and where the next one begins."""
    name, factor, by = _ONE, 1.0, "*"
    while True:
        token = tokens[place] if place < len(tokens) else ""
        if not token or token in "+-*/":
            raise ValueError(
                f"has no number or name after {tokens[place - 1]}" if place else "begins with " + token
            )
        if re.fullmatch(_NAME, token):
            if name != _ONE or by == "/":
                raise ValueError(f"is not linear in {token}")
            name = token
        elif by == "/" and float(token) == 0:
            raise ValueError("divides by 0")
        else:
            factor = factor * float(token) if by == "*" else factor / float(token)
            if not math.isfinite(factor):
                raise ValueError(f"has the number {token}, which is too large")
        place += 1
        if place == len(tokens) or tokens[place] not in ("*", "/"):
            return name, factor, place
        by = tokens[place]
        place += 1


def _tokens(text: str) -> list[str]:
    tokens, place = [], 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError(f"has {text[place:].split()[0]!r} in it, which is neither a number nor a name")
        tokens.append(found[1])
        place = found.end()
    return tokens
