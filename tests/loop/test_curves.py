"""Curves and early stopping in the loop, against a simulated cluster."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ax.core.trial_status import TrialStatus
from ax.early_stopping.strategies import ThresholdEarlyStoppingStrategy

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.events import AttemptReported, Event, Failure
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import FailureKind, JobState, TrialState
from axsched_hpc.io import outcome, progress
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.loop import stopping
from axsched_hpc.loop.loop import Goal, Stop
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from tests.loop.conftest import Made, always
from tests.loop.simulated import Fate, SimulatedRunner


def line(step: int, loss: float) -> str:
    return json.dumps({"step": step, "loss": loss})


def reports(steps: int, loss: float = 0.0, *, every: float = 2.0) -> tuple[tuple[float, str], ...]:
    """A report every two seconds, falling towards a loss."""
    return tuple((every * step, line(step, loss + 1 / step)) for step in range(1, steps + 1))


def curve(session: Session, trial: int) -> dict[float, float]:
    """A trial's curve as Ax has it."""
    frame = session.bridge.experiment.data.full_df
    rows = frame[frame["trial_index"] == trial]
    return dict(zip(rows["step"], rows["mean"], strict=True))


def recorded(session: Session) -> list[AttemptReported]:
    """What of curves the journal gets from here on."""
    events: list[AttemptReported] = []

    def listen(event: Event, ledger: Ledger) -> None:
        if isinstance(event, AttemptReported):
            events.append(event)

    session.listeners.append(listen)
    return events


def strategy() -> ThresholdEarlyStoppingStrategy:
    """A loss above two from the third step on is bad."""
    return ThresholdEarlyStoppingStrategy(metric_threshold=2.0, min_progression=3, min_curves=1)


# ---------------------------------------------------------------- curves


def test_what_is_reported_is_in_ax_while_the_trial_runs_and_ends_with_its_metrics(made: Made) -> None:
    session, loop, _, clock = made(always(runs=44.0, reports=reports(20)), slots=1)
    events = recorded(session)
    loop.submit_waiting()
    loop.run(Goal(1, synchronous=True, deadline=clock.monotonic() + 25.0, cancel=False), Interrupts())
    assert list(curve(session, 0)) == list(range(1, 10))
    assert session.bridge.experiment.trials[0].status is TrialStatus.RUNNING
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert curve(session, 0) == {**{step: 1 / step for step in range(1, 20)}, 20: 1.0}
    # One event per monitoring interval of ten seconds, and one at the end.
    assert len(events) <= 6
    assert [step for event in events for step, _ in event.points] == list(range(1, 21))


def test_each_file_is_read_once_per_interval_from_where_it_was_read_to(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []
    read = progress.read

    def counted(path: Path, start: int) -> progress.Chunk:
        starts.append(start)
        return read(path, start)

    monkeypatch.setattr(progress, "read", counted)
    _, loop, runner, _ = made(always(runs=200.0, reports=reports(95)), slots=1)
    runner.cheap_poll = True
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert 20 <= len(starts) <= 24
    assert starts == sorted(starts)
    assert len(set(starts)) >= 19


def test_trials_that_do_not_report_have_no_file_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "read", lambda path, start: pytest.fail("read"))
    session, loop, _, _ = made(always(runs=50.0))
    loop.run(Goal(4, synchronous=True), Interrupts())
    assert session.ledger.counts[TrialState.COMPLETED] == 4


def test_the_next_driver_goes_on_where_the_last_one_stopped_reading(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=44.0, reports=reports(20)), slots=1)
    loop.run(Goal(1, synchronous=True, deadline=clock.monotonic() + 25.0, cancel=False), Interrupts())
    session.close(orderly=False)
    session, loop, other, _ = made(always(), slots=1, clock=clock)
    other.states, other.nodes = runner.states, runner.nodes
    assert list(curve(session, 0)) == list(range(1, 10))
    events = recorded(session)
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert [step for event in events for step, _ in event.points] == list(range(10, 21))
    assert list(curve(session, 0)) == list(range(1, 21))


