"""Plain text tables for a terminal: no colours, no dependencies, quick to start."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from axsched_hpc.core.errors import plural
from axsched_hpc.core.events import RequestAnswered
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.standing import standing
from axsched_hpc.core.states import TrialState
from axsched_hpc.core.waiting import stuck
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.reporting.savings import saved, saved_text

_HEAD = ("trial", "state", "attempt", "job", "metrics", "age", "reason")


def status_text(reading: Reading, *, now: float, width: int) -> str:
    """The state of an experiment: a line of totals, who drives it, and a row per trial; where there are batch
    trials, with the names of the arms.

    Parameters
    ----------
    now
        Seconds since the epoch, for the ages.
    width
        Columns of the terminal; reasons are cut to fit.
    """
    ledger = reading.ledger
    counts = ", ".join(f"{count} {word}" for word, count in ledger.tally().items())
    lines = [f"{reading.layout.root}: {len(ledger.trials)} trials" + (f" ({counts})" if counts else "")]
    lines.append(_driver(reading, now))
    lines += _changes(reading, now)
    lines += [
        f"changed after {plural(change.trials, 'trial')}: {'; '.join(change.changes)}"
        for change in ledger.redefinitions
    ]
    lines += [*_best(reading), *_baseline(reading)]
    spared = saved_text(saved(ledger.trials.values()))
    if spared is not None:
        lines.append(spared)
    if ledger.queue:
        lines.append(f"queue: {plural(len(ledger.queue), 'point')} to be run before Ax is asked")
    if ledger.trials:
        rows = [_HEAD, *(_row(t, now, reading.waits) for t in ledger.trials.values())]
        if any(trial.index is not None for trial in ledger.trials.values()):
            arms = ["arm", *(trial.arm for trial in ledger.trials.values())]
            rows = [(row[0], arm, *row[1:]) for row, arm in zip(rows, arms, strict=True)]
        lines += ["", *table(rows, width)]
    return "\n".join(lines)


def _driver(reading: Reading, now: float) -> str:
    """Who drives, or how the last driver ended."""
    who = reading.holder
    if who is None or who.ended:
        how = "ended in good order" if reading.ledger.closed else "gave it back before its script was done"
        return f"driver: none; the last one {how}"
    last = duration(now - who.seen)
    if who.host is None or who.since is None:
        return f"driver: unknown; last sign of life {last} ago"
    name = f"process {who.pid} on {who.host}"
    if who.alive() is False:
        return (
            f"driver: none; {name} ended without closing, last sign of life {last} ago. "
            "Start the run again to go on."
        )
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who.since))
    return f"driver: {name} since {since}; last sign of life {last} ago"


def _changes(reading: Reading, now: float) -> list[str]:
    """What requests have changed, and which are not answered yet, a line each."""
    changes, root, lines = reading.ledger.changes, reading.layout.root, []
    if changes.stopping is not None and not reading.ledger.closed and reading.holder is not None:
        lines.append(f"{'stopped' if reading.holder.ended else 'stopping'}: {_asked(changes.stopping, now)}")
    if changes.paused is not None:
        lines.append(
            f"paused: {_asked(changes.paused, now)}; nothing new is submitted until axsched resume {root}"
        )
    if changes.budget is not None and changes.budget.trials is not None:
        number = changes.budget.trials
        lines.append(
            f"budget: {plural(number.value, 'trial')} instead of {number.said}, {_asked(changes.budget, now)}"
        )
    if changes.parallel is not None and changes.parallel.max_parallel is not None:
        number = changes.parallel.max_parallel
        lines.append(
            f"max_parallel: {number.value} instead of {number.said}, {_asked(changes.parallel, now)}"
        )
    if changes.cancelling:
        lines.append(f"being cancelled: trial {', '.join(map(str, sorted(changes.cancelling)))}")
    for id, change in reading.requests:
        if change is None:
            lines.append(f"request {id}: not taken yet, and cannot be read here")
            continue
        which = f" {change.trial}" if change.trial is not None else ""
        age = duration(now - change.time)
        lines.append(f"request: {change.request}{which}, by {change.by} {age} ago; not answered yet")
    return lines


def _asked(request: RequestAnswered, now: float) -> str:
    return f"by {request.by} {duration(now - request.time)} ago"


def _best(reading: Reading) -> list[str]:
    """The best trial or trials in a line; or that none satisfies the constraints, and which is nearest."""
    found, problem = standing(reading.ledger.trials.values(), reading.problem), reading.problem
    if not found.best:
        return [f"best: none. {found.text}"] if reading.ledger.counts[TrialState.COMPLETED] else []
    feasible = " (feasible)" if problem.bounds else ""
    if found.feasible is None:
        feasible = " (feasible as far as can be told before the baseline is completed)"
    if len(problem.objectives) > 1:
        return [f"best: a front of {plural(len(found.best), 'trial')}{feasible}; see axsched best"]
    (trial,), (objective,) = found.best, problem.objectives
    value = number(objective.value(trial.metrics or {}))
    return [f"best: {objective.name} = {value} in trial {trial.label}{feasible}"]


def _baseline(reading: Reading) -> list[str]:
    """The arm with which relative constraints compare, and where it stands."""
    arm, trial = reading.problem.status_quo, baseline_trial(reading)
    if arm is None:
        return []
    if trial is None:
        return [f"baseline: arm {arm}, not run yet"]
    values = ", ".join(f"{name} = {number(pair[0])}" for name, pair in (trial.metrics or {}).items())
    return [f"baseline: arm {arm}, trial {trial.number}, {trial.word}{f': {values}' if values else ''}"]


def baseline_trial(reading: Reading) -> Trial | None:
    """The trial of the baseline: the one that counts, or else the latest; None where there is none."""
    trials = [t for t in reading.ledger.trials.values() if t.arm == reading.problem.status_quo]
    return next((t for t in trials if t.state is TrialState.COMPLETED), trials[-1] if trials else None)


def table(rows: Iterable[Sequence[str]], width: int) -> list[str]:
    """Rows as aligned lines, none longer than ``width``; the last column takes what is left."""
    cells = list(rows)
    columns = list(zip(*cells, strict=True))
    widths = [*(max(map(len, column)) for column in columns[:-1]), 0]
    lines = []
    for row in cells:
        line = "  ".join(map(str.ljust, row, widths)).rstrip()
        lines.append(line if len(line) <= width else f"{line[: max(1, width - 1)]}…")
    return lines


def number(value: float) -> str:
    """A number as people read it."""
    return f"{value:.6g}"


def iso(seconds: float) -> str:
    """A moment, in seconds since the epoch, as ISO 8601 has it: UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """A time span in two units at the most: 45s, 3m20s, 2h05m, 4d03h."""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02d}s"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02d}m"
    return f"{left // 86400}d{left % 86400 // 3600:02d}h"


