"""A failed attempt: all that is known of it, and what becomes of its trial."""

from __future__ import annotations

from dataclasses import replace

from axsched_hpc.core.events import AttemptFailed, Failure
from axsched_hpc.core.hints import explained
from axsched_hpc.core.ledger import arm_key
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.policy import judge
from axsched_hpc.core.request import effective, grown
from axsched_hpc.io import checkpoint
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import BaseRunner


def failed(
    session: Session,
    runner: BaseRunner,
    trial: Trial,
    failure: Failure,
    *,
    started: float | None,
    ended: float | None,
) -> AttemptFailed:
    """The event of a trial whose latest attempt has failed: with what it had asked for and has saved, a hint,
    and the verdict.
    """
    attempt = trial.attempts[-1]
    policy, base = session.config.retries, runner.asked
    asked = effective(attempt.request, base)
    files = session.layout.attempt(trial.number, attempt.number)
    now = session.clock.now()
    elapsed = now - attempt.started if attempt.started is not None else None
    # The worker's word counts more than what this machine's cache of the directory says.
    saved = failure.progressed or checkpoint.saved_since(session.layout.checkpoint(trial.number), files.claim)
    failure = explained(
        replace(
            failure,
            elapsed_s=elapsed if failure.elapsed_s is None else failure.elapsed_s,
            asked_mb=asked.memory_mb,
            limit_s=asked.time_s,
            progressed=saved,
        )
    )
    verdict = judge(
        policy,
        failure,
        trial.failures(),
        session.ledger.failed_arms[arm_key(trial.parameters)],
        more=grown(policy, failure.kind, attempt.request, base) is not None,
    )
    return AttemptFailed(now, trial.number, attempt.number, failure, verdict, started, ended)
