"""How the best value came to be: progress over trials and over time, the Pareto front and its hypervolume."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from axsched_hpc.core.best import Objective, baseline, comparable, satisfies
from axsched_hpc.core.errors import plural
from axsched_hpc.core.front import Growth
from axsched_hpc.core.machine import Trial
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, el, join, table
from axsched_hpc.reporting.html.figure import Drawing, LegendEntry, Ticks, figure
from axsched_hpc.reporting.html.scale import Scale, fitted, time_ticks, without_far
from axsched_hpc.reporting.html.words import name_text, parameters_text, some, uncertain
from axsched_hpc.reporting.progress import Step, error
from axsched_hpc.reporting.table import duration, number

#: Pairs of objectives that are drawn.
_PAIRS = 6


def progress_figures(found: Account) -> Html:
    """The best value over trials and over wall time; the hypervolume with several objectives."""
    if not found.reading.problem.objectives:
        return el("p", "The journal does not say what is optimised, so that nothing can be ranked.")
    if found.growth is not None:
        return _hypervolume(found, found.growth)
    if not found.steps:
        return el("p", found.standing.text)
    trials = found.reading.ledger.trials
    told = {step.trial: _told(step, trials[step.trial]) for step in found.steps[: marks.DETAILED + 1]}
    for step in found.steps:
        if step.trial in found.best:
            told[step.trial] = _told(step, trials[step.trial])
    return join([_over_trials(found, told), _over_time(found, told)])


def _told(step: Step, trial: Trial) -> str:
    unfit = "" if step.feasible else ", violates a constraint"
    return f"trial {step.label}: {uncertain(step.value, step.sem)}{unfit}; {parameters_text(trial)}"


def _over_trials(found: Account, told: dict[int, str]) -> Html:
    last = max(found.reading.ledger.trials)
    scale = fitted([0, max(1, last)], 0, 0, log=False)
    return _progress(
        found,
        told,
        "progress-trials",
        "Best value over trials",
        "number of the trial",
        lambda drawing: Scale(-0.02 * scale.high, float(max(1, last)) * 1.02, drawing.left, drawing.end),
        lambda step: float(step.trial),
        sorted(found.steps, key=lambda step: step.trial),
        None,
    )


def _over_time(found: Account, told: dict[int, str]) -> Html:
    began = found.began
    whole = max(1.0, found.until - began)
    return _progress(
        found,
        told,
        "progress-time",
        "Best value over wall time",
        "time since the first driver",
        lambda drawing: Scale(0.0, whole, drawing.left, drawing.end),
        lambda step: min(max(0.0, step.time - began), whole),
        found.steps,
        time_ticks,
    )


def _progress(
    found: Account,
    told: dict[int, str],
    name: str,
    title: str,
    across: str,
    axis: Callable[[Drawing], Scale],
    where: Callable[[Step], float],
    steps: Sequence[Step],
    x_ticks: Callable[[Scale], Ticks] | None,
) -> Html:
    (objective,) = found.reading.problem.objectives
    drawing = Drawing()
    x = axis(drawing)
    y = fitted(without_far(step.value for step in steps), drawing.ground, drawing.top)
    far = sum(not y.holds(step.value) for step in steps)
    drawing.axis_left(y, name_text(objective.name))
    drawing.axis_bottom(x, across, x_ticks(x) if x_ticks else None)

    def places(chosen: Iterable[Step]) -> list[marks.Place]:
        return [(x(where(step)), y(step.value)) for step in chosen]

    good = [step for step in steps if step.feasible]
    bad = [step for step in steps if not step.feasible]
    drawing.add(_error_bars(steps, places(steps), y))
    drawing.add(_dots(places(bad), "off", bad, told), _dots(places(good), "done", good, told))
    # The line follows the order of the axis: of trials that were completed out of it, it has the best so far.
    best: float | None = None
    corners: list[marks.Place] = []
    for step in steps:
        if step.feasible and (best is None or objective.as_cost(step.value) < objective.as_cost(best)):
            best = step.value
            corners.append((x(where(step)), y(step.value)))
    drawing.add(marks.stairs(corners, drawing.end, "top"))
    top = next((step for step in steps if step.trial in found.best), None)
    if top is not None:
        drawing.add(marks.diamond((x(where(top)), y(top.value)), f"the best: {told[top.trial]}"))
    lost = [t for t in found.trials if t.given_up]
    fails = []
    for trial in lost:
        at = float(trial.number) if x_ticks is None else (trial.ended or trial.added) - found.began
        # On the side of the worst values, away from the line of the best.
        fails.append((x(at), drawing.top + 2 if objective.minimize else drawing.ground - 6))
    drawing.add(marks.crosses(fails, "lost", [f"trial {t.label}: {t.state}" for t in lost]))
    legend: list[LegendEntry] = [("line", "top", "best so far"), ("dot", "done", "completed")]
    if bad:
        legend.append(("dot", "off", "violates a constraint"))
    if lost:
        legend.append(("cross", "lost", "failed (no value)"))
    if top is not None:
        legend.append(("best", "", "the best"))
    note = f"{plural(far, 'trial')} far off is drawn at the edge. " if far == 1 else ""
    if far > 1:
        note = f"{far} trials far off are drawn at the edge. "
    if len(steps) > marks.DETAILED:
        note += f"All {len(steps):,} are drawn; details under the pointer are for up to {marks.DETAILED:,}."
    described = f"{plural(len(steps), 'completed trial')}. " + (
        f"The best, {number(top.value)}, came with trial {top.label}, "
        f"{duration(top.time - found.began)} after the beginning; "
        f"the best value improved {plural(len(corners), 'time')}."
        if top is not None
        else found.standing.text
    )
    return figure(
        name, title, described, drawing, _progress_table(found, steps), legend=legend, note=note.strip()
    )


def _dots(places: Sequence[marks.Place], kind: str, steps: Sequence[Step], told: dict[int, str]) -> Html:
    many = len(steps) > marks.DETAILED
    return marks.dots(places, kind, () if many else [told.get(step.trial, "") for step in steps])


def _error_bars(steps: Sequence[Step], places: Sequence[marks.Place], y: Scale) -> Html:
    d = "".join(
        f"M{marks.at(x)} {marks.at(y(step.value - step.sem))}V{marks.at(y(step.value + step.sem))}"
        for step, (x, _) in zip(steps, places, strict=True)
        if step.sem
    )
    return Html(f'<path class="line done faint" d="{d}"/>') if d else Html()


def _progress_table(found: Account, steps: Sequence[Step]) -> Html:
    keep = [i for i, step in enumerate(steps) if step.better]
    shown, less = some(steps, 300, keep)
    rows = [
        (
            step.label,
            duration(step.time - found.began),
            uncertain(step.value, step.sem),
            "yes" if step.feasible else "no",
            "-" if step.best is None else number(step.best),
        )
        for step in shown
    ]
    caption = "Completed trials" + (f" ({less}, among them all that improved the best)" if less else "")
    head = ("trial", "completed after", "value", "feasible", "best at that time")
    return table(caption, head, rows, numbers=(1, 2, 4))


# ---------------------------------------------------------------- several objectives


def front_figures(found: Account) -> Html:
    """The front in each pair of objectives."""
    objectives = found.reading.problem.objectives
    if len(objectives) < 2:
        return Html()
    known = comparable(found.trials, found.reading.problem)
    if not known:
        return el("p", found.standing.text)
    pairs = list(itertools.combinations(objectives, 2))
    parts = [_front(found, i, a, b) for i, (a, b) in enumerate(pairs[:_PAIRS])]
    if len(pairs) > _PAIRS:
        parts.append(el("p", f"{_PAIRS} of {len(pairs)} pairs of objectives are drawn.", class_="note"))
    return join(parts)


def _front(found: Account, index: int, one: Objective, other: Objective) -> Html:
    problem = found.reading.problem
    known = comparable(found.trials, problem)
    reference = baseline(known, problem)
    drawing = Drawing(height=320)
    x = fitted(without_far(one.value(m) for _, m in known), drawing.left, drawing.end)
    y = fitted(without_far(other.value(m) for _, m in known), drawing.ground, drawing.top)
    drawing.axis_left(y, _goal(other))
    drawing.axis_bottom(x, _goal(one))

    def place(trial: Trial) -> marks.Place:
        metrics = trial.metrics or {}
        return x(one.value(metrics)), y(other.value(metrics))

    def told(trial: Trial) -> str:
        values = ", ".join(
            f"{name_text(o.name)} = {number(o.value(trial.metrics or {}))}" for o in problem.objectives
        )
        return f"trial {trial.label}: {values}; {parameters_text(trial)}"

    front = [trial for trial, _ in known if trial.number in found.best]
    rest = [
        (trial, satisfies(m, problem.bounds, reference))
        for trial, m in known
        if trial.number not in found.best
    ]
    for kind, wanted in (("off", False), ("done", True)):
        chosen = [trial for trial, feasible in rest if feasible is wanted]
        drawing.add(marks.dots(list(map(place, chosen)), kind, list(map(told, chosen))))
    if len(problem.objectives) == 2:
        ordered = sorted(front, key=lambda trial: one.value(trial.metrics or {}))
        corners = list(map(place, ordered))
        drawing.add(marks.line(_staircase(corners, one.minimize), "top faint"))
    drawing.add(*(marks.diamond(place(trial), told(trial), size=5.5) for trial in front))
    if found.growth is not None:
        rx, ry = found.growth.reference[one.name], found.growth.reference[other.name]
        if x.holds(rx) and y.holds(ry):
            drawing.add(
                marks.crosses([(x(rx), y(ry))], "wait", ["reference point of the hypervolume"], size=5)
            )
    legend: list[LegendEntry] = [("best", "", "on the front"), ("dot", "done", "dominated")]
    if any(not feasible for _, feasible in rest):
        legend.append(("dot", "off", "violates a constraint or threshold"))
    if found.growth is not None:
        legend.append(("cross", "wait", "reference point"))
    title = f"{name_text(other.name)} against {name_text(one.name)}"
    described = f"{plural(len(known), 'completed trial')}, {len(front)} of them on the Pareto front."
    shown, less = some(known, 300, [i for i, (trial, _) in enumerate(known) if trial.number in found.best])
    rows = [
        (
            trial.label,
            "yes" if trial.number in found.best else "no",
            uncertain(one.value(m), error(one, trial)),
            uncertain(other.value(m), error(other, trial)),
        )
        for trial, m in shown
    ]
    numbers = table(
        f"Objectives of the completed trials{f' ({less})' if less else ''}",
        ("trial", "on the front", name_text(one.name), name_text(other.name)),
        rows,
        numbers=(2, 3),
    )
    return figure(f"front-{index}", title, described, drawing, numbers, legend=legend)


def _staircase(corners: Sequence[marks.Place], rising: bool) -> list[marks.Place]:
    """Between two points of a front the attained set has a corner."""
    found: list[marks.Place] = []
    for (x, y), following in itertools.zip_longest(corners, corners[1:]):
        found.append((x, y))
        if following is not None:
            found.append((following[0], y) if rising else (x, following[1]))
    return found


def _goal(objective: Objective) -> str:
    return f"{name_text(objective.name)} ({'less' if objective.minimize else 'more'} is better)"


def _hypervolume(found: Account, grown: Growth) -> Html:
    drawing = Drawing()
    series = grown.over_time
    count = max(2, len(series))
    x = Scale(0.0, float(count), drawing.left, drawing.end)
    y = fitted([0.0, *(each.hypervolume for each in series)], drawing.ground, drawing.top, log=False)
    y = Scale(0.0, y.high, y.start, y.end)
    drawing.axis_left(y, "hypervolume")
    drawing.axis_bottom(x, "completed trials")
    places = [(x(i), y(each.hypervolume)) for i, each in enumerate(series, 1)]
    drawing.add(marks.stairs([(x(0), y(0.0)), *places], x(len(series)), "top"))
    reference = ", ".join(f"{name_text(name)} = {number(value)}" for name, value in grown.reference.items())
    note = f"Measured up to the reference point {reference}"
    note += (
        f"; without thresholds ({', '.join(map(name_text, grown.inferred))}) it lies a tenth beyond it."
        if grown.inferred
        else ", the objective thresholds."
    )
    last = grown.last
    since = "" if last is None else f" It last grew with trial {last.trial}."
    described = f"It is {number(grown.hypervolume)} after {plural(len(series), 'completed trial')}.{since}"
    keep = [i for i, (a, b) in enumerate(itertools.pairwise(series), 1) if b.hypervolume > a.hypervolume]
    shown, less = some(list(enumerate(series, 1)), 300, keep)
    rows = [
        (str(i), str(each.trial), duration(each.time - found.began), number(each.hypervolume))
        for i, each in shown
    ]
    numbers = table(
        f"Hypervolume after each completed trial{f' ({less})' if less else ''}",
        ("completed trials", "trial", "after", "hypervolume"),
        rows,
        numbers=(0, 1, 2, 3),
    )
    return figure("hypervolume", "Hypervolume of the front", described, drawing, numbers, note=note)
