"""Drivers' jobs on a real Slurm: submitted by the command, with a script that does what a test tells it."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from axsched_hpc.cli import cli

#: Ends in a driver's ways: the n-th start does what the n-th word says. A number: ends with that exit code;
#: `die`: by SIGKILL; `wait`: waits for a signal, as a driver does; `deaf`: heeds none; `last`: waits, and is
#: done when SIGTERM comes.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path

log = Path("starts.log")
with log.open("a") as file:
    file.write(f"{os.environ['SLURM_JOB_ID']} {sys.argv[1:]!r}\\n")
words = Path("plan").read_text().split()
word = words[min(len(log.read_text().splitlines()), len(words)) - 1]
for number, code in ((signal.SIGUSR1, 75), (signal.SIGTERM, 0 if word == "last" else 143)):
    signal.signal(number, signal.SIG_IGN if word == "deaf" else lambda *_, code=code: sys.exit(code))
print(f"this start: {word}")
if word == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if word in ("wait", "deaf", "last"):
    Path("waiting").touch()
    time.sleep(600)
sys.exit(int(word))
"""


def axsched(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="axsched")


def until(holds: Callable[[], bool], patience: float = 60.0, story: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, story()
        time.sleep(0.2)


@dataclass(frozen=True)
class Site:
    """A folder, and the jobs of one name that were submitted from it."""

    folder: Path
    name: str

    def submit(self, *options: object, script: object = "driver.py", arguments: tuple[str, ...] = ()) -> str:
        """The id of the job."""
        done = axsched("submit", "--name", self.name, "--memory", "1G", *options, script, *arguments)
        assert done.exit_code == 0, done.exception or done.output
        found = re.search(r"^as job (\d+), named ", done.output, re.MULTILINE)
        assert found is not None, done.output
        return found[1]

    def submit_edited(self, *changes: tuple[str, str]) -> None:
        """Submit the batch script with changes in it."""
        text = axsched("submit", "--name", self.name, "--memory", "100M", "--dry-run", "driver.py").output
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        script = self.folder / "edited.sbatch"
        script.write_text(text)
        self.say("sbatch", str(script))

    def plan(self, words: str) -> None:
        (self.folder / "driver.py").write_text(SCRIPT)
        (self.folder / "plan").write_text(words)

    def starts(self) -> list[str]:
        """The job of each start of the script."""
        log = self.folder / "starts.log"
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text() if path.exists() else ""

    def queue(self) -> list[str]:
        """Jobs of this name that are not over: id and state."""
        # A job that is ending is shown without --states too.
        done = subprocess.run(
            ["squeue", "--noheader", "--me", f"--name={self.name}", "--format=%i %T"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    def say(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    def logged(self, text: str, patience: float = 60.0) -> None:
        until(
            lambda: text in self.log(), patience, lambda: f"{text!r} is not in:\n{self.log()}\n{self.queue()}"
        )

    def over(self, patience: float = 60.0) -> None:
        """Wait until no job of this name is left."""
        until(lambda: not self.queue(), patience, lambda: f"{self.queue()}\n{self.log()}")


def site(folder: Path) -> Iterator[Site]:
    """A folder for a test; what is left in the queue is cancelled at its end."""
    made = Site(folder, f"axs-drv-{uuid.uuid4().hex[:8]}")
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield made
    finally:
        os.chdir(before)
        subprocess.run(
            ["scancel", "--quiet", "--signal=KILL", "--me", f"--name={made.name}"], check=False, timeout=60
        )
