"""docs/format.md says what the code does: its tables are the code's, its shell functions work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from axsched_hpc.core import event_records
from axsched_hpc.core.changes import Change
from axsched_hpc.core.events import Definition, Failure, Request, Setting
from axsched_hpc.core.states import Verdict
from axsched_hpc.io import document
from axsched_hpc.io.claim import Claim
from axsched_hpc.io.layout import FORMAT
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.io.queue import Queue
from axsched_hpc.store import journal
from tests.unit.journal_kit import segments

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/format.md").read_text(encoding="utf-8")

WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    Path: "text",
    int | None: "whole number or null",
    float | None: "number or null",
    str | None: "text or null",
    dict[str, Any]: "object",
    dict[str, Any] | None: "object or null",
    dict[str, str]: "object of texts",
    dict[str, int]: "object of whole numbers",
    dict[int, str]: "object of texts",
    tuple[int, ...]: "list of whole numbers",
    dict[str, tuple[int, ...]]: "object of lists of whole numbers",
    tuple[str, ...]: "list of texts",
    tuple[dict[str, Any], ...]: "list of objects",
    tuple[tuple[int, int], ...]: "list of pairs of whole numbers",
    dict[str, tuple[float, float | None]]: "object of pairs",
    dict[str, tuple[float, float | None]] | None: "object of pairs or null",
    tuple[tuple[int, dict[str, tuple[float, float | None]]], ...]: "list of points",
    Definition: "object",
    Failure: "object",
    Failure | None: "object or null",
    Request: "object",
    Setting | None: "object or null",
    Verdict: "text",
}

#: Modules import it for type checkers only.
NAMES = {"Failure": Failure}


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = PAGE.split(f"\n### {heading}", 1)[1].split("\n#", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def types(kind: Any) -> dict[str, str]:
    hints = get_type_hints(kind, localns=NAMES)
    return {field.name: WORDS.get(hints[field.name], "text") for field in fields(kind)}


@pytest.mark.parametrize("kind", sorted(event_records._EVENTS))
def test_every_event_is_documented_with_its_members(kind: str) -> None:
    cls = event_records._EVENTS[kind]
    rows = table(f"`{kind}`\n")
    assert [(row[0].strip("`"), row[1]) for row in rows] == list(types(cls).items())
    assert all(row[3] for row in rows)
    for row, field in zip(rows, fields(cls), strict=True):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        default = asdict(default) if isinstance(default, Request) else default
        assert row[2] == ("" if default is MISSING else f"`{json.dumps(default)}`")


def test_no_other_event_is_documented() -> None:
    assert set(re.findall(r"^### `(\w+)`$", PAGE, flags=re.MULTILINE)) == set(event_records._EVENTS)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("A failure", Failure),
        ("`submitit/TOKEN.json`", Manifest),
        ("`trials/TTTTT/attempt-A/claim.json`", Claim),
        ("`trials/TTTTT/attempt-A/result.json`", Outcome),
        ("`inbox/request-ID.json`", Change),
        ("`queue.json`", Queue),
    ],
)
def test_every_document_is_documented_with_its_members(heading: str, kind: Any) -> None:
    assert {row[0].strip("`"): row[1] for row in table(heading)} == types(kind)


def test_the_format_is_this_one() -> None:
    assert f"This is format **{FORMAT}**." in PAGE


# ---------------------------------------------------------------- in a shell, without Python


FUNCTIONS = "".join(re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))

EXAMPLES = re.findall(r"^```json\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def shell(command: str, *arguments: object, input: str = "") -> str:
    """Run a command after the functions of the page."""
    assert shutil.which("gzip")
    return subprocess.run(
        ["sh", "-euc", f"{FUNCTIONS}\n{command}", "sh", *map(str, arguments)],
        input=input,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_line_of_the_page_is_one(tmp_path: Path) -> None:
    line = EXAMPLES[0]
    assert journal.parse_line(line.strip().encode()).seq == 7
    path = tmp_path / "00001.jsonl"
    path.write_text(line + line.replace('"trial": 0', '"trial": 1'))
    assert shell('damaged_lines "$1"', path) == line.replace('"trial": 0', '"trial": 1')


def test_the_document_of_the_page_is_one() -> None:
    text = EXAMPLES[1]
    assert document.decode(text, source="the page")["root"] == "/home/ada/outputs"
    body = re.sub(r',\n "crc": "\w+"', "", text).removesuffix("\n")
    assert shell("sealed", input=body) == text


def test_a_shell_reads_what_is_written(tmp_path: Path) -> None:
    files = {name: data.decode() for name, data in segments().items()}
    for name, text in files.items():
        path = tmp_path / name
        path.write_text(text)
        torn = "" if text.endswith("\n") else text.splitlines()[-1]
        assert shell('damaged_lines "$1"', path).strip("\n") in ("", torn)
    for path in (ROOT / "tests/data").glob("format-*/journal/*.jsonl"):
        whole = path.read_text().rpartition("\n")[0] + "\n"
        assert shell('damaged_lines "$1"', path) == ""
        (tmp_path / path.name).write_text(whole.replace('"kind"', '"Kind"'))
        assert shell('damaged_lines "$1"', tmp_path / path.name) == whole.replace('"kind"', '"Kind"')
