"""Lines of a terminal: styled text, cut to the width; what changes from one screen to the next; pictures."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from axsched_hpc.reporting.plain import harmless, line

#: (text, style); a style is a key of :data:`STYLES`.
Span = tuple[str, str]
Line = list[Span]

#: Sixteen colours, which every terminal's theme makes readable.
STYLES = {"": "", "bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33", "head": "36"}

#: (letter, style) of each column. The second column of a wide letter is empty.
Cells = tuple[tuple[str, str], ...]

_CURVE, _ASCII_CURVE = "▁▂▃▄▅▆▇█", "_.-'\""


@dataclass(frozen=True)
class Look:
    """What a terminal can show."""

    unicode: bool = True
    colour: bool = True


def cells(spans: Iterable[Span], width: int, look: Look) -> Cells:
    """A line as its columns: harmless, cut to the width, and in ASCII where the terminal has no more."""
    found: list[tuple[str, str]] = []
    for text, style in spans:
        for letter in line_of(text):
            if not look.unicode and not letter.isascii():
                letter = {"…": "~", "·": "-"}.get(letter, "?")
            if found and unicodedata.combining(letter):
                found[-1] = (found[-1][0] + letter, style)
                continue
            found.append((letter, style))
            if unicodedata.east_asian_width(letter) in "WF":
                found.append(("", style))
    if len(found) > width:
        end = ("…" if look.unicode else "~", found[max(0, width - 1)][1])
        found = [*found[: max(0, width - 1)], end]
        # Half of a wide letter is none.
        if width > 1 and found[-2][0] and unicodedata.east_asian_width(found[-2][0]) in "WF":
            found[-2] = (" ", found[-2][1])
    while found and found[-1][0] == " ":
        found.pop()
    return tuple(found)


def line_of(text: str) -> str:
    """A text that stays in its line, with its blanks."""
    return harmless(text).replace("\n", " ").replace("\t", " ")


def plain(columns: Cells) -> str:
    """The text of a line."""
    return "".join(letter for letter, _ in columns)


def styled(columns: Cells, look: Look) -> str:
    """The text of a line, with the control sequences of its styles."""
    if not look.colour:
        return plain(columns)
    return "".join(
        f"\x1b[{STYLES[style]}m{plain(tuple(part))}\x1b[m" if STYLES[style] else plain(tuple(part))
        for style, part in ((style, list(part)) for style, part in groupby(columns, key=lambda cell: cell[1]))
    )


def repaint(before: Sequence[Cells], after: Sequence[Cells], look: Look) -> str:
    """What a terminal that shows some lines has to be sent to show others: of each line what has changed,
    from the first such column to the last.
    """
    out = []
    for row, (old, new) in enumerate(zip_longest(before, after, fillvalue=()), 1):
        if old == new:
            continue
        start = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None)
        start = min(len(old), len(new)) if start is None else start
        while start > 0 and start < len(new) and not new[start][0]:
            start -= 1
        end = len(new)
        if len(old) == len(new):
            while old[end - 1] == new[end - 1]:
                end -= 1
        out.append(f"\x1b[{row};{start + 1}H{styled(new[start:end], look)}")
        if len(old) > len(new):
            out.append("\x1b[K")
    return "".join(out)


# ---------------------------------------------------------------- pictures


def bar(width: int, parts: Sequence[tuple[int, str]], total: int, look: Look) -> Line:
    """A bar of so many columns: each part, with its style, has its share of the total; the rest is empty."""
    full, empty = ("█", "░") if look.unicode else ("#", ".")
    found: Line = []
    so_far = columns = 0
    for number, style in parts:
        so_far += number
        # Whoever is there is seen, as far as there is room.
        least = columns + 1 if number else columns
        end = min(width, max(least, round(width * so_far / total) if total else 0))
        found.append((full * (end - columns), style))
        columns = end
    return [*found, (empty * (width - columns), "dim")]


def curve(steps: Sequence[tuple[int, float]], total: int, width: int, look: Look) -> str:
    """A sparkline of a value that changes at some of ``total`` places and stays in between.

    Parameters
    ----------
    steps
        (place, value) in their order; before the first one there is no value.
    """
    if not steps or total < 1:
        return ""
    heights = _CURVE if look.unicode else _ASCII_CURVE
    places = [place for place, _ in steps]
    values = [value for _, value in steps]
    least, most = min(values), max(values)
    columns = min(width, total)
    found = ""
    for column in range(columns):
        # A column ends at its last place, so that the last one shows what is there now.
        known = bisect_right(places, (column + 1) * total // columns)
        if not known:
            found += " "
            continue
        part = 0.0 if most == least else (values[known - 1] - least) / (most - least)
        found += heights[round(part * (len(heights) - 1))]
    return found


def wrapped(text: str, width: int, most: int) -> list[str]:
    """A text in lines of that width, so many at the most; what is left over stands in the last one."""
    return filled(line(harmless(text)).split(" "), width, most)


def filled(words: Sequence[str], width: int, most: int) -> list[str]:
    """Words in lines of that width, so many at the most; what is left over stands in the last one."""
    lines: list[str] = []
    for word in words:
        if not lines or (len(lines[-1]) + 1 + len(word) > width and len(lines) < most):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines
