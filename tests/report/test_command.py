"""``axsched report``: where it writes, what it prints, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from axsched_hpc.cli import cli
from axsched_hpc.reporting import browser
from tests.report.kit import Page, history, opened, problem, written


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report") / "outputs", history(25, curve=4))


def axsched(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_writes_one_private_file_into_the_directory(directory: Path) -> None:
    said = axsched("report", directory)
    target = directory / "report.html"
    assert said.startswith(f"Wrote {target} (")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert Page(target.read_text(encoding="utf-8")).root.all("h1")[0].words.endswith("/outputs")
    # Looking again replaces it, and leaves nothing else.
    before = set(directory.iterdir())
    axsched("report", directory)
    assert set(directory.iterdir()) == before


def test_it_loads_neither_ax_nor_numpy(directory: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from axsched_hpc.cli import cli; "
        f"cli(['report', {str(directory)!r}, '-o', {str(tmp_path / 'r.html')!r}], standalone_mode=False); "
        "sys.exit(str({'ax', 'torch', 'numpy', 'pandas', 'jinja2'} & sys.modules.keys() or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_the_file_s_name_says_the_format(directory: Path, tmp_path: Path) -> None:
    axsched("report", directory, "-o", tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text().startswith("# outputs\n")
    axsched("report", directory, "-o", tmp_path / "a.HTM")
    assert (tmp_path / "a.HTM").read_text().startswith("<!doctype html>")
    assert axsched("report", directory, "-o", "-").startswith("<!doctype html>")
    assert axsched("report", directory, "-o", "-", "--format", "md").startswith("# outputs\n")


def test_json_has_the_numbers(directory: Path) -> None:
    found = json.loads(axsched("report", directory, "--json"))
    assert found["format"] == 1
    assert found["running"] is False
    assert found["counts"]["completed"] + found["counts"]["failed"] + found["counts"]["early_stopped"] == 25
    best = min(found["progress"], key=lambda step: step["value"])
    assert found["best"] == [best["trial"]]
    assert {job["fate"] for job in found["jobs"]} >= {
        "completed",
        "failed",
        "waited",
        "requeued",
        "stopped early",
    }
    assert {each["kind"] for each in found["failures"]} == {"node_failed", "exit_code"}
    assert found["use"]["peak"] > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "report.docx"], "The format of report.docx is not known."),
        (["-o", "no/such/place/report.html"], "cannot be written"),
        (["-o", "-", "--format", "pdf"], "A PDF is not for a terminal or a pipe"),
        (["-o", "-", "--format", "png"], "A PNG is not for a terminal or a pipe"),
        (["--json", "--model"], "--json prints the numbers alone"),
        (["--model", "-o", "a.md"], "Markdown has none here"),
    ],
)
def test_what_cannot_be_is_said(
    directory: Path, arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["report", str(directory), *arguments])
    assert result.exit_code != 0
    assert words in f"{result.stderr}{result.exception}".replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_without_a_browser_there_is_no_pdf(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find() is None
    result = CliRunner().invoke(cli, ["report", str(directory), "-o", str(tmp_path / "r.pdf")])
    assert "none is installed here" in str(result.exception)


def test_a_browser_that_fails_is_told_of(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = CliRunner().invoke(cli, ["report", str(directory), "-o", str(tmp_path / "r.pdf")])
    assert "made no PDF; the last it said: no display" in str(result.exception)
    assert not (tmp_path / "r.pdf").exists()


def test_a_model_without_its_definition_is_explained_in_the_page(tmp_path: Path) -> None:
    directory = written(tmp_path / "outputs", opened(problem()))
    axsched("report", directory, "--model")
    words = Page((directory / "report.html").read_text()).root.words
    assert "Ax's model cannot be asked." in words
    assert "definition.json" in words
