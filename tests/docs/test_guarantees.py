"""Each guarantee of docs/robustness.md names the tests that show it, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("| shown by |\n")[2].partition("\n\n")[0]


def _tests(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_guarantee_names_tests_that_exist() -> None:
    rows = TABLE.splitlines()[1:]
    assert len(rows) > 10
    for row in rows:
        shown = row.split(" | ")[-1]
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", shown)
        assert named, row
        for path, test in named:
            assert not test or test in _tests(ROOT / path), f"{path}::{test}"
            assert (ROOT / path).is_file(), path
