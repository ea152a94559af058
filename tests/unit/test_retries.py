"""The pure decisions about repetitions: with what, how often, and what is said of a failure."""

from __future__ import annotations

from typing import Any

import pytest

from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import Failure, Request
from axsched_hpc.core.hints import hint
from axsched_hpc.core.policy import Growth, RetryPolicy, judge
from axsched_hpc.core.request import MOST_EXCLUDED, Asked, following, grown
from axsched_hpc.core.sizes import memory_mb, memory_text, time_s, time_text
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.core.throttle import Throttle, jittered, longer, poll_pause
from axsched_hpc.core.waiting import stuck

K = FailureKind
GROWING = RetryPolicy(out_of_memory=Growth(2, 2.0, 10_000), timeout=Growth(1, 1.5))
BASE = Asked(4096, 3600)


def failed(kind: FailureKind, **fields: Any) -> Failure:
    return Failure(kind, "m", **fields)


# ---------------------------------------------------------------- verdicts


def test_a_rule_of_its_own_counts_its_own_failures() -> None:
    memory, time = failed(K.OUT_OF_MEMORY), failed(K.TIMED_OUT)
    assert judge(GROWING, memory, [], 0) is Verdict.RETRY
    assert judge(GROWING, memory, [time, memory], 0) is Verdict.RETRY
    assert judge(GROWING, memory, [memory, memory], 0) is Verdict.FAIL
    assert judge(GROWING, memory, [], 0, more=False) is Verdict.FAIL
    assert judge(GROWING, time, [memory, memory], 0) is Verdict.RETRY
    assert judge(RetryPolicy(resource=1), time, [memory], 0) is Verdict.FAIL
    assert judge(RetryPolicy(resource=1, out_of_memory=Growth(1, 2.0)), time, [memory], 0) is Verdict.RETRY


@pytest.mark.parametrize("kind", [K.TIMED_OUT, K.PREEMPTED, K.NODE_FAILED, K.CHECKPOINTED])
def test_what_goes_on_from_a_checkpoint_is_no_failure(kind: FailureKind) -> None:
    ended = failed(kind, progressed=True)
    assert judge(RetryPolicy(infrastructure=0), ended, [ended] * 99, 0) is Verdict.RETRY
    assert judge(RetryPolicy(infrastructure=0), ended, [ended] * 100, 0) is Verdict.FAIL
    assert judge(RetryPolicy(continuation=0), ended, [], 0) is Verdict.FAIL


def test_a_checkpoint_saves_neither_what_a_user_cancels_nor_a_broken_objective() -> None:
    assert judge(RetryPolicy(), failed(K.CANCELLED, progressed=True), [], 0) is Verdict.ABANDON
    assert judge(RetryPolicy(), failed(K.EXIT_CODE, progressed=True), [], 0) is Verdict.FAIL


def test_lack_of_memory_is_no_reason_to_go_on_as_before() -> None:
    """It would come again; nor does it give repetitions back."""
    lack = failed(K.OUT_OF_MEMORY, progressed=True)
    assert judge(RetryPolicy(), lack, [], 0) is Verdict.FAIL
    assert judge(GROWING, lack, [lack], 0) is Verdict.RETRY
    assert judge(GROWING, lack, [lack, lack], 0) is Verdict.FAIL


def test_progress_gives_all_repetitions_back() -> None:
    lost, went_on = failed(K.NODE_FAILED), failed(K.PREEMPTED, progressed=True)
    assert judge(RetryPolicy(), lost, [lost, lost, lost], 0) is Verdict.FAIL
    assert judge(RetryPolicy(), lost, [lost, lost, lost, went_on], 0) is Verdict.RETRY


# ---------------------------------------------------------------- requests


def test_the_next_attempt_asks_for_more_of_what_was_missing() -> None:
    memory, time = failed(K.OUT_OF_MEMORY), failed(K.TIMED_OUT)
    assert following(GROWING, [], BASE) == Request()
    first = following(GROWING, [(Request(), memory)], BASE)
    assert first == Request(memory_mb=8192)
    second = following(GROWING, [(Request(), memory), (first, time)], BASE)
    assert second == Request(memory_mb=8192, time_s=5400)
    assert following(GROWING, [(second, memory)], BASE) == Request(10_000, 5400)
    assert following(GROWING, [(Request(), failed(K.EXIT_CODE))], BASE) == Request()
    assert following(RetryPolicy(resource=2), [(Request(), memory)], BASE) == Request()


