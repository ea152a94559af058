"""The head of a report: what stands where, what is best, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from axsched_hpc.core.best import Objective
from axsched_hpc.core.errors import plural
from axsched_hpc.core.machine import Trial
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, el, join, table, text
from axsched_hpc.reporting.html.scale import fitted
from axsched_hpc.reporting.html.words import (
    moment_text,
    name_text,
    parameter_names,
    some,
    uncertain,
    value_text,
)
from axsched_hpc.reporting.progress import CONFIDENCE, error
from axsched_hpc.reporting.savings import saved_text
from axsched_hpc.reporting.table import duration, number

#: Where trials stand -> the class of its colour; what has ended comes first, as a bar of progress has it.
STATE_KINDS = {
    "completed": "done",
    "early_stopped": "stop",
    "cancelled": "stop",
    "failed": "lost",
    "abandoned": "lost",
    "running": "run",
    "queued": "wait",
    "planned": "wait",
    "waiting": "wait",
}

#: A front longer than this is shown in part.
_FRONT = 100


def headline(found: Account) -> Html:
    """Where the experiment stands, in words and in cards."""
    ledger, used = found.reading.ledger, found.use
    cards = [*_best_card(found)]
    counts = ledger.tally()
    done = counts.get("completed", 0)
    others = ", ".join(
        f"{number} {word.replace('_', ' ')}" for word, number in counts.items() if word != "completed"
    )
    cards.append(("Trials completed", f"{done:,} of {len(ledger.trials):,}", others))
    seconds = max(0.0, found.until - found.began)
    cards.append(("From first to last", duration(seconds), f"since {moment_text(found.began)}"))
    if used.peak:
        share = "" if used.share is None else f"on average {used.share * used.peak:.1f} ran at a time"
        cards.append(("Most jobs at a time", f"{used.peak:,}", share))
        nodes = "" if abs(used.node_hours - used.hours) < 1e-9 else f"{hours(used.node_hours)} node-hours"
        wasted = (
            f"{hours(used.wasted_hours)} of it lost to failures"
            if used.wasted_hours
            else "none lost to failures"
        )
        cards.append(("Job hours", hours(used.hours), "; ".join(filter(None, (nodes, wasted)))))
    if used.median_wait is not None:
        cards.append(("Wait in the queue", duration(used.median_wait), "median of the attempts"))
    spared = saved_text(found.saved)
    said = [] if spared is None else [el("p", f"{spared[0].upper()}{spared[1:]}.")]
    if ledger.queue:
        said.append(el("p", f"{plural(len(ledger.queue), 'point')} wait to be run before Ax is asked."))
    return join([_cards(cards), _bar_of_states(counts), *said])


def state_text(found: Account) -> str:
    """Whether the run goes on, in a sentence."""
    if found.alive:
        return f"The run goes on; as of {moment_text(found.now)}."
    ledger = found.reading.ledger
    if not found.sessions:
        return "No driver has opened the experiment yet."
    how = (
        "ended in good order"
        if ledger.closed
        else "ended before its script was done; start it again to go on"
    )
    return f"No driver is at work; the last one {how}. What is last known is of {moment_text(found.until)}."


def best_section(found: Account) -> Html:
    """The best point or the front, whether it satisfies the constraints, and how sure it is."""
    stands, problem = found.standing, found.reading.problem
    if not stands.best:
        return join([el("p", f"Nothing is best yet. {stands.text}")])
    if len(problem.objectives) > 1:
        return join([el("p", _front_text(found)), _front_table(found)])
    (trial,) = stands.best
    parts = [
        el("p", el("strong", f"Trial {trial.label}"), f": {certainty(found, trial, problem.objectives[0])}"),
        *([el("p", stands.text)] if problem.bounds else []),
        el("div", _parameter_table(found, trial), _metric_table(trial), class_="figures"),
    ]
    return join(parts)


def hours(value: float) -> str:
    """Hours as people read them."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _best_card(found: Account) -> list[tuple[str, str, str]]:
    stands, problem = found.standing, found.reading.problem
    if not problem.objectives:
        return []
    if len(problem.objectives) > 1:
        if found.growth is None:
            return [("Pareto front", "none yet", "")]
        size = plural(len(stands.best), "trial")
        return [("Pareto front", size, f"hypervolume {number(found.growth.hypervolume)}")]
    (objective,) = problem.objectives
    name = f"Best {name_text(objective.name)}"
    goal = "less is better" if objective.minimize else "more is better"
    if not stands.best:
        return [(name, "none yet", "no trial satisfies the constraints" if stands.feasible is False else "")]
    (trial,) = stands.best
    return [(name, number(objective.value(trial.metrics or {})), f"trial {trial.label}; {goal}")]


def _cards(cards: Sequence[tuple[str, str, str]]) -> Html:
    return el(
        "dl",
        *(
            el("div", el("dt", title), el("dd", value), *([el("dd", more)] if more else []))
            for title, value, more in cards
        ),
        class_="cards",
    )


