"""The checker finds what is wrong: each test damages a sound experiment in one way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptWithdrawn,
    BatchPlanned,
    BatchSubmitted,
    DriverClosed,
    Failure,
    TrialAdded,
)
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic
from tests.chaos.checker import check_orphans
from tests.chaos.story import Story, parameters
from tests.chaos.violation import Kind
from tests.storage.kit import wait_until


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_sound_experiment_passes(story: Story) -> None:
    story.write()
    assert story.violations() == []
    assert story.violations(killed=None) == []
    assert check_orphans(story.folder / "run", patience=0) == []


def test_a_worker_killed_after_its_last_line_may_be_repeated(story: Story) -> None:
    place = next(n for n, line in enumerate(story.lines) if line["pid"] == 12)
    story.say("ends", 1, 1, 11, value=1.0)
    story.lines.insert(place, story.lines.pop())
    story.write()
    assert story.violations() == []
    assert any("trial 1, attempt 1" in v and "was not killed" in v for v in story.violations(killed=[]))


def test_a_requeued_job_may_run_its_attempt_again(story: Story) -> None:
    place = next(n for n, line in enumerate(story.lines) if line["pid"] == 13 and line["what"] == "ends")
    again = {**story.lines[place], "pid": 14, "start": 14}
    story.lines[place] = {**again, "what": "begins", "parameters": parameters(2)}
    story.lines.append(again)
    story.claim(2, 1, 14, "claim-restart-1.json")
    story.write()
    assert story.violations(killed=[11, 13]) == []


def forget_trial(story: Story) -> None:
    attempts = ((0, 1), (1, 1))
    story.drop(TrialAdded, trial=2)
    story.drop(AttemptSucceeded, trial=2)
    story.drop(AttemptStarted, trial=2)
    story.change(BatchPlanned, {"token": "axs-a-0001"}, attempts=attempts)
    story.change(BatchSubmitted, {"token": "axs-a-0001"}, jobs={0: "7_0", 1: "7_1"})


def another_value(story: Story) -> None:
    story.change(AttemptSucceeded, {"trial": 2}, metrics={"loss": (2.5, None)})


def fail_what_ended(story: Story) -> None:
    failure = Failure(FailureKind.WORKER_KILLED, "gone")
    place = next(n for n, e in enumerate(story.events) if isinstance(e, AttemptSucceeded) and e.trial == 2)
    story.events[place] = AttemptFailed(4.0, 2, 1, failure, Verdict.FAIL)


def fail_by_metrics(story: Story) -> None:
    fail_what_ended(story)
    story.change(AttemptFailed, {"trial": 2}, failure=Failure(FailureKind.BAD_METRICS, "no number"))


def leave_running(story: Story) -> None:
    story.drop(AttemptSucceeded, trial=2)


def run_twice(story: Story) -> None:
    story.say("begins", 2, 1, 15, parameters=parameters(2))
    story.say("ends", 2, 1, 15, value=2.0)


def overlap(story: Story) -> None:
    story.say("goes on", 1, 1, 11)


def backwards(story: Story) -> None:
    story.lines.append(story.lines.pop(next(n for n, line in enumerate(story.lines) if line["pid"] == 11)))


def unrecorded_attempt(story: Story) -> None:
    story.say("begins", 2, 2, 16, parameters=parameters(2))
    story.claim(2, 2, 16)


def unrecorded_failure(story: Story) -> None:
    story.drop(AttemptFailed, trial=1)
    story.drop(AttemptStarted, trial=1, attempt=1)
    story.change(BatchSubmitted, {"token": "axs-a-0001"}, jobs={0: "7_0", 2: "7_2"})
    place = next(n for n, e in enumerate(story.events) if isinstance(e, BatchPlanned) and "2" in e.token)
    story.events.insert(place, AttemptWithdrawn(4.0, 1, 1, "never submitted"))


def no_reason(story: Story) -> None:
    story.change(AttemptFailed, {"trial": 1}, failure=Failure(FailureKind.WORKER_KILLED, ""))


def wrong_reason(story: Story) -> None:
    failure = Failure(FailureKind.LAUNCH_FAILED, "no Python there")
    story.change(AttemptFailed, {"trial": 1}, failure=failure)


def unclaimed(story: Story) -> None:
    story.layout.attempt(2, 1).claim.unlink()


def needless_repetition(story: Story) -> None:
    story.lines = [line for line in story.lines if line["pid"] != 11]


def other_parameters(story: Story) -> None:
    next(line for line in story.lines if line["pid"] == 13)["parameters"]["x"] = 0.9


def hole(story: Story) -> None:
    for number, event in enumerate(story.events):
        if getattr(event, "trial", None) == 2:
            story.events[number] = replace(event, trial=3)  # type: ignore[call-arg]
        if isinstance(event, BatchPlanned) and event.token == "axs-a-0001":
            story.events[number] = replace(event, attempts=((0, 1), (1, 1), (3, 1)))


def invented(story: Story) -> None:
    story.lines = [line for line in story.lines if line["pid"] != 13]


def not_closed(story: Story) -> None:
    story.drop(DriverClosed)


def traceback_in_log(story: Story) -> None:
    story.driver_log += "Traceback (most recent call last):\n  File x\nKeyError: 3\n"


Damage = Callable[[Story], None]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (forget_trial, ["lost: trial 2, attempt 1", "no such trial"]),
        (another_value, ["lost: trial 2, attempt 1", "computed 2.0, but the experiment has 2.5"]),
        (fail_what_ended, ["lost: trial 2, attempt 1", "was not killed, but counts as failed: gone"]),
        (fail_by_metrics, ["lost: trial 2, attempt 1", "counts as failed: no number"]),
        (leave_running, ["lost: trial 2, attempt 1", "the trial is running and has no value"]),
        (run_twice, ["doubled: trial 2, attempt 1", "run by the processes"]),
        (overlap, ["doubled: trial 1, attempt 1", "still ran when trial 1, attempt 2"]),
        (backwards, ["doubled: trial 1, attempt 1", "began after trial 1, attempt 2"]),
        (unrecorded_attempt, ["doubled: trial 2, attempt 2", "no such attempt"]),
        (unrecorded_failure, ["doubled: trial 1, attempt 2", "no failure of trial 1, attempt 1"]),
        (unrecorded_failure, ["doubled: trial 1, attempt 1", "says that the attempt never did"]),
        (no_reason, ["inconsistent: the failure of trial 1, attempt 1", "has no reason"]),
        (wrong_reason, ["inconsistent: trial 1, attempt 1", "its failure says that it did not: no Python"]),
        (unclaimed, ["doubled: trial 2, attempt 1", "claimed by none"]),
        (needless_repetition, ["inconsistent: 1 attempts failed", "only 0 workers", "trial 1, attempt 1"]),
        (other_parameters, ["inconsistent: trial 2, attempt 1", "but the trial has"]),
        (hole, ["inconsistent: trials [2] are missing"]),
        (invented, ["inconsistent: trial 2, attempt 1", "its objective never ended"]),
        (not_closed, ["inconsistent: the last driver has not recorded its end"]),
        (traceback_in_log, ["inconsistent: the log", "KeyError: 3"]),
    ],
)
def test_each_damage_is_found(story: Story, damage: Damage, words: list[str]) -> None:
    damage(story)
    story.write()
    killed = () if damage is needless_repetition else (11,)
    found = story.violations(killed=killed)
    assert any(all(word in violation for word in words) for violation in found), found


def test_a_failure_without_a_kill_is_found(story: Story) -> None:
    story.write()
    found = story.violations(killed=[])
    assert [v for v in found if "trial 1, attempt 1" in v and "was not killed" in v], found


def test_another_total_is_found(story: Story) -> None:
    story.write()
    assert story.violations(trials=4) == ["inconsistent: the run ended at 3 trials, not at 4."]


def test_what_is_left_is_found(story: Story) -> None:
    story.write()
    atomic.write(story.layout.notice(2, 1), "{}")
    assert story.violations() == ["orphan: the notice 00002-1.json is left in the inbox."]


def test_only_a_requeued_job_may_announce_its_result_again(story: Story) -> None:
    for line in story.lines:
        line["job"] = "7_2"
    story.write()
    atomic.write(story.layout.attempt(2, 1).result, "{}")
    atomic.write(story.layout.notice(2, 1), "{}")
    assert story.violations(killed=[11]) != []
    assert story.violations(killed=[11, 13]) == []
    atomic.write(story.layout.notice(2, 1), "{ }")
    assert story.violations(killed=[11, 13]) == ["orphan: the notice 00002-1.json is left in the inbox."]


def test_lost_and_changed_files_are_found(story: Story) -> None:
    story.write()
    story.layout.parameters(0).unlink()
    story.layout.attempt(2, 1).metrics.write_text('{"loss": 3}')
    lost, changed = story.violations()
    assert lost.startswith("lost: trial 0, attempt 1:")
    assert changed.startswith("inconsistent: trial 2, attempt 1:")


def test_a_damaged_journal_is_found(story: Story) -> None:
    story.write()
    path = story.layout.journal / "00001.jsonl"
    path.write_text(path.read_text().replace('"trial": 2', '"trial": 5', 1))
    (violation,) = story.violations()
    assert violation.startswith("inconsistent: the journal cannot be read:")


def test_a_worker_that_still_runs_is_found(story: Story) -> None:
    story.write()
    # It only has to look like one.
    argv = [
        sys.executable,
        "-c",
        "import time; time.sleep(60)",
        "axsched_hpc.worker",
        str(story.layout.submitit / "m"),
    ]
    worker = subprocess.Popen(argv)
    try:
        # The kernel shows the command line some microseconds after exec has closed Popen's pipe.
        wait_until(lambda: bool(Path(f"/proc/{worker.pid}/cmdline").read_bytes()))
        (violation,) = check_orphans(story.folder / "run", patience=0)
        assert violation.kind is Kind.ORPHAN
        assert f"process {worker.pid} runs on" in violation.words
    finally:
        worker.kill()
        worker.wait()