def test_what_cannot_grow() -> None:
    assert grown(GROWING, K.OUT_OF_MEMORY, Request(memory_mb=10_000), BASE) is None
    assert grown(GROWING, K.OUT_OF_MEMORY, Request(), Asked()) is None
    assert grown(GROWING, K.TIMED_OUT, Request(), Asked(4096, None)) is None
    assert grown(GROWING, K.NODE_FAILED, Request(), Asked()) == Request()


def test_a_withdrawn_attempt_loses_nothing_that_was_asked_for() -> None:
    asked = Request(memory_mb=8192, exclude=("n1",))
    assert following(GROWING, [(asked, None)], BASE) == asked


@pytest.mark.parametrize(
    ("kind", "node", "exclude"),
    [
        (K.NODE_FAILED, "n1", ("n1",)),
        (K.LAUNCH_FAILED, "gpu-07.cluster", ("gpu-07.cluster",)),
        (K.NODE_FAILED, "n[1-4]", ()),
        (K.NODE_FAILED, "-n1", ()),
        (K.NODE_FAILED, None, ()),
        (K.PREEMPTED, "n1", ()),
        (K.WORKER_KILLED, "n1", ()),
        (K.EXIT_CODE, "n1", ()),
    ],
)
def test_the_nodes_that_are_avoided(kind: FailureKind, node: str | None, exclude: tuple[str, ...]) -> None:
    assert following(GROWING, [(Request(), failed(kind, node=node))], BASE).exclude == exclude


def test_not_more_than_some_nodes_are_avoided() -> None:
    request = Request()
    for number in range(20):
        request = following(GROWING, [(request, failed(K.NODE_FAILED, node=f"n{number}"))], BASE)
    assert request.exclude == tuple(f"n{number}" for number in range(20 - MOST_EXCLUDED, 20))


# ---------------------------------------------------------------- sizes and times


@pytest.mark.parametrize(
    ("text", "mb"),
    [("4G", 4096), ("500M", 500), ("1T", 1024**2), ("2048K", 2), ("1K", 1), (4000, 4000), ("1.5GB", 1536)],
)
def test_memory(text: str | int, mb: int) -> None:
    assert memory_mb(text) == mb


@pytest.mark.parametrize("text", ["", "0", 0, "much", "4Q", "-1G"])
def test_no_memory(text: str | int) -> None:
    assert memory_mb(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("01:00:00", 3600),
        ("90", 5400),
        (90, 5400),
        ("90:30", 5430),
        ("1-0", 86400),
        ("2-12:30", 217800),
        ("1-00:00:01", 86401),
    ],
)
def test_times(text: str | int, seconds: int) -> None:
    assert time_s(text) == seconds
    assert time_s(time_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["infinite", "UNLIMITED", "", "1-2-3", "0"])
def test_no_time(text: str) -> None:
    assert time_s(text) is None


def test_memory_for_people() -> None:
    assert [memory_text(mb) for mb in (500, 1023.7, 1024, 3993.6, 65536)] == [
        "500 MB",
        "1024 MB",
        "1 GB",
        "3.9 GB",
        "64 GB",
    ]


# ---------------------------------------------------------------- hints

_OUTSIDE = "SIGKILL comes from outside: from the kernel where the node has no memory left, or from a person"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (
            failed(K.OUT_OF_MEMORY, asked_mb=4096, used_mb=3993.6),
            "Killed for its memory: the job asked for 4 GB and used 3.9 GB; raise memory, or let it grow "
            "with retries: {'out_of_memory': {'attempts': 2, 'memory_factor': 2}}.",
        ),
        (
            failed(K.CRASHED, signal=9, asked_mb=4096, used_mb=4000),
            "Most likely out of memory: the job asked for 4 GB and used 3.9 GB; raise memory.",
        ),
        (
            failed(K.CRASHED, signal=9),
            f"{_OUTSIDE}.",
        ),
        (
            failed(K.EXIT_CODE, exit_code=137, asked_mb=4096, used_mb=100),
            f"{_OUTSIDE}; the job asked for 4 GB and used 100 MB.",
        ),
        (failed(K.EXIT_CODE, exit_code=3), ""),
        (failed(K.BAD_METRICS), ""),
    ],
)
def test_a_hint_in_words(failure: Failure, words: str) -> None:
    assert hint(failure) == words


@pytest.mark.parametrize(
    ("failure", "word"),
    [
        (failed(K.TIMED_OUT), "time_limit"),
        (failed(K.EXIT_CODE, exit_code=127), "module"),
        (failed(K.EXIT_CODE, exit_code=126), "chmod"),
        (failed(K.CRASHED, signal=11), "ulimit"),
        (failed(K.CRASHED, signal=4), "processor"),
        (failed(K.PREEMPTED), "checkpoints"),
    ],
)
def test_a_hint_names_what_to_change(failure: Failure, word: str) -> None:
    assert word in hint(failure)