def _bar_of_states(counts: dict[str, int]) -> Html:
    whole = sum(counts.values())
    if not whole:
        return el("p", "There is no trial yet.")
    told = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items())
    x, parts = 0.0, []
    for word in (each for each in STATE_KINDS if each in counts):
        width = 1000 * counts[word] / whole
        parts.append(marks.bar(x, 0, width, 16, STATE_KINDS[word], f"{counts[word]} {word}"))
        x += width
    return Html(
        f'<svg class="states" role="img" aria-label="{text(f"Of {whole} trials: {told}")}" '
        f'viewBox="0 0 1000 16" preserveAspectRatio="none">{join(parts)}</svg>'
    )


def certainty(found: Account, trial: Trial, objective: Objective) -> str:
    """How sure the best value is, in words."""
    value, sem = objective.value(trial.metrics or {}), error(objective, trial)
    told = f"{name_text(objective.name)} = {number(value)}"
    if sem is None:
        return f"{told}, observed once; its standard error is not known, so how sure it is cannot be said."
    half = CONFIDENCE * sem
    told += f", 95 % confidence interval {number(value - half)} to {number(value + half)}."
    if not found.ties:
        return f"{told} No other trial comes within their errors."
    near = ", ".join(step.label for step in found.ties[:8]) + (", …" if len(found.ties) > 8 else "")
    return (
        f"{told} Within their errors (95 %) {plural(len(found.ties), 'other trial')} cannot be told from it: "
        f"{near}. Of many noisy observations the best is often a lucky one."
    )


def _parameter_table(found: Account, trial: Trial) -> Html:
    rows = []
    for name, value in trial.parameters.items():
        values = (each.parameters.get(name) for each in found.trials)
        numbers = sorted(float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool))
        tried = f"{number(numbers[0])} to {number(numbers[-1])}" if numbers else _choices(found, name)
        rows.append((name_text(name), value_text(value), _place(value, numbers, tried), tried))
    return table("Parameters of the best trial", ("parameter", "value", "place", "tried"), rows, numbers=(1,))


def _choices(found: Account, name: str) -> str:
    values = list(dict.fromkeys(value_text(each.parameters.get(name)) for each in found.trials))
    return ", ".join(values[:6]) + (", …" if len(values) > 6 else "")


def _place(value: object, numbers: Sequence[float], tried: str) -> Html:
    """Where a value lies in what was tried, as a little picture."""
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not numbers
        or numbers[0] == numbers[-1]
    ):
        return Html()
    scale = fitted(numbers, 3, 77)
    label = text(f"{number(value)} of {tried}")
    return Html(
        f'<svg class="place" role="img" aria-label="{label}" width="80" height="12" viewBox="0 0 80 12">'
        f"{marks.rule(3, 6, 77, 6, 'axis')}"
        f'<circle class="done" cx="{marks.at(scale(value))}" cy="6" r="4"/></svg>'
    )


def _metric_table(trial: Trial) -> Html:
    metrics = trial.metrics or {}
    if all(sem is None for _, sem in metrics.values()):
        plain = [(name_text(name), number(mean)) for name, (mean, _) in metrics.items()]
        return table("Metrics of the best trial", ("metric", "value"), plain, numbers=(1,))
    rows = [
        (
            name_text(name),
            number(mean),
            "-" if sem is None else number(sem),
            "-" if sem is None else f"{number(mean - CONFIDENCE * sem)} to {number(mean + CONFIDENCE * sem)}",
        )
        for name, (mean, sem) in metrics.items()
    ]
    head = ("metric", "mean", "standard error", "95 % interval")
    return table("Metrics of the best trial", head, rows, numbers=(1, 2, 3))


def _front_text(found: Account) -> str:
    problem, grown = found.reading.problem, found.growth
    goals = ", ".join(
        f"{name_text(o.name)} ({'less' if o.minimize else 'more'} is better)" for o in problem.objectives
    )
    told = f"Pareto front of {plural(len(found.standing.best), 'trial')} by {goals}."
    if problem.bounds:
        told += f" {found.standing.text}"
    if grown is not None and grown.last is not None:
        told += f" The front last grew with trial {grown.last.trial}."
    return told


def _front_table(found: Account) -> Html:
    objectives, best = found.reading.problem.objectives, found.standing.best
    names = parameter_names(best)
    shown, less = some(best, _FRONT)
    rows = [
        (
            trial.label,
            *(uncertain(o.value(trial.metrics or {}), error(o, trial)) for o in objectives),
            *(value_text(trial.parameters.get(name)) for name in names),
        )
        for trial in shown
    ]
    head = ("trial", *(name_text(o.name) for o in objectives), *map(name_text, names))
    caption = "The trials of the Pareto front" + (f" ({less})" if less else "")
    return table(caption, head, rows, numbers=range(1, len(head)))
