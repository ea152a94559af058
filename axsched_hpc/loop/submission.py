"""From a waiting trial to a job, so that no crash in between loses a job or makes a second one.

The order is what matters: the intent with its unique token goes into the journal, then the files that the job
needs, then the scheduler is asked, then the job ids go into the journal. A driver that died in between asks
the runner for jobs of that name. Where there is none, it closes the attempt's claim before it plans the next
one: should the job turn up late all the same, its worker finds the claim taken and steps aside.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence

from axsched_hpc.core.errors import ClusterUnavailableError, ObjectiveError, SubmissionError
from axsched_hpc.core.events import AttemptWithdrawn, BatchPlanned, BatchSubmitted, Event
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import access, atomic, claim, faults, manifest
from axsched_hpc.io.claim import Claim
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import BaseRunner, Batch, BatchAttempt

log = logging.getLogger("axsched_hpc")

#: Seconds before the first repetition of a refused submission, and the most between two of them.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Submitter:
    """Plans, submits and finds again."""

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        self._session = session
        self._runner = runner
        self._pause = 0.0
        self._not_before = 0.0
        self._prefix = f"axs-{secrets.token_hex(4)}"
        self._batches = 0

    @property
    def ready(self) -> bool:
        """Whether a submission may be tried now, or an earlier refusal still asks for patience."""
        return self._session.clock.monotonic() >= self._not_before

    @property
    def not_before(self) -> float:
        """When the next submission may be tried, on the monotonic clock."""
        return self._not_before

    def submit(self, trials: Sequence[int]) -> None:
        """Submit the next attempt of each of these waiting trials, as one batch.

        Raises
        ------
        SubmissionError
            The scheduler refused it for good. The trials wait, and nothing was submitted.
        """
        if not trials:
            return
        ledger = self._session.ledger
        self._batches += 1
        token = f"{self._prefix}-{self._batches:04d}"
        attempts = tuple((number, len(ledger.trials[number].attempts) + 1) for number in trials)
        self._session.record(BatchPlanned(self._session.clock.now(), token, attempts))
        faults.reach("batch.planned")
        # Nothing has been asked of the scheduler, so the same files can be tried again and again.
        batch = self._session.patience.insist(lambda: self._write_files(token, attempts))
        faults.reach("batch.files")
        try:
            faults.reach("submit.before")
            self._session.check()
            jobs = dict(self._runner.submit(batch))
        except (SubmissionError, ClusterUnavailableError) as error:
            if not error.transient:
                self._withdraw(attempts, f"refused: {error}")
                raise
            # Whether jobs exist is settled at the next tick for which the pause is over.
            self._back_off(error)
            return
        self._pause = 0.0
        faults.reach("batch.submitted")
        self._session.record(BatchSubmitted(self._session.clock.now(), token, jobs))
        faults.reach("batch.recorded")
        self._withdraw([pair for index, pair in enumerate(attempts) if index not in jobs], "not taken")

    def recover(self) -> None:
        """Settle the attempts of which it is not known whether their job exists.

        Jobs found by name or claim are recorded; the claims of the others are closed, and their trials wait
        again. Where the scheduler does not answer, nothing is decided, and the next call asks again.
        """
        ledger = self._session.ledger
        planned = [n for n in ledger.active if ledger.trials[n].state is TrialState.PLANNED]
        if not planned or not self.ready:
            return
        tokens = dict.fromkeys(ledger.trials[number].attempts[-1].token for number in planned)
        batches = [batch_of(self._session.layout, token, ledger.batches[token]) for token in tokens]
        try:
            found = self._runner.find(batches)
        except ClusterUnavailableError as error:
            self._back_off(error)
            return
        # The answer may have taken long, and claims are closed by what it says.
        self._session.check()
        for batch in batches:
            self._settle(batch, found.get(batch.token, {}))

    def _settle(self, batch: Batch, found: Mapping[int, str]) -> None:
        gone: list[tuple[int, int]] = []
        jobs: dict[int, str] = {}
        for index, item in enumerate(batch.attempts):
            trial = self._session.ledger.trials[item.trial]
            if trial.state is not TrialState.PLANNED or trial.attempts[-1].number != item.attempt:
                continue
            if index in found:
                jobs[index] = found[index]
            elif (owner := self._close_claim(item)) is None:
                gone.append((item.trial, item.attempt))
            elif owner.job is not None:
                jobs[index] = owner.job
            # Else it was claimed a moment ago, outside Slurm; the runner finds it when it is asked again.
        if jobs:
            log.info("Found %d submitted job(s) of batch %s again.", len(jobs), batch.token)
            self._session.record(BatchSubmitted(self._session.clock.now(), batch.token, jobs))
        self._withdraw(gone, "never submitted")

    def _close_claim(self, item: BatchAttempt) -> Claim | None:
        """Close an attempt for ever; or the claim of the worker that was quicker."""
        files = self._session.layout.attempt(item.trial, item.attempt)
        atomic.make_directory(files.root)
        if claim.close(files, "never submitted"):
            faults.reach("claim.closed")
            return None
        return claim.read(files)

    def _withdraw(self, attempts: Sequence[tuple[int, int]], reason: str) -> None:
        layout, now = self._session.layout, self._session.clock.now()
        events: list[Event] = []
        for trial, attempt in attempts:
            files = layout.attempt(trial, attempt)
            atomic.make_directory(files.root)
            claim.close(files, reason)
            events.append(AttemptWithdrawn(now, trial, attempt, reason))
        self._session.record(*events)

    def _write_files(self, token: str, attempts: Sequence[tuple[int, int]]) -> Batch:
        session = self._session
        if session.ledger.objective is None:
            raise ObjectiveError("No objective is set.")
        for number, attempt in attempts:
            files = session.layout.attempt(number, attempt)
            atomic.make_directory(files.root)
            access.require_inside(session.layout.root, files.root)
            parameters = session.layout.parameters(number)
            if attempt == 1 or not parameters.exists():
                atomic.write_json(parameters, session.ledger.trials[number].parameters)
        manifest.write(
            session.layout,
            Manifest(
                token=token,
                root=session.layout.root,
                objective=session.ledger.objective.objective,
                attempts=tuple(attempts),
            ),
        )
        batch = batch_of(session.layout, token, attempts)
        atomic.make_directory(batch.folder)
        return batch

    def _back_off(self, error: Exception) -> None:
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
        self._not_before = self._session.clock.monotonic() + self._pause
        log.warning(
            "The scheduler did not take or answer a request; trying again in %.0f s. %s", self._pause, error
        )


def batch_of(layout: Layout, token: str, attempts: Sequence[tuple[int, int]]) -> Batch:
    """A batch as runners see it."""
    return Batch(
        token=token,
        manifest=layout.manifest(token),
        attempts=tuple(BatchAttempt(t, a, layout.attempt(t, a).root) for t, a in attempts),
        folder=layout.batch(token),
    )
