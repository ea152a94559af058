"""The command `axsched`, as it is installed and as click's runner calls it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from axsched_hpc import __version__
from axsched_hpc.cli import cli
from axsched_hpc.core.errors import ConfigError, JournalError
from axsched_hpc.core.states import FailureKind, Verdict
from tests.cli.conftest import Story, journal_lines
from tests.e2e.kit import executions, start_driver


def installed() -> str:
    """The command beside this Python, or else on the search path."""
    beside = Path(sys.executable).with_name("axsched")
    found = str(beside) if beside.exists() else shutil.which("axsched")
    assert found is not None, "the command axsched is not installed"
    return found


def axsched(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installed(), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="axsched")


def rows(output: str) -> dict[str, list[str]]:
    """The table's rows by their first cell; cells are two spaces or more apart."""
    table = output.partition("\n\n")[2].splitlines()
    assert table[0].split() == ["trial", "state", "attempt", "job", "metrics", "age", "reason"]
    return {cells[0]: cells[1:] for cells in (re.split(r"  +", line) for line in table[1:])}


def test_version_and_help() -> None:
    done = axsched("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"axsched, version {__version__}\n", "")
    done = axsched("--help")
    assert done.returncode == 0
    assert "Usage: axsched [OPTIONS] COMMAND [ARGS]..." in done.stdout
    assert re.search(r"^  best +Show the best trial", done.stdout, re.MULTILINE)
    assert re.search(r"^  repair +Mend a journal", done.stdout, re.MULTILINE)
    assert re.search(r"^  unlock +End the right to drive", done.stdout, re.MULTILINE)
    assert re.search(r"^  status +Show where every trial", done.stdout, re.MULTILINE)
    assert axsched("status", "-h").stdout == axsched("status", "--help").stdout


def test_wrong_usage_is_exit_code_2() -> None:
    done = axsched("stauts")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'stauts'." in done.stderr
    assert axsched("status", "a", "b").returncode == 2


def test_status_of_a_finished_run(finished: Path) -> None:
    done = axsched("status", finished)
    assert (done.returncode, done.stderr) == (0, "")
    head = done.stdout.splitlines()[:3]
    assert head == [
        f"{finished}: 3 trials (3 completed)",
        "driver: none; the last one ended in good order",
        "best: loss = 0.125 in trial 1",
    ]
    table = rows(done.stdout)
    assert list(table) == ["0", "1", "2"]
    assert table["1"][:4] == ["completed", "1", "1000_1", "loss=0.125"]
    assert re.fullmatch(r"1h59m|2h00m", table["1"][4])
    assert table["1"][5] == "-"
    assert run("status", finished).output == done.stdout


def test_best_of_a_finished_run(finished: Path) -> None:
    done = axsched("best", finished)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "trial 1 (arm 1_0)",
        "  rate = 0.25",
        "  kind = 'a'",
        "  -> loss = 0.125 +/- 0.0625",
    ]


def test_the_default_directory_is_outputs(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parent)
    finished.rename("outputs")
    assert run("status").output.startswith(f"{finished.parent / 'outputs'}: 3 trials")
    assert run("best").output.startswith("trial 1")


def test_failures_and_retries(tmp_path: Path) -> None:
    story = Story().opened().added(0, 1, 2).submitted(0, 1, 2).started(0, 1, 2)
    story.failed(0, FailureKind.NODE_FAILED, "node n1 failed", Verdict.RETRY)
    story.failed(1, FailureKind.EXIT_CODE, "train.py exited with code 3;\nno licence left", Verdict.FAIL)
    story.submitted(0).started(0).succeeded(0, 0.5)
    story.failed(2, FailureKind.CANCELLED, "job 1000_2 was cancelled", Verdict.ABANDON)
    story.added(3).closed()
    output = run("status", story.write(tmp_path / "run")).output
    assert ": 4 trials (1 waiting, 1 completed, 1 failed, 1 cancelled)\n" in output
    table = rows(output)
    assert table["0"][:4] == ["completed", "2", "1001_0", "loss=0.5"]
    assert table["1"][:2] == ["failed", "1"]
    assert table["1"][-1] == "train.py exited with code 3; no licence left"
    assert table["2"][0] == "cancelled"
    assert table["2"][-1] == "job 1000_2 was cancelled"
    assert table["3"][:4] == ["waiting", "-", "-", "-"]


def test_why_a_job_waits(tmp_path: Path) -> None:
    story = (
        Story().opened().added(0, 1).submitted(0, 1).waits(0, "PartitionTimeLimit").waits(1, "JobHeldUser")
    )
    story.waits(1, "").closed()
    table = rows(run("status", story.write(tmp_path / "run")).output)
    assert table["0"][-1] == (
        "waits for PartitionTimeLimit: time_limit is beyond the partition's; `sinfo -o '%P %l'` shows it"
    )
    assert table["1"][-1] == "-"


def test_best_where_nothing_is_completed(tmp_path: Path) -> None:
    directory = Story().opened().added(0).closed().write(tmp_path / "run")
    done = axsched("best", directory)
    assert (done.returncode, done.stdout) == (
        0,
        f"{directory}: nothing is best. No trial is completed yet.\n",
    )


