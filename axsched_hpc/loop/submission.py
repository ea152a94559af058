"""From a waiting trial to a job, so that no crash in between loses a job or makes a second one.

The order is what matters: the intent with its unique token goes into the journal, then the files that the job
needs, then the scheduler is asked, then the job ids go into the journal. A driver that died in between asks
the runner for jobs of that name. Where there is none, it closes the attempt's claim before it plans the next
one: should the job turn up late all the same, its worker finds the claim taken and steps aside.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from axsched_hpc.core.errors import ClusterUnavailableError, ObjectiveError, SubmissionError
from axsched_hpc.core.events import AttemptWithdrawn, BatchPlanned, BatchSubmitted, Event, Request
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.plan import whole_packs
from axsched_hpc.core.request import following
from axsched_hpc.core.states import TrialState
from axsched_hpc.core.throttle import Throttle, jittered, longer
from axsched_hpc.io import access, atomic, claim, faults, manifest
from axsched_hpc.io.claim import Claim
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.loop.session import Session
from axsched_hpc.runners.base import BaseRunner, Batch, BatchAttempt

log = logging.getLogger("axsched_hpc")

#: Attempts of a batch whose files are written at the same time.
WRITERS = 4


class Submitter:
    """Plans, submits and finds again."""

    def __init__(self, session: Session, runner: BaseRunner) -> None:
        self._session = session
        self._runner = runner
        self._pause = 0.0
        self._not_before = 0.0
        self._prefix = f"axs-{secrets.token_hex(4)}"
        self._batches = 0
        self._throttle = Throttle()
        # Not Python's own dice, which Ax may be using beside the loop, with a seed.
        self._dice = random.Random(random.random())
        #: Trials whose attempts may go to any node: without those that they avoided the site has none.
        self._anywhere: set[int] = set()
        #: An attempt for which there was no room, submitted again as soon as there may be, and with how many
        #: attempts under way it was refused.
        self._held: Batch | None = None
        self._held_at = 0

    @property
    def ready(self) -> bool:
        """Whether a submission may be tried now, or an earlier refusal still asks for patience."""
        if self._held is not None and len(self._session.ledger.active) < self._held_at:
            return True
        return self._session.clock.monotonic() >= self._not_before

    @property
    def slots(self) -> int:
        """Attempts that may be under way: the runner's, or as many as are where one more was refused."""
        active = len(self._session.ledger.active)
        most = self._session.ledger.changes.slots(self._runner.max_parallel)
        return most if self._held is None else min(active, most)

    def submit(self, trials: Sequence[int]) -> None:
        """Submit the next attempt of each of these waiting trials: as one batch for all that ask for the
        same, or as several where the scheduler does not take so many.

        Raises
        ------
        SubmissionError
            The scheduler refused it for good. The trials wait, and nothing was submitted.
        """
        if self._held is not None and not self._is_planned(self._held):
            self._held = None  # it was given up meanwhile
        if self._held is not None and not self._hand_over(self._held):
            return
        # What a dead driver had planned waits again; what is to be cancelled of that ends at the next look.
        left = [each for each in trials if each not in self._session.ledger.changes.cancelling]
        while left:
            request = self._request(left[0])
            alike = [number for number in left if self._request(number) == request]
            allowed = self._throttle.allowed(len(alike))
            batch = alike[: whole_packs(len(alike), allowed, self._runner.pack)]
            if self._hand_over(self._planned(batch, request)):
                left = [number for number in left if number not in batch]
            elif not self.ready:
                return

    def _is_planned(self, batch: Batch) -> bool:
        trial = self._session.ledger.trials[batch.attempts[0].trial]
        return trial.state is TrialState.PLANNED and trial.attempts[-1].token == batch.token

    def _request(self, number: int) -> Request:
        """What a trial's next attempt asks for."""
        attempts = [(each.request, each.failure) for each in self._session.ledger.trials[number].attempts]
        request = following(self._session.config.retries, attempts, self._runner.asked)
        return replace(request, exclude=()) if number in self._anywhere else request

    def _planned(self, trials: Sequence[int], request: Request) -> Batch:
        """The next attempts of trials, recorded as intended, with all files that their jobs need."""
        ledger = self._session.ledger
        self._batches += 1
        token = f"{self._prefix}-{self._batches:04d}"
        attempts = tuple((number, len(ledger.trials[number].attempts) + 1) for number in trials)
        self._session.record(BatchPlanned(self._session.clock.now(), token, attempts, request))
        faults.reach("batch.planned")
        # Nothing has been asked of the scheduler, so the same files can be tried again and again.
        batch = self._session.patience.insist(lambda: self._write_files(token, attempts))
        faults.reach("batch.files")
        return batch

    def _hand_over(self, batch: Batch) -> bool:
        """Give a planned batch to the scheduler; whether it was taken."""
        try:
            faults.reach("submit.before")
            self._session.check()
            jobs = dict(self._runner.submit(batch))
        except (SubmissionError, ClusterUnavailableError) as error:
            self._refused(batch, error)
            return False
        self._pause, self._not_before, self._held = 0.0, 0.0, None
        faults.reach("batch.submitted")
        self._session.record(BatchSubmitted(self._session.clock.now(), batch.token, jobs))
        faults.reach("batch.recorded")
        self._throttle = self._throttle.taken(len(jobs))
        self._withdraw([each for index, each in enumerate(batch.attempts) if index not in jobs], "not taken")
        return True

    def _refused(self, batch: Batch, error: SubmissionError | ClusterUnavailableError) -> None:
        """Settle a refusal; raises it where trying again cannot help."""
        held, self._held = self._held, None
        if not error.transient:
            self._withdraw(batch.attempts, f"refused: {error}")
            if not batch.request.exclude:
                raise error
            log.warning(
                "Slurm refused jobs that avoid %s, so these are not avoided any more. %s",
                ", ".join(batch.request.exclude),
                error,
            )
            self._anywhere.update(each.trial for each in batch.attempts)
        elif not isinstance(error, SubmissionError) or not error.limit:
            # Whether jobs exist is settled at the next tick for which the pause is over.
            self._back_off(error)
        elif len(batch.attempts) > self._runner.pack:
            self._withdraw(batch.attempts, "more jobs at once than the scheduler takes")
            self._throttle = self._throttle.refused(len(batch.attempts))
            log.info("%d jobs at once are more than the scheduler takes: %s", len(batch.attempts), error)
        else:
            self._throttle = self._throttle.refused(1)
            self._held, self._held_at = batch, len(self._session.ledger.active)
            self._back_off(error, said=held is not None)

    def recover(self) -> None:
        """Settle the attempts of which it is not known whether their job exists.

        Jobs found by name or claim are recorded; the claims of the others are closed, and their trials wait
        again. Where the scheduler does not answer, nothing is decided, and the next call asks again.
        """
        ledger = self._session.ledger
        if not ledger.counts[TrialState.PLANNED]:
            return
        held = self._held.token if self._held is not None else None
        planned = [
            n
            for n in ledger.active
            if ledger.trials[n].state is TrialState.PLANNED and ledger.trials[n].attempts[-1].token != held
        ]
        if not planned or not self.ready:
            return
        tokens = dict.fromkeys(ledger.trials[number].attempts[-1].token for number in planned)
        batches = [batch_of(ledger, self._session.layout, token) for token in tokens]
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
        gone: list[BatchAttempt] = []
        jobs: dict[int, str] = {}
        for index, item in enumerate(batch.attempts):
            trial = self._session.ledger.trials[item.trial]
            if trial.state is not TrialState.PLANNED or trial.attempts[-1].number != item.attempt:
                continue
            if index in found:
                jobs[index] = found[index]
            elif (owner := self._close_claim(item)) is None:
                gone.append(item)
            elif owner.job is not None:
                jobs[index] = owner.job
            # Else it was claimed a moment ago, outside Slurm; the runner finds it when it is asked again.
        if jobs:
            log.info("Found %d submitted job(s) of batch %s again.", len(jobs), batch.token)
            self._session.record(BatchSubmitted(self._session.clock.now(), batch.token, jobs))
        self._withdraw(gone, "never submitted")

    def drop_held(self) -> None:
        """Let the attempts for which there was no room wait again, as trials do that are not planned."""
        batch, self._held = self._held, None
        if batch is not None and self._is_planned(batch):
            self._withdraw(batch.attempts, "not submitted before the run was stopped")

    def close(self, trial: Trial, reason: str) -> bool:
        """Close the attempt under way of a trial for ever; False where its worker was quicker."""
        files = self._session.layout.attempt(trial.number, trial.attempts[-1].number)
        return claim.close(files, reason)

    def _close_claim(self, item: BatchAttempt) -> Claim | None:
        """Close an attempt for ever; or the claim of the worker that was quicker."""
        files = self._session.layout.attempt(item.trial, item.attempt)
        atomic.make_directory(files.root)
        if claim.close(files, "never submitted"):
            faults.reach("claim.closed")
            return None
        return claim.read(files)

    def _withdraw(self, attempts: Sequence[BatchAttempt], reason: str) -> None:
        layout, now = self._session.layout, self._session.clock.now()
        events: list[Event] = []
        for each in attempts:
            files = layout.attempt(each.trial, each.attempt)
            atomic.make_directory(files.root)
            claim.close(files, reason)
            events.append(AttemptWithdrawn(now, each.trial, each.attempt, reason))
        self._session.record(*events)

    def _write_files(self, token: str, attempts: Sequence[tuple[int, int]]) -> Batch:
        session = self._session
        if session.ledger.objective is None:
            raise ObjectiveError("No objective is set.")
        # Processes of this machine end with it, and their files are made anew for the attempts after them.
        sync = not self._runner.nearby
        if sync:
            # Each of them waits for the disk or the server most of the time: side by side they wait together.
            with ThreadPoolExecutor(min(WRITERS, len(attempts)), "axsched-write") as pool:
                list(pool.map(self._write_attempt, attempts))
        else:
            for place in attempts:
                self._write_attempt(place, sync=False)
        manifest.write(
            session.layout,
            Manifest(
                token=token,
                root=session.layout.root,
                objective=session.ledger.objective.objective,
                attempts=tuple(attempts),
            ),
            sync=sync,
        )
        batch = batch_of(session.ledger, session.layout, token)
        atomic.make_directory(batch.folder)
        return batch

    def _write_attempt(self, place: tuple[int, int], *, sync: bool = True) -> None:
        (number, attempt), layout = place, self._session.layout
        files = layout.attempt(number, attempt)
        atomic.make_directory(files.root)
        access.require_inside(layout.root, files.root)
        parameters = layout.parameters(number)
        if attempt == 1 or not _is_whole(parameters):
            atomic.write_json(parameters, self._session.ledger.trials[number].parameters, sync=sync)

    def _back_off(self, error: Exception, *, said: bool = False) -> None:
        self._pause = longer(self._pause)
        pause = jittered(self._pause, self._dice.random())
        self._not_before = self._session.clock.monotonic() + pause
        log.log(
            logging.DEBUG if said else logging.WARNING,
            "The scheduler did not take or answer a request; trying again in %.0f s. %s",
            pause,
            error,
        )


def _is_whole(path: Path) -> bool:
    """Whether a file is as it was written: one that was not synced may be empty after a power failure."""
    try:
        json.loads(atomic.read_text(path))
    except (FileNotFoundError, ValueError):
        return False
    return True


def batch_of(ledger: Ledger, layout: Layout, token: str) -> Batch:
    """A planned batch as runners see it."""
    attempts = ledger.batches[token]
    first = ledger.trials[attempts[0][0]].attempts[attempts[0][1] - 1]
    return Batch(
        token=token,
        manifest=layout.manifest(token),
        attempts=tuple(BatchAttempt(t, a, layout.attempt(t, a).root) for t, a in attempts),
        folder=layout.batch(token),
        request=first.request,
        warning=ledger.objective.warning if ledger.objective is not None else None,
    )
