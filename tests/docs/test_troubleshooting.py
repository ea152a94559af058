"""docs/troubleshooting.md quotes messages of the code, and leaves out no class of errors, kind or hint."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import axsched_hpc
from axsched_hpc.core import hints
from axsched_hpc.core.states import FailureKind

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
#: What stands for a value: in a message of the code, and in a quoted one.
GAP = "\0"
#: Placeholders of the logging module.
_PERCENT = re.compile(r"%(?:\.\d+)?[sdrfg]")


def _quoted() -> list[str]:
    """The messages of the page: the first cells of its tables of messages."""
    found = []
    for table in re.findall(r"^\| message \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        found += re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
        assert len(found[-1:]) == 1
    assert len(found) == len(re.findall(r"^\| `", PAGE, re.MULTILINE))
    return found


def _messages(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, with gaps in the places of values; texts that are put together are one."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else GAP
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield _PERCENT.sub(GAP, node.value)


def _all_messages() -> list[str]:
    files = (ROOT / "axsched_hpc").rglob("*.py")
    texts = {text for file in files for text in _messages(ast.parse(file.read_text(encoding="utf-8")))}
    return [text for text in texts if len(text) > 12]


def _fits(quoted: str, message: str) -> bool:
    """Whether the fixed words of a quoted message stand in one of the code, in this order."""
    place = 0
    for words in filter(None, (part.strip() for part in quoted.split("…"))):
        place = message.find(words, place) + len(words)
        if place < len(words):
            return False
    return True


def test_each_message_is_one_of_the_code() -> None:
    quoted, messages = _quoted(), _all_messages()
    assert len(quoted) > 90
    assert len(set(quoted)) == len(quoted)
    # Enough fixed words to be searched for.
    assert not [text for text in quoted if len(text.replace("…", "").strip()) < 12]
    # How-to pages name messages too.
    for page in (ROOT / "docs/howto").glob("*.md"):
        quoted += re.findall(r"\*\*`(.+?)`\*\*", page.read_text(encoding="utf-8"))
    assert not [text for text in quoted if not any(_fits(text, message) for message in messages)]


def test_each_error_is_named() -> None:
    names = [name for name in axsched_hpc.__all__ if name.endswith("Error")]
    named = {*re.findall(r"`(\w+Error)`", PAGE)}
    assert {*names, "AxRunnerError"} - named <= {"AxSchedError"}
    assert "`AxSchedError`" in PAGE


def test_each_kind_of_failure_has_a_message() -> None:
    kinds = set(re.findall(r"^\| `.*\| `(\w+)` \|", PAGE, re.MULTILINE))
    # What an exception says is its author's.
    assert {str(kind) for kind in FailureKind} - kinds <= {"exception"}


def test_each_hint_is_there() -> None:
    tree = ast.parse(Path(hints.__file__).read_text(encoding="utf-8"))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "hint")
    returned = ast.Module([node for node in ast.walk(function) if isinstance(node, ast.Return)], [])
    told = [text for text in _messages(returned) if len(text) > 20]
    assert len(told) > 8
    section = PAGE.partition("### Hints")[2].partition("\n## ")[0]
    quoted = re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)
    assert not [text for text in told if not any(_fits(each, text) for each in quoted)]
