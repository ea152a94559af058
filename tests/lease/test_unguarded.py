"""What the journal does not guard is done by nobody who was superseded while he waited for an answer."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import ExperimentMismatchError, SupersededError
from axsched_hpc.core.events import LeaseTaken, ObjectiveSet
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.loop.loop import Goal, Loop
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from axsched_hpc.runners.base import Batch, JobStatus
from axsched_hpc.store.writer import JournalWriter
from tests.e2e.kit import client as two_parameters
from tests.lease.kit import flock
from tests.loop.conftest import client
from tests.loop.simulated import Fate, SimulatedRunner, VirtualClock


def take_over(layout: Layout) -> None:
    first = LeaseTaken(1.0, FORMAT, "elsewhere", 1, None, None, "ada", 60.0)
    JournalWriter(layout.journal, 2, first).close()


class SlowRunner(SimulatedRunner):
    """While it answers something happens."""

    before_poll: Callable[[], None] | None = None
    before_find: Callable[[], None] | None = None

    def poll(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        if self.before_poll is not None and any(self.states[job].final for job in jobs):
            self.before_poll()
        return super().poll(jobs)

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        if self.before_find is not None:
            self.before_find()
            return {}
        return super().find(batches)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path / "run")


def driver(layout: Layout, fate: Fate, clock: VirtualClock) -> tuple[Session, Loop, SlowRunner]:
    config = SchedulerConfig.from_dict({"poll_interval": 1, "monitoring_interval": 10})
    session = Session.open(layout, AxBridge.from_input(client()), config, clock)
    session.record(ObjectiveSet(clock.now(), "none", "simulated"))
    runner = SlowRunner(clock, lambda trial, attempt, parameters: fate, 1)
    return session, Loop(session, runner), runner


def superseded(session: Session, loop: Loop) -> None:
    with pytest.raises(SupersededError, match="Process 1 on elsewhere has taken this experiment over"):
        loop.run(Goal(1, synchronous=True), Interrupts())
    session.close(orderly=False)


def test_a_job_that_was_lost_is_left_to_the_later_driver(layout: Layout) -> None:
    # It may have been requeued since, and run under the later driver.
    session, loop, runner = driver(layout, Fate(state=JobState.NODE_FAILED, claims=False), VirtualClock())
    seen: list[None] = []

    def answer() -> None:
        # An end counts from its second sight on.
        seen.append(None)
        if len(seen) == 2:
            take_over(layout)

    runner.before_poll = answer
    superseded(session, loop)
    assert len(seen) == 2
    assert runner.cancelled == []
    assert claim.read(layout.attempt(0, 1)) is None


def test_the_claims_of_jobs_that_were_not_found_are_left_alone(layout: Layout) -> None:
    session, loop, runner = driver(layout, Fate(queued=1e6), VirtualClock())
    runner.lost_answers = 1
    runner.before_find = lambda: take_over(layout)
    superseded(session, loop)
    assert claim.read(layout.attempt(0, 1)) is None


def test_a_notice_that_only_the_later_driver_understands_is_left_alone(layout: Layout) -> None:
    clock = VirtualClock()
    session, loop, _ = driver(layout, Fate(runs=1e6), clock)

    look = session.check

    def look_in_time() -> None:
        look()
        # And right after it:
        if clock.time >= begun + 5:
            session.check = look  # type: ignore[method-assign]
            take_over(layout)
            layout.notice(7, 1).write_text("{}")

    begun = clock.time
    session.check = look_in_time  # type: ignore[method-assign]
    superseded(session, loop)
    assert [path.name for path in layout.inbox.iterdir()] == ["00007-1.json"]


def test_an_experiment_that_was_made_while_this_one_waited_is_not_mixed_with_it(layout: Layout) -> None:
    layout.root.mkdir()
    clock = VirtualClock()
    config = SchedulerConfig.from_dict({})

    def open_another() -> None:
        Session.open(layout, AxBridge.from_input(two_parameters()), config, VirtualClock()).close(
            orderly=True
        )

    clock.at(1, open_another)
    # The lock of a machine that is gone, for which both wait.
    with layout.lock.open("w") as file:
        flock(file, fcntl.LOCK_EX)
        with pytest.raises(ExperimentMismatchError, match="holds another experiment than the one passed in"):
            Session.open(layout, AxBridge.from_input(client()), config, clock)
    definition: dict[str, Any] = json.loads(layout.definition.read_text())
    assert sorted(definition["axsched"]["fingerprint"]["parameters"]) == ["x", "y"]
