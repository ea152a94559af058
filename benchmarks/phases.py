"""Where a slot's time goes between one trial and the next, from an experiment's directory.

Each phase is between two times that the run has written down itself: the journal's of the driver, the claim's
of the worker, the kernel's of the worker's process. All are of one machine, or of several with good clocks.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from axsched_hpc.core.events import AttemptSucceeded, BatchPlanned, BatchSubmitted, TrialAdded
from axsched_hpc.io import claim
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal

NOTICED = "the objective's end -> recorded by the driver: publishing, and the next look"
ASKED = "recorded -> Ax is asked for the next: telling Ax, cleaning up"
PLANNED = "Ax is asked -> the trials are made, and their submission is planned"
SUBMITTED = "planned -> submitted: its files, and the runner"
BEGUN = "the whole batch is submitted -> the worker's process exists: the scheduler"
CLAIMED = "process -> claimed: Python starts, the worker reads what it is to do"
STARTED = "claimed -> the objective begins"
WHOLE = "from one objective's end to the beginning of that in its place"


def phases(directory: Path) -> dict[str, float]:
    """The median of each phase in ms; of a phase that a run has not, nothing.

    The k-th trial that begins beyond the slots is taken for the one in the place of the k-th that ends.
    """
    layout = Layout.at(directory)
    asked: dict[int, float] = {}
    planned: dict[str, float] = {}
    batch: dict[int, str] = {}
    submitted: dict[str, float] = {}
    ends: list[AttemptSucceeded] = []
    for event in journal.events(journal.read(layout.journal)):
        match event:
            case TrialAdded():
                asked[event.trial] = event.time
            case BatchPlanned():
                planned[event.token] = event.time
                batch.update({trial: event.token for trial, _ in event.attempts})
            case BatchSubmitted():
                submitted[event.token] = event.time
            case AttemptSucceeded(started=float(), ended=float()):
                ends.append(event)
    spans: dict[str, list[float]] = {}
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for each in ends:
        token = batch[each.trial]
        owner = claim.read(layout.attempt(each.trial, each.attempt))
        begun = owner.start / os.sysconf("SC_CLK_TCK") + booted if owner and owner.start else None
        assert each.started is not None and each.ended is not None
        found = [
            (NOTICED, each.ended, each.time),
            (PLANNED, asked[each.trial], planned[token]),
            (SUBMITTED, planned[token], submitted[token]),
            (BEGUN, submitted[token], begun),
            (CLAIMED, begun, owner.time if owner else None),
            (STARTED, owner.time if owner else None, each.started),
        ]
        for name, first, last in found:
            if first is not None and last is not None:
                spans.setdefault(name, []).append(last - first)
    # The first batch fills them all.
    slots = sum(token == batch[ends[0].trial] for token in batch.values()) if ends else 0
    ended = sorted(ends, key=lambda e: e.ended or 0.0)
    started = sorted(ends, key=lambda e: e.started or 0.0)
    for before, after in zip(ended, started[slots:], strict=False):
        spans.setdefault(WHOLE, []).append((after.started or 0.0) - (before.ended or 0.0))
        spans.setdefault(ASKED, []).append(asked[after.trial] - before.time)
    order = (NOTICED, ASKED, PLANNED, SUBMITTED, BEGUN, CLAIMED, STARTED, WHOLE)
    return {name: 1e3 * statistics.median(spans[name]) for name in order if name in spans}
