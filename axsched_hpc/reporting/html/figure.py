"""A figure: a drawing with axes, told in words too, with its legend and its numbers in a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, el, join, text
from axsched_hpc.reporting.html.scale import Scale, ticks
from axsched_hpc.reporting.plain import shortened

#: Ticks of an axis: (value, text).
Ticks = Sequence[tuple[float, str]]

#: (mark, class, words): the marks that a legend knows are "dot", "cross", "line", "bar" and "best".
LegendEntry = tuple[str, str, str]


@dataclass
class Drawing:
    """An SVG of so many units; ``left`` to ``end`` and ``top`` to ``ground`` is between its axes."""

    width: float = 480
    height: float = 280
    left: float = 62
    right: float = 14
    top: float = 26
    bottom: float = 46
    parts: list[Html] = field(default_factory=list)

    @property
    def end(self) -> float:
        """The right end of what is between the axes."""
        return self.width - self.right

    @property
    def ground(self) -> float:
        """Its lower end."""
        return self.height - self.bottom

    def add(self, *parts: Html) -> None:
        """Draw above what there is."""
        self.parts += parts

    def axis_left(self, scale: Scale, name: str, found: Ticks | None = None) -> None:
        """A vertical axis with lines across, its name above it."""
        for value, words in ticks(scale) if found is None else found:
            y = scale(value)
            self.add(
                marks.rule(self.left, y, self.end, y),
                marks.label(self.left - 7, y + 4, shortened(words, 9), anchor="end"),
            )
        self.add(marks.label(4, self.top - 12, shortened(name, 48), kind="name"))

    def axis_bottom(self, scale: Scale, name: str, found: Ticks | None = None) -> None:
        """A horizontal axis, its name below it."""
        self.add(marks.rule(self.left, self.ground, self.end, self.ground, "axis"))
        for value, words in ticks(scale) if found is None else found:
            x = scale(value)
            self.add(
                marks.rule(x, self.ground, x, self.ground + 4, "axis"),
                marks.label(x, self.ground + 18, words, anchor="middle"),
            )
        middle = (self.left + self.end) / 2
        self.add(marks.label(middle, self.height - 7, shortened(name, 56), anchor="middle", kind="name"))


def figure(
    name: str,
    title: str,
    description: str,
    drawing: Drawing,
    numbers: Html,
    *,
    legend: Iterable[LegendEntry] = (),
    note: str = "",
    wide: bool = False,
) -> Html:
    """A figure with all that belongs to it.

    Parameters
    ----------
    name
        Its id in the page.
    description
        What is to be seen, for who cannot see it.
    numbers
        The table of what is drawn.
    note
        What there is to know about it; below it.
    wide
        Whether it needs the page's whole width, and is moved within itself on a narrow one.
    """
    image = Html(
        f'<svg role="img" aria-labelledby="{name}-t {name}-d" '
        f'viewBox="0 0 {drawing.width:g} {drawing.height:g}">'
        f'<title id="{name}-t">{text(title)}</title><desc id="{name}-d">{text(description)}</desc>'
        f"{join(drawing.parts)}</svg>"
    )
    parts = [el("figcaption", el("h3", title))]
    if wide:
        label = f"{title}, can be moved sideways"
        parts.append(el("div", image, class_="scroll", tabindex=0, role="region", aria_label=label))
    else:
        parts.append(image)
    entries = [_entry(*each) for each in legend]
    if entries:
        parts.append(el("ul", *entries, class_="legend"))
    if note:
        parts.append(el("p", note, class_="note"))
    parts.append(
        el("details", el("summary", "Numbers", el("span", f" of: {title}", class_="hidden")), numbers)
    )
    return el("figure", *parts, id=name, class_="wide" if wide else None)


def _entry(mark: str, kind: str, words: str) -> Html:
    shapes = {
        "dot": marks.dots([(9, 7)], kind, [words]),
        "cross": marks.crosses([(9, 7)], kind, [words]),
        "line": marks.line([(1, 7), (17, 7)], kind),
        "bar": marks.bar(1, 2, 16, 10, kind),
        "best": marks.diamond((9, 7), words, size=6),
    }
    swatch = Html(f'<svg aria-hidden="true" width="18" height="14" viewBox="0 0 18 14">{shapes[mark]}</svg>')
    return el("li", swatch, f" {words}")
