"""Learning curves: what objectives report on their way, as a fold over their reports.

A curve has one point per step, and its steps rise. A report of the last step adds to its point. One of an
earlier step says that the objective began again from there, as a requeued job or a new attempt does: the
points from that step on are dropped before it is taken in. So executions never mix, whether they begin anew
or go on from a checkpoint, and nobody has to tell them apart.

Of a long curve not every report is kept: one is, once it lies a hundredth of the curve beyond the last one
kept. A curve of 200 steps is kept whole; one of 10,000 steps has 620 points, one of a million 1,080.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record

#: Steps are exact as floating point numbers, which Ax and JSON make of them.
LARGEST_STEP = 2**53

#: Points are kept that lie this part of the curve's length apart.
RESOLUTION = 100

#: (step, metrics)
Point = tuple[int, Metrics]


class Reach(Record):
    """How far a curve has come: its first and last step, and the metrics at the last one."""

    first: int
    last: int
    metrics: Metrics


class Report(Record):
    """A line of a progress file. ``end``: bytes of the file up to the end of the line."""

    step: int
    metrics: Metrics
    end: int


def reached(before: Reach | None, points: Iterable[Point]) -> Reach | None:
    """How far a curve has come with these points."""
    for step, metrics in points:
        if before is None or step != before.last:
            first = step if before is None else min(before.first, step)
            before = Reach(first, step, dict(metrics))
        else:
            before = Reach(before.first, step, {**before.metrics, **metrics})
    return before


def extend(curve: dict[int, Metrics], points: Iterable[Point]) -> None:
    """Take points into a curve, step -> metrics by rising steps, in place."""
    for step, metrics in points:
        if curve and next(reversed(curve)) > step:
            for later in [each for each in curve if each >= step]:
                del curve[later]
        curve.setdefault(step, {}).update(metrics)


def finish(curve: dict[int, Metrics], metrics: Metrics) -> None:
    """Take a trial's final metrics into its curve: they are the values of its last step, where it has one."""
    if curve:
        extend(curve, [(next(reversed(curve)), metrics)])


def thinned(before: Reach | None, reports: Sequence[Report]) -> tuple[list[Report], Report | None]:
    """The reports to keep, and the last one where it is not among them: it may become the curve's end.

    Parameters
    ----------
    before
        How far the curve has come with what is kept already.
    reports
        What has been reported since, oldest first.
    """
    kept: list[Report] = []
    last: Report | None = None
    for last in _lasting(reports):
        if before is None or _keep(before, last):
            before = reached(before, [(last.step, last.metrics)])
            kept.append(last)
    return kept, None if kept and kept[-1] is last else last


def _lasting(reports: Sequence[Report]) -> list[Report]:
    """Reports without those that a later one drops; those of the same step as one."""
    lasting: list[Report] = []
    for report in reports:
        if lasting and lasting[-1].step > report.step:
            while lasting and lasting[-1].step >= report.step:
                lasting.pop()
        if lasting and lasting[-1].step == report.step:
            metrics = {**lasting.pop().metrics, **report.metrics}
            report = Report(report.step, metrics, report.end)
        lasting.append(report)
    return lasting


def _keep(before: Reach, report: Report) -> bool:
    if report.step == before.last:
        return any(before.metrics.get(name) != value for name, value in report.metrics.items())
    apart = max(1, (before.last - before.first) // RESOLUTION)
    return report.step < before.last or report.step - before.last >= apart
