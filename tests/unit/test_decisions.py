"""The pure decisions: demand, the meaning of a job's state, verdicts on failures, the best trials."""

from __future__ import annotations

import pytest

from axsched_hpc.core.best import Constraint, Incumbent, Objective, Problem, best
from axsched_hpc.core.events import Failure
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.plan import Demand, demand
from axsched_hpc.core.policy import FailureLimit, RetryPolicy, judge
from axsched_hpc.core.states import FailureKind, JobState, TrialState, Verdict
from axsched_hpc.core.watch import JobEnd, Sight, Watch, diagnose, look


@pytest.mark.parametrize(
    ("slots", "active", "waiting", "remaining", "synchronous", "expected"),
    [
        (4, 0, 0, 10, True, Demand(0, 4)),
        (4, 1, 0, 10, True, Demand(0, 0)),
        (4, 1, 2, 10, True, Demand(2, 0)),
        (4, 0, 0, 3, True, Demand(0, 3)),
        (4, 3, 0, 10, False, Demand(0, 1)),
        (4, 2, 1, 10, False, Demand(1, 1)),
        (4, 4, 3, 10, False, Demand(0, 0)),
        (4, 0, 0, 0, False, Demand(0, 0)),
        (2, 5, 1, 9, False, Demand(0, 0)),
    ],
)
def test_demand(
    slots: int, active: int, waiting: int, remaining: int, synchronous: bool, expected: Demand
) -> None:
    got = demand(slots=slots, active=active, waiting=waiting, remaining=remaining, synchronous=synchronous)
    assert got == expected


@pytest.mark.parametrize(
    ("active", "waiting", "remaining", "prefetch", "expected"),
    [
        (4, 0, 9, 2, Demand(0, 2)),  # all slots busy: two are generated ahead
        (4, 2, 9, 2, Demand(0, 0)),  # they are there
        (3, 2, 9, 2, Demand(1, 1)),  # one is taken, and replaced
        (0, 0, 9, 2, Demand(0, 6)),
        (2, 1, 9, 2, Demand(1, 3)),
        (4, 1, 0, 2, Demand(0, 0)),  # never more than the budget
        (3, 0, 2, 5, Demand(0, 2)),
    ],
)
def test_trials_are_generated_ahead(
    active: int, waiting: int, remaining: int, prefetch: int, expected: Demand
) -> None:
    got = demand(
        slots=4, active=active, waiting=waiting, remaining=remaining, synchronous=False, prefetch=prefetch
    )
    assert got == expected


@pytest.mark.parametrize(
    ("active", "waiting", "remaining", "expected"),
    [
        (4, 0, 99, Demand(0, 6)),
        (3, 4, 99, Demand(1, 3)),  # half of them have gone
        (3, 5, 99, Demand(1, 0)),
        (0, 0, 99, Demand(0, 10)),
        (4, 1, 2, Demand(0, 2)),
    ],
)
def test_random_points_are_asked_for_when_half_of_the_stock_has_gone(
    active: int, waiting: int, remaining: int, expected: Demand
) -> None:
    got = demand(slots=4, active=active, waiting=waiting, remaining=remaining, synchronous=False, stock=6)
    assert got == expected
    rounds = demand(slots=4, active=active, waiting=waiting, remaining=remaining, synchronous=True, stock=6)
    assert rounds.ask <= max(0, 4 - active - waiting), "not for rounds"


def see(watch: Watch, trial: TrialState, job: JobState, now: float) -> tuple[Watch, Sight]:
    return look(watch, trial, job, now=now, settle=2.0, lost_after=60.0)


