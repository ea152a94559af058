"""What becomes of a trial whose attempt failed, and when to stop for failures: pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axsched_hpc.core.events import Failure
from axsched_hpc.core.states import FailureKind, RetryClass, Verdict

#: Times that one and the same arm may fail before Ax is told never to suggest it again.
ARM_FAILURES = 2


@dataclass(frozen=True)
class Growth:
    """How an attempt that ran out of something is repeated with more of it.

    Attributes
    ----------
    attempts
        Repetitions at the most.
    factor
        By which each repetition asks for more than the attempt before it.
    most
        What is asked for at the most, in MiB or seconds; None for no bound of ours.
    """

    attempts: int
    factor: float
    most: int | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """How often an attempt is repeated, by the class of its failure.

    Attributes
    ----------
    infrastructure, resource, objective
        Repetitions at the most.
    continuation
        How often a trial may go on from a checkpoint.
    out_of_memory, timeout
        Repetitions with more memory or time; they take the place of ``resource`` for these failures.
    """

    infrastructure: int = 3
    resource: int = 0
    objective: int = 0
    continuation: int = 100
    out_of_memory: Growth | None = None
    timeout: Growth | None = None

    def growth(self, kind: FailureKind) -> Growth | None:
        """The rule for a failure by lack of something; None where there is none."""
        if kind is FailureKind.OUT_OF_MEMORY:
            return self.out_of_memory
        return self.timeout if kind is FailureKind.TIMED_OUT else None

    def allowed(self, kind: FailureKind) -> int:
        """The number of repetitions after a kind of failure; what a user cancelled is never repeated."""
        growth = self.growth(kind)
        if growth is not None:
            return growth.attempts
        if kind.retry_class is RetryClass.USER:
            return 0
        return int(getattr(self, kind.retry_class.value))


def judge(
    policy: RetryPolicy,
    failure: Failure,
    earlier: Sequence[Failure],
    arm_failures: int,
    *,
    more: bool = True,
) -> Verdict:
    """What becomes of a trial.

    Parameters
    ----------
    failure
        That of the attempt which just ended.
    earlier
        The failures of the trial's attempts before it, oldest first.
    arm_failures
        Trials with the same parameters that failed before. Ax may suggest a failed arm again, so that a point
        at which the objective always fails would come back for ever.
    more
        Whether more can be asked for, where the failure is for lack of something and there is a rule for it.
    """
    retry_class = failure.kind.retry_class
    if goes_on(failure):
        if sum(map(goes_on, earlier)) < policy.continuation:
            return Verdict.RETRY
    elif _used(failure.kind, policy, earlier) < policy.allowed(failure.kind) and more:
        return Verdict.RETRY
    if retry_class is RetryClass.USER or arm_failures + 1 >= ARM_FAILURES:
        return Verdict.ABANDON
    return Verdict.FAIL


def goes_on(failure: Failure) -> bool:
    """Whether the next attempt goes on where this one was, so that its time was not lost: no failure at all.

    One that ran out of memory would do so again, and one that a user or the objective itself has ended has no
    reason to go on.
    """
    classes = (RetryClass.INFRASTRUCTURE, RetryClass.CONTINUATION)
    return failure.progressed and (
        failure.kind is FailureKind.TIMED_OUT or failure.kind.retry_class in classes
    )


def _used(kind: FailureKind, policy: RetryPolicy, earlier: Sequence[Failure]) -> int:
    """How many repetitions of a failure's kind the trial has had, since it last came forward."""
    used = 0
    for old in reversed(earlier):
        if goes_on(old):
            break
        same = old.kind is kind if policy.growth(kind) else old.kind.retry_class is kind.retry_class
        # A failure with a rule of its own uses up that rule's repetitions only.
        used += same and (policy.growth(kind) is not None or policy.growth(old.kind) is None)
    return used


@dataclass(frozen=True)
class FailureLimit:
    """When the objective counts as plainly broken."""

    max_failures: int | None = None
    rate: float = 0.5
    after: int = 5

    def exceeded(self, failed: int, ended: int) -> bool:
        """Whether to stop, after ``failed`` of ``ended`` trials failed."""
        if self.max_failures is not None and failed > self.max_failures:
            return True
        return ended >= self.after and failed > self.rate * ended