def test_an_attempt_that_begins_anew_does_not_mix_with_the_one_before(made: Made) -> None:
    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        if attempt == 1:
            return Fate(runs=30.0, state=JobState.NODE_FAILED, reports=reports(12, loss=5.0))
        return Fate(runs=30.0, reports=reports(8))

    session, loop, _, _ = made(fate, slots=1)
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert curve(session, 0) == {**{step: 1 / step for step in range(1, 8)}, 8: 1.0}


def test_a_requeued_attempt_goes_on_in_the_same_file(made: Made) -> None:
    session, loop, _, _ = made(always(runs=30.0, requeues=1, reports=reports(12)), slots=1)
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert len(session.ledger.trials[0].attempts) == 1
    assert len(session.layout.attempt(0, 1).progress.read_text().splitlines()) == 24
    assert curve(session, 0) == {**{step: 1 / step for step in range(1, 12)}, 12: 1.0}


def test_a_malformed_line_is_named_once_and_skipped(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    bad = ((5.0, "loss 3"), (15.0, "loss 2"))
    session, loop, _, _ = made(always(runs=44.0, reports=(*reports(20), *bad)), slots=1)
    with caplog.at_level(logging.WARNING, logger="axsched_hpc"):
        loop.run(Goal(1, synchronous=True), Interrupts())
    path = session.layout.attempt(0, 1).progress
    said = [record.getMessage() for record in caplog.records if "progress.jsonl" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"{path}, line 3: 'loss 3' is neither 'step metric value")
    assert said[0].endswith("The line is skipped, and so are others like it.")
    assert list(curve(session, 0)) == list(range(1, 21))


def test_a_file_that_cannot_be_read_for_a_while_is_read_later(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = progress.read, [OSError(5, "Input/output error")] * 2

    def failing(path: Path, start: int) -> progress.Chunk:
        if failures:
            raise failures.pop()
        return read(path, start)

    monkeypatch.setattr(progress, "read", failing)
    session, loop, _, _ = made(always(runs=44.0, reports=reports(20)), slots=1)
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert list(curve(session, 0)) == list(range(1, 21))


def test_a_curve_whose_end_is_lost_costs_no_result(
    made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(path: Path, start: int) -> progress.Chunk:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(progress, "read", failing)
    session, loop, _, _ = made(always(runs=5.0, reports=reports(2)), slots=1)
    with caplog.at_level(logging.WARNING, logger="axsched_hpc"):
        loop.run(Goal(1, synchronous=True), Interrupts())
    assert session.ledger.trials[0].state is TrialState.COMPLETED
    assert "The end of the curve of trial 0 could not be read" in caplog.text


def test_what_an_error_kept_out_of_the_journal_is_read_again(made: Made) -> None:
    """A poll that fails half-way is repeated as a whole: reports that it had read must not be lost."""
    session, loop, _, _ = made(always(runs=15.0, reports=reports(6)), slots=2)
    published, failures = loop._observer._published, [OSError(5, "Input/output error")] * 3

    def failing(number: int, attempt: int) -> list[Event]:
        if number == 1 and failures:
            raise failures.pop()
        return published(number, attempt)

    loop._observer._published = failing  # type: ignore[method-assign]
    # Ends are seen by the jobs alone.
    loop._observer.read_inbox = lambda: 0  # type: ignore[method-assign]
    loop.run(Goal(2, synchronous=True), Interrupts())
    assert failures == []
    for number in (0, 1):
        assert list(curve(session, number)) == list(range(1, 7))


def test_the_journal_of_a_long_curve_stays_small(made: Made) -> None:
    """A report per second for a day and night."""
    minutes = range(0, 86_400, 60)
    many = tuple((m + 60.0, "\n".join(line(s, 1 / s) for s in range(m + 1, m + 61))) for m in minutes)
    session, loop, runner, _ = made(
        always(runs=86_405.0, reports=many), slots=1, monitoring_interval=600, poll_interval=600
    )
    runner.settle = 0.0
    events = recorded(session)
    loop.run(Goal(1, synchronous=True), Interrupts())
    points = [point for event in events for point in event.points]
    assert 600 < len(points) < 900
    assert points[-1][0] == 86_400
    size = sum(path.stat().st_size for path in session.layout.journal.iterdir())
    assert size < 250_000 < session.layout.attempt(0, 1).progress.stat().st_size


# ---------------------------------------------------------------- early stopping


def _good_and_bad(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
    """Every second trial is bad, from the third on."""
    bad = trial >= 2 and trial % 2 == 0
    return Fate(
        runs=44.0,
        reports=reports(20, loss=5.0 if bad else trial / 100),
        metrics={"loss": (5.05 if bad else trial / 100 + 0.05, None)},
    )


def _check_good_and_bad(session: Session) -> None:
    states = {n: trial.state for n, trial in session.ledger.trials.items()}
    stopped, completed = TrialState.EARLY_STOPPED, TrialState.COMPLETED
    assert states == {n: stopped if n in (2, 4, 6) else completed for n in range(8)}
    statuses = {n: trial.status for n, trial in session.bridge.experiment.trials.items()}
    assert {n for n, status in statuses.items() if status is TrialStatus.EARLY_STOPPED} == {2, 4, 6}


def test_a_bad_trial_is_stopped_and_counts_as_done(made: Made) -> None:
    session, loop, runner, _ = made(_good_and_bad, slots=2, early_stopping=strategy())
    assert loop.run(Goal(8, synchronous=False), Interrupts()) is Stop.BUDGET
    _check_good_and_bad(session)
    third = session.ledger.trials[2]
    assert third.failures() == ()
    assert third.reason.startswith("Trial objective value 5.")
    assert third.reach is not None
    assert 3 <= third.reach.last < 20
    assert len(runner.cancelled) == 3
    assert list(curve(session, 2)) == list(range(1, third.reach.last + 1))
    assert session.bridge.experiment.trials[2]._status_reason == third.reason


def test_metrics_that_come_at_the_same_moment_count(made: Made) -> None:
    session, loop, runner, clock = made(_good_and_bad, slots=2, early_stopping=strategy())
    cancel = runner.cancel

    def too_late(jobs: Sequence[str]) -> None:
        number = next(n for n in session.ledger.active if session.ledger.trials[n].attempts[-1].stop)
        token = session.ledger.trials[number].attempts[-1].token
        metrics = {"loss": (5.5, None)}
        found = Outcome(number, 1, token, metrics, None, "node", jobs[0], clock.time - 5, clock.time)
        outcome.publish(session.layout, found)
        cancel(jobs)

    runner.cancel = too_late  # type: ignore[method-assign]
    loop.run(Goal(4, synchronous=False), Interrupts())
    assert runner.cancelled
    assert {trial.state for trial in session.ledger.trials.values()} == {TrialState.COMPLETED}
    assert max(curve(session, 2).values()) <= 6.0
    assert session.ledger.trials[2].metrics == {"loss": (5.5, None)}


def test_a_failure_of_a_trial_that_is_to_be_stopped_is_no_failure(made: Made) -> None:
    session, loop, runner, clock = made(_good_and_bad, slots=2, early_stopping=strategy())
    cancel = runner.cancel

    def failing(jobs: Sequence[str]) -> None:
        number = next(n for n in session.ledger.active if session.ledger.trials[n].attempts[-1].stop)
        token = session.ledger.trials[number].attempts[-1].token
        failure = Failure(FailureKind.EXIT_CODE, "exit code 1")
        found = Outcome(number, 1, token, None, failure, "node", jobs[0], clock.time - 5, clock.time)
        outcome.publish(session.layout, found)
        cancel(jobs)

    runner.cancel = failing  # type: ignore[method-assign]
    loop.run(Goal(8, synchronous=False), Interrupts())
    _check_good_and_bad(session)


def test_a_scheduler_that_does_not_answer_is_asked_again(made: Made) -> None:
    session, loop, runner, _ = made(_good_and_bad, slots=2, early_stopping=strategy())
    cancel, refusals = runner.cancel, [ClusterUnavailableError("no answer", transient=True)] * 2

    def refusing(jobs: Sequence[str]) -> None:
        if refusals:
            raise refusals.pop()
        cancel(jobs)

    runner.cancel = refusing  # type: ignore[method-assign]
    loop.run(Goal(8, synchronous=False), Interrupts())
    _check_good_and_bad(session)


def test_a_job_that_goes_on_is_cancelled_again(made: Made) -> None:
    """Slurm may have put it back into its queue at the same moment."""

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(runs=500.0, reports=reports(200, loss=5.0)) if trial else Fate(reports=reports(4))

    session, loop, runner, _ = made(fate, slots=1, early_stopping=strategy())
    cancel, asked = runner.cancel, list[float]()

    def deaf(jobs: Sequence[str]) -> None:
        asked.append(runner.clock.time)
        if len(asked) == 3:
            cancel(jobs)

    runner.cancel = deaf  # type: ignore[method-assign]
    loop.run(Goal(2, synchronous=False), Interrupts())
    assert session.ledger.trials[1].state is TrialState.EARLY_STOPPED
    assert [round(b - a) // 10 for a, b in pairwise(asked)] == [stopping.AGAIN // 10] * 2


def test_the_next_driver_ends_the_job_that_is_to_be_stopped(made: Made) -> None:
    session, loop, runner, clock = made(_good_and_bad, slots=2, early_stopping=strategy())

    class Killed(BaseException):
        """As if the driver was killed between its decision and scancel."""

    def killed(jobs: Sequence[str]) -> None:
        raise Killed

    runner.cancel = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.run(Goal(8, synchronous=False), Interrupts())
    session.close(orderly=False)

    again, loop, other, _ = made(_good_and_bad, slots=2, clock=clock, early_stopping=strategy())
    other.states, other.nodes = runner.states, runner.nodes
    decided = [n for n, trial in again.ledger.trials.items() if trial.attempts[-1].stop]
    assert decided == [2]
    loop.run(Goal(8, synchronous=False), Interrupts())
    assert other.cancelled[0] == again.ledger.trials[2].attempts[-1].job
    _check_good_and_bad(again)


def test_at_the_end_of_a_call_s_time_a_trial_that_is_to_be_stopped_is_not_abandoned(made: Made) -> None:
    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(runs=500.0, reports=reports(200, loss=5.0)) if trial else Fate(reports=reports(4))

    session, loop, runner, clock = made(fate, slots=1, early_stopping=strategy())
    runner.cancel = lambda jobs: None  # type: ignore[method-assign]
    deadline = clock.monotonic() + 60.0
    assert loop.run(Goal(2, synchronous=False, deadline=deadline), Interrupts()) is Stop.TIMEOUT
    assert session.ledger.trials[1].state is TrialState.EARLY_STOPPED


def test_without_a_strategy_ax_is_not_asked(made: Made) -> None:
    session, loop, runner, _ = made(_good_and_bad, slots=2)
    loop.run(Goal(8, synchronous=False), Interrupts())
    assert session.ledger.counts[TrialState.COMPLETED] == 8
    assert runner.cancelled == []


def test_working_files_of_a_stopped_trial_are_removed_and_its_curve_is_kept(made: Made) -> None:
    session, loop, _, _ = made(_good_and_bad, slots=2, early_stopping=strategy())
    loop.run(Goal(3, synchronous=False), Interrupts())
    assert session.ledger.trials[2].state is TrialState.EARLY_STOPPED
    files = session.layout.attempt(2, 1)
    assert files.progress.is_file()
    token = session.ledger.trials[2].attempts[-1].token
    assert not session.layout.manifest(token).exists()


def test_a_decision_that_takes_long_is_taken_less_often(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    session, loop, runner, clock = made(always(runs=1000.0, reports=reports(400)), early_stopping=strategy())
    asked = list[float]()

    def slow(trials: Any) -> dict[int, str]:
        asked.append(clock.time)
        clock.wait(5.0)
        return {}

    monkeypatch.setattr(session.bridge, "to_stop", slow)
    assert isinstance(runner, SimulatedRunner)
    loop.run(Goal(2, synchronous=True), Interrupts())
    # Five seconds for a decision, and no other for 50; the trials report for 800.
    assert 12 <= len(asked) <= 16


def test_what_was_read_is_not_read_again(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    _, loop, _, _ = made(always(runs=100.0, reports=reports(40)), slots=2)
    read, begun = progress.read, dict[Path, int]()

    def counted(path: Path, start: int) -> progress.Chunk:
        chunk = read(path, start)
        # Each look begins where the one before has ended.
        assert start == begun.get(path, 0)
        begun[path] = chunk.end
        return chunk

    monkeypatch.setattr(progress, "read", counted)
    loop.run(Goal(2, synchronous=True), Interrupts())
    assert list(begun.values()) == [path.stat().st_size for path in begun]
    assert len(begun) == 2