def test_unknown_is_lost_only_after_the_deadline_and_never_before() -> None:
    watch, sight = see(Watch(), TrialState.RUNNING, JobState.UNKNOWN, 100.0)
    assert sight is Sight.NOTHING
    watch, sight = see(watch, TrialState.RUNNING, JobState.UNKNOWN, 159.0)
    assert sight is Sight.NOTHING
    again, sight = see(watch, TrialState.RUNNING, JobState.RUNNING, 159.5)
    assert (again, sight) == (Watch(), Sight.NOTHING)
    _, sight = see(watch, TrialState.RUNNING, JobState.UNKNOWN, 160.0)
    assert sight is Sight.LOST


def test_an_end_has_to_last_before_it_counts() -> None:
    watch, sight = see(Watch(), TrialState.RUNNING, JobState.NODE_FAILED, 10.0)
    assert sight is Sight.NOTHING
    watch, sight = see(watch, TrialState.RUNNING, JobState.QUEUED, 11.0)
    assert sight is Sight.REQUEUED
    watch, sight = see(watch, TrialState.QUEUED, JobState.RUNNING, 12.0)
    assert sight is Sight.STARTED
    watch, sight = see(watch, TrialState.RUNNING, JobState.FAILED, 13.0)
    watch, sight = see(watch, TrialState.RUNNING, JobState.FAILED, 15.0)
    assert sight is Sight.ENDED


@pytest.mark.parametrize("job", [JobState.SUSPENDED, JobState.ENDING, JobState.RUNNING])
def test_a_suspended_or_ending_job_has_not_ended(job: JobState) -> None:
    watch = Watch()
    for now in range(0, 1000, 100):
        watch, sight = see(watch, TrialState.RUNNING, job, float(now))
        assert sight is Sight.NOTHING


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (JobEnd("1", JobState.TIMED_OUT), FailureKind.TIMED_OUT),
        (JobEnd("1", JobState.OUT_OF_MEMORY), FailureKind.OUT_OF_MEMORY),
        (JobEnd("1", JobState.PREEMPTED), FailureKind.PREEMPTED),
        (JobEnd("1", JobState.NODE_FAILED), FailureKind.NODE_FAILED),
        (JobEnd("1", JobState.CANCELLED), FailureKind.CANCELLED),
        (JobEnd("1", JobState.FAILED, exit_code=1), FailureKind.LAUNCH_FAILED),
        (JobEnd("1", JobState.FAILED, signal=9, claimed=True), FailureKind.WORKER_KILLED),
        (JobEnd("1", JobState.FAILED, claimed=True), FailureKind.WORKER_KILLED),
        (JobEnd("1", JobState.FAILED, signal=11, claimed=True), FailureKind.CRASHED),
        (JobEnd("1", JobState.SUCCEEDED, exit_code=0, claimed=True), FailureKind.CRASHED),
        # Slurm 22.05 with OverMemoryKill, and with task/cgroup where the kernel killed a child.
        (
            JobEnd(
                "1",
                JobState.FAILED,
                claimed=True,
                said=("slurmstepd-n1: error: StepId=34.batch exceeded memory limit (4 > 2), being killed",),
            ),
            FailureKind.OUT_OF_MEMORY,
        ),
        (
            JobEnd(
                "1",
                JobState.FAILED,
                signal=9,
                claimed=True,
                said=("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=34.batch cgroup.",),
            ),
            FailureKind.OUT_OF_MEMORY,
        ),
        (
            JobEnd("1", JobState.FAILED, claimed=True, said=("my solver: out of memory",)),
            FailureKind.WORKER_KILLED,
        ),
    ],
)
def test_why_a_job_ended_without_an_outcome(end: JobEnd, kind: FailureKind) -> None:
    failure = diagnose(end)
    assert failure.kind is kind
    assert failure.message.startswith("job 1")


def failure(kind: FailureKind) -> Failure:
    return Failure(kind, "m")


