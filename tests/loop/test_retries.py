"""What the loop does about failures, limits and jobs that do not start, against a simulated cluster."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from axsched_hpc.core.errors import SubmissionError
from axsched_hpc.core.events import Failure, Request
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.request import Asked
from axsched_hpc.core.states import FailureKind, JobState, TrialState
from axsched_hpc.io import queue
from axsched_hpc.io.queue import Queue
from axsched_hpc.loop.loop import Goal, Stop
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from tests.loop.conftest import Made, always
from tests.loop.simulated import Fate

ROUND, STREAM = Goal(8, synchronous=True), Goal(8, synchronous=False)


def until(attempt: int, **fields: Any) -> Any:
    """A fate that is bad before the attempt and good from it on."""

    def fate(trial: int, number: int, parameters: Mapping[str, object]) -> Fate:
        return Fate(**fields) if number < attempt else Fate()

    return fate


def requests(trial: Trial) -> list[Request]:
    return [each.request for each in trial.attempts]


def failure(session: Session, trial: int = 0) -> Failure:
    found = session.ledger.trials[trial].failures()[-1]
    assert found is not None
    return found


def test_more_memory_until_it_is_enough(made: Made) -> None:
    rule = {"out_of_memory": {"attempts": 2, "memory_factor": 2}}
    session, loop, runner, _ = made(until(3, state=JobState.OUT_OF_MEMORY), slots=1, retries=rule)
    runner.asked = Asked(4096, 3600)
    assert loop.run(Goal(1, synchronous=True), Interrupts()) is Stop.BUDGET
    (trial,) = session.ledger.trials.values()
    assert trial.state is TrialState.COMPLETED
    assert requests(trial) == [Request(), Request(memory_mb=8192), Request(memory_mb=16384)]
    assert [batch.request for batch in runner.batches] == requests(trial)


def test_no_more_memory_than_the_maximum(made: Made) -> None:
    rule = {"out_of_memory": {"attempts": 9, "memory_factor": 3, "memory_max": "10G"}}
    session, loop, runner, _ = made(
        always(state=JobState.OUT_OF_MEMORY), slots=1, retries=rule, failure_rate=1.0
    )
    runner.asked = Asked(4096, 3600)
    loop.run(Goal(1, synchronous=True), Interrupts())
    (trial,) = session.ledger.trials.values()
    assert trial.state is TrialState.FAILED
    assert requests(trial) == [Request(), Request(memory_mb=10240)]
    assert failure(session).asked_mb == 10240


def test_more_time_and_what_a_failure_tells(made: Made) -> None:
    rule = {"timeout": {"attempts": 1, "time_factor": 1.5}}
    session, loop, runner, _ = made(always(state=JobState.TIMED_OUT), slots=1, retries=rule, failure_rate=1.0)
    runner.asked = Asked(4096, 3600)
    loop.run(Goal(1, synchronous=True), Interrupts())
    (trial,) = session.ledger.trials.values()
    assert requests(trial) == [Request(), Request(time_s=5400)]
    first, second = trial.failures()
    assert (first.limit_s, second.limit_s, second.used_mb, second.elapsed_s) == (3600, 5400, 3993.6, 3600)
    assert trial.reason == (
        "job 2_0 on node: it reached its time limit. Ended by Slurm: the job asked for 01:30:00, and it ran "
        "for 01:00:00; raise time_limit, let it grow with retries: {'timeout': {'attempts': 2, "
        "'time_factor': 1.5}}, or save checkpoints."
    )


def test_without_a_rule_a_lack_fails_the_trial_and_says_what_to_do(made: Made) -> None:
    session, loop, runner, _ = made(always(state=JobState.OUT_OF_MEMORY), slots=1, failure_rate=1.0)
    runner.asked = Asked(4096, None)
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert len(session.ledger.trials[0].attempts) == 1
    assert session.ledger.trials[0].reason.endswith(
        "Killed for its memory: the job asked for 4 GB and used 3.9 GB; raise memory, or let it grow with "
        "retries: {'out_of_memory': {'attempts': 2, 'memory_factor': 2}}."
    )


def test_records_that_come_late_are_waited_for(made: Made) -> None:
    late = always(state=JobState.OUT_OF_MEMORY)
    session, loop, runner, _ = made(late, slots=1, failure_rate=1.0, monitoring_interval=4)
    runner.late_records = 2
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert (failure(session).used_mb, failure(session).elapsed_s) == (3993.6, 3600)


@pytest.mark.parametrize(
    ("state", "looks"), [(JobState.OUT_OF_MEMORY, 3), (JobState.CANCELLED, 1), (JobState.PREEMPTED, 1)]
)
def test_records_that_never_come_are_waited_for_ten_seconds_at_most(
    made: Made, state: JobState, looks: int
) -> None:
    fate, options = until(2, state=state), {"failure_rate": 1.0, "monitoring_interval": 4}
    session, loop, runner, _ = made(fate, slots=1, **options)
    runner.late_records = 99
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert (failure(session).used_mb, len(runner.usages)) == (None, looks)


def test_one_question_for_the_usage_of_all_that_failed(made: Made) -> None:
    session, loop, runner, _ = made(until(2, state=JobState.NODE_FAILED), slots=4)
    loop.run(Goal(4, synchronous=True), Interrupts())
    assert session.ledger.counts[TrialState.COMPLETED] == 4
    assert [len(jobs) for jobs in runner.usages] == [4]


def test_a_bad_node_is_avoided(made: Made) -> None:
    nodes = {1: "n1", 2: "n2"}

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        if attempt < 3:
            return Fate(state=JobState.NODE_FAILED, node=nodes[attempt])
        return Fate(node="n3")

    session, loop, _, _ = made(fate, slots=1)
    loop.run(Goal(1, synchronous=True), Interrupts())
    trial = session.ledger.trials[0]
    assert trial.state is TrialState.COMPLETED
    assert [each.exclude for each in requests(trial)] == [(), ("n1",), ("n1", "n2")]


def test_a_preempted_job_may_go_to_the_same_node(made: Made) -> None:
    session, loop, _, _ = made(until(2, state=JobState.PREEMPTED, node="n1"), slots=1)
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert requests(session.ledger.trials[0]) == [Request(), Request()]


def test_where_no_other_node_is_left_none_is_avoided(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    session, loop, runner, _ = made(until(2, state=JobState.NODE_FAILED, node="n1"), slots=1)
    submit = runner.submit

    def refusing(batch: Any) -> Any:
        if batch.request.exclude:
            raise SubmissionError("Requested node configuration is not available")
        return submit(batch)

    runner.submit = refusing  # type: ignore[method-assign]
    assert loop.run(Goal(1, synchronous=True), Interrupts()) is Stop.BUDGET
    trial = session.ledger.trials[0]
    assert trial.state is TrialState.COMPLETED
    assert [each.withdrawn for each in trial.attempts] == [False, True, False]
    assert "Slurm refused jobs that avoid n1" in caplog.text


def test_a_batch_is_split_until_it_is_taken(made: Made) -> None:
    session, loop, runner, _ = made(always(), slots=16)
    runner.limit = 5
    assert loop.run(Goal(16, synchronous=True), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 16
    assert runner.most_active == 5
    # Batches that were too large cost an attempt's number each, and single attempts that wait none.
    assert max(len(trial.attempts) for trial in session.ledger.trials.values()) <= 6


def test_a_full_queue_is_filled_as_soon_as_a_trial_has_ended(made: Made) -> None:
    """The pauses after refusals have grown to a minute by then."""
    session, loop, runner, _ = made(always(runs=600.0, queued=0.5), slots=4)
    runner.limit = 2
    assert loop.run(Goal(8, synchronous=False), Interrupts()) is Stop.BUDGET
    ends = sorted(trial.ended or 0 for trial in session.ledger.trials.values())
    begins = sorted(trial.attempts[-1].submitted or 0 for trial in session.ledger.trials.values())
    for end, begin in zip(ends, begins[2:], strict=False):
        assert 0 <= begin - end <= 1.1
    waiting = [later - earlier for earlier, later in pairwise(runner.asked_at)]
    assert max(waiting) > 30 and len(runner.asked_at) < 200


def test_room_that_others_leave_is_found(made: Made) -> None:
    session, loop, runner, clock = made(always(), slots=2)
    runner.limit, runner.others = 3, 3
    clock.at(500.0, lambda: setattr(runner, "others", 1))
    assert loop.run(Goal(2, synchronous=True), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 2
    assert 500.0 <= (session.ledger.trials[0].attempts[-1].submitted or 0) - 1_000_000 <= 580.0
    assert len(session.ledger.trials[0].attempts) <= 2


def test_an_attempt_without_room_ends_with_the_time_of_the_call(made: Made) -> None:
    session, loop, runner, clock = made(always(), slots=1)
    runner.limit = 0
    goal = Goal(1, synchronous=True, deadline=clock.time + 100)
    assert loop.run(goal, Interrupts()) is Stop.TIMEOUT
    assert session.ledger.counts[TrialState.ABANDONED] == 1
    runner.limit = None
    assert loop.run(Goal(2, synchronous=True), Interrupts()) is Stop.BUDGET
    assert session.ledger.counts[TrialState.COMPLETED] == 1


def test_why_a_job_does_not_start(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    stuck = {"reason": "PartitionTimeLimit", "queued": 1000.0}
    inodes: list[int] = []
    session, loop, _, clock = made(
        lambda t, a, p: Fate(**(stuck if t else {"reason": "Priority", "queued": 1000.0})),
        slots=3,
        stuck_after=300,
    )
    with caplog.at_level(logging.WARNING, "axsched_hpc"):
        stop = loop.run(
            Goal(3, synchronous=True, deadline=session.clock.monotonic() + 200, cancel=False), Interrupts()
        )
        assert stop is Stop.TIMEOUT
        waits = [session.ledger.trials[n].attempts[-1].waits for n in range(3)]
        assert waits == ["", "PartitionTimeLimit", "PartitionTimeLimit"]
        # Whoever watches sees all reasons; the file is written when they change, not at each look.
        assert queue.read(session.layout) == Queue(3, {"PartitionTimeLimit": (1, 2), "Priority": (0,)})
        written = session.layout.queue.stat().st_ino
        assert "may never start" not in caplog.text
        clock.at(400.0, lambda: inodes.append(session.layout.queue.stat().st_ino))
        assert loop.run(Goal(3, synchronous=True), Interrupts()) is Stop.BUDGET
    assert inodes == [written]
    assert queue.read(session.layout) == Queue(3)
    warnings = [record.getMessage() for record in caplog.records if "never start" in record.getMessage()]
    assert warnings == [
        "2 jobs (1_1, 1_2) may never start. Slurm's reason: PartitionTimeLimit. What to do: time_limit is "
        "beyond the partition's; `sinfo -o '%P %l'` shows it."
    ]
    assert session.ledger.counts[TrialState.COMPLETED] == 3
    assert session.ledger.trials[1].attempts[-1].waits == ""


def test_a_slow_controller_is_asked_less_often(made: Made) -> None:
    _, loop, runner, clock = made(always(runs=3000.0), slots=1)
    runner.answer = 3.0
    begun = clock.time
    loop.run(Goal(1, synchronous=True), Interrupts())
    # Every minute instead of every ten seconds: a twentieth of the time.
    assert 40 <= runner.polls <= (clock.time - begun) / 60 + 5


def test_a_controller_that_is_down_is_asked_less_and_less(made: Made) -> None:
    session, loop, runner, clock = made(always(runs=5.0, queued=4000.0), slots=1)
    runner.down = True
    polls: list[int] = []

    def return_() -> None:
        runner.down = False
        polls.append(runner.polls)

    clock.at(3600.0, return_)
    assert loop.run(Goal(1, synchronous=True), Interrupts()) is Stop.BUDGET
    assert 5 < polls[0] < 90
    assert session.ledger.counts[TrialState.COMPLETED] == 1


@pytest.mark.parametrize("kind", [FailureKind.EXIT_CODE, FailureKind.BAD_METRICS])
def test_a_failure_of_the_objective_is_its_own(made: Made, kind: FailureKind) -> None:
    session, loop, _, _ = made(
        always(failure=Failure(kind, "no")), slots=1, retries={"infrastructure": 9}, failure_rate=1.0
    )
    loop.run(Goal(1, synchronous=True), Interrupts())
    assert len(session.ledger.trials[0].attempts) == 1
    assert session.ledger.counts[TrialState.FAILED] == 1