# ---------------------------------------------------------------- waiting


@pytest.mark.parametrize(
    "reason",
    ["", "None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "QOSMaxJobsPerUserLimit",
     "AssocGrpCpuLimit", "BeginTime", "SomethingNew", "Licenses", "AssocMaxJobsLimit", "QOSGrpNodeLimit"],
)  # fmt: skip
def test_reasons_that_pass(reason: str) -> None:
    assert stuck(reason) is None


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("PartitionTimeLimit", "time_limit"),
        ("ReqNodeNotAvail", "sinfo"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4]", "sinfo"),
        ("(ReqNodeNotAvail, Reserved for maintenance)", "maintenance"),
        ("AssocGrpCPUMinutesLimit", "compute time"),
        ("AssocGrpCPURunMinutesLimit", "compute time"),
        ("QOSGrpCPUMinutesLimit", "compute time"),
        ("AssocGrpGRESMinutes", "compute time"),
        ("BadConstraints", "constraint"),
        ("JobHeldUser", "scontrol release 12_3"),
        ("JobHeldAdmin", "support"),
        ("QOSMaxWallDurationPerJobLimit", "time_limit"),
        ("AssocMaxCpuPerJobLimit", "one job"),
        ("InvalidAccount", "sacctmgr"),
        ("DependencyNeverSatisfied", "failed"),
        ("launch failed requeued held", "scontrol release 12_3"),
        ("PartitionDown", "sinfo"),
    ],
)
def test_reasons_that_do_not_pass(reason: str, word: str) -> None:
    assert word in (stuck(reason, "12_3") or "")


# ---------------------------------------------------------------- limits


def test_batches_are_halved_and_grow_again() -> None:
    throttle = Throttle().refused(32)
    assert throttle.allowed(32) == 16
    throttle = throttle.refused(16).refused(8)
    assert throttle.allowed(32) == 4
    throttle = throttle.taken(4)
    assert throttle.allowed(32) == 4
    throttle = throttle.taken(3).taken(4)
    assert throttle.allowed(32) == 8
    assert Throttle().refused(1).allowed(5) == 1
    assert Throttle().taken(100).allowed(1000) == 1000


def test_pauses() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(longer(pauses[-1]))
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert (jittered(8, 0.0), jittered(8, 1.0)) == (6, 10)


@pytest.mark.parametrize(
    ("interval", "answer", "failures", "pause"),
    [
        (10, 0.03, 0, 10),
        (10, 2.0, 0, 40),
        (10, 60.0, 0, 300),
        (10, 0.03, 2, 40),
        (10, 0.03, 40, 60),
        (10, 20.0, 1, 20),
        (600, 1, 3, 600),
    ],
)
def test_how_often_the_controller_is_asked(
    interval: float, answer: float, failures: int, pause: float
) -> None:
    assert poll_pause(interval, answer, failures) == pytest.approx(pause)


# ---------------------------------------------------------------- the option


def test_the_rules_of_the_option() -> None:
    retries = SchedulerConfig.from_dict(
        {
            "retries": {
                "continuation": 5,
                "out_of_memory": {"attempts": 2, "memory_factor": 2, "memory_max": "64G"},
                "timeout": {"time_factor": 1.5, "time_max": "1-00:00:00"},
            }
        }
    ).retries
    assert retries == RetryPolicy(
        continuation=5, out_of_memory=Growth(2, 2.0, 65536), timeout=Growth(1, 1.5, 86400)
    )


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"out_of_memory": 2}, "takes a dict such as"),
        ({"out_of_memory": {"memory_facto": 2}}, "Did you mean 'memory_factor'?"),
        ({"out_of_memory": {"time_factor": 2}}, "Unknown key 'time_factor'"),
        ({"out_of_memory": {"memory_factor": 1}}, "takes a number above 1"),
        ({"out_of_memory": {"memory_factor": float("nan")}}, "takes a number above 1"),
        ({"out_of_memory": {"memory_max": "lots"}}, "takes a size such as '64G'"),
        ({"out_of_memory": {"memory_max": True}}, "takes a size such as '64G'"),
        ({"timeout": {"time_max": "soon"}}, "takes a time such as"),
        ({"timeout": {"attempts": -1}}, "takes a whole number"),
        ({"timeou": {}}, "Did you mean 'timeout'?"),
    ],
)
def test_wrong_rules(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SchedulerConfig.from_dict({"retries": rule})
    assert words in str(caught.value) and "config['retries']" in str(caught.value)