def test_infrastructure_is_retried_three_times_and_the_objective_never() -> None:
    policy = RetryPolicy()
    node = failure(FailureKind.NODE_FAILED)
    assert judge(policy, node, [], 0) is Verdict.RETRY
    assert judge(policy, node, [node, node], 0) is Verdict.RETRY
    assert judge(policy, node, [node, node, node], 0) is Verdict.FAIL
    assert judge(policy, failure(FailureKind.EXIT_CODE), [node, node], 0) is Verdict.FAIL
    assert judge(RetryPolicy(objective=1), failure(FailureKind.EXIT_CODE), [node], 0) is Verdict.RETRY


def test_an_arm_that_fails_again_and_what_a_user_cancels_are_abandoned() -> None:
    assert judge(RetryPolicy(), failure(FailureKind.EXIT_CODE), [], 1) is Verdict.ABANDON
    assert judge(RetryPolicy(), failure(FailureKind.CANCELLED), [], 0) is Verdict.ABANDON


def test_every_kind_of_failure_has_a_class() -> None:
    for kind in FailureKind:
        assert kind.retry_class is not None


def test_failure_limit() -> None:
    limit = FailureLimit(None, 0.5)
    assert not limit.exceeded(4, 4)
    assert limit.exceeded(3, 5)
    assert not limit.exceeded(3, 6)
    assert FailureLimit(0, 1.0).exceeded(1, 1)
    assert not FailureLimit(None, 1.0).exceeded(50, 50)


def done(number: int, **metrics: float) -> Trial:
    values: Metrics = {name: (value, None) for name, value in metrics.items()}
    return Trial(number, f"{number}_0", {"x": number}, "ax", 0.0, TrialState.COMPLETED, metrics=values)


def test_best_of_one_objective_with_constraints() -> None:
    trials = [done(0, a=3.0, c=0.0), done(1, a=1.0, c=5.0), done(2, a=2.0, c=1.0)]
    down = (Objective({"a": 1.0}, minimize=True),)
    assert [t.number for t in best(trials, Problem(down))] == [1]
    assert [t.number for t in best(trials, Problem((Objective({"a": 1.0}, minimize=False),)))] == [0]
    bounded = Problem(down, (Constraint({"c": 1.0}, "<=", 2.0),))
    assert [t.number for t in best(trials, bounded)] == [2]
    relative = Problem(down, (Constraint({"c": 1.0}, "<=", 50.0, relative=True),), status_quo="2_0")
    assert [t.number for t in best(trials, relative)] == [2]
    assert best(trials, Problem(down, (Constraint({"c": 1.0}, ">=", 9.0),))) == []
    assert best([done(0, b=1.0)], Problem(down)) == []


def test_the_front_of_several_objectives() -> None:
    objectives = (Objective({"a": 1.0}, minimize=True), Objective({"b": 1.0}, minimize=False))
    trials = [done(0, a=1.0, b=1.0), done(1, a=2.0, b=2.0), done(2, a=2.0, b=1.0), done(3, a=3.0, b=3.0)]
    assert [t.number for t in best(trials, Problem(objectives))] == [0, 1, 3]
    reached = Problem(objectives, thresholds=(Constraint({"a": 1.0}, "<=", 2.5),))
    assert [t.number for t in best(trials, reached)] == [0, 1]


def test_problem_survives_json_and_names_what_it_needs() -> None:
    problem = Problem(
        (Objective({"a": 1.0, "b": -2.0}, minimize=True),), (Constraint({"c": 1.0}, "<=", 1.0, True),)
    )
    assert Problem.from_json(problem.to_json()) == problem
    assert problem.required == ("a", "b", "c")
    assert problem.objectives[0].name == "a - 2*b"


def test_the_incumbent_changes_only_for_the_better() -> None:
    incumbent = Incumbent(Problem((Objective({"a": 1.0}, minimize=True),)))
    updates = [incumbent.update(done(n, a=value)) for n, value in enumerate([3.0, 4.0, 2.0, 2.0])]
    assert updates == [True, False, True, False]
    assert incumbent.trial is not None
    assert (incumbent.trial.number, incumbent.value) == (2, 2.0)
