"""Wrong project files: all that is said of each, as a user reads it.

After a change of words, ``python tests/project/test_wrong_files.py`` writes the texts anew: read them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from axsched_hpc.project.reading import ProjectError, load

FOLDER = Path(__file__).resolve().parents[1] / "data" / "wrong-files"
FILES = sorted(FOLDER.glob("*.yaml"))


def said(path: Path) -> str:
    """What is said of a file."""
    with pytest.raises(ProjectError) as caught:
        load(path)
    # Where this copy of the project lies, and what directory profiles are looked for in, is no matter.
    text = str(caught.value).replace(f"{FOLDER}/", "").replace(str(FOLDER), "HERE")
    return text.replace(str(Path("~/.config").expanduser()), "~/.config") + "\n"


def test_there_are_as_many_as_there_are_ways_to_err() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_problem_is_said_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert said(path) == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_ax_is_not_loaded_for_a_wrong_file() -> None:
    code = (
        "import sys\n"
        "from axsched_hpc.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert not {'ax', 'torch', 'pandas', 'numpy', 'submitit'} & set(sys.modules)\n"
    )
    argv = [sys.executable, "-c", code, "run", "--dry-run", str(FOLDER / "many-at-once.yaml")]
    ended = subprocess.run(argv, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.replace(f"{FOLDER}/", "") == (FOLDER / "many-at-once.txt").read_text()
    assert ended.stdout == ""


if __name__ == "__main__":
    for each in FILES:
        each.with_suffix(".txt").write_text(said(each), encoding="utf-8")
