"""A project file that was edited between two runs: what is gone on with, what is asked, what is refused."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.reporting.reading import read_experiment
from tests import scripts

SIMULATE = """\
#!/bin/sh
. "$AXSCHED_PARAMETERS_FILE"
while [ -e hold ]; do sleep 0.05; done
printf 'loss %s\\nmemory 3\\n' "$x" >"$AXSCHED_METRICS_FILE"
"""

FILE = """\
name: small
parameters:
  x: {type: float, lower: 0, upper: 1}
  kind: {type: choice, values: [a, b]}
objectives: {loss: minimize}
constraints: [memory <= 4]
objective: {script: simulate.sh, parameters_format: env, working_directory: .}
parallel: {max_parallel: 2, synchronous: false}
budget: {trials: 2}
config: {poll_interval: 0.05}
seed: 1
"""

WIDER = (("upper: 1", "upper: 8"), ("[a, b]", "[a, b, c]"), ("<= 4", "<= 5"), ("trials: 2", "trials: 4"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose two trials have run."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "simulate.sh").write_text(SIMULATE)
    (folder / "simulate.sh").chmod(0o755)
    (folder / "axsched.yaml").write_text(FILE)
    (folder / "axsched").write_text("from axsched_hpc.cli import main\nmain()\n")
    assert axsched(folder, "run").returncode == 0
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, at the same path, which is what an experiment is known by."""
    kept = tmp_path / "kept"
    subprocess.run(["cp", "-a", begun, kept], check=True)
    yield begun
    subprocess.run(["rm", "-r", begun], check=True)
    subprocess.run(["mv", kept, begun], check=True)


def axsched(folder: Path, *arguments: object, script: str = "axsched") -> Any:
    return scripts.run(folder / script, arguments, folder=folder)


def change(folder: Path, *pairs: tuple[str, str]) -> None:
    path = folder / "axsched.yaml"
    for old, new in pairs:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


def ledger(folder: Path) -> Ledger:
    return read_experiment(folder / "outputs").ledger


def points(folder: Path) -> list[dict[str, Any]]:
    return [trial.parameters for trial in ledger(folder).trials.values()]


