"""The examples run as a user runs them: in a process of their own, here and on Slurm."""

from __future__ import annotations

import itertools
import math
import re
import shutil
from pathlib import Path

import pytest

from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.curves import read_curves
from axsched_hpc.reporting.reading import read_experiment
from tests import scripts
from tests.slurm.fixtures import missing
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]
#: How many trials each runs, and a value of its metric that its best trial surely reaches.
EXAMPLES = {"function": (8, 100.0), "script": (8, 10.0), "batch": (7, 40.0), "checkpoint": (8, 0.5)}
CONTAINER = (7, 1000.0)
#: How many trials each of Ax's tutorials runs with --short.
TUTORIALS = {"quickstart": 6, "constraints": 5, "multi_objective": 6, "early_stopping": 8}
TRAINING = 6


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the test's own for the outputs; the package is found from there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def _run(name: str, *arguments: str) -> str:
    ended = scripts.run(ROOT / "examples" / f"{name}.py", arguments, folder=Path.cwd(), timeout=100)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    # Whether a covariance needs a little more on its diagonal is Ax's luck; tests/conftest.py keeps the
    # compiler from BoTorch.
    said = re.sub("NumericalWarning|UserWarning: Failed to compile fused qLogEHVI", "", ended.stderr)
    assert "Warning" not in said
    return ended.stdout


def _run_at(name: str, slurm: bool, request: pytest.FixtureRequest, *arguments: str) -> str:
    if slurm:
        request.getfixturevalue("acct_cluster")
    return _run(name, *arguments, *(["--slurm"] if slurm else []))


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        missing(f"there is no {program} here: apt-get install --no-install-recommends {package}.")


def _check(directory: Path, trials: int, printed: str, *, slurm: bool) -> None:
    ledger = read_experiment(directory).ledger
    assert +ledger.counts == {TrialState.COMPLETED: trials}
    jobs = [trial.attempts[-1].job or "" for trial in ledger.trials.values()]
    assert len(set(jobs)) == trials
    # A local job is a process id with its start and host.
    assert all(re.fullmatch(r"\d+(_\d+)?", job) for job in jobs) == slurm
    assert printed.startswith("best: {")


def _value(printed: str) -> float:
    found = re.search(r"}, \w+ ([-+.e\d]+)", printed)
    assert found is not None
    return float(found[1])


def _check_tutorial(name: str, directory: Path, printed: str) -> None:
    counts = read_experiment(directory).ledger.counts
    assert counts[TrialState.COMPLETED] + counts[TrialState.EARLY_STOPPED] == TUTORIALS[name]
    assert printed


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_of_ax_runs_here(name: str, outside: Path) -> None:
    _check_tutorial(name, outside / "outputs/tutorials" / name, _run(f"tutorials/{name}", "--short"))


@pytest.mark.slurm
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_of_ax_runs_on_slurm(name: str, outside: Path, acct_cluster: Cluster) -> None:
    printed = _run(f"tutorials/{name}", "--short", "--slurm")
    directory = outside / "outputs/tutorials" / name
    _check_tutorial(name, directory, printed)
    jobs = [trial.attempts[-1].job or "" for trial in read_experiment(directory).ledger.trials.values()]
    assert all(re.fullmatch(r"\d+(_\d+)?", job) for job in jobs)


