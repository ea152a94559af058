"""What Ax's model says: importances, slices through the best point, and how well it predicts.

The one part of a report that loads Ax, where it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from axsched_hpc.core.errors import AxSchedError, plural
from axsched_hpc.core.events import Event
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, el, table
from axsched_hpc.reporting.html.figure import Drawing, LegendEntry, figure
from axsched_hpc.reporting.html.scale import Scale, fitted, ticks
from axsched_hpc.reporting.html.space import axis_of, ticks_below
from axsched_hpc.reporting.html.words import name_text, value_text
from axsched_hpc.reporting.plain import shortened
from axsched_hpc.reporting.progress import CONFIDENCE, rank_correlation
from axsched_hpc.reporting.table import number

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.sight import Fold, Sight, SlicePoint

#: What Ax calls the inputs that it makes of one choice.
_ONE_HOT = re.compile(r"_OH_PARAM_\d+$")

#: Parameters of one figure.
_MOST = 30


def model_figures(found: Account, events: Sequence[Event]) -> list[Html]:
    """The figures, or why there are none, in words."""
    from axsched_hpc.ax_bridge.sight import sight

    best = found.standing.best
    centre = (best[0].number, best[0].parameters) if best else None
    try:
        said = sight(found.reading.layout.definition, events, centre)
    except AxSchedError as error:
        return [el("p", f"Ax's model cannot be asked. {error}")]
    return figures(said)


def figures(said: Sight) -> list[Html]:
    """The same of what the model has said."""
    if said.reason:
        return [el("p", said.reason)]
    parts: list[Html] = []
    for i, (metric, importances) in enumerate(said.importances.items()):
        parts.append(_importances(metric, _grouped(importances), i))
        if said.folds.get(metric):
            parts.append(_prediction(metric, said.folds[metric], i))
        if said.slices.get(metric):
            parts.append(_slices(metric, said.slices[metric], said.centre, i))
    return parts or [el("p", "Ax's model predicts none of the metrics that are optimised.")]


def _grouped(importances: dict[str, float]) -> dict[str, float]:
    """One value for a choice of which Ax has made several inputs: their sum, which is the most it can be."""
    found: dict[str, float] = {}
    for name, value in importances.items():
        own = _ONE_HOT.sub("", name)
        found[own] = found.get(own, 0.0) + value
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _importances(metric: str, importances: dict[str, float], index: int) -> Html:
    shown = list(importances.items())[:_MOST]
    thick = 20.0
    drawing = Drawing(width=480, height=20 + len(shown) * (thick + 6) + 46, left=150, top=10)
    x = Scale(0.0, max(1.0, *importances.values()), drawing.left, drawing.end - 44)
    for i, (name, value) in enumerate(shown):
        y = drawing.top + 4 + i * (thick + 6)
        drawing.add(
            marks.label(drawing.left - 8, y + 14, shortened(name_text(name), 19), anchor="end", kind="name"),
            marks.bar(x(0), y, x(value) - x(0), thick, "done", f"{name_text(name)}: {value:.0%}"),
            marks.label(x(value) + 6, y + 14, f"{value:.0%}", kind="strong"),
        )
    drawing.axis_bottom(x, "part of the variance", [(v, f"{v:.0%}") for v, _ in ticks(x, 4)])
    rows = [(name_text(name), f"{value:.3f}") for name, value in importances.items()]
    first = next(iter(importances), "")
    return figure(
        f"importance-{index}",
        f"What matters for {name_text(metric)}",
        f"Total Sobol indices by Ax's model; the largest is that of {name_text(first)}.",
        drawing,
        table("Total Sobol indices", ("parameter", "index"), rows, numbers=(1,)),
        note="Of the variance over the whole search space, by the model, the part in which a parameter has a "
        "share, by itself or with others: together they may be more than all.",
    )


def _prediction(metric: str, folds: Sequence[Fold], index: int) -> Html:
    drawing = Drawing(height=320)
    values = [fold.observed for fold in folds] + [fold.predicted for fold in folds]
    x = fitted(values, drawing.left, drawing.end, log=False)
    y = Scale(x.low, x.high, drawing.ground, drawing.top)
    drawing.axis_left(y, "predicted without it")
    drawing.axis_bottom(x, f"observed {name_text(metric)}")
    drawing.add(marks.rule(x(x.low), y(x.low), x(x.high), y(x.high), "axis"))
    bars = "".join(
        f"M{marks.at(x(f.observed))} {marks.at(y(f.predicted - CONFIDENCE * f.sem))}"
        f"V{marks.at(y(f.predicted + CONFIDENCE * f.sem))}"
        for f in folds
    )
    drawing.add(Html(f'<path class="line done faint" d="{bars}"/>'))
    told = [
        f"trial {f.trial}: observed {number(f.observed)}, predicted {number(f.predicted)} ± {number(f.sem)}"
        for f in folds
    ]
    drawing.add(marks.dots([(x(f.observed), y(f.predicted)) for f in folds], "done", told))
    rho = rank_correlation([(f.observed, f.predicted) for f in folds])
    within = sum(abs(f.observed - f.predicted) <= CONFIDENCE * f.sem for f in folds)
    quality = "" if rho is None else f" The rank correlation of both is {rho:.2f}"
    verdict = (
        ""
        if rho is None
        else ": do not rely on the model."
        if rho < 0.3
        else ": take the model with care."
        if rho < 0.7
        else "."
    )
    rows = [(str(f.trial), number(f.observed), number(f.predicted), number(f.sem)) for f in folds]
    return figure(
        f"prediction-{index}",
        f"How well the model predicts {name_text(metric)}",
        f"Each of {plural(len(folds), 'trial')} as a model that has not seen it predicts it.",
        drawing,
        table(
            "Cross-validation",
            ("trial", "observed", "predicted", "standard error"),
            rows,
            numbers=(1, 2, 3),
        ),
        note=f"{within} of {len(folds)} observations lie within the model's 95 %.{quality}{verdict}",
    )


def _slices(metric: str, slices: dict[str, list[SlicePoint]], centre: int | None, index: int) -> Html:
    names = [name for name, points in slices.items() if len(points) > 1][:_MOST]
    columns = min(4, max(2, len(names)))
    lines = -(-len(names) // columns)
    cell, high = 960 / columns, 190
    drawing = Drawing(width=980, height=high * lines + 8, left=0, right=0, top=0, bottom=0)
    ends = [
        mean + side * CONFIDENCE * sem for name in names for _, mean, sem in slices[name] for side in (-1, 1)
    ]
    for i, name in enumerate(names):
        left, top = 10 + (i % columns) * cell + 48, 8 + (i // columns) * high + 18
        end, ground = left + cell - 64, top + high - 52
        y = fitted(ends, ground, top, log=False)
        axis = axis_of(name, [value for value, _, _ in slices[name]], left + 6, end - 6, count=3)
        for value, words in ticks(y, 3):
            drawing.add(marks.rule(left, y(value), end, y(value)))
            if i % columns == 0:
                drawing.add(
                    marks.label(left - 6, y(value) + 4, shortened(words, 7), anchor="end", kind="small")
                )
        drawing.add(marks.rule(left, ground, end, ground, "axis"), *ticks_below(axis, left, end, ground))
        drawing.add(marks.label(left, top - 6, shortened(name_text(name), int(cell / 8)), kind="name"))
        points = [
            (at, mean, CONFIDENCE * sem)
            for value, mean, sem in slices[name]
            if (at := axis.place(value)) is not None
        ]
        if axis.numeric:
            above = [f"{marks.at(at)} {marks.at(y(mean + half))}" for at, mean, half in points]
            below = [f"{marks.at(at)} {marks.at(y(mean - half))}" for at, mean, half in reversed(points)]
            drawing.add(Html(f'<path class="band" d="M{"L".join(above + below)}z"/>'))
            drawing.add(marks.line([(at, y(mean)) for at, mean, _ in points], "done"))
        else:
            for at, mean, half in points:
                drawing.add(marks.line([(at, y(mean - half)), (at, y(mean + half))], "done faint"))
            drawing.add(marks.dots([(at, y(mean)) for at, mean, _ in points], "done"))
    rows = []
    for name in names:
        low = min(slices[name], key=lambda point: point[1])
        top_ = max(slices[name], key=lambda point: point[1])
        rows.append(
            (name_text(name), value_text(low[0]), number(low[1]), value_text(top_[0]), number(top_[1]))
        )
    head = ("parameter", "least at", "predicted there", "most at", "predicted there")
    legend: list[LegendEntry] = [("line", "done", "prediction, with its 95 %")]
    return figure(
        f"model-slices-{index}",
        f"{name_text(metric)} along each parameter, by the model",
        f"{plural(len(names), 'small figure')}: one parameter varies, the others are as in trial {centre}.",
        drawing,
        table("Least and most along each parameter", head, rows, numbers=(2, 4)),
        legend=legend,
        note=f"One parameter varies, the others stay as in trial {centre}.",
        wide=True,
    )
