"""What a report tells is what the journal says: spans of jobs, failures, how sure the best is."""

from __future__ import annotations

from itertools import pairwise

import pytest

from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    Event,
    Failure,
    TrialAbandoned,
    TrialAdded,
)
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.reporting.html.jobs import averaged
from axsched_hpc.reporting.progress import rank_correlation
from axsched_hpc.reporting.spans import QUEUE, Fate, Span, lanes
from tests.report.kit import BEGAN, history, opened, problem, told


def submitted(n: int, at: float, attempt: int = 1) -> list[Event]:
    added: list[Event] = [TrialAdded(at, n, f"{n}_0", {"x": float(n)}, "ax")] if attempt == 1 else []
    token = f"t{n}-{attempt}"
    return [*added, BatchPlanned(at, token, ((n, attempt),)), BatchSubmitted(at, token, {0: f"9_{n}"})]


def short(span: Span) -> tuple[str, float, float, Fate]:
    return span.place, span.start - BEGAN, span.end - BEGAN, span.fate


def test_a_job_that_was_put_back_waited_twice_and_ran_twice() -> None:
    events = [
        *opened(problem()),
        *submitted(0, BEGAN + 1),
        AttemptStarted(BEGAN + 3, 0, 1, "n1"),
        AttemptRequeued(BEGAN + 9, 0, 1, "PREEMPTED"),
        AttemptStarted(BEGAN + 20, 0, 1, "n[2-3]"),
        AttemptSucceeded(BEGAN + 31, 0, 1, {"loss": (1.0, None)}, BEGAN + 20, BEGAN + 30, "a-host-name"),
    ]
    found = told(events)
    assert [short(span) for span in found.spans] == [
        (QUEUE, 1, 3, Fate.WAITED),
        ("n1", 3, 9, Fate.REQUEUED),
        (QUEUE, 9, 20, Fate.WAITED),
        ("n2", 20, 30, Fate.COMPLETED),
        ("n3", 20, 30, Fate.COMPLETED),
    ]
    assert found.use.hours == pytest.approx(16 / 3600)
    assert found.use.node_hours == pytest.approx(26 / 3600)
    assert found.use.wasted_hours == pytest.approx(6 / 3600)
    assert found.use.peak == 1


def test_clocks_that_jump_make_no_time_that_is_less_than_nothing() -> None:
    events = [
        *opened(problem()),
        *submitted(0, BEGAN + 100),
        # The node's clock is an hour behind, and set back while the job runs.
        AttemptSucceeded(BEGAN + 130, 0, 1, {"loss": (1.0, None)}, BEGAN - 3500, BEGAN - 3600, "n1"),
    ]
    found = told(events)
    assert all(span.seconds >= 0 for span in found.spans)
    assert found.use.hours >= 0


def test_what_goes_on_ends_now_and_what_was_given_up_ends_then() -> None:
    events = [
        *opened(problem()),
        *submitted(0, BEGAN + 1),
        *submitted(1, BEGAN + 1),
        *submitted(2, BEGAN + 1),
        AttemptStarted(BEGAN + 2, 0, 1, "n1"),
        AttemptStarted(BEGAN + 2, 1, 1, "n1"),
        TrialAbandoned(BEGAN + 10, 1, "timeout"),
    ]
    assert {short(span) for span in told(events, alive=True).spans if span.end != span.start} >= {
        ("n1", 2, 70, Fate.RUNNING),
        ("n1", 2, 10, Fate.FAILED),
        (QUEUE, 1, 70, Fate.WAITING),
    }
    # Without a driver nobody knows what became of it since.
    assert ("n1", 2, 10, Fate.RUNNING) in {short(span) for span in told(events).spans}


def test_lanes_hold_all_spans_and_none_overlap() -> None:
    found = told(history(120))
    placed = lanes(found.spans)
    assert list(placed)[-1] == QUEUE
    assert sum(len(lane) for rows in placed.values() for lane in rows) == len(found.spans)
    for rows in placed.values():
        for lane in rows:
            assert all(a.end <= b.start for a, b in pairwise(lane))


def test_jobs_at_a_time_keep_their_hours_when_they_are_averaged() -> None:
    found = told(history(300))
    moments = found.moments
    assert moments[-1].running == moments[-1].waiting == 0
    few = averaged(moments, 50)
    assert len(few) == 51

    def hours(series: list) -> float:  # type: ignore[type-arg]
        return sum(a.running * (b.time - a.time) for a, b in pairwise(series)) / 3600

    assert hours(few) == pytest.approx(hours(moments))
    assert hours(moments) == pytest.approx(found.use.hours)
    assert found.use.peak <= 16


def test_failures_are_by_kind_with_the_latest_message_and_what_was_lost() -> None:
    down = Failure(FailureKind.NODE_FAILED, "n1 went down", hint="It is excluded.")
    broken = Failure(FailureKind.EXIT_CODE, "code 3")
    saved = Failure(FailureKind.CHECKPOINTED, "saved")
    events = [
        *opened(problem()),
        *submitted(0, BEGAN + 1),
        AttemptFailed(BEGAN + 5, 0, 1, down, Verdict.RETRY, BEGAN + 2, BEGAN + 5),
        *submitted(0, BEGAN + 6, attempt=2),
        AttemptFailed(BEGAN + 9, 0, 2, saved, Verdict.RETRY),
        *submitted(0, BEGAN + 10, attempt=3),
        AttemptSucceeded(BEGAN + 20, 0, 3, {"loss": (1.0, None)}),
        *submitted(1, BEGAN + 1),
        AttemptFailed(BEGAN + 7, 1, 1, broken, Verdict.FAIL),
        *submitted(2, BEGAN + 1),
        AttemptFailed(BEGAN + 8, 2, 1, Failure(FailureKind.EXIT_CODE, "code 4"), Verdict.FAIL),
    ]
    exits, node = told(events).faults
    assert (exits.kind, exits.attempts, exits.trials, exits.lost) == (FailureKind.EXIT_CODE, 2, (1, 2), 2)
    assert exits.message == "code 4"
    assert (node.kind, node.lost, node.seconds, node.hint) == (
        FailureKind.NODE_FAILED,
        0,
        3,
        "It is excluded.",
    )


def test_who_cannot_be_told_from_the_best_is_said() -> None:
    events = opened(problem())
    for n, pair in enumerate([(1.0, 0.1), (1.15, 0.1), (2.0, 0.1), (0.95, 0.05), (1.1, None)]):
        events += submitted(n, BEGAN + n)
        events.append(AttemptSucceeded(BEGAN + n + 1, n, 1, {"loss": pair}))
    found = told(events)
    assert found.best == {3}
    assert [step.trial for step in found.ties] == [0, 1]
    assert [step.best for step in found.steps] == [1.0, 1.0, 1.0, 0.95, 0.95]


def test_rank_correlation() -> None:
    assert rank_correlation([(1, 10), (2, 100), (3, 1e9)]) == pytest.approx(1)
    assert rank_correlation([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1)
    # As SciPy has it: spearmanr([1, 2, 2, 3, 5], [2, 1, 4, 3, 5]).
    assert rank_correlation([(1, 2), (2, 1), (2, 4), (3, 3), (5, 5)]) == pytest.approx(0.6668859288553503)
    assert rank_correlation([(1, 1), (1, 2), (1, 3)]) is None
