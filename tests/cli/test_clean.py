"""``axsched clean``: what goes, what stays, and when it is refused."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import ExperimentLockedError
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io.layout import Layout
from tests.cli.conftest import Story

#: What is in the directory of an attempt, with 10 bytes each.
FILES = ("claim.json", "metrics.json", "progress.jsonl", "result.json", "stdout.log", "stderr.log")


def told() -> Story:
    """Trial 0 succeeds at its second attempt, 1 fails, 2 waits for its second attempt, 3 completes."""
    story = Story().opened().added(0, 1, 2, 3).submitted(0, 1).submitted(2, 3).started(0, 1, 2, 3)
    story.failed(0, FailureKind.EXIT_CODE, "exit code 1", Verdict.RETRY)
    story.failed(1, FailureKind.EXIT_CODE, "exit code 1", Verdict.FAIL)
    story.failed(2, FailureKind.LOST, "its node died", Verdict.RETRY)
    return story.succeeded(3, 0.5).submitted(0).started(0).succeeded(0, 0.25)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The files of :func:`told`, whose driver has ended."""
    layout = Layout(told().closed().write(tmp_path / "outputs"))
    for number, attempts in ((0, 2), (1, 1), (2, 1), (3, 1)):
        write(layout.checkpoint(number) / "state")
        write(layout.parameters(number))
        for attempt in range(1, attempts + 1):
            for name in (*FILES, "work/result.dat"):
                write(layout.attempt(number, attempt).root / name)
    layout.attempt(3, 1).work.joinpath("result.dat").unlink()
    for token in ("axs-test-0", "axs-test-1", "axs-test-2"):
        write(layout.manifest(token))
        write(layout.batch(token) / "job.sh")
    write(layout.images / "KEY" / "bin")
    write(layout.objective / "0123" / "objective.json")
    for place in (layout.root, layout.inbox, layout.attempt(0, 1).root):
        old = place / ".result.json.12.0123abcd.tmp"
        write(old)
        os.utime(old, (time.time() - 90_000,) * 2)
    write(layout.inbox / ".new.json.12.0123abcd.tmp")
    return layout


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0123456789")


def run(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="axsched", input=answer)


def files(layout: Layout) -> set[str]:
    return {str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file()}


def logs(*places: str) -> set[str]:
    return {f"trials/{place}/{name}.log" for place in places for name in ("stdout", "stderr")}


SUCCEEDED = logs("00000/attempt-2", "00003/attempt-1") | {
    "trials/00000/checkpoint/state",
    "trials/00003/checkpoint/state",
    "submitit/axs-test-2.json",
    "submitit/axs-test-2/job.sh",
    ".result.json.12.0123abcd.tmp",
    "inbox/.result.json.12.0123abcd.tmp",
    "trials/00000/attempt-1/.result.json.12.0123abcd.tmp",
}
FAILED = logs("00000/attempt-1", "00001/attempt-1") | {
    "trials/00001/checkpoint/state",
    "submitit/axs-test-0.json",
    "submitit/axs-test-0/job.sh",
}
WORK = {"trials/00000/attempt-2/work/result.dat"}
WORK_OF_FAILED = {f"trials/{place}/attempt-1/work/result.dat" for place in ("00000", "00001")}


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ((), SUCCEEDED),
        (("--failed",), SUCCEEDED | FAILED),
        (("--work",), SUCCEEDED | WORK),
        (("--work", "--failed"), SUCCEEDED | FAILED | WORK | WORK_OF_FAILED),
        (("--images",), SUCCEEDED | {"images/KEY/bin"}),
    ],
)
def test_what_is_of_no_more_use_goes(layout: Layout, options: tuple[str, ...], gone: set[str]) -> None:
    before = files(layout)
    shown = run("clean", layout.root, *options, "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    assert files(layout) == before
    record = json.loads(shown.stdout)
    assert (record["removed"], record["files"], record["bytes"]) == (False, len(gone), 10 * len(gone))
    assert sum(kind["files"] for kind in record["kinds"]) == len(gone)
    done = json.loads(run("clean", layout.root, *options, "--yes", "--json").stdout)
    assert done == {**record, "removed": True}
    assert before - files(layout) == gone
    assert not layout.attempt(3, 1).work.exists()
    assert run("clean", layout.root, *options).output == f"{layout.root}: there is nothing to remove.\n"


def test_sizes_are_shown_before_it_asks(layout: Layout) -> None:
    before = files(layout)
    write(layout.checkpoint(3) / "large")
    os.truncate(layout.checkpoint(3) / "large", 3_000_000)
    asked = run("clean", layout.root)
    assert asked.exit_code == 2
    assert "There is no terminal to ask on. Use --yes" in asked.output
    assert run("clean", layout.root, "--json").exit_code == 2
    assert files(layout) >= before
    shown = run("clean", layout.root, "--yes").output
    assert shown == (
        f"{layout.root}:\n"
        "  logs          4 files    40 B  what completed trials have printed\n"
        "  checkpoints   3 files  3.0 MB  what completed trials had saved to go on from\n"
        "  batches       2 files    20 B  job scripts and logs of batches whose trials are all completed\n"
        "  leftovers     3 files    30 B  temporary files of killed processes, older than a day\n"
        "  all          12 files  3.0 MB\n"
        "Done.\n"
    )


def test_what_somebody_may_need_is_not_removed(layout: Layout, tmp_path: Path) -> None:
    # This process drives, as far as the journal tells; and a job of it runs.
    driven = Layout(told().submitted(2).started(2).write(tmp_path / "driven"))
    for option, text in (("--images", "1 attempt of .* is under way"), ("--failed", "A driver is at work")):
        with pytest.raises(ExperimentLockedError, match=text):
            CliRunner().invoke(cli, ["clean", str(driven.root), option, "--yes"], catch_exceptions=False)
    write(driven.attempt(3, 1).stdout)
    write(driven.attempt(2, 2).stdout)
    assert run("clean", driven.root, "--yes").exit_code == 0
    assert not driven.attempt(3, 1).stdout.exists()
    assert driven.attempt(2, 2).stdout.exists()

    # A link that leads out of the experiment is not followed.
    outside = tmp_path / "outside"
    write(outside / "stdout.log")
    (layout.trial(3) / "attempt-1").rename(layout.trial(3) / "moved")
    (layout.trial(3) / "attempt-1").symlink_to(outside)
    layout.checkpoint(0).rename(tmp_path / "checkpoint")
    layout.checkpoint(0).symlink_to(tmp_path / "checkpoint")
    assert run("clean", layout.root, "--yes", "--work").exit_code == 0
    assert (outside / "stdout.log").exists()
    assert (tmp_path / "checkpoint/state").exists()
