"""What a check has found: how bad it is, in words, and what to change."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from axsched_hpc.core.errors import plural


class Level(IntEnum):
    """How bad a finding is, from harmless to bad."""

    SKIPPED = 0
    OK = 1
    NOTE = 2
    WARNING = 3
    PROBLEM = 4


_MARKS = {
    Level.SKIPPED: "skip",
    Level.OK: "ok",
    Level.NOTE: "note",
    Level.WARNING: "warn",
    Level.PROBLEM: "FAIL",
}


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Attributes
    ----------
    check
        What was looked at, in two or three words.
    found
        What was found, in words; lines after the first are a list.
    change
        What to change; empty where there is nothing to change.
    """

    check: str
    level: Level
    found: str
    change: str = ""


@dataclass(frozen=True)
class Group:
    """Findings on one subject."""

    title: str
    findings: tuple[Finding, ...]


def worst(*levels: Level) -> Level:
    """The worst of some levels; OK for none."""
    return max(levels, default=Level.OK)


def joined(check: str, parts: Iterable[Finding]) -> Finding:
    """One finding of several on the same thing: the worst level, and every sentence once."""
    parts = list(parts)
    return Finding(
        check,
        worst(*(part.level for part in parts)),
        " ".join(dict.fromkeys(part.found for part in parts if part.found)),
        " ".join(dict.fromkeys(part.change for part in parts if part.change)),
    )


def group_text(group: Group, width: int) -> str:
    """A group as people read it: a line or paragraph per check, wrapped to ``width`` columns."""
    column = max((len(finding.check) for finding in group.findings), default=0)
    lines = [group.title]
    for finding in group.findings:
        head = f"  {_MARKS[finding.level]:<4}  {finding.check:<{column}}  "
        indent = " " * len(head)
        first, *others = finding.found.splitlines() or [""]
        lines += _wrapped(first, head, indent, width)
        for line in others:
            lines += _wrapped(line, indent, f"{indent}  ", width)
        if finding.change:
            lines += _wrapped(finding.change, f"{indent}-> ", f"{indent}   ", width)
    return "\n".join(lines)


def summary(groups: Sequence[Group]) -> str:
    """The last sentence: how many problems and warnings there are, and what they mean."""
    count = {level: 0 for level in Level}
    for group in groups:
        for finding in group.findings:
            count[finding.level] += 1
    problems, warnings = plural(count[Level.PROBLEM], "problem"), plural(count[Level.WARNING], "warning")
    if count[Level.PROBLEM]:
        also = f" and {warnings} (warn)" if count[Level.WARNING] else ""
        return f"{problems} (FAIL){also}: mend what is marked FAIL before you start an experiment here."
    if count[Level.WARNING]:
        return f"No problem, {warnings} (warn): experiments run here; read what is marked warn first."
    if count[Level.SKIPPED]:
        return "No problem in what was checked."
    return "No problem: experiments run here."


def found_problem(groups: Iterable[Group]) -> bool:
    """Whether anything has to be mended."""
    return any(f.level is Level.PROBLEM for group in groups for f in group.findings)


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """The findings as a JSON value, for programs."""
    return {
        "format": 1,
        "findings": [
            {
                "group": group.title,
                "check": finding.check,
                "level": finding.level.name.lower(),
                "found": finding.found,
                "change": finding.change,
            }
            for group in groups
            for finding in group.findings
        ],
        "summary": summary(groups),
    }


def _wrapped(text: str, first: str, others: str, width: int) -> list[str]:
    # On a narrow terminal the text keeps some columns of its own, and the terminal folds the line.
    return textwrap.wrap(
        text,
        max(width, len(others) + 30),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
