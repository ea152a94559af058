"""HTML as text that is escaped unless it says that it is HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from axsched_hpc.reporting.plain import harmless


class Html(str):
    """A text that is HTML; everything else is somebody's text, and is escaped."""

    __slots__ = ()


def text(value: str) -> Html:
    """Somebody's text, so that it can be nothing but text: within elements and within attributes."""
    # What would steer a terminal or turn the direction of writing is no better in a page.
    return Html(escape(harmless(value)))


def el(name: str, *children: str, **attributes: str | float | None) -> Html:
    """An element. An attribute that is None is left out; ``class_`` and ``aria_label`` are what they seem."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{''.join(map(_child, children))}</{name}>")


def join(children: Iterable[str]) -> Html:
    """Several of them in a row."""
    return Html("".join(map(_child, children)))


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()
) -> Html:
    """A table whose first column names its rows; ``numbers``: the columns that are aligned to the right.

    It scrolls within itself where it is wider than the page, by keys too.
    """
    right = frozenset(numbers)
    marks = [' class="n"' if i in right else "" for i in range(len(head))]
    lines = [
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>"
    ]
    lines += [f'<th scope="col"{mark}>{_child(cell)}</th>' for cell, mark in zip(head, marks, strict=True)]
    lines.append("</tr></thead><tbody>")
    for first, *others in rows:
        cells = "".join(
            f"<td{mark}>{_child(cell)}</td>" for cell, mark in zip(others, marks[1:], strict=True)
        )
        lines.append(f'<tr><th scope="row"{marks[0]}>{_child(first)}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    return Html("\n".join(lines))


def _child(value: str) -> str:
    return value if isinstance(value, Html) else text(value)
