"""What stands for values in a figure: dots, crosses, lines, bars. Colours are classes of the style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from axsched_hpc.reporting.html.elements import Html, text

#: (x, y) in the units of a figure.
Place = tuple[float, float]

#: More marks than these tell nothing of themselves under the pointer, and are drawn in one stroke.
DETAILED = 1000


def at(value: float) -> str:
    """A coordinate, to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def dots(places: Sequence[Place], kind: str, titles: Sequence[str] = (), *, radius: float = 3.5) -> Html:
    """Dots; with a text for each that is shown under the pointer, unless they are too many."""
    if not places:
        return Html()
    if len(places) > DETAILED or not titles:
        path = "".join(f"M{at(x)} {at(y)}h0" for x, y in places)
        return Html(f'<path class="dots {kind}" stroke-width="{2 * radius:g}" d="{path}"/>')
    return Html(
        "".join(
            f'<circle class="{kind}" cx="{at(x)}" cy="{at(y)}" r="{radius:g}">'
            f"<title>{text(title)}</title></circle>"
            for (x, y), title in zip(places, titles, strict=True)
        )
    )


def crosses(places: Sequence[Place], kind: str, titles: Sequence[str] = (), *, size: float = 3.5) -> Html:
    """Crosses, likewise."""
    if not places:
        return Html()
    whole, half = at(2 * size), at(size)
    each = [f"M{at(x)} {at(y)}m-{half}-{half}l{whole} {whole}m0-{whole}l-{whole} {whole}" for x, y in places]
    if len(places) > DETAILED or not titles:
        return Html(f'<path class="line {kind}" d="{"".join(each)}"/>')
    return Html(
        "".join(
            f'<path class="line {kind}" d="{d}"><title>{text(title)}</title></path>'
            for d, title in zip(each, titles, strict=True)
        )
    )


def diamond(place: Place, title: str, *, size: float = 7.0) -> Html:
    """The best one."""
    x, y = place
    d = f"M{at(x)} {at(y - size)}l{at(size)} {at(size)}l{at(-size)} {at(size)}l{at(-size)} {at(-size)}z"
    return Html(f'<path class="best" d="{d}"><title>{text(title)}</title></path>')


def line(places: Iterable[Place], kind: str, title: str = "") -> Html:
    """A line from place to place."""
    d = "L".join(f"{at(x)} {at(y)}" for x, y in places)
    return _path(f"M{d}", kind, title) if d else Html()


def broken(places: Iterable[Place | None], kind: str, title: str = "") -> Html:
    """A line with gaps where there is no place."""
    d, pen = [], "M"
    for place in places:
        if place is not None:
            d.append(f"{pen}{at(place[0])} {at(place[1])}")
        pen = "M" if place is None else "L"
    return _path("".join(d), kind, title) if d else Html()


def stairs(places: Sequence[Place], end: float, kind: str) -> Html:
    """A line that keeps its height until the next place, and the last one up to ``end``."""
    if not places:
        return Html()
    (x, y), *others = places
    d = f"M{at(x)} {at(y)}" + "".join(f"H{at(x)}V{at(y)}" for x, y in others) + f"H{at(end)}"
    return _path(d, kind, "")


def area(places: Sequence[Place], end: float, ground: float, kind: str) -> Html:
    """The same, filled down to the ground."""
    if not places:
        return Html()
    d = f"M{at(places[0][0])} {at(ground)}" + "".join(f"H{at(x)}V{at(y)}" for x, y in places)
    return Html(f'<path class="area {kind}" d="{d}H{at(end)}V{at(ground)}z"/>')


def bar(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> Html:
    """A rectangle."""
    told = f"><title>{text(title)}</title></rect>" if title else "/>"
    return Html(
        f'<rect class="{kind}" x="{at(x)}" y="{at(y)}" width="{at(max(0.0, width))}" '
        f'height="{at(height)}"{told}'
    )


def strokes(stretches: Iterable[tuple[float, float, float]], height: float, kind: str) -> Html:
    """Many bars in one stroke: (x, end, y of their middle)."""
    d = "".join(f"M{at(x)} {at(y)}H{at(max(x + 0.2, end))}" for x, end, y in stretches)
    return Html(f'<path class="stroke {kind}" stroke-width="{at(height)}" d="{d}"/>') if d else Html()


def rule(x: float, y: float, end_x: float, end_y: float, kind: str = "grid") -> Html:
    """A straight line."""
    return Html(f'<line class="{kind}" x1="{at(x)}" y1="{at(y)}" x2="{at(end_x)}" y2="{at(end_y)}"/>')


def label(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> Html:
    """A text."""
    style = f' class="{kind}"' if kind else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return Html(f'<text{style} x="{at(x)}" y="{at(y)}"{where}>{text(words)}</text>')


def _path(d: str, kind: str, title: str) -> Html:
    told = f"><title>{text(title)}</title></path>" if title else "/>"
    return Html(f'<path class="line {kind}" d="{d}"{told}')
