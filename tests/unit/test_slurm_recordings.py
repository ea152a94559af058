"""What every recorded answer of squeue and sacct says, and what parsers make of damaged ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.states import JobState
from axsched_hpc.slurm import parse
from axsched_hpc.slurm.states import STATES, job_state
from tests.unit.test_slurm_parse import RECORDED, recorded

S = JobState

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
    "cancelled-while-pending": [("30", S.CANCELLED, None, "BeginTime")],
    "completed": [("35", S.SUCCEEDED, "n2", "None")],
    "completed-odd-name": [("38", S.SUCCEEDED, "n2", "None")],
    "completed-without-accounting": [("4", S.SUCCEEDED, "n1", "None")],
    "completing": [("34", S.ENDING, "n1", "None")],
    "database-down": [("35", S.SUCCEEDED, "n2", "None")],
    "failed": [("36", S.FAILED, "n2", "NonZeroExitCode")],
    "held": [("31", S.QUEUED, None, "JobHeldUser")],
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
    "cancelled-while-pending": [("30", S.CANCELLED, None, 0, None)],
    "cancelled-with-trap": [("34", S.CANCELLED, "n1", 0, None)],
    "completed": [("35", S.SUCCEEDED, "n2", 0, None)],
    "completed-odd-name": [("38", S.SUCCEEDED, "n2", 0, None)],
    "deadline": [("63", S.TIMED_OUT, None, 0, None)],
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
    "out-of-memory": [("61", S.OUT_OF_MEMORY, "n1", 0, 125)],
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

#: Recordings that give an error instead.
SQUEUE_ERRORS, SACCT_ERRORS = {"controller-down"}, {"accounting-disabled", "database-down"}


def _names(command: str) -> list[str]:
    return sorted(path.stem.removeprefix(f"{command}-") for path in RECORDED.glob(f"{command}-*.txt"))


def test_no_recording_is_left_out() -> None:
    assert _names("squeue") == sorted({*SQUEUE, *SQUEUE_ERRORS})
    assert _names("sacct") == sorted({*SACCT, *SACCT_ERRORS})


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


@given(damaged("sbatch"))
def test_any_words_of_sbatch_become_an_error_of_one_line(answer: tuple[int, str, str]) -> None:
    message = str(parse.submission_error(answer[2]))
    assert message.startswith("Slurm ")
    assert "\n" not in message


@given(st.text() | st.sampled_from(sorted(STATES)).flatmap(lambda word: st.text().map(lambda t: word + t)))
def test_only_a_known_word_is_ever_an_end(raw: str) -> None:
    if job_state(raw).final:
        assert raw.upper().split()[0].rstrip("+") in STATES
