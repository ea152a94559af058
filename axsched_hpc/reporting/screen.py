"""What ``axsched watch`` shows: the lines of a terminal, from what is known and the time of day. Pure."""

from __future__ import annotations

import time
from collections import Counter

from axsched_hpc.core.errors import plural
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState, Verdict
from axsched_hpc.core.waiting import stuck
from axsched_hpc.reporting.course import Failed
from axsched_hpc.reporting.drawing import Cells, Line, Look, bar, cells, curve, filled, wrapped
from axsched_hpc.reporting.plain import without_directories
from axsched_hpc.reporting.table import duration, number
from axsched_hpc.reporting.view import View, at_work, ended, external, goal, halted, who_drives, why_ended

#: Columns of the labels, and of bars and curves at the most.
_LABEL, _BAR, _CURVE = 9, 24, 48

#: From so many columns on there is room for bars.
_WIDE = 60

_THEN = {Verdict.RETRY: "tried again", Verdict.FAIL: "given up", Verdict.ABANDON: "abandoned"}

_WORDS = {
    "completed": ("completed", "good"),
    "early_stopped": ("stopped early", ""),
    "cancelled": ("cancelled", ""),
    "failed": ("failed", "bad"),
    "abandoned": ("abandoned", "bad"),
}


def screen(view: View, *, now: float, width: int, height: int, look: Look) -> list[Cells]:
    """The lines, not more than ``height``, none wider than ``width``.

    Where there is little room, what is told last is left out.

    Parameters
    ----------
    now
        Seconds since the epoch.
    """
    lines = [_title(view, now, width), *_trouble(view, width)]
    lines += [_trials(view, width, look), *_best(view, now, width, look), _slots(view, width, look)]
    lines += [*_queue(view, now, width), *_rate(view, now, width), *_driver(view, now, width)]
    room = height - len(lines)
    running = _running(view, now, width)
    # A line before each part; the news gets what the others leave.
    failures = _failures(view, now, width, max(0, (room - 1 - len(running)) * 2 // 3))
    for part in (failures, running):
        if part and room > len(part):
            lines += [[], *part]
            room -= len(part) + 1
    lines += _news(view, room)
    return [cells(each, width, look) for each in lines[:height]]


# ---------------------------------------------------------------- the head


def _labelled(label: str, *spans: tuple[str, str]) -> Line:
    return [(f"{label:<{_LABEL}}", "head"), *spans]


def _title(view: View, now: float, width: int) -> Line:
    right = time.strftime("%H:%M:%S", time.localtime(now))
    right = f"{view.keys}  {right}" if view.keys and width >= _WIDE else right
    room = max(0, width - len(right) - 2)
    name = view.name if len(view.name) <= room else f"…{view.name[len(view.name) - room + 1 :]}"
    return [(name, "bold"), (" " * (width - len(name) - len(right)), ""), (right, "dim")]


def _trouble(view: View, width: int) -> list[Line]:
    if not view.trouble:
        return []
    return [[(each, "warn")] for each in wrapped(view.trouble, width, 3)]


def _trials(view: View, width: int, look: Look) -> Line:
    counts, done, tally = view.ledger.counts, ended(view.ledger), view.ledger.tally()
    total = max(goal(view.ledger) or 0, view.ledger.own)
    good = max(0, counts[TrialState.COMPLETED] + counts[TrialState.EARLY_STOPPED] - external(view.ledger))
    found: Line = []
    if width >= _WIDE:
        cancelled = view.ledger.cancelled
        parts = [(good, "good"), (cancelled, "dim"), (max(0, done - good - cancelled), "bad")]
        found = [*bar(_BAR, parts, total, look), (" ", "")]
    found.append((f"{done} of {total}" if total else "none yet", "bold"))
    for word, (shown, style) in _WORDS.items():
        if word in tally:
            found.append((f", {tally[word]} {shown}", style))
    return _labelled("trials", *found)


def _best(view: View, now: float, width: int, look: Look) -> list[Line]:
    course, found = view.course, view.course.incumbent
    if len(course.problem.objectives) > 1:
        return _front(view, width, look)
    if found.trial is None or found.value is None:
        if found.completed:
            text = f"none: of {plural(found.completed, 'completed trial')} none satisfies the constraints"
            return [_labelled("best", (text, "warn"))]
        return [_labelled("best", ("none yet", ""))]
    when = duration(now - (found.trial.ended or found.trial.added))
    lines = [
        _labelled(
            "best",
            (f"{found.name} = {number(found.value)}", "good"),
            (f" in trial {found.trial.label}, {when} ago", ""),
        )
    ]
    return [*lines, *_curve(found.steps, found.completed, width, look)]


def _front(view: View, width: int, look: Look) -> list[Line]:
    grown = view.course.growth(view.ledger)
    if grown is None or not grown.hypervolume:
        return [_labelled("best", ("no front yet", ""))]
    steps: list[tuple[int, float]] = []
    for place, volume in enumerate(grown.over_time, 1):
        if not steps or volume.hypervolume > steps[-1][1]:
            steps.append((place, volume.hypervolume))
    last = grown.last
    since = "" if last is None else f", by trial {last.trial}"
    text = f"a front of hypervolume {number(grown.hypervolume)}{since}"
    return [_labelled("best", (text, "good")), *_curve(steps, len(grown.over_time), width, look)]


def _curve(steps: list[tuple[int, float]], total: int, width: int, look: Look) -> list[Line]:
    if len(steps) < 2:
        return []
    first, last = number(steps[0][1]), number(steps[-1][1])
    after = f"{last} over {total} trials"
    room = min(_CURVE, width - _LABEL - len(first) - len(after) - 2)
    if room < 8:
        return []
    return [
        _labelled("", (f"{first} ", "dim"), (curve(steps, total, room, look), "good"), (f" {after}", "dim"))
    ]


def _slots(view: View, width: int, look: Look) -> Line:
    counts, slots = view.ledger.counts, view.queue.slots
    if slots is not None:
        slots = view.ledger.changes.slots(slots)
    running, queued = counts[TrialState.RUNNING], counts[TrialState.QUEUED] + counts[TrialState.PLANNED]
    found: Line = []
    if slots and width >= _WIDE:
        found = [*bar(_BAR, [(running, "good"), (queued, "warn")], slots, look), (" ", "")]
    used = running + queued
    found.append((f"{used} of {slots} in use" if slots else f"{used} in use", "bold"))
    if stopped := halted(view.ledger):
        found.append((f", {stopped}", "warn"))
    found.append((f", {running} running, {queued} queued", ""))
    if waiting := counts[TrialState.WAITING]:
        found.append((f", {waiting} waiting for one", ""))
    return _labelled("slots", *found)


def _queue(view: View, now: float, width: int) -> list[Line]:
    reasons, waits = view.queue.reasons() if at_work(view) else {}, Counter[str]()
    oldest, hints = now, dict[str, str]()
    for trial in (view.ledger.trials[each] for each in view.ledger.active):
        attempt = trial.attempt
        if trial.state is not TrialState.QUEUED or attempt is None:
            continue
        reason = reasons.get(trial.number) or attempt.waits or ""
        waits[reason] += 1
        oldest = min(oldest, attempt.submitted or now)
        hint = stuck(reason, attempt.job or "")
        if hint is not None:
            hints.setdefault(reason, hint)
    if not waits:
        return []
    told = [f"{count} for {reason}" for reason, count in waits.most_common() if reason]
    if waits[""]:
        told.append(f"{waits['']} for a reason not known yet")
    text = f"waiting: {', '.join(told)}; the longest for {duration(now - oldest)}"
    lines = _rows("queue", text, width)
    for reason, hint in hints.items():
        lines += _rows("", f"{reason}: {hint}", width, "warn")
    return lines


def _rate(view: View, now: float, width: int) -> list[Line]:
    working = at_work(view)
    moment = now if working else view.ledger.last_time
    rate = view.course.rate(moment)
    told = []
    if rate is not None:
        told.append(f"{number(float(f'{rate * 3600:.2g}'))} trials per hour")
    remaining = (goal(view.ledger) or 0) - ended(view.ledger)
    if working and rate and remaining > 0 and not halted(view.ledger):
        left = remaining / rate
        told.append(f"the end in about {_about(left)} ({_moment(now + left, now)})")
    told.append(f"{view.course.node_hours(moment):.3g} node-hours")
    return _rows("rate", ", ".join(told), width)


def _rows(label: str, text: str, width: int, style: str = "") -> list[Line]:
    """A text in two lines at the most."""
    rows = wrapped(text, max(10, width - _LABEL), 2)
    return [_labelled("" if place else label, (row, style)) for place, row in enumerate(rows)]


def _about(seconds: float) -> str:
    """A time span that is only estimated."""
    return (
        duration(10 * round(seconds / 10))
        if seconds < 600
        else duration(60 * round(seconds / 60)).replace("m00s", "m")
    )


def _moment(seconds: float, now: float) -> str:
    then, today = time.localtime(seconds), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%a %d %b, %H:%M", then)


def _driver(view: View, now: float, width: int) -> list[Line]:
    text, style = who_drives(view)
    who = view.holder
    if who is not None and not who.ended and view.alive is not False:
        silent = now - who.seen
        if view.alive is None and silent > who.takeover:
            text, style = f"{text}, silent for {duration(silent)}: it may be gone", "warn"
        elif who.since is not None:
            text += f", for {_about(now - who.since)}{_between_calls(view.ledger)}"
    return _rows("driver", text, width, style)


def _between_calls(ledger: Ledger) -> str:
    if not ledger.calls or ledger.interrupted() is not None or ledger.active:
        return ""
    return f"; its call has ended{why_ended(ledger)}"


# ---------------------------------------------------------------- below it


def _failures(view: View, now: float, width: int, room: int) -> list[Line]:
    """The newest failures, with what to do, in so many lines."""
    if not view.course.failures or room < 2:
        return []
    lines: list[Line] = [_labelled("failures", (plural(view.course.failed, "failed attempt"), "bad"))]
    for each in reversed(view.course.failures):
        part = _failure(each, now, width)
        if len(lines) + len(part) > room and len(lines) > 1:
            break
        lines += part[: room - len(lines)]
    return lines


def _failure(failed: Failed, now: float, width: int) -> list[Line]:
    head = f"{duration(now - failed.time)} ago"
    what = f"trial {failed.trial}, attempt {failed.attempt}: {failed.failure.kind}"
    indent, room = " " * _LABEL, max(10, width - _LABEL)
    message = wrapped(without_directories(failed.failure.message), room, 1 if failed.failure.hint else 2)
    lines: list[Line] = [[(f"  {what}", "bold"), (f", {_THEN[failed.verdict]}, {head}", "dim")]]
    lines += [[(indent + each, "")] for each in message]
    lines += [[(indent + each, "warn")] for each in wrapped(failed.failure.hint, room, 2) if each]
    return lines


def _running(view: View, now: float, width: int) -> list[Line]:
    """Where trials run, and for how long, the longest first."""
    since, trials = view.course.since, view.ledger.trials
    told = [
        " ".join(word for word in (str(each), _node(view, each), duration(now - since[each])) if word)
        for each in sorted(since, key=lambda each: (since[each], each))
        if trials[each].state is TrialState.RUNNING
    ]
    rows = filled([*(f"{each}," for each in told[:-1]), *told[-1:]], max(10, width - _LABEL), 2)
    return [_labelled("" if place else "running", (row, "")) for place, row in enumerate(rows)]


def _node(view: View, trial: int) -> str:
    attempt = view.ledger.trials[trial].attempt
    return (attempt.node or "") if attempt is not None else ""


def _news(view: View, room: int) -> list[Line]:
    """The latest changes, the newest last."""
    if not view.course.news or room < 3:
        return []
    count = min(room - 2, 12, len(view.course.news))
    news = [view.course.news[place] for place in range(-count, 0)]
    lines: list[Line] = [[], [("latest", "head")]]
    for each in news:
        moment = time.strftime("%H:%M:%S", time.localtime(each.time))
        lines.append([(f"  {moment}  ", "dim"), (without_directories(each.text), "")])
    return lines