def test_a_directory_without_trials_yet(tmp_path: Path) -> None:
    output = run("status", Story().opened().write(tmp_path / "run")).output
    first, driver = output.splitlines()
    assert first == f"{tmp_path / 'run'}: 0 trials"
    assert driver.startswith(f"driver: process {os.getpid()} on ")


@pytest.mark.parametrize("command", ["status", "best"])
def test_a_directory_with_no_experiment(tmp_path: Path, command: str) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        done = axsched(command, directory)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"axsched: {directory} holds no experiment: it has no journal/. Name the directory: "
            "`directory` of a project file, config['job_output_dir'] of a script (default ./outputs).\n"
        )
    assert isinstance(run(command, tmp_path).exception, ConfigError)


@pytest.mark.parametrize("command", ["status", "best"])
def test_a_damaged_journal(finished: Path, command: str) -> None:
    segment = finished / "journal" / "00001.jsonl"
    lines = list(journal_lines(finished))
    lines[4] = lines[4].replace('"rate": 0.375', '"rate": 0.376')
    segment.write_text("".join(lines))
    done = axsched(command, finished)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"axsched: {segment}, line 5 is damaged: its checksum is wrong. Nothing was changed. "
        f"Restore the file from a backup, or let `axsched repair {finished}` keep a copy and drop what "
        "cannot be read.\n"
    )
    error = run(command, finished).exception
    assert isinstance(error, JournalError)
    assert (error.file, error.line) == (str(segment), 5)


def test_a_torn_last_line_is_no_error(finished: Path) -> None:
    segment = finished / "journal" / "00001.jsonl"
    *whole, last = journal_lines(finished)
    segment.write_text("".join(whole) + last[: len(last) // 2])
    done = axsched("status", finished)
    # No word of it: a driver may be writing that line just now.
    assert (done.returncode, done.stderr) == (0, "")
    assert ": 3 trials (3 completed)\ndriver: process " in done.stdout


def test_a_driver_at_work(tmp_path: Path) -> None:
    driver = start_driver(tmp_path, "local", 2, 2, 6.0)
    try:
        deadline = time.monotonic() + 60
        while len(executions(tmp_path)) < 2:
            assert driver.poll() is None, driver.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = axsched("status", tmp_path / "run")
        assert done.returncode == 0
        assert re.search(
            rf"^driver: process {driver.pid} on \S+ since [-\d]+ [:\d]+; last sign of life \d+s ago$",
            done.stdout,
            re.MULTILINE,
        )
        table = rows(done.stdout)
        assert {cells[0] for cells in table.values()} <= {"queued", "running"}
        assert axsched("best", tmp_path / "run").stdout.endswith("No trial is completed yet.\n")
        output, _ = driver.communicate(timeout=60)
        assert driver.returncode == 0, output
    finally:
        driver.kill()
        driver.communicate()
    assert (
        "(2 completed)\ndriver: none; the last one ended in good order\n"
        in run("status", tmp_path / "run").output
    )


def _on_a_terminal(columns: int, *arguments: object) -> str:
    """What the command prints on a terminal of so many columns."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    with subprocess.Popen(
        [installed(), *map(str, arguments)], stdout=slave, stdin=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        output = b""
        while select.select([master], [], [], 60)[0]:
            try:
                read = os.read(master, 65536)
            except OSError:  # Linux says so where a terminal has no other end any more
                break
            if not read:
                break
            output += read
    os.close(master)
    assert process.returncode == 0, output
    return output.decode().replace("\r\n", "\n")


def test_a_narrow_terminal(tmp_path: Path) -> None:
    story = Story().opened().added(0, 1).submitted(0, 1).started(0, 1).succeeded(0, 0.5)
    story.failed(1, FailureKind.EXIT_CODE, "train.py exited with code 3; " + "x" * 200, Verdict.FAIL)
    directory = story.closed().write(tmp_path / "run")
    for columns in (60, 100):
        table = _on_a_terminal(columns, "status", directory).partition("\n\n")[2].splitlines()
        assert max(map(len, table)) == columns
        assert table[2].endswith("…")
    # Where the output is no terminal nothing is cut, so that it can be searched.
    assert "x" * 200 in axsched("status", directory).stdout


def test_a_thousand_trials(tmp_path: Path) -> None:
    story = Story().opened()
    for first in range(0, 1000, 50):
        batch = range(first, first + 50)
        story.added(*batch).submitted(*batch).started(*batch)
        for number in batch:
            story.succeeded(number, abs(number - 617) / 100 + 0.25)
    directory = story.closed().write(tmp_path / "run")
    before = os.times()
    done = axsched("status", directory)
    after = os.times()
    assert done.stdout.startswith(f"{directory}: 1000 trials (1000 completed)\n")
    assert "\nbest: loss = 0.25 in trial 617\n" in done.stdout
    table = rows(done.stdout)
    assert list(table) == [str(number) for number in range(1000)]
    assert len({line.index("completed") for line in done.stdout.splitlines()[4:] if "completed" in line}) == 1
    # Time of the command on a core, whatever else is run beside it; one import of Ax alone would take longer.
    took = after.children_user + after.children_system - before.children_user - before.children_system
    assert took < 4.0
    assert axsched("best", directory).stdout.startswith("trial 617 (arm 617_0)\n")
