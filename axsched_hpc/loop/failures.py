"""When a call stops since too much fails: a broken objective should not use up its budget."""

from __future__ import annotations

from axsched_hpc.core.errors import FailureRateError, plural
from axsched_hpc.core.states import TrialState
from axsched_hpc.loop.session import Session


class Failures:
    """Those of one call, which begins when this is made."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before = self._failed_of_ended()

    def check(self) -> None:
        """Look whether there are too many.

        Raises
        ------
        FailureRateError
            There are; it has the last messages.
        """
        now = self._failed_of_ended()
        failed, ended = (count - before for count, before in zip(now, self._before, strict=True))
        if not self._session.config.failure_limit.exceeded(failed, ended):
            return
        trials, cancelled = self._session.ledger.trials, self._session.ledger.changes.cancelled
        given_up = [t for t in trials.values() if t.state in (TrialState.FAILED, TrialState.ABANDONED)]
        bad = [t for t in given_up if t.number not in cancelled][-5:]
        messages = [f"trial {trial.label}: {trial.reason}" for trial in bad]
        left = len(self._session.ledger.active)
        running = f" {plural(left, 'attempt')} still under way, left to the next call." if left else ""
        raise FailureRateError(
            f"{failed} of {ended} trials failed, so the run has stopped.{running} The last messages:\n  "
            + "\n  ".join(messages)
            + f"\nThe files of failed trials are kept below {self._session.layout.trials}. "
            "Mend the objective and start again, or raise config['failure_rate'] or config['max_failures'].",
            messages=messages,
        )

    def _failed_of_ended(self) -> tuple[int, int]:
        """Without those that a person has cancelled, which are no sign of a broken objective."""
        ledger = self._session.ledger
        cancelled = len(ledger.changes.cancelled)
        failed = ledger.counts[TrialState.FAILED] + ledger.counts[TrialState.ABANDONED]
        return failed - cancelled, ledger.ended - cancelled