def test_every_feature_of_ax_has_an_example_that_runs(outside: Path) -> None:
    printed = _run("features", "all", "--short")
    found = dict(re.findall(r"^([a-z-]+): (.*)$", printed, re.M))
    assert len(found) >= 13
    for name, text in found.items():
        counts = +read_experiment(outside / "outputs/features" / name).ledger.counts
        # One of the last has a beam that is too high; the baseline is run beside the others.
        failed = {TrialState.FAILED: 1} if name == "failures" else {}
        trials = 5 if name == "baseline" else 4
        assert counts == {TrialState.COMPLETED: trials - len(failed), **failed}
        assert "{}" not in text
    assert "'toluene': 0.5" in found["derived"]
    assert "3 beams" in found["multi-objective"]
    assert "'sobol', 'sobol', 'uniform'" in found["custom-strategy"]
    assert "(-1, -1)" in found["parallelism"]
    assert "does not fit in" in found["failures"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_here(name: str, outside: Path) -> None:
    trials, limit = EXAMPLES[name]
    printed = _run(name)
    _check(outside / "outputs" / name, trials, printed, slurm=False)
    assert _value(printed) > limit if name == "batch" else _value(printed) < limit


@pytest.mark.slurm
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_on_slurm(name: str, outside: Path, acct_cluster: Cluster) -> None:
    trials, limit = EXAMPLES[name]
    printed = _run(name, "--slurm")
    _check(outside / "outputs" / name, trials, printed, slurm=True)
    assert _value(printed) > limit if name == "batch" else _value(printed) < limit


def test_the_example_that_ax_drives_goes_on_when_it_is_started_again(outside: Path) -> None:
    for trials in (4, 8):
        printed = _run("ax_plugin")
        _check(outside / "outputs/ax_plugin", trials, printed, slurm=False)


@pytest.mark.slurm
def test_the_example_that_ax_drives_runs_on_slurm(outside: Path, acct_cluster: Cluster) -> None:
    _check(outside / "outputs/ax_plugin", 4, _run("ax_plugin", "--slurm"), slurm=True)


@pytest.mark.container
def test_the_container_example_runs_here(outside: Path) -> None:
    trials, limit = CONTAINER
    printed = _run("container")
    _check(outside / "outputs/container", trials, printed, slurm=False)
    # No box of 1000 litres has a surface below that of a cube.
    assert 600 <= _value(printed) < limit


@pytest.mark.container
@pytest.mark.slurm
def test_the_container_example_runs_on_slurm(outside: Path, acct_cluster: Cluster) -> None:
    trials, limit = CONTAINER
    printed = _run("container", "--slurm")
    _check(outside / "outputs/container", trials, printed, slurm=True)
    assert 600 <= _value(printed) < limit


@pytest.mark.slurm
def test_the_mpi_example_runs_on_slurm(outside: Path, acct_cluster: Cluster) -> None:
    if shutil.which("mpicc.mpich") is None:
        missing("there is no MPICH here: apt-get install mpich libmpich-dev gcc libc6-dev.")
    printed = _run("mpi")
    _check(outside / "outputs/mpi", 8, printed, slurm=True)
    assert _value(printed) < 0.5


def _check_training(outside: Path, printed: str) -> None:
    counts = +read_experiment(outside / "outputs/training").ledger.counts
    stopped = counts[TrialState.EARLY_STOPPED]
    # Two Sobol points learn far more slowly than the two trials that end before them.
    assert stopped >= 1
    assert counts == {TrialState.COMPLETED: TRAINING - stopped, TrialState.EARLY_STOPPED: stopped}
    assert _value(printed) < 0.2
    said = re.search(
        r"^(\d) of 6 trials were stopped early: (\d+) of 240 epochs were not run\.$", printed, re.M
    )
    assert said is not None
    assert int(said[1]) == stopped
    assert stopped <= int(said[2]) <= 35 * stopped
    assert len(read_curves(outside / "outputs/training")) == TRAINING


@pytest.mark.slurm
def test_the_training_example_stops_trials_on_slurm(outside: Path, acct_cluster: Cluster) -> None:
    _check_training(outside, _run("training", "--slurm"))


@pytest.mark.parametrize("slurm", [False, pytest.param(True, marks=pytest.mark.slurm)], ids=["here", "slurm"])
def test_the_fortran_example_runs(slurm: bool, outside: Path, request: pytest.FixtureRequest) -> None:
    _need("gfortran", "gfortran")
    printed = _run_at("fortran", slurm, request, "--short")
    _check(outside / "outputs/fortran", 7, printed, slurm=slurm)
    # What the best of all fins gives off, by the formula of docs/examples/fortran.md.
    best = 80 * 50 * (3 * 200 * 1e-4 / 50) ** (1 / 3)
    assert 0.95 * best < _value(printed) < best + 0.05


@pytest.mark.parametrize("slurm", [False, pytest.param(True, marks=pytest.mark.slurm)], ids=["here", "slurm"])
def test_the_lammps_example_runs(
    slurm: bool, outside: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    _need("lmp", "lammps")
    # Open MPI: a rank that waits for the other lets the tests beside it have the processor.
    monkeypatch.setenv("OMPI_MCA_mpi_yield_when_idle", "1")
    # On Slurm each trial has two ranks.
    printed = _run_at("lammps", slurm, request, "--short", *(["--mpi"] if slurm else []))
    _check(outside / "outputs/lammps", 7, printed, slurm=slurm)
    reading = read_experiment(outside / "outputs/lammps")
    for number, trial in reading.ledger.trials.items():
        work = reading.layout.attempt(number, len(trial.attempts)).work
        log = (work / "log.lammps").read_text()
        assert f"1 by 1 by {2 if slurm else 1} MPI processor grid" in log
        assert "{{" not in (work / "in.copper").read_text()
        assert trial.metrics is not None
        metrics = {name: mean for name, (mean, _) in trial.metrics.items()}
        for name in ("lattice_constant", "cohesive_energy", "bulk_modulus", "log_misfit"):
            assert f"\n{name.upper():<16} = {metrics[name]!r:.12}" in log
        # The parameters reached LAMMPS, and its results the trial.
        energy = _morse_energy(metrics["lattice_constant"], **trial.parameters)
        assert metrics["cohesive_energy"] == pytest.approx(-energy, rel=1e-6)


def _morse_energy(lattice_constant: float, D: float, alpha: float, r0: float) -> float:
    """The energy per atom of a face-centred cubic crystal, its pairs cut off at 10 Angstrom like the deck."""

    def pair(r: float) -> float:
        bond = math.exp(-alpha * (r - r0))
        return D * (bond * bond - 2 * bond)

    steps = range(-10, 11)
    points = (p for p in itertools.product(steps, steps, steps) if sum(p) % 2 == 0 and any(p))
    distances = (lattice_constant / 2 * math.hypot(*point) for point in points)
    return sum(pair(r) - pair(10.0) for r in distances if r < 10.0) / 2


def test_batch_trials(outside: Path) -> None:
    printed = _run("batch_trials")
    ledger = read_experiment(outside / "outputs/batch_trials").ledger
    assert [trial.origin for trial in ledger.trials.values()] == ["candidate"] * 3 + ["ax"] * 6
    assert +ledger.counts == {TrialState.COMPLETED: 9}
    assert "\nbest: {'dose': " in printed


def test_started_again_an_example_goes_on(outside: Path) -> None:
    trials, _ = EXAMPLES["batch"]
    _run("batch")
    _run("batch")
    assert +read_experiment(outside / "outputs/batch").ledger.counts == {TrialState.COMPLETED: 2 * trials}


def test_the_two_versions_of_an_example_differ_in_the_runner_alone() -> None:
    for name in (*EXAMPLES, "container", "fortran", "lammps", "training"):
        text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if re.search(r"\bslurm\b", line)]
        assert [line.split(" = ")[0] for line in lines if "=" in line] == ["slurm", "runner"]
