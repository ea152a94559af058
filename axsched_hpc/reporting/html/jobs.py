"""The jobs: when each waited and ran, on which node, how many at a time, and why some failed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from axsched_hpc.core.errors import plural
from axsched_hpc.reporting.account import Account
from axsched_hpc.reporting.faults import Fault
from axsched_hpc.reporting.html import marks
from axsched_hpc.reporting.html.elements import Html, el, join, table
from axsched_hpc.reporting.html.figure import Drawing, LegendEntry, figure
from axsched_hpc.reporting.html.scale import Scale, thinned, ticks, time_ticks
from axsched_hpc.reporting.html.summary import hours
from axsched_hpc.reporting.plain import line, shortened
from axsched_hpc.reporting.spans import QUEUE, Fate, Moment, Span, lanes
from axsched_hpc.reporting.table import duration

_KINDS = {
    Fate.WAITED: "wait",
    Fate.WAITING: "wait",
    Fate.COMPLETED: "done",
    Fate.STOPPED: "stop",
    Fate.CANCELLED: "stop",
    Fate.RUNNING: "run",
    Fate.CHECKPOINTED: "run",
    Fate.REQUEUED: "back",
    Fate.FAILED: "lost",
}

#: Lanes of the timeline, on nodes and in the queue; changes in a figure of slots; letters of a message.
_LANES, _QUEUE_LANES, _CHANGES, _MESSAGE = 60, 12, 800, 300


def job_figures(found: Account) -> Html:
    """Timeline and slots."""
    if not found.spans:
        return el("p", "No job has been submitted yet.")
    return join([_timeline(found), _slots(found)])


def _timeline(found: Account) -> Html:
    rows, left_out = _rows(lanes(found.spans))
    thick = max(5.0, min(18.0, 420 / max(1, len(rows))))
    drawing = Drawing(width=980, height=60 + len(rows) * (thick + 3) + 14, left=110, top=12)
    first = min(span.start for span in found.spans)
    whole = max(1.0, max(span.end for span in found.spans) - first)
    x = Scale(0.0, whole, drawing.left, drawing.end)
    for value, _ in time_ticks(x):
        drawing.add(marks.rule(x(value), drawing.top, x(value), drawing.ground))
    many = len(found.spans) > marks.DETAILED
    bulk: dict[str, list[tuple[float, float, float]]] = {}
    y = drawing.top
    before = ""
    for place, spans in rows:
        if place != before:
            drawing.add(marks.rule(8, y - 1.5, drawing.end, y - 1.5))
            drawing.add(marks.label(8, y + min(thick, 14) - 2, shortened(line(place), 14), kind="name small"))
            before = place
        for span in spans:
            kind = _KINDS[span.fate]
            start, end = x(span.start - first), x(span.end - first)
            if many:
                bulk.setdefault(kind, []).append((start, end, y + thick / 2))
            else:
                drawing.add(marks.bar(start, y, max(0.8, end - start), thick, kind, _told(span)))
        y += thick + 3
    drawing.add(*(marks.strokes(stretches, thick, kind) for kind, stretches in bulk.items()))
    drawing.axis_bottom(x, "time since the first submission", time_ticks(x))
    fates = {_KINDS[span.fate] for span in found.spans}
    words = {
        "done": "completed",
        "stop": "stopped early, or cancelled",
        "run": "runs, or saved its state",
        "lost": "failed",
        "back": "put back into the queue",
        "wait": "waited in the queue",
    }
    legend: list[LegendEntry] = [("bar", kind, words[kind]) for kind in words if kind in fates]
    notes = ["Each line of a node is a slot: jobs that ran side by side have lines of their own."]
    if left_out:
        notes.append(f"Left out: {plural(left_out, 'more line')}.")
    if many:
        notes.append(f"Details under the pointer are for up to {marks.DETAILED:,} jobs.")
    by_place: dict[str, list[Span]] = {}
    for span in found.spans:
        by_place.setdefault(QUEUE if span.queued else span.place, []).append(span)
    nodes = len(by_place.keys() - {QUEUE})
    used = found.use
    described = (
        f"{plural(len({(s.trial, s.attempt) for s in found.spans}), 'job')} on {plural(nodes, 'node')}: "
        f"{hours(used.hours)} hours, {hours(used.wasted_hours)} of them in executions that failed or were "
        "put back."
    )
    return figure(
        "timeline",
        "Jobs over time",
        described,
        drawing,
        _places(by_place),
        legend=legend,
        note=" ".join(notes),
        wide=True,
    )


def _rows(found: dict[str, list[list[Span]]]) -> tuple[list[tuple[str, list[Span]]], int]:
    """The lanes that are drawn, and how many are not."""
    queue = found.get(QUEUE, [])
    nodes = [(place, lane) for place, several in found.items() if place != QUEUE for lane in several]
    shown = nodes[:_LANES] + [(QUEUE, lane) for lane in queue[:_QUEUE_LANES]]
    return shown, len(nodes) + len(queue) - len(shown)


def _places(by_place: dict[str, list[Span]]) -> Html:
    rows = []
    for place, spans in sorted(by_place.items(), key=lambda item: (item[0] == QUEUE, item[0])):
        fates = {fate: sum(span.fate is fate for span in spans) for fate in Fate}
        told = ", ".join(f"{count} {fate}" for fate, count in fates.items() if count)
        total = sum(span.seconds for span in spans)
        longest = max(span.seconds for span in spans)
        rows.append((line(place), str(len(spans)), duration(total), duration(longest), told))
    head = ("node", "jobs", "time of all", "the longest", "how they ended")
    return table("Jobs by node, and in the queue", head, rows[:500], numbers=(1, 2, 3))


def _told(span: Span) -> str:
    where = "in the queue" if span.queued else f"on {line(span.place)}"
    job = f", {line(span.detail)}" if span.detail else ""
    return f"trial {span.trial}, attempt {span.attempt}{job}: {span.fate} {where}, {duration(span.seconds)}"


# ---------------------------------------------------------------- how many at a time


def _slots(found: Account) -> Html:
    moments = averaged(found.moments, _CHANGES)
    drawing = Drawing(width=980, height=230)
    if not moments:
        return Html()
    first, last = moments[0].time, max(moments[-1].time, found.moments[-1].time)
    x = Scale(0.0, max(1.0, last - first), drawing.left, drawing.end)
    peak = max(max(moment.running, moment.waiting) for moment in found.moments)
    y = Scale(0.0, max(1.0, peak * 1.08), drawing.ground, drawing.top)
    whole = [(value, text) for value, text in ticks(y, 4) if value == int(value)]
    drawing.axis_left(y, "jobs", whole)
    drawing.axis_bottom(x, "time since the first submission", time_ticks(x))
    running = [(x(m.time - first), y(m.running)) for m in moments]
    waiting = [(x(m.time - first), y(m.waiting)) for m in moments]
    drawing.add(marks.area(waiting, drawing.end, drawing.ground, "wait"))
    drawing.add(marks.area(running, drawing.end, drawing.ground, "run"))
    drawing.add(marks.stairs(waiting, drawing.end, "wait"))
    drawing.add(marks.stairs(running, drawing.end, "run"))
    used = found.use
    share = "" if used.share is None else f" On average {used.share:.0%} of those were in use."
    described = f"At most {used.peak} jobs ran at a time.{share}"
    rows = [
        (duration(m.time - first), f"{m.running:.3g}", f"{m.waiting:.3g}")
        for m in (moments[i] for i in thinned(len(moments), 40))
    ]
    numbers = table("Jobs at a time", ("after", "running", "waiting"), rows, numbers=(0, 1, 2))
    legend: list[LegendEntry] = [("line", "run", "running"), ("line", "wait", "waiting in the queue")]
    return figure(
        "slots", "Jobs at a time", described, drawing, numbers, legend=legend, note=described, wide=True
    )


def averaged(moments: Sequence[Moment], limit: int) -> list[Moment]:
    """Not more than so many moments: of more the mean over each of as many equal stretches of time."""
    if len(moments) <= limit:
        return list(moments)
    first, last = moments[0].time, moments[-1].time
    width = (last - first) / limit
    sums = [[0.0, 0.0] for _ in range(limit)]
    for moment, following in pairwise(moments):
        time = moment.time
        while time < following.time:
            i = min(limit - 1, int((time - first) / width))
            end = following.time if i == limit - 1 else min(following.time, first + (i + 1) * width)
            # Of two moments that are one as far as numbers can tell, the later one is next.
            end = following.time if end <= time else end
            sums[i][0] += moment.running * (end - time)
            sums[i][1] += moment.waiting * (end - time)
            time = end
    means = [
        Moment(first + i * width, running / width, waiting / width)
        for i, (running, waiting) in enumerate(sums)
    ]
    return [*means, moments[-1]]


# ---------------------------------------------------------------- failures


def failure_section(found: Account) -> Html:
    """Failures by kind, with what to do about them; empty where nothing failed."""
    if not found.faults:
        return el("p", "No attempt has failed.")
    return join([_failures(found.faults), el("div", _advice(found.faults))])


def _failures(faults: Sequence[Fault]) -> Html:
    thick = 22.0
    drawing = Drawing(width=480, height=20 + len(faults) * (thick + 8) + 46, left=150, top=10)
    most = max(fault.attempts for fault in faults)
    x = Scale(0.0, float(most), drawing.left, drawing.end - 30)
    for i, fault in enumerate(faults):
        y = drawing.top + 4 + i * (thick + 8)
        drawing.add(marks.label(drawing.left - 8, y + 15, _kind(fault), anchor="end", kind="name"))
        told = f"{_kind(fault)}: {plural(fault.attempts, 'attempt')}"
        drawing.add(marks.bar(x(0), y, x(fault.attempts) - x(0), thick, "lost", told))
        drawing.add(marks.label(x(fault.attempts) + 6, y + 15, str(fault.attempts), kind="strong"))
    whole = [(value, text) for value, text in ticks(x, 4) if value == int(value)]
    drawing.axis_bottom(x, "failed attempts", whole)
    rows = [
        (
            _kind(fault),
            str(fault.kind.retry_class),
            str(fault.attempts),
            duration(fault.seconds),
            str(fault.lost),
            ", ".join(map(str, fault.trials[:12])) + (", …" if len(fault.trials) > 12 else ""),
        )
        for fault in faults
    ]
    head = ("kind", "class", "attempts", "time", "trials without result", "trials")
    numbers = table("Failures by kind", head, rows, numbers=(2, 3, 4))
    total = sum(fault.attempts for fault in faults)
    lost = sum(fault.lost for fault in faults)
    described = (
        f"{plural(total, 'failed attempt')}, the most of kind {_kind(faults[0])}; "
        f"{plural(lost, 'trial')} without a result in the end."
    )
    return figure("failures", "Failed attempts by kind", described, drawing, numbers, note=described)


def _advice(faults: Sequence[Fault]) -> Html:
    parts = [el("h3", "What happened, and what to do")]
    for fault in faults:
        message = shortened(line(fault.message), _MESSAGE) or "No message."
        parts.append(
            el(
                "p",
                el("strong", _kind(fault)),
                f" (trial {fault.trials[-1]}{' and others' if len(fault.trials) > 1 else ''}): {message}",
                *([Html("<br>"), el("em", line(fault.hint))] if fault.hint else []),
            )
        )
    parts.append(
        el(
            "p",
            "axsched show TRIAL has all about one of them, axsched logs TRIAL what it wrote.",
            class_="soft",
        )
    )
    return join(parts)


def _kind(fault: Fault) -> str:
    return str(fault.kind).replace("_", " ")
