"""The table of Ax's features names tests and examples that exist, and all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/ax-features.md").read_text(encoding="utf-8")
#: Cells of the column of examples, the fifth of six.
EXAMPLES = re.findall(r"^\|(?:[^|]*\|){4} `([a-z-]+)` \|", PAGE, re.MULTILINE)


def _functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _features() -> set[str]:
    """The names that examples/features.py takes, without the import of Ax."""
    tree = ast.parse((ROOT / "examples/features.py").read_text(encoding="utf-8"))
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FEATURES"
    )
    assert isinstance(table, ast.DictComp)
    functions = table.generators[0].iter
    assert isinstance(functions, ast.Tuple)
    return {ast.unparse(function).replace("_", "-") for function in functions.elts}


def test_each_test_that_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 40
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or test in _functions(ROOT / path), f"{path}::{test}"


def test_each_row_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    heads = [line for line in rows if line.endswith("| tested in |")]
    assert len(heads) == 6
    for row in rows:
        assert row in heads or re.search(r"`tests/[\w/]+\.py(::\w+)?` \|$", row), row


def test_it_leaves_no_test_of_a_feature_out() -> None:
    file = "tests/ax/test_features.py"
    tests = {name for name in _functions(ROOT / file) if name.startswith("test_")}
    assert {name for name in tests if f"{file}::{name}" not in PAGE} == set()


def test_it_names_all_examples_and_no_others() -> None:
    prose = set(re.findall(r"The example is `([a-z-]+)`", PAGE))
    assert set(EXAMPLES) | prose == _features()
