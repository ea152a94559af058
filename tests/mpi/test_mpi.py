"""A real MPI program over two nodes, started by a script inside the batch step of its job."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from axsched_hpc import AxScheduler, SlurmRunner
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.slurm.fixtures import missing
from tests.slurm.harness import Cluster

pytest_plugins = ("tests.slurm.fixtures",)
pytestmark = pytest.mark.slurm

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "mpi"
_RANK = re.compile(r"rank (\d) of (\d+) on node (\d) \((\S+)\)")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's program, compiled."""
    compiler = shutil.which("mpicc.mpich")
    if compiler is None:
        missing("there is no MPICH here: apt-get install mpich libmpich-dev gcc libc6-dev.")
    made = tmp_path_factory.mktemp("mpi") / "integrate"
    subprocess.run(
        [compiler, "-Wall", "-Werror", "-O2", "-o", made, SOURCE / "integrate.c", "-lm"], check=True
    )
    return made


def error(first: float, second: float) -> float:
    """What the program computes, by the formulas for the integrals."""
    # Of sin(pi t) times u and u^2, with u = t (1 - t); and of u^2, u^3 and u^4.
    with_u, with_u2 = 4 / math.pi**3, 48 / math.pi**5 - 4 / math.pi**3
    u2, u3, u4 = 1 / 30, 1 / 140, 1 / 630
    own = first**2 * u2 + 2 * first * second * u3 + second**2 * u4
    return 0.5 - 2 * (first * with_u + second * with_u2) + own


def client() -> object:
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    made = Client(random_seed=3)
    made.configure_experiment(
        parameters=[
            RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 8.0))
            for name in ("first", "second")
        ]
    )
    made.configure_optimization(objective="-error")
    return made


@pytest.mark.parametrize("launcher", ["srun --mpi=pmi2", "mpiexec.mpich"])
def test_trials_over_two_nodes(slurm_cluster: Cluster, program: Path, tmp_path: Path, launcher: str) -> None:
    runner = SlurmRunner(
        memory="200M",
        time_limit="00:05:00",
        max_parallel=2,
        nodes=2,
        tasks_per_node=2,
    )
    options = {
        "job_output_dir": tmp_path / "run",
        "monitoring_interval": 1,
        "poll_interval": 0.2,
        "cleanup_after_completion": False,
    }
    scheduler = AxScheduler(client(), runner, options)
    scheduler.set_script_objective(
        SOURCE / "integrate.sh",
        {"parameters_format": "env", "copy": [program], "environment": {"LAUNCHER": launcher}},
    )
    scheduler.run_optimization(max_trials=2)

    trials = read_experiment(tmp_path / "run").ledger.trials
    assert [trial.state for trial in trials.values()] == [TrialState.COMPLETED] * 2
    for number, trial in trials.items():
        value, _ = trial.metrics["error"]
        assert value == pytest.approx(error(**trial.parameters), rel=1e-6)
        (log,) = (tmp_path / "run" / "trials").glob(f"*{number}/attempt-1/stdout.log")
        ranks = sorted(_RANK.findall(log.read_text()))
        # Two ranks on each of the job's two nodes.
        assert [(rank, size, node) for rank, size, node, _ in ranks] == [
            ("0", "4", "0"),
            ("1", "4", "0"),
            ("2", "4", "1"),
            ("3", "4", "1"),
        ]
        if launcher.startswith("srun"):
            # mpiexec hands the variables of its own node on to the other.
            assert len({name for *_, name in ranks}) == 2
