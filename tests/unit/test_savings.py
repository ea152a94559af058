"""What early stopping has spared."""

from __future__ import annotations

import pytest

from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.savings import Saved, saved, saved_text


def trial(number: int, state: TrialState, hours: float | None, node: str | None = "n1") -> Trial:
    ended = None if hours is None else 3600 * hours
    attempt = Attempt(1, "token", 0, 0.0, node=node, started=0.0, ended=ended)
    return Trial(number, f"{number}_0", {}, "ax", 0.0, state, (attempt,))


def done(*hours: float) -> list[Trial]:
    return [trial(number, TrialState.COMPLETED, each) for number, each in enumerate(hours)]


@pytest.mark.parametrize(
    ("node", "nodes"),
    [("n1", 1), ("n[1-4]", 4), ("n[1-2,7],login", 4), ("laptop.home", 1), (None, 1), ("", 1)],
)
def test_the_rest_of_a_typical_trial_on_each_of_its_nodes(node: str | None, nodes: int) -> None:
    found = saved([*done(1.0, 2.0, 9.0), trial(3, TrialState.EARLY_STOPPED, 0.5, node)])
    assert found == Saved(1, 1.5, 1.5 * nodes)


def test_a_trial_that_was_stopped_late_spares_nothing() -> None:
    assert saved([*done(1.0), trial(1, TrialState.EARLY_STOPPED, 1.5)]) == Saved(1, 0.0, 0.0)


def test_what_did_not_run_or_still_runs_does_not_count() -> None:
    never = Trial(5, "5_0", {}, "ax", 0.0, TrialState.EARLY_STOPPED)
    running = trial(6, TrialState.RUNNING, None)
    failed = trial(7, TrialState.FAILED, 100.0)
    assert saved([*done(1.0), never, running, failed]) == Saved(0, 0.0, 0.0)


def test_in_words() -> None:
    stopped = [trial(8, TrialState.EARLY_STOPPED, 0.25), trial(9, TrialState.EARLY_STOPPED, 0.5)]
    assert saved_text(saved(done(1.0))) is None
    assert saved_text(saved(stopped[:1])) == (
        "early stopping: 1 trial stopped; what that spares is known once a trial is completed"
    )
    assert saved_text(saved([*done(2.0), *stopped])) == (
        "early stopping: 2 trials stopped, about 3.25 node-hours not spent"
    )
