"""`axsched watch`, in a real terminal and in a pipe."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import CallEnded, CallStarted
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic, queue
from axsched_hpc.io.layout import Layout
from axsched_hpc.io.queue import Queue
from axsched_hpc.store.lease import first_record
from axsched_hpc.store.writer import JournalWriter
from tests.cli.conftest import Story
from tests.cli.emulator import Emulator

COMMAND = [sys.executable, "-m", "axsched_hpc", "watch", "--interval", "0.1"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("LC_", "NO_COLOR"))},
    "LANG": "en_GB.UTF-8",
    "TERM": "xterm-256color",
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
}


class Run:
    """A run that this process drives, event by event."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout.at(directory)
        atomic.make_directory(self.layout.journal)
        self.writer = JournalWriter(self.layout.journal, 1, first_record(60.0, "drive"))
        self.story = Story()
        self._written = 0

    def write(self) -> None:
        self.writer.append(self.story.events[self._written :])
        self._written = len(self.story.events)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path / "outputs")
    story = run.story.opened()
    story.events.append(CallStarted(story.tick(), 1, "run", 0, max_trials=10))
    story.added(0, 1, 2).submitted(0, 1, 2).started(0).succeeded(0, 4.0)
    run.write()
    queue.write(run.layout, Queue(4, {"Priority": (1, 2)}))
    yield run
    run.writer.close()


def line(shown: str, number: int = 0) -> str:
    """A line of the screen, or nothing where it was just cleared."""
    return "".join(shown.splitlines()[number : number + 1])


def joined(shown: str) -> str:
    """What may be broken into lines anywhere, since the paths of tests have any length."""
    return " ".join(shown.split())


def test_a_terminal_shows_what_happens(run: Run) -> None:
    with Emulator([*COMMAND, str(run.layout.root)], 80, 24, ENVIRONMENT) as terminal:
        terminal.until(lambda shown: "2 for Priority" in shown and "driver" in shown)
        assert "loss = 4 in trial 0" in terminal.text
        # Between two looks at which nothing happens no more than clock and ages change.
        before = len(terminal.output)
        seconds = line(terminal.text)[-2:]
        terminal.until(lambda shown: line(shown)[-2:] not in ("", seconds))
        assert len(terminal.output) - before < 200
        run.story.started(1).succeeded(1, 1.5)
        run.write()
        terminal.until(lambda shown: "loss = 1.5 in trial 1" in shown)
        # A smaller window, and a large one again.
        terminal.resize(40, 8)
        terminal.until(lambda shown: "2 of 10, 2 completed" in shown and "█" not in line(shown, 1))
        assert max(map(len, terminal.text.splitlines())) <= 40
        terminal.resize(100, 30)
        terminal.until(lambda shown: len(line(shown)) == 100 and "latest" in shown)
        # The directory goes away, and comes back.
        away = run.layout.root.with_name("away")
        run.layout.root.rename(away)
        terminal.until(lambda shown: "is not there." in joined(shown) and "loss = 1.5" in shown)
        away.rename(run.layout.root)
        terminal.until(lambda shown: "is not there." not in joined(shown))
        # A damaged line.
        good = run.writer.path.read_bytes()
        run.writer.path.write_bytes(good + b"damaged\n")
        terminal.until(lambda shown: "is damaged: it has no checksum" in joined(shown))
        run.writer.path.write_bytes(good)
        terminal.until(lambda shown: "is damaged" not in joined(shown))
        terminal.type("q")
        assert terminal.ended() == 0
    # The screen of before is back, its cursor too, and what was seen last is in it.
    sent = terminal.output.decode()
    assert sent.startswith("\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J")
    last = sent.rpartition("\x1b[?25h\x1b[?1049l")[2]
    assert "loss = 1.5 in trial 1" in last
    assert "\x1b" not in last


def test_the_terminal_is_given_back(run: Run) -> None:
    """After Ctrl-Z, while the shell goes on, and after Ctrl-C."""
    watch = f"'{sys.executable}' -m axsched_hpc watch --interval 5 '{run.layout.root}'"
    command = f"stty -a; {watch}; echo stopped $?; stty -a; fg; echo left $?; stty -a"
    environment = {**ENVIRONMENT, "LANG": "C", "NO_COLOR": "1"}
    with Emulator(["sh", "-mc", command], 120, 24, environment) as terminal:
        terminal.until(lambda shown: "q quits" in shown)
        assert terminal.text.isascii()
        terminal.type("\x1a")
        terminal.until(lambda _: terminal.output.count(b"q quits") == 2)
        assert b"stopped 148" in terminal.output
        terminal.type("\x03")
        assert terminal.ended() == 0
    sent = terminal.output.decode()
    assert "left 0" in sent
    modes = re.findall(r"speed.*?-extproc", sent, re.DOTALL)
    assert len(modes) == 3
    assert len(set(modes)) == 1
    # Nothing is styled, and the screen is given back as often as it is taken.
    sequences = re.findall(r"\x1b\[[0-9;?]*[A-Za-z]", sent)
    assert "m" not in {each[-1] for each in sequences}
    assert sequences.count("\x1b[?1049h") == sequences.count("\x1b[?1049l") == 2


def test_elsewhere_each_change_is_a_line(run: Run) -> None:
    command = [*COMMAND, "--until-done", str(run.layout.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "outputs: 3 trials (2 queued, 1 completed); driver: process" in first
        run.story.started(1, 2).failed(1, FailureKind.EXIT_CODE, "it exited\nwith code 3", Verdict.FAIL)
        run.story.succeeded(2, 0.5)
        run.write()
        lines = [process.stdout.readline() for _ in range(4)]
        run.story.events.append(CallEnded(run.story.tick(), 1, "budget"))
        run.story.closed()
        run.write()
        rest = process.stdout.read()
    assert process.returncode == 0
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S", each) for each in [first, *lines, rest])
    assert [each[20:-1] for each in lines] == [
        "trial 1 runs on n1",
        "trial 2 runs on n1",
        "trial 1, attempt 1: it exited with code 3 (exit_code; the trial failed)",
        "trial 2 completed: loss = 0.5 (2 completed, 0 under way; best loss = 0.5 in trial 2)",
    ]
    assert rest[20:] == "driver: the run has ended: all trials done\n"


def test_until_done_tells_how_it_ended(tmp_path: Path) -> None:
    """1 where nobody goes on with the run, 130 where the watching was left before it had ended."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    layout = Layout.at(tmp_path / "outputs")
    atomic.make_directory(layout.journal)
    lease = replace(first_record(60.0, "drive"), pid=dead.pid, start=1)
    JournalWriter(layout.journal, 1, lease).append(Story().opened().events)
    command = [*COMMAND, "--until-done", str(layout.root)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert "gone: process" in done.stdout
    living = Run(tmp_path / "living")
    living.story.opened()
    living.write()
    command[-1] = str(living.layout.root)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
    living.writer.close()
    assert process.returncode == 130


def test_where_there_is_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no experiment"):
        CliRunner().invoke(cli, ["watch", str(tmp_path)], catch_exceptions=False)
