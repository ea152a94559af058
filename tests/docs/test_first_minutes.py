"""The first five minutes of the quickstart, from an empty directory, with the commands that stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from axsched_hpc.core.states import TrialState
from axsched_hpc.project.reading import load
from axsched_hpc.reporting.reading import read_experiment
from tests import scripts
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]


def follow(folder: Path, more: str) -> str:
    """Run the commands of the page, with more options for the first; what `axsched best` says."""
    page = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    block = re.search(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    commands = re.findall(r"^axsched (\w+) +#", block[1], re.MULTILINE)
    assert commands == ["init", "try", "run", "best", "report"]
    program = folder.parent / "axsched"
    program.write_text("from axsched_hpc.cli import main\nmain()\n")
    said = {}
    for command in commands:
        arguments = more.split() if command == "init" else []
        done = scripts.run(program, [command, *arguments], folder=folder)
        assert done.returncode == 0, done.stderr + done.stdout
        said[command] = done.stdout
    return said["best"]


def checked(folder: Path, said: str, trials: int) -> None:
    assert re.search(r"-> loss = [0-9.e-]+\n", said)
    ledger = read_experiment(folder / "outputs").ledger
    assert +ledger.counts == {TrialState.COMPLETED: trials}
    assert "<svg" in (folder / "outputs/report.html").read_text(encoding="utf-8")
    # What was tried is no trial of the experiment.
    assert sorted(path.name for path in folder.iterdir() if "try" in path.name) == []


def test_the_commands_lead_from_nothing_to_the_best_parameters(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    # The trials that need no model, which are soon over.
    checked(folder, follow(folder, "--trials 5"), 5)
    assert load(folder / "axsched.yaml").name == "mine"


@pytest.mark.slurm
def test_the_commands_lead_there_on_slurm(tmp_path: Path, acct_cluster: Cluster) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    checked(folder, follow(folder, "--runner slurm --trials 4 --partition main"), 4)
    trials = read_experiment(folder / "outputs").ledger.trials.values()
    assert all(re.fullmatch(r"\d+_\d+", trial.attempts[-1].job or "") for trial in trials)
