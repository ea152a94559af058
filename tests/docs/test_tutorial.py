"""The tutorial's scripts run, and its commands say what the pages show."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import scripts
from tests.docs.shown import axsched, same, same_words, shown
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/tutorial"


def _shown(page: str) -> list[tuple[str, str]]:
    return shown((DOCS / page).read_text(encoding="utf-8"))


def _folder(tmp_path: Path, step: str) -> Path:
    folder = tmp_path / "spring"
    shutil.copytree(ROOT / "examples/steps" / step, folder)
    shutil.copy(ROOT / "examples/spring.sh", folder)
    return folder


def _python(command: str, folder: Path) -> str:
    program, script = command.split()
    assert program == "python"
    ended = scripts.run(folder / script, folder=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_function_on_a_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path, "function")
    monkeypatch.chdir(folder)
    (first, told), (again, later), (table, rows) = _shown("function.md")
    same(told, _python(first, folder))
    # From the model on, arithmetic differs from machine to machine.
    same_words(later, _python(again, folder))
    said = axsched(table)
    same_words(rows, said)
    same("".join(rows.splitlines(keepends=True)[:6]), "".join(said.splitlines(keepends=True)[:6]))

    # The how-to page goes on from such a directory, without the script.
    page = (ROOT / "docs/howto/resume.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    folder.joinpath("go_on.py").write_text(block, encoding="utf-8")
    folder.joinpath("spring.py").unlink()
    _python("python go_on.py", folder)
    assert axsched("axsched status").startswith(f"{folder / 'outputs'}: 11 trials (11 completed)")


def test_a_script(tmp_path: Path) -> None:
    ((command, told),) = _shown("script.md")
    same(told, _python(command, _folder(tmp_path, "script")))


@pytest.mark.slurm
def test_slurm_and_the_driver_as_a_job(
    tmp_path: Path, acct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path, "slurm")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (command, told), (status, table) = _shown("slurm.md")
    same(told, _python(command, folder))
    same_words(_any(table), _any(axsched(status)))

    # What a driver's job does to its end, tests/e2e/test_driver_job.py shows.
    (submit, answer), (_, log) = _shown("driver.md")
    said = axsched(submit)
    found = re.search(r"named (\S+)\.$", said, re.MULTILINE)
    assert found is not None
    subprocess.run(["scancel", f"--name={found[1]}"], check=True)
    same_words(_any(answer), _any(said))
    assert told in log


def _any(text: str) -> str:
    """A text without what differs from run to run: directories, names of drivers' jobs, ages."""
    text = re.sub(r"\S*/(\w[\w.-]*)", r"\1", text)
    text = re.sub(r"axsched-spring-[0-9a-f]+", "NAME", text)
    text = re.sub(r"/?python[\d.]* ", "python ", text)
    return re.sub(r"\b(\d+[dhms])+\b", "0", text)
