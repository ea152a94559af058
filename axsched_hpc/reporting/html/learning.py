"""Learning curves: what trials reported on their way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from axsched_hpc.core.errors import plural
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, join, table
from axsched_hpc.reporting.html.figure import Drawing, LegendEntry, figure
from axsched_hpc.reporting.html.scale import fitted, thinned, without_far
from axsched_hpc.reporting.html.summary import STATE_KINDS
from axsched_hpc.reporting.html.words import name_text, parameters_text, some
from axsched_hpc.reporting.table import number

#: Curves of one figure, points of all of them together, and metrics that have a figure.
_CURVES, _POINTS, _METRICS = 300, 20_000, 6


def curve_figures(found: Account) -> Html:
    """A figure for each metric that was reported on the way; nothing where none was."""
    names: dict[str, None] = dict.fromkeys(found.reading.problem.required)
    # A metric that has but the value of the end has no curve.
    there = {
        name
        for curve in found.curves.values()
        for name, count in Counter(name for metrics in curve.values() for name in metrics).items()
        if count > 1
    }
    names |= dict.fromkeys(sorted(there))
    reported = [name for name in names if name in there]
    return join(_curves(found, name, i) for i, name in enumerate(reported[:_METRICS]))


def _curves(found: Account, name: str, index: int) -> Html:
    trials = found.reading.ledger.trials
    points = {
        number_: [(step, metrics[name][0]) for step, metrics in curve.items() if name in metrics]
        for number_, curve in found.curves.items()
        if number_ in trials
    }
    curves = {key: value for key, value in points.items() if len(value) > 1}
    single = len(points) - len(curves)
    drawing = Drawing(width=980, height=360)
    x = fitted((step for curve in curves.values() for step, _ in curve), drawing.left, drawing.end, log=False)
    # The first steps are often far off all later ones.
    y = fitted(
        without_far(value for curve in curves.values() for _, value in curve), drawing.ground, drawing.top
    )
    drawing.axis_left(y, name_text(name))
    drawing.axis_bottom(x, "step")
    order = list(curves)
    shown = thinned(len(order), _CURVES, [i for i, each in enumerate(order) if each in found.best])
    each = max(12, min(150, _POINTS // max(1, len(shown))))
    kinds: dict[str, None] = {}
    # The best is drawn last, above all others.
    for key in sorted((order[i] for i in shown), key=lambda k: (k in found.best, trials[k].state.final)):
        trial, curve = trials[key], curves[key]
        kind = "top" if key in found.best else f"{STATE_KINDS[trial.word]} faint"
        kinds[STATE_KINDS[trial.word]] = None
        places = [(x(curve[i][0]), y(curve[i][1])) for i in thinned(len(curve), each)]
        told = f"trial {trial.label}, {_state(trial)}: {number(curve[-1][1])} at step {curve[-1][0]}; "
        drawing.add(marks.line(places, kind, told + parameters_text(trial)))
    words = {"done": "completed", "stop": "stopped early", "lost": "failed", "run": "runs", "wait": "waits"}
    legend: list[LegendEntry] = [("line", "top", "the best")] if found.best & curves.keys() else []
    legend += [("line", kind, words[kind]) for kind in words if kind in kinds]
    notes = []
    if len(shown) < len(order):
        notes.append(f"{len(shown)} of {len(order)} curves are drawn.")
    if single:
        notes.append(f"{plural(single, 'trial')} reported one value only.")
    stopped = sum(trials[key].state is TrialState.EARLY_STOPPED for key in curves)
    described = f"{plural(len(curves), 'curve')}, {stopped} of them stopped early."
    return figure(
        f"curves-{index}",
        f"Learning curves of {name_text(name)}",
        described,
        drawing,
        _table(curves, trials, name, found.best),
        legend=legend,
        note=" ".join(notes),
        wide=True,
    )


def _table(
    curves: Mapping[int, Sequence[tuple[int, float]]],
    trials: Mapping[int, Trial],
    name: str,
    best: frozenset[int],
) -> Html:
    order = sorted(curves)
    shown, less = some(order, 300, [i for i, key in enumerate(order) if key in best])
    rows = [
        (
            trials[key].label,
            _state(trials[key]),
            str(curves[key][0][0]),
            number(curves[key][0][1]),
            str(curves[key][-1][0]),
            number(curves[key][-1][1]),
        )
        for key in shown
    ]
    head = ("trial", "state", "first step", "value there", "last step", "value there")
    caption = (
        f"Curves of {name_text(name)}{f' ({less})' if less else ''}; axsched export --curves has all points"
    )
    return table(caption, head, rows, numbers=(2, 3, 4, 5))


def _state(trial: Trial) -> str:
    return trial.word.replace("_", " ")
