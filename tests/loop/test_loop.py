"""The loop against a simulated cluster: what no real one shows on demand."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import FailureRateError, SubmissionError
from axsched_hpc.core.events import Failure
from axsched_hpc.core.states import FailureKind, JobState, TrialState
from axsched_hpc.io import atomic, claim, outcome
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.loop.loop import Goal, Loop, Stop
from axsched_hpc.loop.signals import Interrupts
from axsched_hpc.runners.base import JobStatus
from tests.loop.conftest import Made, always
from tests.loop.simulated import Fate, VirtualClock


def test_rounds_wait_for_their_last_trial(made: Made) -> None:
    session, loop, runner, _ = made(lambda t, a, p: Fate(runs=5.0 + 20.0 * (t % 4 == 3)))
    assert loop.run(Goal(8, synchronous=True), Interrupts()) is Stop.BUDGET
    assert [len(batch.attempts) for batch in runner.batches] == [4, 4]
    assert session.ledger.counts[TrialState.COMPLETED] == 8
    first = [session.ledger.trials[n].ended or 0 for n in range(4)]
    second = [session.ledger.trials[n].added for n in range(4, 8)]
    assert max(first) <= min(second)


def test_a_freed_slot_is_filled_at_once(made: Made) -> None:
    session, loop, runner, _ = made(lambda t, a, p: Fate(runs=5.0 if t else 60.0))
    assert loop.run(Goal(20, synchronous=False), Interrupts()) is Stop.BUDGET
    trials = session.ledger.trials
    assert runner.most_active == 4
    # While the long trial held one slot, the others went on: refilled within the inbox's interval.
    assert sum(1 for t in trials.values() if (t.ended or 0) < (trials[0].ended or 0)) >= 15
    for number in range(4, 12):
        submitted = trials[number].attempts[0].submitted or 0
        freed = [t.ended or 0 for t in trials.values() if (t.ended or 0) <= submitted]
        assert submitted - max(freed) <= 1.0


def test_an_end_is_noticed_from_the_inbox_and_not_by_asking_the_cluster_more_often(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=100.0), monitoring_interval=50)
    begun = clock.time
    loop.run(Goal(4, synchronous=True), Interrupts())
    assert clock.time - begun <= 102.1
    assert runner.polls <= 4
    ended = session.ledger.trials[0].attempts[0].ended or 0
    assert (session.ledger.trials[0].ended or 0) - ended <= 1.0


def test_a_notice_that_comes_while_the_jobs_are_asked_for_is_not_left_behind(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=5.0))
    runner.cheap_poll, runner.settle = True, 0.0
    poll = runner.poll

    def slow_poll(jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        clock.wait(60.0)
        return poll(jobs)

    runner.poll = slow_poll  # type: ignore[method-assign]
    assert loop.run(Goal(4, synchronous=True), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 4
    assert list(session.layout.inbox.iterdir()) == []


def test_a_lost_node_costs_the_objective_nothing(made: Made) -> None:
    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(state=JobState.NODE_FAILED) if attempt <= 2 else Fate()

    session, loop, runner, _ = made(fate, slots=2)
    assert loop.run(Goal(2, synchronous=True), Interrupts()) is Stop.BUDGET
    for number in range(2):
        trial = session.ledger.trials[number]
        assert trial.state is TrialState.COMPLETED
        assert [f.kind for f in trial.failures()] == [FailureKind.NODE_FAILED] * 2
    # A job whose node came back must not begin a second execution beside the retry.
    assert {"1_0", "1_1"} <= set(runner.cancelled)


def test_the_fourth_infrastructure_failure_fails_the_trial_and_the_run_goes_on(made: Made) -> None:
    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(state=JobState.PREEMPTED) if trial == 1 else Fate()

    session, loop, _, _ = made(fate, slots=2)
    assert loop.run(Goal(4, synchronous=False), Interrupts()) is Stop.BUDGET
    assert session.ledger.trials[1].state is TrialState.FAILED
    assert len(session.ledger.trials[1].attempts) == 4
    assert session.bridge.experiment.trials[1].status.name == "FAILED"
    assert session.ledger.counts[TrialState.COMPLETED] == 3


def test_a_job_that_slurm_requeues_is_followed_and_not_doubled(made: Made) -> None:
    session, loop, runner, _ = made(always(requeues=1, runs=30.0), slots=2)
    assert loop.run(Goal(2, synchronous=True), Interrupts()) is Stop.BUDGET
    assert all(len(t.attempts) == 1 for t in session.ledger.trials.values())
    assert len(runner.batches) == 1


def test_a_vanished_job_is_lost_only_after_the_deadline(made: Made) -> None:
    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(visible=False, state=JobState.FAILED) if attempt == 1 else Fate()

    session, loop, _, _ = made(fate, slots=1, lost_after=120)
    assert loop.run(Goal(1, synchronous=True), Interrupts()) is Stop.BUDGET
    trial = session.ledger.trials[0]
    assert trial.failures()[0].kind is FailureKind.LOST
    assert 120 <= trial.attempts[1].planned - (trial.attempts[0].started or 0) <= 160


def test_nothing_is_decided_while_the_controller_is_down(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=300.0), lost_after=30)
    runner.down = True
    clock.at(250.0, lambda: setattr(runner, "down", False))
    assert loop.run(Goal(4, synchronous=True), Interrupts()) is Stop.BUDGET
    assert all(len(t.attempts) == 1 for t in session.ledger.trials.values())


def test_a_refused_submission_is_repeated_with_growing_pauses(made: Made) -> None:
    session, loop, runner, clock = made(always())
    runner.refusals = [SubmissionError("sbatch: error: try again", transient=True) for _ in range(4)]
    begun = clock.time
    assert loop.run(Goal(4, synchronous=True), Interrupts()) is Stop.BUDGET
    assert (session.ledger.trials[0].attempts[-1].submitted or 0) - begun >= 0.75 * (1 + 2 + 4 + 8)
    assert session.ledger.counts[TrialState.COMPLETED] == 4
    assert [a.withdrawn for a in session.ledger.trials[0].attempts] == [True] * 4 + [False]


def test_a_result_that_comes_while_its_attempt_is_given_up_counts(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, loop, runner, _ = made(always(state=JobState.NODE_FAILED), slots=1)
    give_up = claim.give_up

    def published_at_last(files: AttemptFiles, reason: str) -> None:
        found = claim.read(files)
        assert found is not None
        end = Outcome(0, 1, found.token, {"loss": (0.5, None)}, None, "node", found.job, 1.0, 2.0)
        atomic.write(files.result, outcome.encode(end))
        give_up(files, reason)

    monkeypatch.setattr(claim, "give_up", published_at_last)
    assert loop.run(Goal(1, synchronous=True), Interrupts()) is Stop.BUDGET
    trial = session.ledger.trials[0]
    assert (trial.state, trial.metrics) == (TrialState.COMPLETED, {"loss": (0.5, None)})
    assert runner.executed == [(0, 1)]


def test_a_lost_answer_of_sbatch_makes_no_second_job(made: Made) -> None:
    _, loop, runner, _ = made(always())
    runner.lost_answers = 2
    assert loop.run(Goal(8, synchronous=True), Interrupts()) is Stop.BUDGET
    assert len(runner.batches) == 2
    assert sorted(runner.executed) == [(n, 1) for n in range(8)]


def test_a_submission_refused_for_good_is_the_users_error_and_leaves_the_trials_waiting(made: Made) -> None:
    session, loop, runner, _ = made(always())
    runner.refusals = [SubmissionError("sbatch: error: invalid partition specified: nope")]
    with pytest.raises(SubmissionError, match="invalid partition"):
        loop.run(Goal(4, synchronous=True), Interrupts())
    assert session.ledger.counts[TrialState.WAITING] == 4
    assert loop.run(Goal(4, synchronous=True), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 4


def test_a_broken_objective_stops_the_run(made: Made) -> None:
    failure = Failure(FailureKind.EXIT_CODE, "train.py exited with code 3")
    session, loop, _, _ = made(always(failure=failure, state=JobState.FAILED))
    with pytest.raises(FailureRateError, match="trials failed") as caught:
        loop.run(Goal(100, synchronous=False), Interrupts())
    assert "train.py exited with code 3" in str(caught.value)
    assert caught.value.messages[-1].endswith("train.py exited with code 3")
    assert 5 <= session.ledger.own <= 12


def test_missing_metrics_are_a_failed_attempt(made: Made) -> None:
    session, loop, _, _ = made(
        lambda t, a, p: Fate(metrics={"Loss": (1.0, None)}) if t == 0 else Fate(), slots=2
    )
    loop.run(Goal(6, synchronous=False), Interrupts())
    assert session.ledger.trials[0].state is TrialState.FAILED
    assert "lacks 'loss', which the experiment needs; it has 'Loss'" in session.ledger.trials[0].reason


def test_the_end_of_the_time_cancels_and_keeps_what_is_done(made: Made) -> None:
    session, loop, runner, clock = made(lambda t, a, p: Fate(runs=10.0 if t < 2 else 1000.0))
    assert loop.run(Goal(4, True, deadline=clock.time + 60), Interrupts()) is Stop.TIMEOUT
    counts = session.ledger.counts
    assert (counts[TrialState.COMPLETED], counts[TrialState.ABANDONED]) == (2, 2)
    assert sorted(runner.cancelled) == ["1_2", "1_3"]
    assert session.ledger.trials[2].reason == "the time of the call was over"


def test_the_end_of_the_time_can_leave_what_runs(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=100.0), on_timeout="leave")
    assert loop.run(Goal(4, True, deadline=clock.time + 60), Interrupts()) is Stop.TIMEOUT
    assert session.ledger.counts[TrialState.RUNNING] == 4
    assert not runner.cancelled
    assert loop.run(Goal(4, synchronous=True), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 4


def test_what_a_user_cancels_is_abandoned(made: Made) -> None:
    session, loop, _, _ = made(lambda t, a, p: Fate(state=JobState.CANCELLED) if t == 0 else Fate())
    loop.run(Goal(4, synchronous=True), Interrupts())
    assert session.ledger.trials[0].state is TrialState.ABANDONED
    assert session.bridge.experiment.trials[0].status.name == "ABANDONED"


def test_a_restart_brings_everything_back(made: Made, tmp_path: Path) -> None:
    clock = VirtualClock()
    session, loop, runner, _ = made(always(runs=50.0), clock=clock)
    interrupts = Interrupts()
    clock.at(20.0, lambda: interrupts.note(2))
    assert loop.run(Goal(8, synchronous=False), interrupts) is Stop.INTERRUPTED
    session.close(orderly=False)

    again, _, other, _ = made(always(runs=50.0), clock=clock)
    other.states, other.named = runner.states, runner.named
    assert again.ledger.counts[TrialState.RUNNING] == 4
    assert Loop(again, other).run(Goal(8, synchronous=False), Interrupts()) is Stop.BUDGET
    assert sorted(runner.executed + other.executed) == [(n, 1) for n in range(8)]
    assert again.bridge.experiment == replayed(tmp_path)


def replayed(tmp_path: Path) -> Any:
    """The experiment as its directory alone tells it."""
    from axsched_hpc.store import journal

    layout = Layout.at(tmp_path / "run")
    bridge = AxBridge.from_text(layout.definition.read_text(), "definition")
    bridge.replay(journal.events(journal.read(layout.journal)))
    return bridge.experiment


@pytest.mark.parametrize("seed", range(6))
def test_whatever_fails_nothing_is_lost_or_doubled(made: Made, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    bad = [JobState.NODE_FAILED, JobState.PREEMPTED, JobState.FAILED, JobState.SUCCEEDED]

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        if attempt <= 2 and dice.random() < 0.4:
            state = dice.choice(bad[:3])
            return Fate(
                runs=dice.uniform(1, 40), state=state, visible=dice.random() > 0.2, claims=dice.random() > 0.2
            )
        return Fate(runs=dice.uniform(1, 40), queued=dice.uniform(0, 20), requeues=dice.choice([0, 0, 1]))

    session, loop, runner, _ = made(fate, slots=5)
    runner.lost_answers = dice.randrange(3)
    assert loop.run(Goal(30, synchronous=bool(seed % 2)), Interrupts()) is Stop.BUDGET
    trials = session.ledger.trials
    assert sorted(trials) == list(range(30))
    assert {t.state for t in trials.values()} == {TrialState.COMPLETED}
    for trial in trials.values():
        for before, after in zip(trial.attempts, trial.attempts[1:], strict=False):
            assert before.failure is not None or before.withdrawn
            assert (before.ended or 0) <= after.planned
    assert session.bridge.experiment == replayed(tmp_path)
