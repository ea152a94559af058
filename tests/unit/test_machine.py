"""The life of a trial: the table of transitions, and the fold over it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axsched_hpc.core.curve import Reach
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWaits,
    AttemptWithdrawn,
    BatchPlanned,
    BatchSubmitted,
    CallEnded,
    CallStarted,
    DriverClosed,
    DriverOpened,
    Event,
    Failure,
    ObjectiveSet,
    RequestAnswered,
    Setting,
    StopDecided,
    TrialAbandoned,
    TrialAdded,
    TrialEvent,
    TrialRetried,
    TrialStopped,
)
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import (
    TRANSITIONS,
    Attempt,
    CleanUp,
    IllegalTransition,
    Planned,
    Submit,
    Submitted,
    TellAbandoned,
    TellCompleted,
    TellFailed,
    TellReported,
    TellRetried,
    TellStopped,
    Trial,
    consequences,
    step,
)
from axsched_hpc.core.states import FailureKind, RequestKind, TrialState, Verdict

FAILURE = Failure(FailureKind.EXIT_CODE, "exited with code 3", exit_code=3, stderr_tail=("last", "words"))
METRICS: dict[str, tuple[float, float | None]] = {"loss": (0.5, None)}

#: One event of each kind that speaks of trial 0, attempt 1 (attempt 2 for a plan).
EVENTS: dict[type[TrialEvent], TrialEvent] = {
    Planned: Planned(2.0, 0, 2, "t2", 0),
    Submitted: Submitted(2.0, 0, 1, "77"),
    AttemptWithdrawn: AttemptWithdrawn(2.0, 0, 1, "never submitted"),
    AttemptStarted: AttemptStarted(2.0, 0, 1, "n1"),
    AttemptRequeued: AttemptRequeued(2.0, 0, 1, "preempted"),
    AttemptReported: AttemptReported(2.0, 0, 1, ((3, METRICS), (4, METRICS)), 60),
    StopDecided: StopDecided(2.0, 0, 1, "it is worse than the others"),
    TrialStopped: TrialStopped(2.0, 0, 1, "it is worse than the others"),
    AttemptSucceeded: AttemptSucceeded(2.0, 0, 1, METRICS, 1.0, 1.5, "n1"),
    AttemptFailed: AttemptFailed(2.0, 0, 1, FAILURE, Verdict.RETRY),
    TrialAbandoned: TrialAbandoned(2.0, 0, "time over"),
    TrialRetried: TrialRetried(2.0, 0, "asked for by ada@login1"),
}


def trial(state: TrialState) -> Trial:
    return Trial(0, "0_0", {"x": 1.0}, "ax", 0.0, state, (Attempt(1, "t1", 0, 1.0),))


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(TrialState, EVENTS)))
def test_every_pair_is_in_the_table_or_refused_with_the_whole_story(
    state: TrialState, kind: type[TrialEvent]
) -> None:
    before = trial(state)
    if (state, kind) in TRANSITIONS:
        assert step(before, EVENTS[kind]) != before
    else:
        with pytest.raises(IllegalTransition, match=f"trial 0 is {state}, its story: attempt 1"):
            step(before, EVENTS[kind])


def test_who_has_cancelled_a_trial_is_told_from_who_gave_it_up() -> None:
    cancelled = replace(FAILURE, kind=FailureKind.CANCELLED)
    ends = {
        TrialAbandoned(2.0, 0, "time over"): ("abandoned", True),
        TrialAbandoned(2.0, 0, "cancelled by ada@login1", cancelled=True): ("cancelled", False),
        AttemptFailed(2.0, 0, 1, cancelled, Verdict.ABANDON): ("cancelled", False),
        AttemptFailed(2.0, 0, 1, FAILURE, Verdict.ABANDON): ("abandoned", True),
        AttemptFailed(2.0, 0, 1, FAILURE, Verdict.FAIL): ("failed", True),
    }
    for event, (word, given_up) in ends.items():
        after = step(trial(TrialState.RUNNING), event)
        assert (after.word, after.given_up) == (word, given_up)
        again = step(after, EVENTS[TrialRetried])
        assert (again.word, again.given_up) == ("waiting", False)


def test_nothing_happens_to_a_trial_that_is_over() -> None:
    given_up = (TrialState.FAILED, TrialState.ABANDONED)
    over = {pair for pair in TRANSITIONS if pair[0].final}
    assert over == {(state, TrialRetried) for state in given_up}


def test_a_trial_that_was_given_up_waits_again() -> None:
    before = trial(TrialState.ABANDONED)
    after = step(before, EVENTS[TrialRetried])
    assert (after.state, after.attempts, after.reason, after.ended) == (
        TrialState.WAITING,
        before.attempts,
        "",
        None,
    )
    assert consequences(EVENTS[TrialRetried]) == (TellRetried(0, 2.0), Submit(0))


def test_a_success_tells_ax_and_cleans_up() -> None:
    after = step(trial(TrialState.RUNNING), EVENTS[AttemptSucceeded])
    assert after.state is TrialState.COMPLETED
    assert after.metrics == METRICS
    assert consequences(EVENTS[AttemptSucceeded]) == (TellCompleted(0, METRICS, 2.0), CleanUp(0, 1))


def test_reports_are_told_to_ax_and_remembered_as_far_as_they_go() -> None:
    after = step(trial(TrialState.RUNNING), EVENTS[AttemptReported])
    assert after.state is TrialState.RUNNING
    assert after.reach == Reach(3, 4, METRICS)
    assert after.attempts[-1].read == 60
    assert consequences(EVENTS[AttemptReported]) == (TellReported(0, ((3, METRICS), (4, METRICS))),)


def test_a_trial_that_is_to_be_stopped_is_stopped_once_its_attempt_has_ended() -> None:
    decided = step(trial(TrialState.RUNNING), EVENTS[StopDecided])
    assert decided.state is TrialState.RUNNING
    assert decided.attempts[-1].stop == "it is worse than the others"
    assert consequences(EVENTS[StopDecided]) == ()
    stopped = step(decided, EVENTS[TrialStopped])
    assert stopped.state is TrialState.EARLY_STOPPED
    assert stopped.metrics is None
    assert stopped.failures() == ()
    told = TellStopped(0, "it is worse than the others", 2.0)
    assert consequences(EVENTS[TrialStopped]) == (told, CleanUp(0, 1))


def test_metrics_count_more_than_a_decision_to_stop() -> None:
    decided = step(trial(TrialState.RUNNING), EVENTS[StopDecided])
    after = step(decided, EVENTS[AttemptSucceeded])
    assert after.state is TrialState.COMPLETED


@pytest.mark.parametrize(
    ("verdict", "state", "action"),
    [
        (Verdict.RETRY, TrialState.WAITING, Submit(0)),
        (Verdict.FAIL, TrialState.FAILED, TellFailed(0, FAILURE.message, 2.0)),
        (Verdict.ABANDON, TrialState.ABANDONED, TellAbandoned(0, FAILURE.message, 2.0)),
    ],
)
def test_a_failure_does_what_its_verdict_says(verdict: Verdict, state: TrialState, action: Any) -> None:
    failed = AttemptFailed(2.0, 0, 1, FAILURE, verdict)
    after = step(trial(TrialState.RUNNING), failed)
    assert (after.state, consequences(failed)) == (state, (action,))
    assert after.failures() == (FAILURE,)


def test_an_event_of_an_older_attempt_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="speaks of attempt 5"):
        step(trial(TrialState.RUNNING), AttemptSucceeded(2.0, 0, 5, METRICS))


ALL_EVENTS: list[Event] = [
    DriverOpened(1.0, 1, "host", 5, "digest", {"objectives": []}, {"python": "3"}, {"00001.jsonl": 7}),
    ObjectiveSet(1.0, "objective/abc", "function f"),
    CallStarted(1.0, 1, "run", 0, (), 5, True),
    TrialAdded(1.0, 0, "0_0", {"x": 1.0, "name": 'a "b" é'}, "ax", {"gr": [1, {"a": None}]}),
    TrialAdded(1.0, 1, "1_0", {"x": 2.0}, "batch"),
    BatchPlanned(2.0, "tok", ((0, 1), (1, 1))),
    BatchSubmitted(2.0, "tok", {0: "9_0", 1: "9_1"}),
    AttemptStarted(3.0, 0, 1, "n1"),
    AttemptReported(3.5, 0, 1, ((0, {"loss": (0.75, None)}), (7, {"loss": (0.5, 0.1)})), 44),
    StopDecided(3.75, 0, 1, "worse"),
    AttemptRequeued(3.0, 0, 1, "x"),
    AttemptSucceeded(4.0, 0, 1, {"loss": (0.5, 0.1), "b": (1.0, None)}, 1.0, 2.0, "n1"),
    AttemptFailed(4.0, 1, 1, FAILURE, Verdict.RETRY, 1.0, 2.0),
    BatchPlanned(5.0, "tok2", ((1, 2),)),
    AttemptWithdrawn(6.0, 1, 2, "never submitted"),
    TrialAbandoned(7.0, 1, "time over"),
    TrialAdded(7.0, 2, "2_0", {"x": 2.0}, "ax"),
    BatchPlanned(7.0, "tok3", ((2, 1),)),
    BatchSubmitted(7.0, "tok3", {0: "10"}),
    AttemptStarted(7.0, 2, 1),
    StopDecided(7.0, 2, 1, "worse"),
    TrialStopped(7.5, 2, 1, "worse", 7.0, 7.25),
    RequestAnswered(
        7.5, "1-a", RequestKind.RETRY, "ada@login1", 7.25, True, "tried again", 1, trials=Setting(9, 5)
    ),
    TrialRetried(7.5, 1, "asked for by ada@login1"),
    TrialAbandoned(7.75, 1, "time over"),
    CallEnded(8.0, 1, "budget"),
    DriverClosed(9.0),
]


def test_every_kind_of_event_survives_json() -> None:
    for event in ALL_EVENTS:
        assert decode(json.loads(json.dumps(encode(event)))) == event


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": "nonsense", "time": 1},
        {"kind": "attempt_started", "time": 1},
        {"kind": "attempt_started", "time": "x", "trial": 0, "attempt": 1},
        {"kind": "attempt_started", "time": 1, "trial": 0, "attempt": 1, "more": 2},
        {"kind": "attempt_failed", "time": 1, "trial": 0, "attempt": 1, "failure": 3, "verdict": "fail"},
        {"kind": "attempt_failed", "time": 1, "trial": 0, "attempt": 1, "failure": {}, "verdict": "fail"},
        {"kind": "batch_planned", "time": 1, "token": "t", "attempts": [[1]]},
        {"kind": "batch_submitted", "time": 1, "token": "t", "jobs": ["a"]},
        {"kind": "attempt_succeeded", "time": 1, "trial": 0, "attempt": 1, "metrics": {"a": 3}},
        {"kind": "attempt_succeeded", "time": 1, "trial": 0, "attempt": 1, "metrics": {"a": ["3", None]}},
        {
            "kind": "attempt_succeeded",
            "time": 1,
            "trial": 0,
            "attempt": 1,
            "metrics": {"a": [float("nan"), None]},
        },
        {"kind": "attempt_succeeded", "time": 1, "trial": 0, "attempt": 1, "metrics": {"a": [1, -1]}},
        {"kind": "attempt_succeeded", "time": 1, "trial": 0, "attempt": 1, "metrics": {}},
        {"kind": "attempt_reported", "time": 1, "trial": 0, "attempt": 1, "points": [], "read": 1},
        {
            "kind": "attempt_reported",
            "time": 1,
            "trial": 0,
            "attempt": 1,
            "points": [[-1, {"a": [1, None]}]],
            "read": 1,
        },
        {"kind": "attempt_reported", "time": 1, "trial": 0, "attempt": 1, "points": [[1, {}]], "read": 1},
        {
            "kind": "attempt_reported",
            "time": 1,
            "trial": 0,
            "attempt": 1,
            "points": [[1.5, {"a": [1, None]}]],
            "read": 1,
        },
        {
            "kind": "attempt_reported",
            "time": 1,
            "trial": 0,
            "attempt": 1,
            "points": [[1, {"a": [1, None]}]],
            "read": -1,
        },
        {"kind": "attempt_started", "time": 1, "trial": -1, "attempt": 1},
        {"kind": "attempt_started", "time": 1, "trial": 0, "attempt": 0},
        {"kind": "attempt_started", "time": 1, "trial": 0, "attempt": True},
        {"kind": "attempt_started", "time": 1, "trial": 1.0, "attempt": 1},
        {"kind": "attempt_started", "time": 1, "trial": 10**30, "attempt": 1},
        {"kind": "attempt_started", "time": float("inf"), "trial": 0, "attempt": 1},
        {"kind": "attempt_started", "time": 10**400, "trial": 0, "attempt": 1},
        {"kind": "attempt_started", "time": 1, "trial": 0, "attempt": 1, "node": 3},
        {"kind": "batch_submitted", "time": 1, "token": "t", "jobs": {"01": "a"}},
        {"kind": "batch_submitted", "time": 1, "token": "t", "jobs": {"0": 12}},
        {"kind": "driver_closed", "time": 1, "finished": 1},
        {"kind": "trial_added", "time": 1, "trial": 0, "arm": "a", "parameters": {"x": [1]}, "origin": "ax"},
        {
            "kind": "trial_added",
            "time": 1,
            "trial": 0,
            "arm": "a",
            "parameters": {"x": 1e999},
            "origin": "ax",
        },
    ],
)
def test_malformed_records_are_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(unknown kind of record|a record of kind .* (has|lacks) )"):
        decode(record)


@pytest.mark.parametrize(
    "event",
    [
        BatchPlanned(4.0, "t2", ((0, 1), (1, 1))),
        BatchPlanned(4.0, "t2", ((1, 1), (1, 2))),
        BatchPlanned(4.0, "t2", ((1, 1), (9, 1))),
        BatchSubmitted(4.0, "t1", {0: "12", 1: "13"}),
        TrialAdded(4.0, 9, "9_0", {"x": 1.0}, "external", {"state": "running"}),
        DriverOpened(4.0, 2, "host-a", 1, "digest", {"objectives": 0.0}),
        TrialAdded(
            4.0, 9, "9_0", {"x": 1.0}, "external", {"state": "completed", "metrics": {"a": ["1", None]}}
        ),
    ],
)
def test_what_cannot_happen_changes_nothing(event: Event) -> None:
    ledger = Ledger()
    ledger.replay(
        [
            TrialAdded(1.0, 0, "0_0", {"x": 0.5}, "ax"),
            TrialAdded(1.0, 1, "1_0", {"x": 0.5}, "ax"),
            BatchPlanned(2.0, "t1", ((0, 1),)),
        ]
    )
    before = deepcopy(ledger)
    with pytest.raises(ValueError):
        ledger.apply(event)
    assert ledger == before


def test_a_whole_story_folds() -> None:
    ledger = Ledger()
    ledger.replay(ALL_EVENTS)
    assert ledger.trials[0].state is TrialState.COMPLETED
    assert ledger.trials[1].state is TrialState.ABANDONED
    assert [a.number for a in ledger.trials[1].attempts] == [1, 2]
    assert ledger.trials[2].state is TrialState.EARLY_STOPPED
    assert ledger.own == 3
    assert ledger.closed
    assert ledger.interrupted() is None


def test_drivers_of_one_submission_are_one_run() -> None:
    """Killed between its orderly end and that of the process, the next one must not begin a new budget."""

    def calls(pid: int, run: str | None, before: str | None = "c-7") -> list[int]:
        ledger = Ledger()
        ledger.replay(
            [
                DriverOpened(1.0, 1, "h", 5, "d", run=before),
                CallStarted(2.0, 1, "run_optimization", 0, max_trials=3),
                CallEnded(3.0, 1, "budget"),
                DriverClosed(4.0),
                DriverOpened(5.0, 1, "h", pid, "d", run=run),
            ]
        )
        return sorted(ledger.ended_calls)

    assert calls(6, "c-7") == [1]
    assert calls(6, "c-8") == []
    assert calls(6, None) == []
    assert calls(6, None, before=None) == []
    # The next session of the same process is a new one.
    assert calls(5, "c-7") == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_the_running_counts_equal_a_recount_after_any_legal_story(choices: list[int]) -> None:
    ledger = Ledger()
    for number, choice in enumerate(choices):
        legal = list(_legal(ledger, number))
        event = legal[choice % len(legal)]
        ledger.apply(decode(json.loads(json.dumps(encode(event)))))
    assert +ledger.counts == Counter(t.state for t in ledger.trials.values())
    assert set(ledger.active) == {n for n, t in ledger.trials.items() if t.state.active}
    assert set(ledger.waiting) == {n for n, t in ledger.trials.items() if t.state is TrialState.WAITING}
    assert set(ledger.stopping) == {n for n in ledger.active if ledger.trials[n].attempts[-1].stop}


def _legal(ledger: Ledger, number: int) -> list[Event]:
    events: list[Event] = [TrialAdded(number, len(ledger.trials), "a", {"x": number}, "ax")]
    for index, known in ledger.trials.items():
        attempt = known.attempts[-1].number if known.attempts else 0
        for state, kind in TRANSITIONS:
            if state is not known.state:
                continue
            if kind is Planned:
                events.append(BatchPlanned(number, f"t{number}", ((index, attempt + 1),)))
            elif kind is Submitted:
                events.append(BatchSubmitted(number, known.attempts[-1].token, {0: "1"}))
            elif kind is AttemptWaits:
                events.append(AttemptWaits(number, index, attempt, "PartitionDown"))
            elif kind is TrialAbandoned:
                events.append(TrialAbandoned(number, index, "r"))
            elif kind is TrialRetried:
                events.append(TrialRetried(number, index, "r"))
            elif kind is AttemptSucceeded:
                events.append(AttemptSucceeded(number, index, attempt, METRICS))
            elif kind is AttemptFailed:
                events += [AttemptFailed(number, index, attempt, FAILURE, verdict) for verdict in Verdict]
            elif kind is AttemptWithdrawn:
                events.append(AttemptWithdrawn(number, index, attempt, "r"))
            elif kind is AttemptReported:
                events.append(AttemptReported(number, index, attempt, ((number, METRICS),), number))
            elif kind is StopDecided:
                events.append(StopDecided(number, index, attempt, "r"))
            elif kind is TrialStopped:
                events.append(TrialStopped(number, index, attempt, "r"))
            elif kind is AttemptStarted:
                events.append(AttemptStarted(number, index, attempt))
            else:
                events.append(AttemptRequeued(number, index, attempt))
    return events


def test_a_new_session_starts_counting_calls_anew_only_after_a_good_end() -> None:
    ledger = Ledger()
    opened = DriverOpened(1.0, 1, "h", 1, "d")
    ledger.replay([opened, CallStarted(1.0, 1, "run", 0, max_trials=5)])
    assert ledger.interrupted() is not None
    ledger.apply(opened)
    assert 1 in ledger.calls
    ledger.replay([CallEnded(1.0, 1, "budget"), DriverClosed(1.0), opened])
    assert not ledger.calls
