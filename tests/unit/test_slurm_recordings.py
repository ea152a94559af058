"""What every recorded answer of squeue and sacct says, and what parsers make of damaged ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.states import JobState
from axsched_hpc.slurm import parse
from axsched_hpc.slurm.parse import Usage
from axsched_hpc.slurm.states import STATES, job_state
from tests.unit.test_slurm_parse import RECORDED, recorded

S = JobState
#: sacct counts memory in KiB.
K = 1024

#: What each recording says, one line per job: id, state, node, reason.
SQUEUE: dict[str, list[tuple[str, JobState, str | None, str]]] = {
    "array-ended": [
        *((f"39_{task}", S.CANCELLED, None, "JobArrayTaskLimit") for task in (3, 4, 6, 7)),
        ("39_2", S.CANCELLED, "n1", "None"),
        ("39_0", S.SUCCEEDED, "n1", "None"),
        ("39_1", S.FAILED, "n1", "NonZeroExitCode"),
    ],
    "array-one-pending-task-cancelled": [
        ("39_0", S.SUCCEEDED, "n1", "None"),
        ("39_1", S.FAILED, "n1", "NonZeroExitCode"),
        *((f"39_{task}", S.QUEUED, None, "JobArrayTaskLimit") for task in (3, 4, 6, 7)),
        ("39_2", S.RUNNING, "n1", "None"),
    ],
    "array-one-task": [("39_3", S.QUEUED, None, "JobArrayTaskLimit")],
    "array-pending": [
        ("39_0", S.SUCCEEDED, "n1", "None"),
        ("39_1", S.FAILED, "n1", "NonZeroExitCode"),
        *((f"39_{task}", S.QUEUED, None, "JobArrayTaskLimit") for task in (3, 4, 5, 6, 7)),
        ("39_2", S.RUNNING, "n1", "None"),
    ],
    "by-name": [
        ("22", S.CANCELLED, None, "JobArrayTaskLimit"),
        ("22_2", S.CANCELLED, "n1", "None"),
        ("22_0", S.SUCCEEDED, "n1", "None"),
        ("39_0", S.SUCCEEDED, "n1", "None"),
        ("22_1", S.FAILED, "n1", "NonZeroExitCode"),
        ("39_1", S.FAILED, "n1", "NonZeroExitCode"),
        *((f"39_{task}", S.QUEUED, None, "JobArrayTaskLimit") for task in (3, 4, 5, 6, 7)),
        ("39_2", S.RUNNING, "n1", "None"),
    ],
    "cancelled": [("33", S.CANCELLED, "n1", "None")],
    "cancelled-by-user": [("13", S.CANCELLED, "n1", "None")],
    "cancelled-while-pending": [("30", S.CANCELLED, None, "BeginTime")],
    "completed": [("35", S.SUCCEEDED, "n2", "None")],
    "completed-odd-name": [("38", S.SUCCEEDED, "n2", "None")],
    "completed-without-accounting": [("4", S.SUCCEEDED, "n1", "None")],
    "completing": [("34", S.ENDING, "n1", "None")],
    "database-down": [("35", S.SUCCEEDED, "n2", "None")],
    "deadline": [("12", S.TIMED_OUT, None, "DeadLine")],
    "failed": [("36", S.FAILED, "n2", "NonZeroExitCode")],
    "held": [("31", S.QUEUED, None, "JobHeldUser")],
    "launch-failed-requeued-held": [("17", S.QUEUED, None, "launch failed requeued held")],
    "out-of-memory": [("14", S.OUT_OF_MEMORY, "n1", "OutOfMemory")],
    "out-of-memory-in-step": [("15", S.FAILED, "n1", "NonZeroExitCode")],
    "out-of-memory-in-step-survived": [("16", S.SUCCEEDED, "n1", "None")],
    "over-memory-killed": [("6", S.FAILED, "n2", "JobLaunchFailure")],
    "requeue-hold": [("10", S.QUEUED, None, "job requeued in held state")],
    "special-exit": [("9", S.QUEUED, None, "job requeued in held state")],
    "node-fail": [("48", S.NODE_FAILED, "n4", "NodeDown")],
    "node-fail-requeued": [("49", S.QUEUED, None, "BeginTime")],
    "node-fail-requeued-running-again": [("49", S.RUNNING, "n4", "None")],
    "pending": [("30", S.QUEUED, None, "BeginTime")],
    "pending-partition-time-limit": [("32", S.QUEUED, None, "PartitionTimeLimit")],
    "pending-resources": [("44", S.QUEUED, None, "Resources")],
    "preempted": [("46", S.PREEMPTED, "n[1-4]", "None")],
    "preempted-requeued": [("43", S.QUEUED, None, "BeginTime")],
    "preempted-requeued-running-again": [("43", S.RUNNING, "n[1-4]", "None")],
    "refused-by-name": [("51", S.FAILED, None, "BadConstraints")],
    "running": [("33", S.RUNNING, "n1", "None")],
    "several-states": [
        ("33", S.CANCELLED, "n1", "None"),
        ("35", S.SUCCEEDED, "n2", "None"),
        ("34", S.ENDING, "n1", "None"),
    ],
    "signalled": [("37", S.FAILED, "n2", "JobLaunchFailure")],
    "suspended": [("33", S.SUSPENDED, "n1", "None")],
    "timeout": [("26", S.TIMED_OUT, "n1", "TimeLimit")],
    "two-unknown-ids": [],
    "unknown-array-task": [],
    "unknown-id": [],
    "unknown-id-among-known": [("35", S.SUCCEEDED, "n2", "None")],
    "unknown-name": [],
    "vanished-without-accounting": [],
}
SQUEUE["array-pending-collapsed"] = [*SQUEUE["array-pending"]]

#: Likewise, one line per job: id, state, node, exit code, signal.
SACCT: dict[str, list[tuple[str, JobState, str | None, int, int | None]]] = {
    "array-ended": [
        ("39_0", S.SUCCEEDED, "n1", 0, None),
        ("39_1", S.FAILED, "n1", 3, None),
        ("39_2", S.CANCELLED, "n1", 0, None),
        *((f"39_{task}", S.CANCELLED, None, 0, None) for task in (3, 4, 5, 6, 7)),
    ],
    "array-one-pending-task-cancelled": [
        ("39_0", S.SUCCEEDED, "n1", 0, None),
        ("39_1", S.FAILED, "n1", 3, None),
        ("39_2", S.RUNNING, "n1", 0, None),
        *((f"39_{task}", S.QUEUED, None, 0, None) for task in (3, 4, 5, 6, 7)),
    ],
    "array-one-task": [],
    "boot-fail": [("62", S.NODE_FAILED, "n1", 0, None)],
    "by-name": [
        ("22_0", S.SUCCEEDED, "n1", 0, None),
        ("22_1", S.FAILED, "n1", 3, None),
        ("22_2", S.CANCELLED, "n1", 0, None),
        ("39_0", S.SUCCEEDED, "n1", 0, None),
        ("39_1", S.FAILED, "n1", 3, None),
        ("39_2", S.RUNNING, "n1", 0, None),
    ],
    "cancelled": [("33", S.CANCELLED, "n1", 0, None)],
    "cancelled-by-user": [("13", S.CANCELLED, "n1", 0, None)],
    "cancelled-while-pending": [("30", S.CANCELLED, None, 0, None)],
    "cancelled-with-trap": [("34", S.CANCELLED, "n1", 0, None)],
    "completed": [("35", S.SUCCEEDED, "n2", 0, None)],
    "completed-odd-name": [("38", S.SUCCEEDED, "n2", 0, None)],
    "deadline": [("12", S.TIMED_OUT, None, 1, None)],
    "failed": [("36", S.FAILED, "n2", 3, None)],
    "first-seconds-name-not-known-yet": [("35", S.SUCCEEDED, "n2", 0, None)],
    "held": [("31", S.QUEUED, None, 0, None)],
    "node-fail": [("48", S.NODE_FAILED, "n4", 0, None)],
    "node-fail-requeued": [("49", S.NODE_FAILED, "n4", 0, None)],
    "node-fail-requeued-duplicates": [("49", S.NODE_FAILED, "n4", 0, None)],
    "node-fail-requeued-running-again": [("49", S.RUNNING, "n4", 0, None)],
    "node-fail-then-run-again-duplicates": [
        ("49", S.NODE_FAILED, "n4", 0, None),
        ("49", S.CANCELLED, "n4", 0, None),
    ],
    "launch-failed-requeued-held": [("17", S.QUEUED, "n3", 0, None)],
    "launch-failed-requeued-held-duplicates": [("17", S.QUEUED, "n3", 0, None)],
    "out-of-memory": [("14", S.OUT_OF_MEMORY, "n1", 0, 125)],
    # The script went on, or made its own end of what its srun said: only the step's record tells.
    "out-of-memory-in-step": [("15", S.FAILED, "n1", 1, None)],
    "out-of-memory-in-step-survived": [("16", S.SUCCEEDED, "n1", 0, None)],
    "over-memory-killed": [("6", S.FAILED, "n2", 0, 9)],
    "pending": [("30", S.QUEUED, None, 0, None)],
    "pending-partition-time-limit": [("32", S.QUEUED, None, 0, None)],
    "pending-resources": [],
    "pending-resources-cancelled": [("44", S.CANCELLED, None, 0, None)],
    "preempted": [("46", S.PREEMPTED, "n[1-4]", 0, None)],
    "preempted-requeued": [("43", S.PREEMPTED, "n[1-4]", 0, None)],
    "preempted-requeued-duplicates": [("43", S.PREEMPTED, "n[1-4]", 0, None)],
    "preempted-requeued-running-again": [("43", S.RUNNING, "n[1-4]", 0, None)],
    "preempted-then-run-again-duplicates": [
        ("43", S.PREEMPTED, "n[1-4]", 0, None),
        ("43", S.CANCELLED, "n[1-4]", 0, None),
    ],
    "refused-by-name": [("51", S.FAILED, None, 1, None)],
    "requeue-hold": [("10", S.QUEUED, "n1", 0, None)],
    "requeue-hold-duplicates": [("10", S.QUEUED, "n1", 0, None)],
    "special-exit": [("9", S.QUEUED, "n1", 0, None)],
    "special-exit-duplicates": [("9", S.QUEUED, "n1", 0, None)],
    "revoked": [("64", S.UNKNOWN, None, 0, None)],
    "running": [("33", S.RUNNING, "n1", 0, None)],
    "several-states": [
        ("33", S.CANCELLED, "n1", 0, None),
        ("34", S.CANCELLED, "n1", 0, None),
        ("35", S.SUCCEEDED, "n2", 0, None),
    ],
    "signalled": [("37", S.FAILED, "n2", 0, 9)],
    "suspended": [("33", S.SUSPENDED, "n1", 0, None)],
    "timeout": [("26", S.TIMED_OUT, "n1", 0, None)],
    "unknown-id": [],
    "unknown-id-among-known": [("35", S.SUCCEEDED, "n2", 0, None)],
    "unknown-name": [],
}
SACCT["array-pending"] = [*SACCT["array-one-pending-task-cancelled"]]

#: What jobs asked for and used.
USAGE: dict[str, dict[str, Usage]] = {
    "all-memory": {"7": Usage(64000, 35520 / K, 4, 86400)},
    "array": {f"4_{task}": Usage(100, used / K, 4, 86400) for task, used in ((3, 35504), (7, 35300))},
    "cancelled-by-user": {"13": Usage(100, None, 0, 86400)},
    "first-seconds": {"263": Usage(None, None, 0, None, out_of_memory=True)},
    "out-of-memory": {"14": Usage(100, None, 0, 86400, out_of_memory=True)},
    "out-of-memory-in-step": {"15": Usage(100, None, 1, 86400, out_of_memory=True)},
    "out-of-memory-in-step-survived": {"16": Usage(100, None, 1, 86400, out_of_memory=True)},
    "over-memory-killed": {"6": Usage(100, 219740 / K, 2, 86400)},
    "per-cpu": {"3": Usage(120, 33904 / K, 5, 86400)},
    "published-before-21.08": {
        "24418435": Usage(1024, 499092 / K, 5262, 10800),
        "25569410": Usage(4000, 62328 / K, 76488, None),
        "24220929_421": Usage(16000, 5664932 / K, 574, None),
        "23000233": Usage(64000, None, 0, 518400),
        "23000381": Usage(32000, 1592 / K, 12, None),
        "6196869": Usage(191846, 33824748 / K, 1088199, None),
    },
    "published-from-21.08": {
        "39889258_1426": Usage(8192, 3501608 / K, 8051, 10500),
        "8205048": Usage(80000, 1764224 / K, 146, 3600),
        "8205464": Usage(65536, None, 2, 86400),
        "46044267": Usage(48000, 42475564 / K, 83124, 82800),
    },
    "published-requeued-duplicates": {"235929": Usage(5000, 13801976 / K, 4473, 7200)},
    "requeue-hold": {"10": Usage(100, None, 5, 86400)},
    "special-exit": {"9": Usage(100, None, 2, 86400)},
    "steps": {"1": Usage(100, 54500 / K, 8, 600)},
    "too-short": {"5": Usage(100, None, 0, 86400)},
    "two-nodes": {"2": Usage(200, 33900 / K, 5, 86400)},
    "unknown-id": {},
}

#: Recordings that give an error instead.
SQUEUE_ERRORS, SACCT_ERRORS = {"controller-down"}, {"accounting-disabled", "database-down"}


def _names(command: str) -> list[str]:
    return sorted(path.stem.removeprefix(f"{command}-") for path in RECORDED.glob(f"{command}-*.txt"))


def test_no_recording_is_left_out() -> None:
    assert _names("squeue") == sorted({*SQUEUE, *SQUEUE_ERRORS})
    assert _names("sacct") == sorted({*SACCT, *SACCT_ERRORS})
    assert _names("usage") == sorted({*USAGE, "accounting-disabled"})


@pytest.mark.parametrize("name", sorted(SQUEUE))
def test_squeue(name: str) -> None:
    said = recorded(f"squeue-{name}")
    rows = parse.squeue(said.code, said.out, said.err)
    assert [(row.job, row.state, row.node, row.reason) for row in rows] == SQUEUE[name]


@pytest.mark.parametrize("name", sorted(SACCT))
def test_sacct(name: str) -> None:
    said = recorded(f"sacct-{name}")
    rows = parse.sacct(said.code, said.out, said.err)
    assert [(row.job, row.state, row.node, row.exit_code, row.signal) for row in rows] == SACCT[name]


@pytest.mark.parametrize("name", sorted(USAGE))
def test_usage(name: str) -> None:
    said = recorded(f"usage-{name}")
    assert parse.usage(said.code, said.out, said.err) == USAGE[name]


def test_usage_where_there_are_no_records() -> None:
    said = recorded("usage-accounting-disabled")
    with pytest.raises(parse.AccountingOff):
        parse.usage(said.code, said.out, said.err)
    with pytest.raises(ClusterUnavailableError):
        parse.usage(1, "", recorded("sacct-database-down").err)


@st.composite
def damaged(draw: st.DrawFn, command: str) -> tuple[int, str, str]:
    """A recording with some of its text cut out, doubled or replaced."""
    said = recorded(f"{command}-{draw(st.sampled_from(_names(command)))}")
    texts = [said.out, said.err]
    for _ in range(draw(st.integers(1, 4))):
        which = draw(st.integers(0, 1))
        text = texts[which]
        first = draw(st.integers(0, len(text)))
        last = draw(st.integers(first, min(len(text), first + 20)))
        marks = st.sampled_from(
            ["", text[first:last] * 2, "|", "_", "[", "]", "%", ":0", "-", ",", "\n", "\0"]
        )
        changed = text[:first] + draw(marks | st.text(max_size=8)) + text[last:]
        # A range of millions of tasks is legal, and slow to expand.
        texts[which] = re.sub(r"\d{5,}", "9999", changed)
    return draw(st.sampled_from([said.code, 0, 1, -15])), texts[0], texts[1]


@settings(deadline=None)
@given(damaged("squeue"))
def test_a_damaged_squeue_gives_rows_or_its_own_error(answer: tuple[int, str, str]) -> None:
    try:
        rows = parse.squeue(*answer)
    except ClusterUnavailableError:
        assert answer[0] != 0
    else:
        assert [row.job for row in rows if not parse.JOB_ID.fullmatch(row.job)] == []


@settings(deadline=None)
@given(damaged("sacct"))
def test_a_damaged_sacct_gives_rows_or_its_own_errors(answer: tuple[int, str, str]) -> None:
    try:
        rows = parse.sacct(*answer)
    except ClusterUnavailableError:
        assert answer[0] != 0
    except parse.AccountingOff:
        assert "disabled" in answer[2].lower()
    else:
        assert [row.job for row in rows if not parse.JOB_ID.fullmatch(row.job)] == []


@settings(deadline=None)
@given(damaged("usage"))
def test_a_damaged_usage_gives_numbers_or_its_own_errors(answer: tuple[int, str, str]) -> None:
    try:
        found = parse.usage(*answer)
    except ClusterUnavailableError:
        assert answer[0] != 0
    except parse.AccountingOff:
        assert "disabled" in answer[2].lower()
    else:
        for job, usage in found.items():
            assert parse.JOB_ID.fullmatch(job)
            assert usage.asked_mb != 0 and usage.used_mb != 0


@given(damaged("sbatch"))
def test_any_words_of_sbatch_become_an_error_of_one_line(answer: tuple[int, str, str]) -> None:
    message = str(parse.submission_error(answer[2]))
    assert message.startswith("Slurm ")
    assert "\n" not in message


@given(st.text() | st.sampled_from(sorted(STATES)).flatmap(lambda word: st.text().map(lambda t: word + t)))
def test_only_a_known_word_is_ever_an_end(raw: str) -> None:
    if job_state(raw).final:
        assert raw.upper().split()[0].rstrip("+") in STATES
