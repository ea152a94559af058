"""Ax asked beside the loop: what goes on meanwhile, and what becomes of its answer."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.ax_bridge.asking import Asked
from axsched_hpc.core.events import Event, TrialAdded
from axsched_hpc.core.states import JobState, TrialState
from axsched_hpc.loop.loop import Goal, Stop
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from tests.loop.conftest import Made, always
from tests.loop.simulated import Fate, VirtualClock
from tests.loop.test_loop import replayed


class PassingClock(VirtualClock):
    """A virtual clock beside which Ax is asked, and which passes only during one of the requests."""

    passes = True

    def __init__(self) -> None:
        super().__init__()
        self._answered = threading.Event()
        self.session: Session | None = None
        self.begun, self.go_on = threading.Event(), threading.Event()

    def wait(self, seconds: float) -> None:
        while self.session is not None and self.session.ax_is_busy and not self.begun.is_set():
            if self._answered.wait(0.01):
                break
        self._answered.clear()
        super().wait(seconds)

    def wake(self) -> None:
        self._answered.set()

    def hold(self, session: Session, monkeypatch: pytest.MonkeyPatch, *, request: int) -> None:
        """Let Ax answer its ``request``-th request for points only when it may go on."""
        self.session, ask, count = session, session.bridge.ask, itertools.count(1)

        def slow(*arguments: Any, **options: Any) -> Any:
            if next(count) == request:
                self.begun.set()
                assert self.go_on.wait(60)
            return ask(*arguments, **options)

        monkeypatch.setattr(session.bridge, "ask", slow)


def test_while_ax_computes_jobs_are_polled_and_trials_repeated(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fate(trial: int, attempt: int, parameters: Any) -> Fate:
        if (trial, attempt) == (1, 1):
            return Fate(runs=30.0, state=JobState.NODE_FAILED)
        return Fate(runs=40.0 if trial == 2 else 5.0)

    clock = PassingClock()
    session, loop, runner, _ = made(fate, slots=3, clock=clock)
    clock.hold(session, monkeypatch, request=2)
    seen: dict[str, Any] = {}

    def look() -> None:
        trials, there = session.ledger.trials, session.bridge.experiment.trials
        seen["ledger"] = [trials[1].state, len(trials[1].attempts), trials[2].state]
        seen["ax"] = [there[n].status.name for n in range(3)]
        seen["polls"] = runner.polls
        clock.go_on.set()

    clock.at(100.0, look)
    assert loop.run(Goal(6, synchronous=False), Interrupts()) is Stop.BUDGET
    # Since the first trial has ended Ax is asked. The second one was repeated, the third one has ended: both
    # are in the journal, and Ax is told afterwards.
    assert seen["ledger"] == [TrialState.COMPLETED, 2, TrialState.COMPLETED]
    assert seen["ax"] == ["COMPLETED", "RUNNING", "RUNNING"] and seen["polls"] >= 3
    assert session.ledger.counts[TrialState.COMPLETED] == 6
    assert {trial.status.name for trial in session.bridge.experiment.trials.values()} == {"COMPLETED"}
    assert session.bridge.experiment == replayed(tmp_path)


def test_a_signal_while_ax_computes_loses_no_point(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, interrupts = PassingClock(), Interrupts()
    session, loop, _, _ = made(always(runs=5.0), slots=2, clock=clock)
    clock.hold(session, monkeypatch, request=2)

    def interrupt() -> None:
        interrupts.note(15)
        threading.Timer(0.05, clock.go_on.set).start()

    clock.at(60.0, interrupt)
    assert loop.run(Goal(8, synchronous=False), interrupts) is Stop.INTERRUPTED
    assert sorted(session.ledger.waiting) == [2, 3]
    assert session.bridge.experiment == replayed(tmp_path)
    assert loop.run(Goal(8, synchronous=False), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 8


def test_what_ends_while_ax_refuses_is_told_before_it_is_asked_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ax allows two trials at a time, and both end before its refusal of a third is taken."""
    clock = PassingClock()
    session, loop, _, _ = made(always(runs=5.0), slots=3, clock=clock)
    session_ask, clock.session = session.bridge.ask, session
    refusals = itertools.count(1)

    def ask(n: int, **options: Any) -> Asked:
        running = sum(trial.status.is_running for trial in session.bridge.experiment.trials.values())
        if running < 2:
            return session_ask(min(n, 2 - running), **options)
        if next(refusals) == 1:
            clock.begun.set()
            assert clock.go_on.wait(60)
        return Asked((), "Ax allows no more")

    monkeypatch.setattr(session.bridge, "ask", ask)
    clock.at(60.0, clock.go_on.set)
    assert loop.run(Goal(6, synchronous=False), Interrupts()) is Stop.BUDGET
    assert next(refusals) > 1


