"""What `axsched logs` prints: of what has ended, of what never began, and of a trial that runs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.events import TrialAbandoned, TrialAdded
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic
from axsched_hpc.io.growing import CHUNK, Growing
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.reporting.plain import log_text
from tests import scripts
from tests.cli.conftest import Story
from tests.cli.test_cli import installed


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="axsched")


def files_of(directory: Path, trial: int, attempt: int = 1) -> AttemptFiles:
    files = Layout.at(directory).attempt(trial, attempt)
    atomic.make_directory(files.root)
    return files


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A trial that failed twice, with the logs of both attempts."""
    story = Story().opened().added(0).submitted(0).started(0)
    story.failed(0, FailureKind.NODE_FAILED, "node n1 failed", Verdict.RETRY)
    story.submitted(0).started(0).failed(0, FailureKind.EXIT_CODE, "it exited with code 3", Verdict.FAIL)
    directory = story.closed().write(tmp_path / "run")
    files_of(directory, 0, 1).stdout.write_text("of the first\n")
    files = files_of(directory, 0, 2)
    files.stdout.write_bytes(b"one\ntwo\x1b[31m\nthree \xc3\xa9\xff")
    files.stderr.write_text("no licence\n")
    return directory


def test_the_logs_of_a_failed_trial(failed: Path) -> None:
    done = run("logs", 0, failed)
    assert (done.exit_code, done.stderr) == (0, "")
    # In a pipe every byte is as it was written; a heading begins a line of its own.
    assert done.stdout_bytes == (
        b"==> stdout.log <==\none\ntwo\x1b[31m\nthree \xc3\xa9\xff\n\n==> stderr.log <==\nno licence\n"
    )
    assert run("logs", 0, failed, "--stderr").stdout == "no licence\n"
    assert run("logs", 0, failed, "--stdout", "--lines", 2).stdout_bytes == b"two\x1b[31m\nthree \xc3\xa9\xff"
    assert run("logs", 0, failed, "--stdout", "--attempt", 1).stdout == "of the first\n"
    # What is over is not followed.
    assert run("logs", 0, failed, "--stderr", "-f").stdout == "no licence\n"
    # It is there, and empty.
    done = run("logs", 0, failed, "--stderr", "--lines", 0)
    assert (done.exit_code, done.stdout) == (0, "")


def test_a_log_on_a_terminal_is_harmless(failed: Path) -> None:
    files_of(failed, 0, 2).stdout.write_bytes(
        b"\x1b]0;title\x07a\r\nred: \x1b[31mx\x1b[0m\n1%\r2%\r3%\ncaf\xc3\xa9\n"
    )
    master, slave = pty.openpty()
    with subprocess.Popen(
        [installed(), "logs", "0", failed, "--stdout"], stdout=slave, stdin=slave, stderr=slave
    ):
        os.close(slave)
        output = b""
        while not output.endswith("café\r\n".encode()):
            output += os.read(master, 4096)
    os.close(master)
    assert output.decode().splitlines() == ["\\x1b]0;title\\x07a", "red: x", "3%", "café"]


def test_a_progress_bar_in_pieces() -> None:
    shown = "".join(map(log_text, ("\r1%\r2%", "\r3%\r4%", "\r100%\n", "end\n")))
    assert shown == "\n2%\n4%\n100%\nend\n"


def test_why_there_are_no_logs(tmp_path: Path) -> None:
    story = Story().opened().added(*range(7)).submitted(0, 1, 2, 3, 4).started(0, 1, 2)
    story.succeeded(0, 0.5).waits(3, "PartitionTimeLimit")
    story.failed(2, FailureKind.LAUNCH_FAILED, "its job ended before it began", Verdict.FAIL)
    story.events.append(TrialAbandoned(story.tick(), 5, "the time of the call was over"))
    outcome = {"state": "completed", "metrics": {"loss": [1.0, None]}}
    story.events.append(TrialAdded(story.tick(), 9, "9_0", {"rate": 0.5}, "external", outcome))
    directory = story.closed().write(tmp_path / "run")
    told = {
        0: "Attempt 1 of trial 0 is completed, and its logs are removed. "
        "They are kept where the option cleanup_after_completion is false.",
        1: "Attempt 1 of trial 1 runs, and its objective has not begun.",
        2: "Attempt 1 of trial 2 left no logs: its job ended before it began",
        3: "Attempt 1 of trial 3 has not started: job 1000_3 waits for PartitionTimeLimit: time_limit is "
        "beyond the partition's; `sinfo -o '%P %l'` shows it.",
        4: "Attempt 1 of trial 4 has not started: job 1000_4 is queued.",
        5: "Trial 5 is abandoned, and was never run: the time of the call was over",
        6: "Trial 6 waits for its first attempt: it has no job yet.",
        9: "Trial 9 was completed in Ax by hand: nothing was run here.",
    }
    for trial, text in told.items():
        done = run("logs", trial, directory)
        assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"axsched: {text}\n")
    files_of(directory, 1).stdout.touch()
    done = run("logs", 1, directory)
    assert (done.exit_code, done.stderr) == (0, "axsched: Attempt 1 of trial 1 has written nothing yet.\n")