def _row(trial: Trial, now: float, waits: Mapping[int, str]) -> tuple[str, ...]:
    attempt = trial.attempt
    values, reach = trial.metrics, trial.reach
    at = ""
    if values is None and reach is not None:
        values, at = reach.metrics, f" at step {reach.last}"
    metrics = ", ".join(f"{name}={number(pair[0])}" for name, pair in (values or {}).items()) + at
    since = trial.ended or trial.added
    if attempt is not None and not trial.state.final:
        since = attempt.started or attempt.submitted or attempt.planned
    return (
        str(trial.number),
        trial.word,
        str(attempt.number) if attempt else "-",
        (attempt.job or "-") if attempt else "-",
        metrics or "-",
        duration(now - since),
        reason(trial, waits),
    )


def reason(trial: Trial, waits: Mapping[int, str]) -> str:
    """Why its job waits, where that is known; else why its last attempt failed.

    Parameters
    ----------
    waits
        As of :class:`~axsched_hpc.reporting.reading.Reading`.
    """
    return pending(trial, waits) or " ".join(trial.reason.split()) or "-"


def pending(trial: Trial, waits: Mapping[int, str]) -> str:
    """Why its job waits, and what to do where that may be for ever; empty where nothing is known of it."""
    attempt = trial.attempt
    if trial.state is not TrialState.QUEUED or attempt is None:
        return ""
    why = waits.get(trial.number) or attempt.waits
    # Some reasons come up for a moment; what is in the journal was seen twice.
    hint = stuck(why, attempt.job or "") if why == attempt.waits else None
    return why and f"waits for {why}" + (f": {hint}" if hint else "")
