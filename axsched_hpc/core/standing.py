"""Whether the constraints are met, in plain words: by the best trials, or by none, and then which is nearest.

Objective thresholds count as constraints here: a trial that does not reach them is not on the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from axsched_hpc.core.best import Constraint, Problem, baseline, best, comparable, satisfies
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import TrialState


class Standing(Record):
    """How the completed trials stand to the constraints.

    Attributes
    ----------
    best
        The best trials, as :func:`axsched_hpc.core.best.best` has them.
    feasible
        Whether they satisfy all constraints: True where there are none, None where no trial can be judged, or
        a constraint not before the status quo is completed.
    text
        The same in a sentence or two, with the trial that is nearest to it where none satisfies them.
    """

    best: tuple[Trial, ...]
    feasible: bool | None
    text: str


def standing(trials: Iterable[Trial], problem: Problem) -> Standing:
    """Judge the trials."""
    everything = list(trials)
    found = comparable(everything, problem)
    reference = baseline(found, problem)
    top = tuple(best((trial for trial, _ in found), problem))
    constraints = problem.bounds
    if not found:
        if not any(trial.state is TrialState.COMPLETED for trial in everything):
            return Standing(top, None, "No trial is completed yet.")
        return Standing(top, None, f"No completed trial has all of {', '.join(problem.required)}.")
    if not constraints:
        return Standing(top, True, "There are no constraints to satisfy.")
    if len(constraints) > 1:
        wanted = f"all constraints ({', '.join(map(str, constraints))})"
    else:
        wanted = f"the constraint {constraints[0]}"
    if top:
        number = sum(satisfies(metrics, constraints, reference) for _, metrics in found)
        all_of = f"All {len(top)} trials of the front satisfy"
        who = f"Trial {top[0].label} satisfies" if len(top) == 1 else all_of
        text = f"{who} {wanted}; {number} of {len(found)} completed trials do."
        text += "".join(map(_doubt, _unsure(top, constraints, reference)))
    else:
        nearest, misses = _nearest(found, constraints, reference)
        text = (
            f"No completed trial satisfies {wanted}; the nearest is trial {nearest.label}, "
            f"which violates {_list(misses)}."
        )
    unknown = [str(c) for c in constraints if c.limit(reference) is None]
    if unknown:
        text += f" {', '.join(unknown)} cannot be judged before the baseline is completed."
    return Standing(top, None if top and unknown else bool(top), text)


#: (trial, constraint, how far the mean lies beyond its bound)
_Miss = tuple[Trial, Constraint, float]


def _unsure(
    trials: Sequence[Trial], constraints: Iterable[Constraint], reference: Metrics | None
) -> list[_Miss]:
    """Where the mean alone would violate a constraint that holds given its error."""
    pairs = [(trial, c, c.excess(trial.metrics or {}, reference)) for trial in trials for c in constraints]
    return [(trial, constraint, excess) for trial, constraint, excess in pairs if excess > 0.0]


def _doubt(miss: _Miss) -> str:
    trial, constraint, excess = miss
    return (
        f" That trial {trial.label} satisfies {constraint} is not certain: its mean is {excess:.3g} beyond, "
        "which is within its error (95 %)."
    )


def _nearest(
    found: Sequence[tuple[Trial, Metrics]], constraints: Sequence[Constraint], reference: Metrics | None
) -> tuple[Trial, list[_Miss]]:
    """The trial that violates the constraints least: each violation is measured by the worst one of its
    constraint, so that units do not matter.
    """
    misses = [
        [
            (trial, c, 0.0 if c.holds(metrics, reference) else c.excess(metrics, reference))
            for c in constraints
        ]
        for trial, metrics in found
    ]
    worst = [max(column[i][2] for column in misses) for i in range(len(constraints))]

    def size(row: list[_Miss]) -> tuple[float, int]:
        parts = [miss[2] / most for miss, most in zip(row, worst, strict=True) if most]
        return sum(parts), row[0][0].number

    row = min(misses, key=size)
    return row[0][0], [miss for miss in row if miss[2]]


def _list(misses: Sequence[_Miss]) -> str:
    *first, last = [f"{constraint} by {excess:.3g}" for _, constraint, excess in misses]
    return f"{', '.join(first)} and {last}" if first else last
