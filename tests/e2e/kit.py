"""Experiments for the end-to-end tests, and scripts that are run as a user would run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axsched_hpc import LocalRunner, SlurmRunner
from axsched_hpc.runners.base import BaseRunner
from tests import scripts


def client(seed: int = 5, *, initial: int = 5) -> Any:
    """Two parameters, one metric to be minimised, so many Sobol points before the GP."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    made = Client(random_seed=seed)
    made.configure_experiment(
        parameters=[
            RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in "xy"
        ]
    )
    made.configure_optimization(objective="-loss")
    made.configure_generation_strategy(initialization_budget=initial)
    return made


def bowl(parameters: dict[str, Any]) -> dict[str, float]:
    """Lowest at (0.3, 0.7)."""
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}


def runner(kind: str, slots: int) -> BaseRunner:
    """A runner of a kind, with jobs as small as the tests need."""
    if kind == "local":
        return LocalRunner(max_parallel=slots)
    if kind == "packs":
        return SlurmRunner(
            memory="100M", time_limit="00:10:00", max_parallel=slots, trials_per_job=slots // 2
        )
    mode = "steps" if kind == "steps" else "jobs"
    return SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=slots, mode=mode)


#: A driver script: runs trials of an objective that logs each execution, and can be killed at any time.
DRIVER = """
import sys, time
from pathlib import Path
from tests.e2e.kit import client, runner
from axsched_hpc import AxScheduler

kind, directory = sys.argv[1], sys.argv[4]
slots, trials, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[5])
log = str(Path(directory).parent / "executions.log")

def objective(parameters):
    with open(log, "a") as file:
        file.write(f"{parameters['x']!r} {parameters['y']!r}\\n")
    time.sleep(seconds)
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}

if __name__ == "__main__":
    scheduler = AxScheduler(client(initial=trials), runner(kind, slots), {
        "job_output_dir": directory, "monitoring_interval": 1, "poll_interval": 0.2, "synchronous": False,
    })
    scheduler.set_objective_function(objective)
    print("started", flush=True)
    print(scheduler.run_optimization(max_trials=trials), flush=True)
"""


def start_driver(
    folder: Path,
    kind: str,
    slots: int,
    trials: int,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> scripts.Script:
    """Start the driver script in a process of its own; its experiment is in ``folder / "run"``."""
    script = folder / "driver.py"
    script.write_text(DRIVER)
    arguments = [kind, slots, trials, folder / "run", seconds]
    return scripts.start(script, arguments, folder=folder, environment=environment)


def executions(folder: Path) -> list[str]:
    """What the objective logged: one line per execution."""
    log = folder / "executions.log"
    return log.read_text().splitlines() if log.exists() else []
