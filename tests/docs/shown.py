"""What a page shows of a command's output, beside what it says."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from axsched_hpc.cli import cli

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")


def shown(page: str) -> list[tuple[str, str]]:
    """The commands of a page's text, and what it shows of their output."""
    return re.findall(r"^```text\n\$ ([^\n]*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def axsched(command: str) -> str:
    """What a command says."""
    program, *arguments = command.split()
    assert program == "axsched"
    done = CliRunner().invoke(cli, arguments, prog_name="axsched")
    assert done.exit_code == 0, done.output
    return done.output


def same_words(told: str, said: str) -> None:
    """Check that only numbers differ, those in the names of arms and jobs too, and the blanks of a table."""
    assert _words(told) == _words(said)


def _words(text: str) -> list[str]:
    return NUMBER.sub("0", re.sub(r"\b\d+_\d+\b", "0", text)).split()


def same(told: str, said: str) -> None:
    """Check that numbers differ by rounding only, too."""
    same_words(told, said)
    numbers = [float(number) for number in NUMBER.findall(told)]
    assert [float(number) for number in NUMBER.findall(said)] == pytest.approx(numbers, rel=1e-4)
