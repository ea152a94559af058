"""The parameters: parallel coordinates, and the objective against each of them, as observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from axsched_hpc.core.best import Objective, comparable
from axsched_hpc.core.errors import plural
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, el, join, table
from axsched_hpc.reporting.html.figure import Drawing, LegendEntry, figure
from axsched_hpc.reporting.html.scale import fitted, spread, thinned, ticks, without_far
from axsched_hpc.reporting.html.words import name_text, parameter_names, value_text
from axsched_hpc.reporting.plain import shortened
from axsched_hpc.reporting.progress import rank_correlation
from axsched_hpc.reporting.table import number

#: Lines of parallel coordinates (of all such figures together), and axes side by side; values on an axis of
#: words; dots of one small figure.
_LINES, _AXES, _WORDS, _DOTS = 400, 12, 12, 1000

#: Where a value is not there, as of a parameter that depends on another one.
_ABSENT = "not set"


@dataclass(frozen=True)
class Axis:
    """A parameter as an axis: where a value lies (None: not on it), and its texts at their places."""

    name: str
    place: Callable[[Any], float | None]
    ticks: list[tuple[float, str]]
    numeric: bool
    told: str


def axis_of(name: str, values: Sequence[Any], start: float, end: float, *, count: int = 4) -> Axis:
    """An axis for values of any kind: numbers on a scale, all else as words."""
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in there):
        return _numeric(name, [float(v) for v in there], len(there) < len(values), start, end, count)
    words = list(dict.fromkeys(map(_word, sorted(values, key=lambda v: (v is None, str(v))))))
    known, more = words[:_WORDS], len(words) > _WORDS
    place = spread([*known, "…"] if more else known, start, end)

    def placed(value: Any) -> float | None:
        word = _word(value)
        return place(word if word in known else "…")

    shown = [(place(word), word) for word in ([*known, "…"] if more else known)]
    return Axis(name, placed, shown, False, plural(len(words), "value"))


def _numeric(name: str, there: list[float], absent: bool, start: float, end: float, count: int) -> Axis:
    # What is not set has a place of its own below the numbers.
    floor = start + 0.12 * (end - start) if absent else start
    low, high = min(there), max(there)
    scale = fitted(there, floor, end)
    shown = [(scale(value), text) for value, text in ticks(scale, count)]
    if low == high:
        shown = [(scale(low), number(low))]
    if absent:
        shown.append((start, _ABSENT))

    def placed(value: Any) -> float | None:
        return (start if absent else None) if value is None else scale(float(value))

    return Axis(
        name, placed, shown, True, f"{number(low)} to {number(high)}{', logarithmic' if scale.log else ''}"
    )


def parameter_figures(found: Account) -> Html:
    """All about the parameters."""
    names = parameter_names(found.trials)
    known = comparable(found.trials, found.reading.problem)
    if not names or not known or not found.reading.problem.objectives:
        return el("p", "There is nothing to compare yet: no trial is completed.")
    # A parameter that never varies tells nothing, and would take an axis.
    varied = [name for name in names if len({_key(t.parameters.get(name)) for t in found.trials}) > 1]
    fixed = [name for name in names if name not in varied]
    parts = []
    if fixed:
        first = found.trials[0].parameters
        values = ", ".join(f"{name_text(name)} = {value_text(first.get(name))}" for name in fixed)
        parts.append(el("p", f"The same in all trials: {values}.", class_="soft"))
    if varied:
        parts += _parallel(found, known, varied)
        for i, objective in enumerate(found.reading.problem.objectives):
            parts.append(_slices(found, known, varied, objective, i))
    return join(parts)


# ---------------------------------------------------------------- parallel coordinates


def _parallel(found: Account, known: Sequence[tuple[Trial, Metrics]], names: Sequence[str]) -> list[Html]:
    """One figure for each dozen of parameters."""
    objective = found.reading.problem.objectives[0]
    groups = [names[i : i + _AXES] for i in range(0, len(names), _AXES)]
    return [_coordinates(found, known, group, objective, i, len(groups)) for i, group in enumerate(groups)]


def _coordinates(
    found: Account,
    known: Sequence[tuple[Trial, Metrics]],
    names: Sequence[str],
    objective: Objective,
    index: int,
    of: int,
) -> Html:
    drawing = Drawing(width=980, height=360, left=40, right=70, top=44, bottom=18)
    ranked = sorted(known, key=lambda item: objective.cost(item[1]))
    axes = [
        axis_of(name, [trial.parameters.get(name) for trial, _ in known], drawing.ground, drawing.top)
        for name in names
    ]
    values = [objective.value(m) for _, m in known]
    y = fitted(without_far(values), drawing.ground, drawing.top)
    axes.append(
        Axis(
            objective.name, lambda value: y(value), [(y(v), t) for v, t in ticks(y, 4)], True, "the objective"
        )
    )
    step = (drawing.end - drawing.left) / max(1, len(axes) - 1)
    best = [i for i, (trial, _) in enumerate(ranked) if trial.number in found.best]
    chosen = thinned(len(ranked), max(100, _LINES // of), best[:50])
    for i in reversed(chosen):
        trial, metrics = ranked[i]
        row = [trial.parameters.get(name) for name in names] + [objective.value(metrics)]
        places = [
            None if (at := axis.place(value)) is None else (drawing.left + j * step, at)
            for j, (axis, value) in enumerate(zip(axes, row, strict=True))
        ]
        many = " faint" if len(chosen) > 80 else ""
        kind = f"q{min(4, 5 * i // len(ranked))}{many}" if trial.number not in found.best else "top"
        told = f"trial {trial.label}: {name_text(objective.name)} = {number(objective.value(metrics))}"
        drawing.add(marks.broken(places, kind, told))
    width = int(step / 7.5)
    # Long names take turns between two lines, so that neighbours have room.
    turns = any(len(axis.name) > width for axis in axes)
    width = max(8, width * 2) if turns else width
    for j, axis in enumerate(axes):
        x = drawing.left + j * step
        drawing.add(marks.rule(x, drawing.top, x, drawing.ground, "axis"))
        high = drawing.top - (30 if turns and j % 2 else 12)
        drawing.add(
            marks.label(x, high, shortened(name_text(axis.name), width), anchor="middle", kind="name")
        )
        room = max(4, int((step - 8) / 6.5)) if j < len(axes) - 1 else 9
        for at, words in axis.ticks:
            drawing.add(marks.rule(x, at, x + 4, at, "axis"))
            drawing.add(marks.label(x + 6, at + 4, shortened(words, room), kind="small halo"))
    title = "Parallel coordinates" + (f" ({index + 1} of {of})" if of > 1 else "")
    described = (
        f"A line for each completed trial through its values of {plural(len(names), 'parameter')} to "
        f"{name_text(objective.name)}; the darker or brighter, the better."
    )
    note = f"{len(chosen)} of {len(ranked)} trials are drawn, evenly from the best to the worst." * (
        len(chosen) < len(ranked)
    )
    legend: list[LegendEntry] = [
        ("line", "top", "best" if len(found.best) == 1 else "on the front"),
        *(
            ("line", f"q{i}", words)
            for i, words in enumerate(("best fifth", "second", "third", "fourth", "worst"))
        ),
    ]
    return figure(
        f"parallel-{index}",
        title,
        described,
        drawing,
        _ranges(found, ranked, names, axes),
        legend=legend,
        note=note,
        wide=True,
    )


def _ranges(
    found: Account, ranked: Sequence[tuple[Trial, Metrics]], names: Sequence[str], axes: Sequence[Axis]
) -> Html:
    """What was tried of each parameter, and where the best tenth lies."""
    top = ranked[: max(1, len(ranked) // 10)]
    rows = []
    for name, axis in zip(names, axes, strict=False):
        values = [value for trial, _ in top if (value := trial.parameters.get(name)) is not None]
        if not values:
            where = _ABSENT
        elif axis.numeric:
            where = f"{number(min(values))} to {number(max(values))}"
        else:
            where = ", ".join(list(dict.fromkeys(map(value_text, values)))[:6])
        best = next((trial for trial, _ in ranked if trial.number in found.best), None)
        rows.append(
            (
                name_text(name),
                axis.told,
                where,
                "-" if best is None else value_text(best.parameters.get(name)),
            )
        )
    caption = (
        f"Parameters over {plural(len(ranked), 'completed trial')}; the table of all trials has each value"
    )
    return table(caption, ("parameter", "tried", "best tenth", "best trial"), rows)


# ---------------------------------------------------------------- the objective against each parameter


def _slices(
    found: Account,
    known: Sequence[tuple[Trial, Metrics]],
    names: Sequence[str],
    objective: Objective,
    index: int,
) -> Html:
    columns = min(4, max(2, len(names)))
    lines = -(-len(names) // columns)
    cell, high = 960 / columns, 190
    drawing = Drawing(width=980, height=high * lines + 8, left=0, right=0, top=0, bottom=0)
    near = without_far(objective.value(m) for _, m in known)
    chosen = thinned(len(known), max(200, _DOTS * 8 // max(8, len(names))))
    correlations = {}
    for i, name in enumerate(names):
        left, top = 10 + (i % columns) * cell + 48, 8 + (i // columns) * high + 18
        end, ground = left + cell - 64, top + high - 52
        y = fitted(near, ground, top)
        axis = axis_of(name, [trial.parameters.get(name) for trial, _ in known], left + 6, end - 6, count=3)
        for value, words in ticks(y, 3):
            drawing.add(marks.rule(left, y(value), end, y(value)))
            if i % columns == 0:
                drawing.add(
                    marks.label(left - 6, y(value) + 4, shortened(words, 7), anchor="end", kind="small")
                )
        drawing.add(marks.rule(left, ground, end, ground, "axis"))
        drawing.add(*ticks_below(axis, left, end, ground))
        drawing.add(marks.label(left, top - 6, shortened(name_text(name), int(cell / 8)), kind="name"))
        pairs = [
            (at, objective.value(metrics), trial)
            for trial, metrics in (known[j] for j in chosen)
            if (at := axis.place(trial.parameters.get(name))) is not None
        ]
        drawing.add(marks.dots([(at, y(value)) for at, value, _ in pairs], "done", radius=2.5))
        best = [(at, value, trial) for at, value, trial in pairs if trial.number in found.best]
        drawing.add(*(marks.diamond((at, y(v)), f"trial {t.label}", size=5.5) for at, v, t in best[:50]))
        if axis.numeric:
            correlations[name] = rank_correlation(
                [
                    (float(given), objective.value(metrics))
                    for trial, metrics in known
                    if (given := trial.parameters.get(name)) is not None
                ]
            )
    title = f"{name_text(objective.name)} against each parameter, as observed"
    described = f"{plural(len(names), 'small figure')} with a dot for each completed trial."
    note = (
        "What a parameter does by itself may be hidden by the others: Ax chooses good places more often. "
        "Correlations tell of rising or falling alone. axsched report --model asks Ax's model."
    )
    rows = [
        (
            name_text(name),
            "-" if (rho := correlations.get(name)) is None else f"{rho:+.2f}",
            _means(known, name, objective),
        )
        for name in names
    ]
    rows.sort(key=lambda row: -abs(float(row[1])) if row[1] != "-" else 0.0)
    numbers = table(
        f"Rank correlation with {name_text(objective.name)} (Spearman, -1 to 1), and means by few values",
        ("parameter", "correlation", "mean by value (trials)"),
        rows,
        numbers=(1,),
    )
    return figure(f"slices-{index}", title, described, drawing, numbers, note=note, wide=True)


def ticks_below(axis: Axis, left: float, end: float, ground: float) -> list[Html]:
    """Ticks of an axis below a small figure."""
    # As many as have room, the first and the last among them.
    shown = [axis.ticks[i] for i in thinned(len(axis.ticks), 3)] if axis.numeric else axis.ticks
    room = max(2, int((end - left) / max(1, len(shown)) / 6.2))
    parts = []
    for x, words in shown:
        anchor = "start" if x < left + 20 else "end" if x > end - 20 else "middle"
        parts.append(marks.rule(x, ground, x, ground + 4, "axis"))
        parts.append(marks.label(x, ground + 16, shortened(words, room), anchor=anchor, kind="small"))
    return parts


def _means(known: Sequence[tuple[Trial, Metrics]], name: str, objective: Objective) -> str:
    groups: dict[str, list[float]] = {}
    for trial, metrics in known:
        groups.setdefault(_word(trial.parameters.get(name)), []).append(objective.value(metrics))
    if len(groups) > 6:
        return "-"
    return "; ".join(
        f"{word}: {number(sum(v / len(values) for v in values))} ({len(values)})"
        for word, values in groups.items()
    )


def _word(value: Any) -> str:
    return _ABSENT if value is None else value_text(value)


def _key(value: Any) -> tuple[str, str]:
    return (type(value).__name__, str(value))