def test_what_ax_raises_ends_the_run(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    session, loop, _, _ = made(always(runs=5.0), slots=2, clock=PassingClock())
    ask = session.bridge.ask

    def broken(*arguments: Any, **options: Any) -> Any:
        if session.ledger.trials:
            raise ArithmeticError("no model")
        return ask(*arguments, **options)

    monkeypatch.setattr(session.bridge, "ask", broken)
    with pytest.raises(ArithmeticError, match="no model"):
        loop.run(Goal(8, synchronous=False), Interrupts())
    assert not session.ax_is_busy
    monkeypatch.setattr(session.bridge, "ask", ask)
    assert loop.run(Goal(8, synchronous=False), Interrupts()) is Stop.BUDGET


def test_trials_generated_ahead_wait_for_a_slot_and_stay_within_the_budget(made: Made) -> None:
    session, loop, runner, _ = made(always(runs=10.0), slots=3, prefetch=2)
    waiting: list[int] = []

    def note(event: Event, ledger: Any) -> None:
        waiting.append(len(ledger.waiting) if not isinstance(event, TrialAdded) else 0)

    session.listeners.append(note)
    assert loop.run(Goal(12, synchronous=False), Interrupts()) is Stop.BUDGET
    assert max(waiting) == 2 and runner.most_active == 3
    assert session.ledger.own == session.ledger.counts[TrialState.COMPLETED] == 12
    assert len(session.bridge.experiment.trials) == 12


@pytest.mark.parametrize(("seconds", "most"), [(0.2, 3), (10.0, 0)])
def test_random_points_are_had_ahead_where_trials_end_faster_than_ax_answers(
    made: Made, monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    session, loop, _, clock = made(always(runs=seconds), slots=3, poll_interval=0.1)
    ask, numbers, waiting = session.bridge.ask, [], [0]

    def slow(number: int, **options: Any) -> Any:
        numbers.append(number)
        clock.wait(0.05)
        return ask(number, **options)

    def note(event: Event, ledger: Any) -> None:
        waiting.append(len(ledger.waiting) if not isinstance(event, TrialAdded) else 0)

    monkeypatch.setattr(session.bridge, "ask", slow)
    session.listeners.append(note)
    assert loop.run(Goal(30, synchronous=False), Interrupts()) is Stop.BUDGET
    assert session.ledger.own == session.ledger.counts[TrialState.COMPLETED] == 30
    assert max(waiting) == most and sum(numbers) == 30
    assert numbers[0] == 3, "nothing is known before the first ends"


def test_rounds_are_not_generated_ahead(made: Made) -> None:
    session, loop, runner, _ = made(always(runs=10.0), slots=3, prefetch=2)
    assert loop.run(Goal(6, synchronous=True), Interrupts()) is Stop.BUDGET
    assert [len(batch.attempts) for batch in runner.batches] == [3, 3]
    trials = session.ledger.trials
    assert min(trials[n].added for n in range(3, 6)) >= max(trials[n].ended or 0 for n in range(3))
