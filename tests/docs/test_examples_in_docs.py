"""What the documentation shows is true: its blocks run, and its tables and help texts equal the code's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.io import progress
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```python(?: (\w+))?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def _blocks(page: str) -> list[tuple[str, str]]:
    """The marks and texts of a page's blocks of Python."""
    return _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def _execute(text: str, page: str, space: dict[str, Any]) -> None:
    exec(compile(text, page, "exec"), space)


def _close(space: dict[str, Any]) -> None:
    from axsched_hpc import AxScheduler

    for value in space.values():
        if isinstance(value, AxScheduler):
            value.close()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the test's own; jobs find the package from there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_no_page_waits_for_what_an_example_prints() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20
    assert not [page for page in pages if "@@" in page.read_text(encoding="utf-8")]


def test_the_script_of_the_readme_runs(outside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    (_, script), (_, slurm) = _blocks("README.md")
    assert len([line for line in script.splitlines() if line.strip()]) <= 15
    _execute(script, "README.md", space)
    assert set(eval(capsys.readouterr().out)) == {"x", "y"}
    assert len(space["client"].summarize()) == 10
    _close(space)
    # The version for a cluster replaces one line of the script.
    (line,) = slurm.splitlines()
    assert line.startswith("runner = SlurmRunner(")
    assert script.count("\nrunner = ") == 1


@pytest.mark.slurm
def test_the_slurm_version_of_the_readme_runs(outside: Path, acct_cluster: Cluster) -> None:
    (_, script), (_, line) = _blocks("README.md")
    text = re.sub(r"^runner = .*\n", line, script, flags=re.MULTILINE)
    text = text.replace("import AxScheduler, LocalRunner", "import AxScheduler, SlurmRunner")
    space: dict[str, Any] = {"__name__": "__main__"}
    _execute(text, "README.md", space)
    jobs = _jobs(space)
    assert len(jobs) == 10
    assert all(re.fullmatch(r"\d+_\d+", job) for job in jobs)
    _close(space)


def _jobs(space: dict[str, Any]) -> list[str]:
    from axsched_hpc.reporting.reading import read_experiment

    trials = read_experiment(space["scheduler"].directory).ledger.trials.values()
    return [trial.attempts[-1].job or "" for trial in trials]


def test_the_objectives_of_the_page_on_checkpoints_run(outside: Path) -> None:
    from axsched_hpc import AxScheduler, LocalRunner
    from tests.e2e.kit import client

    page = "docs/checkpointing.md"
    text = (ROOT / page).read_text(encoding="utf-8")
    shell = re.search(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert shell is not None
    (outside / "train.sh").write_text(shell[1])
    seen: dict[str, Any] = {}
    for mark, text in _blocks(page):
        with AxScheduler(client(), LocalRunner(1), {"job_output_dir": outside / mark}) as scheduler:
            # The objective's parameter is called as it suits the page.
            space: dict[str, Any] = {"scheduler": scheduler, "__name__": "__main__"}
            _execute(text.replace('"rate"', '"x"'), page, space)
            scheduler.run_optimization(max_trials=1)
            seen[mark] = scheduler.result.best_values["loss"][0]
            if mark == "function":
                assert seen[mark] == pytest.approx((1 - scheduler.result.best_parameters["x"]) ** 100)
    assert seen.keys() == {"script", "function"}
    assert seen["script"] == sum(n * n for n in range(1, 21))


def test_both_ways_to_report_are_read(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = outside / "progress.jsonl"
    monkeypatch.setenv("AXSCHED_PROGRESS_FILE", str(file))
    space: dict[str, Any] = {}
    (_, function), *_ = _blocks("docs/curves.md")
    _execute(function, "docs/curves.md", space)
    final = space["train"]({"rate": 0.5})
    page = (ROOT / "docs/curves.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    subprocess.run(["sh", "-euc", f"epoch=41 loss=0.25\n{line}"], check=True)
    reports = progress.read(file, 0).reports
    assert [report.step for report in reports] == list(range(1, 42))
    assert reports[39].metrics == {"loss": (final["loss"], None)}
    assert reports[40].metrics == {"loss": (0.25, None)}
