"""Failed attempts by their kind, with what to do about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import FailureKind, RetryClass

#: What ends an attempt, and is no failure.
_NONE = (RetryClass.CONTINUATION, RetryClass.USER)


@dataclass(frozen=True)
class Fault:
    """All failures of one kind.

    Attributes
    ----------
    attempts
        How many attempts ended so.
    trials
        Of which trials, by rising numbers.
    lost
        How many of those were given up in the end.
    seconds
        That these attempts ran.
    message, hint
        Of the latest of them, which a person can still do something about.
    """

    kind: FailureKind
    attempts: int
    trials: tuple[int, ...]
    lost: int
    seconds: float
    message: str
    hint: str


def faults(trials: Iterable[Trial]) -> list[Fault]:
    """The kinds of failures, the most frequent first. A job that saved its state and goes on is none, nor is
    one that a person has cancelled.
    """
    found: dict[FailureKind, list[tuple[Trial, Attempt]]] = {}
    for trial in trials:
        for attempt in trial.attempts:
            failure = attempt.failure
            if failure is not None and failure.kind.retry_class not in _NONE:
                found.setdefault(failure.kind, []).append((trial, attempt))
    result = [_fault(kind, pairs) for kind, pairs in found.items()]
    return sorted(result, key=lambda fault: (-fault.attempts, fault.kind))


def _fault(kind: FailureKind, pairs: list[tuple[Trial, Attempt]]) -> Fault:
    by_trial = {trial.number: trial for trial, _ in pairs}
    _, latest = max(pairs, key=lambda pair: pair[1].ended or pair[1].planned)
    failure = latest.failure
    ran = sum(
        max(0.0, attempt.ended - attempt.started)
        for _, attempt in pairs
        if attempt.started is not None and attempt.ended is not None
    )
    return Fault(
        kind,
        len(pairs),
        tuple(sorted(by_trial)),
        sum(trial.given_up for trial in by_trial.values()),
        ran,
        "" if failure is None else failure.message,
        "" if failure is None else failure.hint,
    )
