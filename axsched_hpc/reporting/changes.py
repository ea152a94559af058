"""Changes in words: a line for each event of which a person wants to know."""

from __future__ import annotations

from axsched_hpc.core.best import Incumbent
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWaits,
    AttemptWithdrawn,
    BatchSubmitted,
    Event,
    RequestAnswered,
    StopDecided,
    TrialAbandoned,
    TrialEvent,
    TrialStopped,
)
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import FailureKind, TrialState, Verdict
from axsched_hpc.reporting.table import number


def describe(event: Event, ledger: Ledger, incumbent: Incumbent) -> str | None:
    """One line about an event, or nothing where a person need not know."""
    which = ledger.trials[event.trial].label if isinstance(event, TrialEvent) else ""
    match event:
        case BatchSubmitted(token=token, jobs=jobs):
            arrays = list(dict.fromkeys(job.partition("_")[0] for job in jobs.values()))
            trials = [ledger.batches[token][index][0] for index in sorted(jobs)]
            what = f"{'trial' if len(trials) == 1 else 'trials'} {ranges(trials)}"
            return f"{what} submitted: job {arrays[0]}" + (f" to {arrays[-1]}" if len(arrays) > 1 else "")
        case AttemptWaits(reason=reason) if reason:
            return f"trial {which} waits for {reason}, which may not pass by itself"
        case AttemptStarted(node=node):
            return f"trial {which} runs" + (f" on {node}" if node else "")
        case AttemptRequeued():
            return f"trial {which} was put back into the queue by the scheduler"
        case AttemptWithdrawn(reason=reason):
            return f"trial {which}: its attempt {event.attempt} was withdrawn ({reason})"
        case AttemptSucceeded(metrics=metrics):
            values = ", ".join(f"{name} = {number(pair[0])}" for name, pair in metrics.items())
            return f"trial {which} completed: {values}{_standing(ledger, incumbent)}"
        case AttemptFailed(attempt=attempt, failure=failure, verdict=verdict):
            then = {
                Verdict.RETRY: "it is tried again",
                Verdict.FAIL: "the trial failed",
                Verdict.ABANDON: "the trial is abandoned",
            }[verdict]
            if failure.kind is FailureKind.CANCELLED:
                return f"trial {which} is cancelled: {failure.text}"
            return f"trial {which}, attempt {attempt}: {failure.text} ({failure.kind}; {then})"
        case StopDecided(trial=trial, reason=reason):
            return f"trial {which} is to be stopped early{_after(ledger, trial)}: {reason}"
        case TrialStopped(trial=trial):
            return f"trial {which} was stopped early{_after(ledger, trial)}{_standing(ledger, incumbent)}"
        case TrialAbandoned(reason=reason, cancelled=cancelled):
            return f"trial {which} is {reason}" if cancelled else f"trial {which} is abandoned: {reason}"
        case RequestAnswered(request=request, by=by, taken=taken, answer=answer):
            first, *more = answer.splitlines()
            first = f"{'' if taken else f'refused to {request}: '}{first} (asked for by {by})"
            return "\n  ".join((first, *more))
    return None


def _after(ledger: Ledger, trial: int) -> str:
    reach = ledger.trials[trial].reach
    return f" after step {reach.last}" if reach is not None else ""


def ranges(numbers: list[int]) -> str:
    """Numbers as people write them: ``0-3, 7``."""
    runs: list[list[int]] = []
    for each in numbers:
        if runs and each == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], each]
        else:
            runs.append([each])
    return ", ".join("-".join(str(end) for end in run) for run in runs)


def _standing(ledger: Ledger, incumbent: Incumbent) -> str:
    counts = ledger.counts
    text = f" ({counts[TrialState.COMPLETED]} completed, "
    if stopped := counts[TrialState.EARLY_STOPPED]:
        text += f"{stopped} stopped early, "
    text += f"{len(ledger.active)} under way"
    if incumbent.trial is not None and incumbent.value is not None:
        text += f"; best {incumbent.name} = {number(incumbent.value)} in trial {incumbent.trial.label}"
    return text + ")"


def is_failure(event: Event) -> bool:
    """Whether it tells of a failure. An attempt that goes on from its checkpoint is none."""
    if not isinstance(event, AttemptFailed):
        return False
    return event.failure.kind is not FailureKind.CHECKPOINTED or event.verdict is not Verdict.RETRY
