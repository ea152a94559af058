"""Requests against the simulated cluster: what each changes, how it is answered; rubbish ends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.changes import Change
from axsched_hpc.core.events import Failure, RequestAnswered
from axsched_hpc.core.states import FailureKind, JobState, RequestKind, TrialState
from axsched_hpc.io import atomic, requests
from axsched_hpc.loop.loop import Goal, Loop, Stop
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from tests.loop.conftest import Made, always
from tests.loop.simulated import Fate

K, S = RequestKind, TrialState


def lay(session: Session, kind: RequestKind, **fields: Any) -> str:
    """Lay a request down; for a stop, for the driver that there is."""
    if kind is K.STOP:
        fields.setdefault("epoch", session.epoch)
    return requests.lay_down(session.layout, Change(kind, "ada@login1", 1.0, **fields))


def answer(session: Session, id: str) -> RequestAnswered:
    found = session.ledger.changes.answers[id]
    assert not requests.path_of(session.layout, id).exists()
    return found


def run(loop: Loop, trials: int, *, budget: bool = True) -> Stop:
    return loop.run(Goal(trials, synchronous=False, budget=budget), Interrupts())


def test_a_pause_submits_nothing_new_and_what_runs_goes_on(made: Made) -> None:
    session, loop, _, clock = made(always(runs=20.0), slots=2)
    ids: list[str] = []
    clock.at(5.0, lambda: ids.append(lay(session, K.PAUSE)))
    clock.at(6.0, lambda: ids.append(lay(session, K.PAUSE)))
    clock.at(500.0, lambda: ids.append(lay(session, K.RESUME)))
    assert run(loop, 4) is Stop.BUDGET
    added = [trial.added - 1_000_000.0 for trial in session.ledger.trials.values()]
    assert max(added[:2]) < 5.0
    assert min(added[2:]) >= 500.0
    said = [answer(session, id).answer for id in ids]
    assert said == [
        "paused: nothing new is submitted; 2 attempts under way go on",
        "paused already, by ada@login1",
        "resumed: what waits is submitted again",
    ]
    assert session.ledger.changes.paused is None


def test_a_stop_ends_after_what_runs_and_stops_no_later_driver(made: Made) -> None:
    session, loop, _, clock = made(always(runs=20.0), slots=2)
    clock.at(5.0, lambda: lay(session, K.STOP))
    assert run(loop, 8) is Stop.REQUESTED
    assert +session.ledger.counts == {S.COMPLETED: 2}
    late = lay(session, K.STOP)
    session.close(orderly=False)
    session, loop, _, clock = made(always(runs=5.0), slots=2, clock=clock)
    assert run(loop, 8) is Stop.BUDGET
    assert answer(session, late).answer == "it was for an earlier driver, which has ended; this one goes on"
    assert not answer(session, late).taken


def test_a_stop_that_cancels_ends_at_once_and_what_it_cancelled_can_be_tried_again(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=1000.0), slots=2, max_failures=0)
    clock.at(20.0, lambda: lay(session, K.STOP, cancel=True))
    # What a person cancels is no failure of the objective, of which not one is allowed here.
    assert run(loop, 4) is Stop.REQUESTED
    assert clock.time - 1_000_000.0 < 120.0
    assert sorted(runner.cancelled) == ["1_0", "1_1"]
    assert {trial.reason for trial in session.ledger.trials.values()} == {"cancelled by ada@login1"}
    assert +session.ledger.counts == {S.ABANDONED: 2}
    session.close(orderly=False)
    session, loop, _, clock = made(always(runs=5.0), slots=2, clock=clock)
    lay(session, K.RETRY, trial=0)
    assert run(loop, 4) is Stop.BUDGET
    assert +session.ledger.counts == {S.COMPLETED: 3, S.ABANDONED: 1}
    assert [a.number for a in session.ledger.trials[0].attempts] == [1, 2]
    statuses = {n: trial.status.name for n, trial in session.bridge.experiment.trials.items()}
    assert statuses == {0: "COMPLETED", 1: "ABANDONED", 2: "COMPLETED", 3: "COMPLETED"}
    # A replay comes to the same.
    session.close(orderly=False)
    session, *_ = made(always(), clock=clock)
    assert {n: t.status.name for n, t in session.bridge.experiment.trials.items()} == statuses


def test_trials_are_cancelled_in_every_state_and_nothing_else_is(made: Made) -> None:
    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        # The first runs, the second is queued for ever, the third fails and waits for another attempt.
        if trial == 2:
            return Fate(runs=1.0, state=JobState.NODE_FAILED)
        return Fate(runs=1000.0 if trial == 0 else 5.0, queued=10_000.0 if trial == 1 else 1.0)

    session, loop, _, clock = made(fate, slots=3, max_failures=100)
    ids: dict[int, str] = {}

    def ask() -> None:
        ids.update({n: lay(session, K.CANCEL, trial=n) for n in (0, 1, 2, 3, 99)})

    clock.at(120.0, ask)
    assert run(loop, 4) is Stop.BUDGET
    states = {n: trial.state for n, trial in session.ledger.trials.items()}
    assert states == {0: S.ABANDONED, 1: S.ABANDONED, 2: S.FAILED, 3: S.COMPLETED}
    said = {n: answer(session, id).answer for n, id in ids.items()}
    assert said == {
        0: "trial 0: cancelled, with its job 1_0",
        1: "trial 1: cancelled, with its job 1_1",
        2: "trial 2 has failed already",
        3: "trial 3 has completed",
        99: "there is no trial 99",
    }
    assert {n for n, id in ids.items() if answer(session, id).taken} == {0, 1}
    assert session.ledger.changes.cancelling == {}
    assert session.ledger.tally() == {"completed": 1, "failed": 1, "cancelled": 2}


def test_what_a_dead_driver_had_planned_is_cancelled_before_it_begins(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, loop, runner, clock = made(always(runs=5.0), slots=2)
    monkeypatch.setattr(runner, "submit", lambda batch: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        run(loop, 2)
    session.close(orderly=False)
    session, loop, *_ = made(always(runs=5.0), slots=2, clock=clock)
    assert {trial.state for trial in session.ledger.trials.values()} == {S.PLANNED}
    cancelled = lay(session, K.CANCEL, trial=0)
    assert run(loop, 2) is Stop.BUDGET
    assert answer(session, cancelled).answer == "trial 0: cancelled"
    assert {n: trial.state for n, trial in session.ledger.trials.items()} == {0: S.ABANDONED, 1: S.COMPLETED}
    assert [len(trial.attempts) for trial in session.ledger.trials.values()] == [1, 2]


def test_a_result_that_comes_before_the_end_of_a_cancelled_job_is_kept(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=30.0), slots=1)
    cancel = runner.cancel
    runner.cancel = lambda jobs: None  # type: ignore[method-assign]
    clock.at(25.0, lambda: lay(session, K.CANCEL, trial=0))
    assert run(loop, 1) is Stop.BUDGET
    assert session.ledger.trials[0].state is S.COMPLETED
    runner.cancel = cancel  # type: ignore[method-assign]


def test_a_failed_trial_is_tried_again_and_others_are_refused(made: Made) -> None:
    broken = Failure(FailureKind.EXIT_CODE, "exit code 3", exit_code=3)

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(runs=5.0, failure=broken if trial == 0 and attempt == 1 else None)

    session, loop, _, clock = made(fate, slots=1)
    ids: list[str] = []
    clock.at(8.0, lambda: ids.extend(lay(session, K.RETRY, trial=0) for _ in range(2)))
    clock.at(30.0, lambda: ids.append(lay(session, K.RETRY, trial=0)))
    assert run(loop, 8) is Stop.BUDGET
    assert +session.ledger.counts == {S.COMPLETED: 8}
    assert session.ledger.failed_arms.total() == 0
    assert [answer(session, id).answer for id in ids] == [
        "trial 0: tried again, as attempt 2",
        "trial 0 is waiting already",
        "trial 0 has completed",
    ]


def test_numbers_hold_for_as_long_as_the_script_says_the_same(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=10.0), slots=2)
    id = lay(session, K.SET, trials=6, max_parallel=3)
    assert run(loop, 4) is Stop.BUDGET
    assert session.ledger.own == 6
    assert runner.most_active == 3
    assert answer(session, id).answer == (
        "the budget is 6 trials now (instead of 4); up to 3 attempts at a time now (instead of 2)"
    )
    session.close(orderly=True)
    session, loop, runner, clock = made(always(runs=10.0), slots=2, clock=clock)
    assert run(loop, 4) is Stop.BUDGET
    assert session.ledger.own == 6
    assert run(loop, 9) is Stop.BUDGET
    assert session.ledger.own == 9
    assert runner.most_active == 3
    late = lay(session, K.SET, trials=5)
    # A request that comes with the last result is not left behind, nor one that there is no budget for.
    assert run(loop, 9, budget=False) is Stop.BUDGET
    assert "waits for trials that there are" in answer(session, late).answer


def test_a_larger_budget_that_comes_at_the_very_end_is_taken(made: Made) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=2)
    decide = loop._decide

    def last(goal: Goal) -> Stop | None:
        stop = decide(goal)
        if stop is Stop.BUDGET and session.ledger.own == 2:
            lay(session, K.SET, trials=3)
        return stop

    loop._decide = last  # type: ignore[method-assign]
    assert run(loop, 2) is Stop.BUDGET
    assert session.ledger.own == 3


def test_points_are_added_and_bad_ones_are_named(made: Made) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=1)
    places = ("line 2", "line 3", "line 4")
    good = lay(session, K.ADD, points=({"x": "0.25"}, {"x": 0.5}), places=places[:2], source="points.csv")
    bad = lay(session, K.ADD, points=({"x": "0.5"}, {"x": "7"}, {"z": 1}), places=places)
    assert run(loop, 3) is Stop.BUDGET
    assert [trial.parameters for trial in session.ledger.trials.values()][:2] == [{"x": 0.25}, {"x": 0.5}]
    assert answer(session, good).answer == "2 points added, to be run before Ax is asked for any"
    said = answer(session, bad).answer
    assert not answer(session, bad).taken
    assert "line 3: parameter 'x' is 7.0" in said
    assert "line 4: " in said
    assert "line 2: " not in said


def test_what_the_budget_has_no_room_for_is_said(made: Made) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=1)
    id = lay(session, K.ADD, points=({"x": 0.25}, {"x": 0.5}), places=("point 0", "point 1"))
    assert run(loop, 1) is Stop.BUDGET
    assert answer(session, id).answer.endswith("no room for all that wait: axsched set --trials 2")


def test_evaluations_are_imported_once_and_bad_ones_are_named(made: Made) -> None:
    session, loop, _, clock = made(always(runs=5.0), slots=1)
    text = "x,loss\n0.25,0.5\n0.5,0.75\n"
    ids = [lay(session, K.IMPORT, source="m.csv", text=text) for _ in range(2)]
    ids.append(lay(session, K.IMPORT, source="m.csv", text=text + "7,1\n"))
    ids.append(lay(session, K.IMPORT, source="m.csv", text=text + "7,1\n0.125,2\n", skip_bad=True))
    ids.append(lay(session, K.IMPORT, source="m.json", text='{"no": "Ax"}'))
    ids.append(lay(session, K.IMPORT, source="/nowhere"))
    assert run(loop, 1) is Stop.BUDGET
    assert session.ledger.own == 1
    assert len(session.ledger.trials) == 4
    said = [answer(session, id).answer.splitlines()[0] for id in ids]
    assert said[:4] == [
        "2 evaluations imported as completed trials",
        "0 evaluations imported as completed trials; 2 were there already",
        "1 of 3 evaluations in m.csv cannot be used:",
        "1 evaluation imported as completed trials; 2 were there already; 1 cannot be used",
    ]
    assert [answer(session, id).taken for id in ids] == [True, True, False, True, False, False]
    before = session.bridge.experiment.to_df()
    session.close(orderly=True)
    session, *_ = made(always(), clock=clock)
    assert session.bridge.experiment.to_df().equals(before)


def test_rubbish_is_put_aside_and_named_once(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=1)
    inbox = session.layout.inbox
    texts = ("", "{", "[]", '{"format": 4}', '{"format": 99, "request": "pause"}')
    names = [f"request-179603452449984{n}-596cd738.json" for n in range(len(texts) + 2)]
    for name, text in zip(names, texts, strict=False):
        (inbox / name).write_text(text)
    (inbox / names[-2]).symlink_to(tmp_path)
    (inbox / names[-1]).mkdir()
    id = lay(session, K.SET, trials=2)
    assert run(loop, 1) is Stop.BUDGET
    assert answer(session, id).taken
    assert session.ledger.own == 2
    assert atomic.listing(inbox) == []
    assert atomic.listing(session.layout.refused) == names
    for name in names:
        (told,) = [message for message in caplog.messages if name in message]
        assert "put aside" in told


def test_rubbish_that_cannot_be_put_aside_is_left_alone_and_named_once(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=1)
    session.layout.refused.write_text("in the way")
    path = requests.path_of(session.layout, "1796034524499840-596cd738")
    path.write_text("{")
    assert run(loop, 1) is Stop.BUDGET
    assert path.exists()
    assert len([message for message in caplog.messages if path.name in message]) == 1


def test_where_ax_drives_it_is_refused_what_only_ax_can_do(made: Made) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=1)
    ids = [lay(session, kind) for kind in (K.STOP, K.PAUSE)]
    ids.append(lay(session, K.SET, trials=3))
    ids.append(lay(session, K.SET, max_parallel=3))
    loop.observe()  # as a poll of Ax's Orchestrator does
    assert [answer(session, id).taken for id in ids] == [False, True, False, True]
    assert "only its Orchestrator can do that" in answer(session, ids[0]).answer


def test_the_cluster_is_not_asked_for_a_place_that_was_given_up(made: Made) -> None:
    """A batch that is held back by a limit is let go where the run stops, or its trial is cancelled."""
    session, loop, runner, clock = made(always(runs=50.0), slots=3)
    runner.limit = 1
    clock.at(20.0, lambda: lay(session, K.CANCEL, trial=1))
    clock.at(30.0, lambda: lay(session, K.STOP))
    assert run(loop, 3) is Stop.REQUESTED
    states = [trial.state for trial in session.ledger.trials.values()]
    assert states[:2] == [S.COMPLETED, S.ABANDONED]
    assert set(states[2:]) <= {S.WAITING}


def test_what_is_asked_for_is_logged(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    from axsched_hpc.core.best import Incumbent
    from axsched_hpc.loop.progress import describe

    session, loop, _, _ = made(always(runs=5.0), slots=1)
    lay(session, K.PAUSE)
    lay(session, K.CANCEL, trial=7)
    lay(session, K.RESUME)
    lines: list[str | None] = []
    incumbent = Incumbent(session.problem)
    session.listeners.append(lambda event, ledger: lines.append(describe(event, ledger, incumbent)))
    run(loop, 1)
    assert lines[:3] == [
        "paused: nothing new is submitted (asked for by ada@login1)",
        "refused to cancel: there is no trial 7 (asked for by ada@login1)",
        "resumed: what waits is submitted again (asked for by ada@login1)",
    ]
