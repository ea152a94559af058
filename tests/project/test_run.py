"""``axsched run``: a run by a file, gone on with, stopped, and tried without running anything."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests import scripts
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]

SIMULATE = """\
#!/bin/sh
. "$AXSCHED_PARAMETERS_FILE"
while [ -e "$1" ]; do sleep 0.05; done
printf 'loss %s\\nmemory 3\\n' "$x" >"$AXSCHED_METRICS_FILE"
"""

FILE = """\
name: small
parameters:
  x: {type: float, lower: 0, upper: 1}
objectives: {loss: minimize}
objective: {script: simulate.sh, parameters_format: env, args: [hold]}
parallel: {max_parallel: 2, synchronous: false}
budget: {trials: 3}
config: {poll_interval: 0.1}
seed: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with a project, and the command as a script."""
    (tmp_path / "simulate.sh").write_text(SIMULATE)
    (tmp_path / "simulate.sh").chmod(0o755)
    (tmp_path / "axsched.yaml").write_text(FILE)
    (tmp_path / "axsched").write_text("from axsched_hpc.cli import main\nmain()\n")
    return tmp_path


def axsched(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return scripts.run(folder / "axsched", arguments, folder=folder)


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "axsched.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def points(text: str) -> list[float]:
    return [float(value) for value in re.findall(r"^  \d+: x = (\S+)$", text, re.MULTILINE)]


def test_a_file_is_run_and_gone_on_with_up_to_its_budget(folder: Path) -> None:
    first = axsched(folder, "run", "--dry-run")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{folder}/outputs: 3 of 3 trials to run, up to 2 at a time (local).\n")
    assert first.stdout.endswith(f"\nA trial runs:\n  {folder}/simulate.sh hold\n")
    assert not (folder / "outputs").exists()

    ran = axsched(folder, "run")
    assert ran.returncode == 0, ran.stderr
    assert "trial 2 completed: loss = " in ran.stderr
    ledger = read_experiment(folder / "outputs").ledger
    assert +ledger.counts == {TrialState.COMPLETED: 3}
    begun = [trial.parameters["x"] for trial in ledger.trials.values()]
    assert points(first.stdout) == begun[:2]
    assert ran.stdout == "\n" + axsched(folder, "best").stdout

    again = axsched(folder, "run")
    assert again.returncode == 0
    assert again.stdout.startswith(
        f"{folder}/outputs has its 3 trials already. Raise budget.trials to go on."
    )

    assert axsched(folder, "run", "--json").stdout == axsched(folder, "best", "--json").stdout

    change(folder, "trials: 3", "trials: 4")
    more = json.loads(axsched(folder, "run", "--dry-run", "--json").stdout)
    assert (more["left"], more["begun"], more["command"]) == (1, True, f"{folder}/simulate.sh hold")
    ran = axsched(folder, "run", "--json")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == axsched(folder, "best", "--json").stdout
    ledger = read_experiment(folder / "outputs").ledger
    assert +ledger.counts == {TrialState.COMPLETED: 4}
    assert more["trials"] == [{"trial": 3, "parameters": ledger.trials[3].parameters}]


def test_what_a_signal_stops_ends_at_the_same_total(folder: Path) -> None:
    # Attempts have directories of their own, in which there is no such file.
    change(folder, "[hold]", f"['{folder}/hold']")
    (folder / "hold").touch()
    started = scripts.start(folder / "axsched", ["run"], folder=folder)
    while "trial 1 runs" not in started.output.read_text():
        assert started.poll() is None, started.output.read_text()
    started.send_signal(signal.SIGUSR1)
    said, _ = started.communicate()
    assert started.returncode == 75, said
    assert "running; start `axsched run` again to go on and to collect what has finished." in said
    (folder / "hold").unlink()
    assert axsched(folder, "run").returncode == 0
    assert +read_experiment(folder / "outputs").ledger.counts == {TrialState.COMPLETED: 3}


def test_the_baseline_is_the_first_trial_and_relative_constraints_compare_with_it(folder: Path) -> None:
    change(folder, "seed: 1\n", "seed: 1\nbaseline: {x: 0.25}\nconstraints: [memory <= 1.1 * baseline]\n")
    shown = axsched(folder, "run", "--dry-run")
    assert points(shown.stdout)[0] == 0.25
    ran = axsched(folder, "run")
    assert ran.returncode == 0, ran.stderr
    reading = read_experiment(folder / "outputs")
    assert next(iter(reading.ledger.trials.values())).arm == "baseline"
    assert reading.ledger.trials[0].parameters == {"x": 0.25}
    assert len(reading.ledger.trials) == 3
    (constraint,) = reading.problem.constraints
    assert (constraint.weights, constraint.relative) == ({"memory": 1.0}, True)
    assert constraint.bound == pytest.approx(10)


def test_a_function_is_imported_from_beside_the_file(folder: Path) -> None:
    change(folder, "{script: simulate.sh, parameters_format: env, args: [hold]}", "{function: 'mine:g'}")
    (folder / "mine.py").write_text("def f(parameters):\n    return {'loss': parameters['x']}\n")
    change(folder, "trials: 3", "trials: 1")
    wrong = axsched(folder, "run")
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "axsched.yaml: objective.function: the module 'mine' has no function 'g'.\n"
        "1 problem; nothing was started.\n"
    )
    change(folder, "mine:g", "mine:f")
    ran = axsched(folder, "run")
    assert ran.returncode == 0, ran.stderr


# ---------------------------------------------------------------- the examples


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    for name in ("spring.sh", "spring.yaml", "spring_slurm.yaml", "container.yaml"):
        path = tmp_path / name
        path.write_bytes((ROOT / "examples" / name).read_bytes())
        path.chmod(0o755)
    (tmp_path / "axsched").write_text("from axsched_hpc.cli import main\nmain()\n")
    return tmp_path


def test_the_examples_of_this_machine_can_be_run(examples: Path) -> None:
    shown = axsched(examples, "run", "spring.yaml", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert f"A trial runs:\n  {examples}/spring.sh\n" in shown.stdout
    (examples / "outputs/busybox").mkdir(parents=True)
    shown = axsched(examples, "run", "container.yaml", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "surface '{params_file}' '{output_file}'" in shown.stdout
    assert f"in the container {examples}/outputs/busybox\n" in shown.stdout


@pytest.mark.slurm
def test_the_example_on_slurm_runs_as_it_is_shown(examples: Path, acct_cluster: Cluster) -> None:
    shown = axsched(examples, "run", "spring_slurm.yaml", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    for line in ("#SBATCH --array=0-1%2", "#SBATCH --time=00:05:00", "export OMP_NUM_THREADS=1"):
        assert f"\n{line}\n" in shown.stdout
    ran = axsched(examples, "run", "spring_slurm.yaml")
    assert ran.returncode == 0, ran.stderr
    ledger = read_experiment(examples / "outputs/spring-slurm").ledger
    assert +ledger.counts == {TrialState.COMPLETED: 4}
    assert all(re.fullmatch(r"\d+_\d+", trial.attempts[-1].job or "") for trial in ledger.trials.values())