def test_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log, last = Growing(path), Growing(path, lines=2)
    assert list(log.read()) == []
    path.write_bytes(b"a\nb\nc\n")
    assert b"".join(log.read()) == b"a\nb\nc\n"
    assert b"".join(last.read()) == b"b\nc\n"
    with path.open("ab") as file:
        file.write(b"d")
    assert (b"".join(log.read()), b"".join(last.read())) == (b"d", b"d")
    path.write_bytes(b"anew")
    assert b"".join(log.read()) == b"anew"
    with path.open("ab") as file:
        file.write(b"the end")
    path.unlink()
    # The driver cleans up as soon as a trial is completed: what was written before is not lost.
    assert b"".join(log.read()) == b"the end"
    long = tmp_path / "long"
    long.write_bytes(b"".join(b"%07d\n" % n for n in range(3 * CHUNK // 8)))
    for lines in (1, 100, CHUNK // 8, 2 * CHUNK // 8 + 1, 10**6):
        assert b"".join(Growing(long, lines).read()) == long.read_bytes()[-8 * lines :]
    (tmp_path / "link").symlink_to(long)
    with pytest.raises(OSError, match="symbolic link"):
        list(Growing(tmp_path / "link").read())


DRIVER = """
from tests.e2e.kit import client
from axsched_hpc import AxScheduler, LocalRunner

if __name__ == "__main__":
    config = {"job_output_dir": "outputs", "poll_interval": 0.1, "retries": {"objective": 1}}
    with AxScheduler(client(initial=1), LocalRunner(1), config) as scheduler:
        scheduler.set_script_objective("objective.sh")
        scheduler.run_optimization(max_trials=1)
"""

#: Goes on when the test says so: first it fails, then it succeeds.
OBJECTIVE = """#!/bin/sh
cd {folder}
echo "attempt $AXSCHED_ATTEMPT"
until [ -e go-$AXSCHED_ATTEMPT ]; do sleep 0.1; done
if [ $AXSCHED_ATTEMPT = 1 ]; then echo "no licence" >&2; exit 3; fi
echo "the end"
echo "loss 0.25" > "$AXSCHED_METRICS_FILE"
"""


def until(holds: Callable[[], bool], driver: scripts.Script) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_trial_is_followed_over_its_attempts(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "objective.sh").write_text(OBJECTIVE.format(folder=tmp_path))
    driver = scripts.start(tmp_path / "driver.py", [], folder=tmp_path)
    try:
        first, second = (Layout.at(tmp_path / "outputs").attempt(0, n) for n in (1, 2))
        until(first.stdout.exists, driver)
        with subprocess.Popen(
            [installed(), "logs", "0", "--follow"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=first.root,
        ) as follower:
            assert follower.stdout is not None
            assert follower.stderr is not None
            # Each line comes while the trial runs, since it ends only when this test lets it.
            assert [follower.stdout.readline() for _ in range(2)] == ["==> stdout.log <==\n", "attempt 1\n"]
            (tmp_path / "go-1").touch()
            lines = [follower.stdout.readline() for _ in range(3)]
            assert lines == ["\n", "==> stderr.log <==\n", "no licence\n"]
            until(second.stdout.exists, driver)
            rest = iter(follower.stdout.readline, "attempt 2\n")
            assert "==> stdout.log <==\n" in list(rest)
            (tmp_path / "go-2").touch()
            output, told = follower.communicate(timeout=60)
        assert follower.returncode == 0
        # Also where the driver has removed the log before it was looked at again.
        assert output == "the end\n"
        assert "axsched: Attempt 1 of trial 0 has ended, exit_code: " in told
        assert told.endswith("axsched: Trial 0 is completed: loss = 0.25\n")
        driver.communicate()
        assert driver.returncode == 0
    finally:
        driver.kill()
        driver.communicate()
    assert not second.stdout.exists()
    assert json.loads(run("show", 0, tmp_path / "outputs", "--json").stdout)["state"] == "completed"


def test_following_where_no_driver_is_at_work(tmp_path: Path) -> None:
    directory = Story().opened().added(0).submitted(0).started(0).closed().write(tmp_path / "run")
    files = files_of(directory, 0)
    files.stdout.write_text("done\n")
    files.result.write_text("{}")
    done = run("logs", 0, directory, "--stdout", "-f")
    assert (done.exit_code, done.stdout) == (0, "done\n")
    assert done.stderr == (
        "axsched: No driver is at work: the end is seen where the attempt leaves a result.\n"
        "axsched: Attempt 1 of trial 0 has ended, and no driver is at work to record it. "
        "Start the run again.\n"
    )
