"""Parsers of Slurm's answers, over recorded output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ClusterUnavailableError
from axsched_hpc.core.states import JobState
from axsched_hpc.slurm import parse

RECORDED = Path(__file__).resolve().parents[1] / "data" / "slurm"


@dataclass(frozen=True)
class Recorded:
    """One recorded answer; see the README beside the files."""

    code: int
    out: str
    err: str


def recorded(name: str) -> Recorded:
    lines = (RECORDED / f"{name}.txt").read_text().splitlines(keepends=True)
    head = next(number for number, line in enumerate(lines) if line.startswith("# exit "))
    code = int(lines[head].removeprefix("# exit "))
    body = lines[head + 1 :]
    split = body.index("# stderr:\n") if "# stderr:\n" in body else len(body)
    return Recorded(code, "".join(body[:split]), "".join(body[split + 1 :]))


def squeue(name: str) -> list[parse.Row]:
    answer = recorded(f"squeue-{name}")
    return parse.squeue(answer.code, answer.out, answer.err)


def sacct(name: str) -> list[parse.Row]:
    answer = recorded(f"sacct-{name}")
    return parse.sacct(answer.code, answer.out, answer.err)


@pytest.mark.parametrize(
    ("name", "state", "reason", "node"),
    [
        ("pending", JobState.QUEUED, "BeginTime", None),
        ("pending-resources", JobState.QUEUED, "Resources", None),
        ("pending-partition-time-limit", JobState.QUEUED, "PartitionTimeLimit", None),
        ("held", JobState.QUEUED, "JobHeldUser", None),
        ("running", JobState.RUNNING, "None", "n1"),
        ("suspended", JobState.SUSPENDED, "None", "n1"),
        ("completing", JobState.ENDING, "None", "n1"),
        ("completed", JobState.SUCCEEDED, "None", "n2"),
        ("completed-without-accounting", JobState.SUCCEEDED, "None", "n1"),
        ("failed", JobState.FAILED, "NonZeroExitCode", "n2"),
        ("signalled", JobState.FAILED, "JobLaunchFailure", "n2"),
        ("cancelled", JobState.CANCELLED, "None", "n1"),
        ("cancelled-while-pending", JobState.CANCELLED, "BeginTime", None),
        ("timeout", JobState.TIMED_OUT, "TimeLimit", "n1"),
        ("preempted", JobState.PREEMPTED, "None", "n[1-4]"),
        ("preempted-requeued", JobState.QUEUED, "BeginTime", None),
        ("preempted-requeued-running-again", JobState.RUNNING, "None", "n[1-4]"),
        ("node-fail", JobState.NODE_FAILED, "NodeDown", "n4"),
        ("node-fail-requeued", JobState.QUEUED, "BeginTime", None),
        ("refused-by-name", JobState.FAILED, "BadConstraints", None),
    ],
)
def test_squeue_of_one_job(name: str, state: JobState, reason: str, node: str | None) -> None:
    (row,) = squeue(name)
    # A requeued job's nodes are those that it left; only the state counts for those.
    assert (row.state, row.reason) == (state, reason)
    if state is not JobState.QUEUED:
        assert row.node == node
    assert row.exit_code is None and row.signal is None


@pytest.mark.parametrize(
    ("name", "state", "code", "signal"),
    [
        ("pending", JobState.QUEUED, 0, None),
        ("running", JobState.RUNNING, 0, None),
        ("suspended", JobState.SUSPENDED, 0, None),
        ("completed", JobState.SUCCEEDED, 0, None),
        ("failed", JobState.FAILED, 3, None),
        ("signalled", JobState.FAILED, 0, 9),
        ("cancelled", JobState.CANCELLED, 0, None),
        ("cancelled-while-pending", JobState.CANCELLED, 0, None),
        ("timeout", JobState.TIMED_OUT, 0, None),
        ("preempted", JobState.PREEMPTED, 0, None),
        ("node-fail", JobState.NODE_FAILED, 0, None),
        ("out-of-memory", JobState.OUT_OF_MEMORY, 0, 125),
        ("boot-fail", JobState.NODE_FAILED, 0, None),
        ("deadline", JobState.TIMED_OUT, 1, None),
        ("revoked", JobState.UNKNOWN, 0, None),
    ],
)
def test_sacct_of_one_job(name: str, state: JobState, code: int, signal: int | None) -> None:
    (row,) = sacct(name)
    assert (row.state, row.exit_code, row.signal) == (state, code, signal)


def test_an_array_task_by_task() -> None:
    rows = {row.job: row.state for row in squeue("array-pending")}
    waiting = {f"39_{task}": JobState.QUEUED for task in range(3, 8)}
    assert rows == {
        "39_0": JobState.SUCCEEDED,
        "39_1": JobState.FAILED,
        "39_2": JobState.RUNNING,
        **waiting,
    }
    assert {row.job: row.state for row in squeue("array-pending-collapsed")} == rows
    assert {row.job: row.state for row in sacct("array-pending")} == rows


def test_an_array_that_has_ended() -> None:
    rows = {row.job: row for row in sacct("array-ended")}
    assert list(rows) == [f"39_{task}" for task in range(8)]
    assert {rows[f"39_{task}"].state for task in range(2, 8)} == {JobState.CANCELLED}
    assert rows["39_1"].exit_code == 3 and rows["39_2"].raw == "CANCELLED by 0"
    assert {row.job for row in squeue("array-ended")} == set(rows) - {"39_5"}


def test_the_rest_of_a_cancelled_array_has_the_bare_id() -> None:
    rows = {row.job: row.state for row in squeue("by-name") if row.job.startswith("22")}
    assert rows["22"] is JobState.CANCELLED and rows["22_0"] is JobState.SUCCEEDED


@pytest.mark.parametrize(
    "name",
    ["unknown-id", "two-unknown-ids", "unknown-array-task", "unknown-name", "vanished-without-accounting"],
)
def test_what_squeue_does_not_know_is_no_error(name: str) -> None:
    assert squeue(name) == []


def test_what_sacct_does_not_know_is_no_error() -> None:
    assert sacct("unknown-id") == [] and sacct("unknown-name") == [] and sacct("array-one-task") == []


def test_known_jobs_among_unknown_ones() -> None:
    assert [row.job for row in squeue("unknown-id-among-known")] == ["35"]
    assert [row.job for row in sacct("unknown-id-among-known")] == ["35"]
    assert [row.job for row in sacct("several-states")] == ["33", "34", "35"]


def test_a_name_may_hold_the_separator() -> None:
    (shown,) = squeue("completed-odd-name")
    (kept,) = sacct("completed-odd-name")
    assert shown.name == kept.name == "odd-name|with,signs"
    assert kept.reason == "None" and kept.state is JobState.SUCCEEDED


def test_the_database_may_be_down_while_the_controller_is_up() -> None:
    assert [row.job for row in squeue("database-down")] == ["35"]
    with pytest.raises(ClusterUnavailableError, match="Problem talking to the database") as caught:
        sacct("database-down")
    assert caught.value.transient


def test_a_controller_that_is_down() -> None:
    with pytest.raises(ClusterUnavailableError, match="Unable to contact slurm controller") as caught:
        squeue("controller-down")
    assert caught.value.transient
    assert "scontrol ping" in str(caught.value)


def test_a_site_without_accounting() -> None:
    with pytest.raises(parse.AccountingOff):
        sacct("accounting-disabled")


def test_a_killed_squeue_says_nothing_and_decides_nothing() -> None:
    with pytest.raises(ClusterUnavailableError, match="exit code -15") as caught:
        parse.squeue(-15, "", "")
    assert caught.value.transient


def test_a_torn_line_is_left_out() -> None:
    whole = "7|RUNNING|None|n1|2026-11-23T22:17:35|2026-11-23T22:17:35|name"
    assert [row.job for row in parse.squeue(0, f"{whole}\n8|RUNN", "")] == ["7"]
    assert parse.sacct(0, "8|RUNNING|0:0", "") == []


@pytest.mark.parametrize(
    ("shown", "jobs"),
    [
        ("12", ["12"]),
        ("12_4", ["12_4"]),
        ("12_[0-2]", ["12_0", "12_1", "12_2"]),
        ("12_[4-7,9%2]", ["12_4", "12_5", "12_6", "12_7", "12_9"]),
        ("12_[5]", ["12_5"]),
        ("12_[0-6:3]", ["12_0", "12_3", "12_6"]),
        ("12_[0-1,7,...]", ["12_0", "12_1", "12_7"]),
        ("12_[1-3:0]", ["12_1", "12_2", "12_3"]),
        ("12_[5-2]", []),
        ("12_[3999999-99999999999]", ["12_3999999", "12_4000000"]),
        ("", []),
        ("12.batch", []),
        ("12_3.0", []),
        ("12+1", []),
    ],
)
def test_array_ranges(shown: str, jobs: list[str]) -> None:
    assert list(parse.expand(shown)) == jobs


@pytest.mark.parametrize(
    ("field", "code", "signal"), [("3:0", 3, None), ("0:9", 0, 9), ("0:0", 0, None), ("", None, None)]
)
def test_exit_fields(field: str, code: int | None, signal: int | None) -> None:
    assert parse.exit_status(field) == (code, signal)


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("invalid-partition", "invalid partition specified: nosuch", "`sinfo` lists the partitions"),
        ("too-much-memory", "Memory specification can not be satisfied", "lower memory"),
        ("unknown-option", "unrecognized option '--no-such-option'", "config['sbatch_options']"),
    ],
)
def test_a_refusal_for_good(name: str, words: str, hint: str) -> None:
    error = parse.submission_error(recorded(f"sbatch-{name}").err)
    assert not error.transient
    assert words in str(error) and hint in str(error)


_VIOLATES = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    ("text", "transient"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", True),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable", True),
        (f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{_VIOLATES}", True),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{_VIOLATES}", True),
        (f"sbatch: error: AssocGrpSubmitJobsLimit\n{_VIOLATES}", True),
        (_VIOLATES, True),
        (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{_VIOLATES}", False),
        (f"sbatch: error: QOSMaxMemoryPerJob\n{_VIOLATES}", False),
        (f"sbatch: error: AssocMaxCpuPerJobLimit\n{_VIOLATES}", False),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination",
            False,
        ),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", False),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid", False),
        ("", False),
    ],
)
def test_which_refusals_may_pass(text: str, transient: bool) -> None:
    error = parse.submission_error(text)
    assert error.transient is transient
    assert text.split("\n")[0].removeprefix("sbatch: error: ") in str(error)


def test_a_controller_that_is_down_at_submission() -> None:
    assert parse.submission_error(recorded("sbatch-controller-down").err).transient


def test_every_recording_is_read() -> None:
    """No recorded answer makes a parser fail in a way of its own."""
    for path in sorted(RECORDED.glob("*.txt")):
        answer, command = recorded(path.stem), path.name.partition("-")[0]
        if command in ("squeue", "sacct"):
            try:
                rows = getattr(parse, command)(answer.code, answer.out, answer.err)
            except (ClusterUnavailableError, parse.AccountingOff):
                assert answer.code != 0
            else:
                assert len(rows) >= len(answer.out.splitlines()), path.name