def test_a_wider_file_is_gone_on_with_and_known_from_the_directory_alone(folder: Path) -> None:
    before = points(folder)
    change(folder, *WIDER)
    shown = axsched(folder, "run", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    text = (
        "parameter 'kind': values ['a', 'b'] before, ['a', 'b', 'c'] now; parameter 'x': range 0.0..1.0 "
        "before, 0.0..8.0 now; the outcome constraint: 'memory <= 4' before, 'memory <= 5' now"
    )
    assert f"The experiment is changed: {text}.\n" in shown.stdout
    assert points(folder) == before

    ran = axsched(folder, "run")
    assert ran.returncode == 0, ran.stderr
    assert f"The experiment was changed: {text}. The 2 trials so far count as they are.\n" in ran.stderr
    after = points(folder)
    assert after[:2] == before
    told = re.findall(r"^  \d+: x = (\S+), kind = '(\w)'$", shown.stdout, re.MULTILINE)
    assert told == [(repr(point["x"]), point["kind"]) for point in after[2:]]

    # As if it had been so all along, but for the first two trials; and from the directory alone.
    with AxScheduler.resume(folder / "outputs", LocalRunner(2), {"poll_interval": 0.05}) as scheduler:
        space = scheduler.experiment.search_space.parameters
        assert (space["x"].upper, space["kind"].values) == (8.0, ["a", "b", "c"])
        assert len(scheduler.experiment.trials) == 4
        assert scheduler.result.feasibility.startswith("Trial 1 satisfies the constraint memory <= 5")
    snapshot = json.loads((folder / "outputs/experiment.json").read_text())
    assert snapshot["experiment"]["search_space"]["parameters"][0]["upper"] == 8.0
    status = json.loads(axsched(folder, "status", "--json").stdout)
    (recorded,) = status["redefinitions"]
    assert recorded["trials"] == 2
    assert "; ".join(recorded["changes"]) == text
    assert f"changed after 2 trials: {text}\n" in axsched(folder, "status").stdout
    assert [(each.trials, "; ".join(each.changes)) for each in ledger(folder).redefinitions] == [(2, text)]

    # Back again is narrower than what it has become.
    change(folder, ("upper: 8", "upper: 1"), ("trials: 4", "trials: 5"))
    back = axsched(folder, "run")
    assert back.returncode == 1
    outside = [number for number, point in enumerate(after) if point["x"] > 1]
    assert back.stderr.endswith(
        f"axsched: {folder}/outputs holds another experiment than this file: parameter 'x': range 0.0..8.0 "
        f"there, 0.0..1.0 in the file. Outside of the new one are the trials {', '.join(map(str, outside))}. "
        "Nothing was changed. Take the change back to go on, or name another directory in the file, where "
        f"`axsched import '{folder}/outputs'` brings the trials of this one that fit.\n"
    )


@pytest.mark.parametrize(("point", "changed"), [("journal.torn", False), ("journal.after", True)])
def test_a_kill_leaves_the_old_definition_or_the_new(folder: Path, point: str, changed: bool) -> None:
    (folder / "faults").mkdir()
    (folder / "killed").write_text(
        f"from axsched_hpc.io import faults\nfaults.arm({str(folder / 'faults')!r})\n"
        "from axsched_hpc.cli import main\nmain()\n"
    )
    change(folder, *WIDER)
    (folder / "faults" / point).write_text("kill")
    assert axsched(folder, "run", script="killed").returncode == -9
    found = read_experiment(folder / "outputs")
    assert len(found.ledger.redefinitions) == changed
    assert found.problem.constraints[0].bound == (5 if changed else 4)
    if not changed:
        # The old file goes on with the old definition.
        change(folder, *((new, old) for old, new in WIDER[:3]))
    again = axsched(folder, "run")
    assert again.returncode == 0, again.stderr
    assert len(ledger(folder).redefinitions) == changed
    assert len(ledger(folder).trials) == 4
    assert any(point["x"] > 1 for point in points(folder)) == changed


def test_a_changed_objective_is_asked_for(folder: Path) -> None:
    change(folder, ("trials: 2", "trials: 3"), ("working_directory: .", "args: [b], working_directory: ."))
    (folder / "simulate.sh").write_text(SIMULATE.replace("memory 3", "memory 2"))
    journal = sorted((folder / "outputs").rglob("*"))
    text = (
        "The objective has changed since trial 1: simulate.sh has another content; args: [] before, [b] now."
    )
    refused = axsched(folder, "run")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"axsched: {text} Nothing was started. To go on with the new one, where the 2 trials so far count as "
        "they are: `axsched run --yes`. Else take the change back, or name another directory in the file.\n"
    )
    said = on_a_terminal(folder, "n\n")
    assert f"{text}\n" in said
    assert "Go on with the new one, where the 2 trials so far count as they are? [y/N]: n\n" in said
    assert said.endswith("Aborted!\n")
    assert sorted((folder / "outputs").rglob("*")) == journal
    ran = axsched(folder, "run", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert f"{text} From here on script {folder}/simulate.sh runs.\n" in ran.stderr
    # What does not change what is computed is not asked for.
    change(folder, ("trials: 3", "trials: 4"), ("args: [b]", "args: [b], timeout: 100, output_limit: 5"))
    (folder / "simulate.sh").rename(folder / "elsewhere")
    (folder / "moved").mkdir()
    (folder / "elsewhere").rename(folder / "moved/simulate.sh")
    change(folder, ("script: simulate.sh", "script: moved/simulate.sh"))
    again = axsched(folder, "run")
    assert again.returncode == 0, again.stderr
    assert "has changed" not in again.stderr


def on_a_terminal(folder: Path, answer: str) -> str:
    """What a run says on a terminal where a question is answered."""
    ours, theirs = pty.openpty()
    command = [sys.executable, str(folder / "axsched"), "run"]
    environment = {**os.environ, "PYTHONPATH": str(scripts.ROOT)}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment):
        os.close(theirs)
        said = b""
        with os.fdopen(ours, "rb+", buffering=0) as terminal:
            try:
                while chunk := terminal.read(4096):
                    said += chunk
                    if said.endswith(b"[y/N]: "):
                        terminal.write(answer.encode())
            except OSError:
                pass  # the other end is closed
    return said.decode().replace("\r\n", "\n")


def test_the_time_of_an_experiment_ends_while_trials_run(folder: Path) -> None:
    worked = ledger(folder).worked
    assert 0 < worked < 60
    (folder / "hold").touch()
    change(folder, ("trials: 2", f"trials: 9, time: {worked + 5:.3f} s"))
    over = axsched(folder, "run")
    assert over.returncode == 0, over.stderr
    assert "Cancelling 2 attempts: the time of the call was over.\n" in over.stderr
    assert "Raise budget.time to go on.\n" in over.stdout
    assert [str(trial.state) for trial in ledger(folder).trials.values()][2:] == ["abandoned"] * 2
    assert ledger(folder).worked >= worked + 5

    # What is left to run is collected later, though nothing new begins.
    before, worked = f"time: {worked + 5:.3f} s", ledger(folder).worked
    change(folder, (before, f"time: {worked + 5:.3f} s"), ("0.05}", "0.05, on_timeout: leave}"))
    left = axsched(folder, "run")
    assert left.returncode == 0, left.stderr
    assert len(ledger(folder).active) == 2
    (folder / "hold").unlink()
    while not all((folder / f"outputs/trials/0000{n}/attempt-1/result.json").exists() for n in (4, 5)):
        time.sleep(0.05)
    later = axsched(folder, "run")
    assert later.returncode == 0, later.stderr
    assert [str(trial.state) for trial in ledger(folder).trials.values()][4:] == ["completed"] * 2
    spent = axsched(folder, "run")
    assert spent.returncode == 0
    assert spent.stdout.startswith(f"{folder}/outputs has run for ")
    assert spent.stderr == ""
