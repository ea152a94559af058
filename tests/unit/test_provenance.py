"""Where a run comes from, by real repositories."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.io import provenance
from axsched_hpc.objectives.install import Checkpointed, source
from axsched_hpc.objectives.spec import container_objective, script_objective

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository with one committed file in ``tmp_path / "code"``; runs git there."""
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "somebody")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "code"
    folder.mkdir()

    def run(*arguments: str) -> str:
        argv = ["git", "-C", str(folder), *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "--quiet")
    (folder / "run.py").write_text("print(1)\n")
    run("add", "run.py")
    run("commit", "--quiet", "-m", "first")
    return run


def test_the_commit_and_whether_tracked_files_differ(git: Git, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    commit = git("rev-parse", "HEAD")
    (folder / "results.json").write_text("{}")
    (folder / "deep").mkdir()
    assert provenance.repository(folder / "deep") == {"commit": commit, "dirty": False}
    (folder / "run.py").write_text("print(2)\n")
    assert provenance.repository(folder) == {"commit": commit, "dirty": True}


def test_no_repository_no_commit_no_git_no_answer(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert provenance.repository(tmp_path / "missing") is None
    (tmp_path / "plain").mkdir()
    assert provenance.repository(tmp_path / "plain") is None
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "plain")], check=True)
    assert provenance.repository(tmp_path / "plain") is None
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(provenance, "GIT_TIMEOUT", 0.1)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    assert provenance.repository(tmp_path / "code") is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert provenance.repository(tmp_path / "code") is None


def test_a_driver_tells_of_itself_and_of_no_secrets(git: Git, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    script = tmp_path / "code" / "run.py"
    script.write_text(
        f"import json, os, sys\nsys.path.insert(0, {str(root)!r})\n"
        "from axsched_hpc.io import provenance\nprint(json.dumps(provenance.of_driver(os.environ)))\n"
    )
    git("remote", "add", "origin", "https://user:secret@example.org/code.git")
    environment = {
        **os.environ,
        "SLURM_JOB_ID": "123",
        "LOADEDMODULES": "gcc/12.2:openmpi/4.1",
        "API_TOKEN": "secret",
    }
    answer = subprocess.run(
        [sys.executable, "run.py", "--password=secret"],
        cwd=script.parent,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(answer)
    assert "secret" not in answer
    assert found.pop("system")
    assert found == {
        "script": str(script),
        "repository": {"commit": git("rev-parse", "HEAD"), "dirty": True},
        "interpreter": sys.executable,
        "job": "123",
        "modules": ["gcc/12.2", "openmpi/4.1"],
    }


def test_what_is_not_known_is_left_out() -> None:
    found = provenance.of_driver({"LOADEDMODULES": "", "SLURM_JOB_ID": ""})
    assert {"job", "modules"}.isdisjoint(found)


def objective(parameters: dict[str, Any]) -> dict[str, float]:
    return {"loss": 1.0}


def test_where_an_objective_was_written(tmp_path: Path) -> None:
    here = Path(__file__)
    assert source(objective) == here
    assert source(Checkpointed(objective, 60)) == here
    assert source(functools.wraps(objective)(lambda parameters: objective(parameters))) == here
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\n")
    assert source(script_objective(script)) == script
    assert source(script_objective("true", {"args": ["{parameters}"]})) is None
    assert source(container_objective("busybox", "true")) is None
    assert source(functools.partial(objective)) is None
    assert source(eval("lambda parameters: {}")) is None
