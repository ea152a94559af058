"""What users are told of trials and of guarantees: every state, and tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from axsched_hpc.core.states import TrialState

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
GUARANTEES = PAGE.partition("\n## Guarantee by guarantee\n")[2].partition("\n## ")[0]


def _tests(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_guarantee_names_tests_that_exist() -> None:
    shown = re.findall(r"^: Shown by ((?:.|\n  )+)", GUARANTEES, re.MULTILINE)
    assert len(shown) > 10
    for text in shown:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
        assert named, text
        for path, test in named:
            assert not test or test in _tests(ROOT / path), f"{path}::{test}"
            assert (ROOT / path).is_file(), path


def test_the_life_of_a_trial_has_every_state() -> None:
    page = (ROOT / "docs/explanation/trial.md").read_text(encoding="utf-8")
    picture = (ROOT / "docs/pictures/trial.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(TrialState)
    assert {state for state in TrialState if f">{state}<" not in picture} == set()
