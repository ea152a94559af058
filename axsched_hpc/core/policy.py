"""What becomes of a trial whose attempt failed, and when to stop for failures: pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axsched_hpc.core.events import Failure
from axsched_hpc.core.states import RetryClass, Verdict

#: Times that one and the same arm may fail before Ax is told never to suggest it again.
ARM_FAILURES = 2


@dataclass(frozen=True)
class RetryPolicy:
    """How often an attempt is repeated, by the class of its failure."""

    infrastructure: int = 3
    resource: int = 0
    objective: int = 0

    def allowed(self, retry_class: RetryClass) -> int:
        """The number of repetitions for a class; what a user cancelled is never repeated."""
        if retry_class is RetryClass.USER:
            return 0
        return int(getattr(self, retry_class.value))


def judge(policy: RetryPolicy, failure: Failure, earlier: Sequence[Failure], arm_failures: int) -> Verdict:
    """What becomes of a trial.

    Parameters
    ----------
    failure
        That of the attempt which just ended.
    earlier
        The failures of the trial's attempts before it.
    arm_failures
        Trials with the same parameters that failed before. Ax may suggest a failed arm again, so that a point
        at which the objective always fails would come back for ever.
    """
    retry_class = failure.kind.retry_class
    used = sum(1 for old in earlier if old.kind.retry_class is retry_class)
    if used < policy.allowed(retry_class):
        return Verdict.RETRY
    if retry_class is RetryClass.USER or arm_failures + 1 >= ARM_FAILURES:
        return Verdict.ABANDON
    return Verdict.FAIL


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
