"""Runs the blocks of a session as a reader would, in one directory; what they show has to be printed."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.project import reading
from axsched_hpc.slurm import profile
from tests import scripts
from tests.docs.beginnings import BEGINNINGS
from tests.docs.blocks import ROOT, Block

#: With none of these a line is words alone.
_SYNTAX = re.compile(r"[|&;<>$`(){}*?\\!~]")

#: `make` in a page names a target that there is; CI runs those that it is to run by itself.
_PROGRAMS = {
    "axsched": 'exec {python} -m axsched_hpc "$@"',
    "python": 'exec {python} "$@"',
    # Once is enough.
    "watch": 'test "$1" = -n && exec sh -c "$3"',
    "make": 'exec {make} --silent --dry-run --directory={root} "$@" >/dev/null',
}


class Wrong(AssertionError):
    """A block is not what it says."""


class Session:
    """One directory and one namespace, in which blocks are run one after the other.

    The current directory and environment of this process have to be the session's own.
    """

    def __init__(self, programs: Path) -> None:
        self.directory = Path.cwd()
        self.space: dict[str, Any] = {"__name__": "__main__"}
        self.printed: str | None = None
        programs.mkdir()
        there = {"python": sys.executable, "root": ROOT, "make": shutil.which("make")}
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{text.format(**there)}\n")
            (programs / name).chmod(0o755)
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
        os.environ["PYTHONPATH"] = str(ROOT)

    def run(self, blocks: Sequence[Block]) -> None:
        """Run them in their order; raises Wrong, with its place, at the first one that is not right."""
        log = logging.getLogger("axsched_hpc")
        level = log.level
        try:
            for block in blocks:
                try:
                    self._one(block.within_its_budget())
                except Wrong as wrong:
                    raise Wrong(f"{block.place}: {wrong}") from None
                except Exception as error:
                    raise Wrong(f"{block.place}: the block raised {type(error).__name__}: {error}") from error
        finally:
            log.setLevel(level)
            for value in self.space.values():
                # Of an experiment of Ax's, or of a client's, the runner has the directory.
                runner = getattr(getattr(value, "_experiment", value), "runner", None)
                for each in (value, runner):
                    # By name: to import them takes seconds, and most pages have none.
                    if type(each).__name__ in ("AxScheduler", "SubmititAxRunner"):
                        each.close()

    def _one(self, block: Block) -> None:
        if "with" in block.notes:
            BEGINNINGS[block.notes["with"]](self.space)
        if block.kind == "file":
            self._write(block.notes["file"], block)
        elif block.kind == "yaml":
            self._write("axsched.yaml", block)
        elif block.kind == "json":
            for text in [block.text] if block.text.startswith(("{\n", "[\n")) else block.text.splitlines():
                json.loads(text)
        elif block.kind == "output":
            self._compare(block.text, block)
        elif block.kind == "python":
            self.printed = self._python(block)
        elif block.kind == "pycon":
            self._examples(block)
        elif block.kind == "shell":
            if block.unwise:
                raise Wrong(f"{block.unwise} is not run for a page's sake.")
            self._shell(block)

    def _write(self, name: str, block: Block) -> None:
        path = self.directory / name
        assert path.resolve().is_relative_to(self.directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if block.text.startswith("#!"):
            path.chmod(0o755)
        if block.language == "yaml":
            is_profile = re.search(r"^(parameters|objectives?):", block.text, re.MULTILINE) is None
            if is_profile:
                profile.load(path)
            else:
                reading.load(path)
        elif block.language == "python":
            compile(block.text, block.place, "exec")
        elif block.language in ("sh", "bash"):
            subprocess.run(["bash", "-n", path], check=True)

    def _python(self, block: Block) -> str:
        # The lines have the page's numbers.
        code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self.space)
        return printed.getvalue()

    def _examples(self, block: Block) -> None:
        parsed = doctest.DocTestParser().get_doctest(
            block.text, self.space, block.place, block.page, block.line
        )
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        report = io.StringIO()
        if runner.run(parsed, out=report.write, clear_globs=False).failed:
            raise Wrong(report.getvalue())

    # ---------------------------------------------------------------- shell

    def _shell(self, block: Block) -> None:
        wanted = int(block.notes.get("exit", 0))
        if block.text.startswith("$ "):
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                self.printed = self._commands(command, wanted)
                self._compare(output, block)
        else:
            self.printed = self._commands(block.text, wanted)

    def _commands(self, text: str, wanted: int) -> str:
        """Run commands of a shell; what they print. Those that are words alone need no shell."""
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        if any(_SYNTAX.search(line.partition(" #")[0]) for line in lines):
            return self._bash(text, wanted)
        printed = ""
        for number, line in enumerate(lines, start=1):
            code = wanted if number == len(lines) else 0
            program, *arguments = shlex.split(line, comments=True)
            if program == "cd":
                os.chdir(arguments[0])
            elif program == "axsched":
                done = CliRunner().invoke(cli, arguments, prog_name="axsched", terminal_width=88)
                said = ""
                # The entry point of the command does that.
                if isinstance(done.exception, AxSchedError):
                    said = f"axsched: {done.exception}\n"
                elif done.exception is not None and not isinstance(done.exception, SystemExit):
                    raise done.exception
                printed += _checked(line, code, done.exit_code, done.output + said)
            elif program == "python" and arguments[0].endswith(".py"):
                ended = scripts.run(Path(arguments[0]).resolve(), arguments[1:], folder=Path.cwd())
                printed += _checked(line, code, ended.returncode, ended.stdout, ended.stderr)
            else:
                printed += self._bash(line, code)
        return printed

    def _bash(self, text: str, wanted: int) -> str:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )
        return _checked(text, wanted, ended.returncode, ended.stdout)

    def _compare(self, shown: str, block: Block) -> None:
        if self.printed is None:
            raise Wrong("it shows output, but no block before it has run.")
        loose = block.notes.get("output", "").startswith("numbers differ")
        parts = [re.escape(_plain(part, loose)) for part in shown.split("...")]
        if not re.fullmatch(".*?".join(parts).strip(), _plain(self.printed, loose).strip(), re.DOTALL):
            raise Wrong(f"it shows what is not printed. The block before it prints:\n{self.printed}")


def _checked(command: str, wanted: int, code: int, printed: str, errors: str = "") -> str:
    if code != wanted:
        raise Wrong(f"`{command.strip()}` ends with exit code {code}, not {wanted}:\n{printed}{errors}")
    return printed


def _plain(text: str, loose: bool) -> str:
    """A text without what nobody sees; where numbers do not count, without them and the room they take."""
    text = "\n".join(line.rstrip() for line in text.splitlines())
    if loose:
        text = re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "0", text)
        text = re.sub(r"[ -]{2,}", " ", text)
    return text
