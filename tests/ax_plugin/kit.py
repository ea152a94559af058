"""Experiments that Ax itself drives, and what their objectives have done."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import claim
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal
from tests import scripts
from tests.scripts import Script

ROOT = Path(__file__).resolve().parents[2]


def bowl(parameters: dict[str, Any]) -> dict[str, Any]:
    """Lowest at (0.3, 0.7)."""
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2, "cost": (1.0, 0.1)}


def client(seed: int = 1, *, storage: Any = None, name: str = "bowl") -> Any:
    """Two parameters and Sobol points only, so that nothing is fitted."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    made = Client(storage_config=storage)
    made.configure_experiment(
        name=name,
        parameters=[
            RangeParameterConfig(name=each, parameter_type="float", bounds=(0.0, 1.0)) for each in "xy"
        ],
    )
    made.configure_optimization(objective="-loss")
    made.configure_generation_strategy(method="random_search", initialization_random_seed=seed)
    return made


def prepared(directory: Path, inner: Any, objective: Any = bowl, *, made: Any = None, **metric: Any) -> Any:
    """A client with the runner and the metric of this package."""
    from axsched_hpc.ax_plugin import FileMetric, SubmititAxRunner

    runner = SubmititAxRunner(directory, inner, {"monitoring_interval": 1})
    runner.set_objective_function(objective)
    made = client() if made is None else made
    made.configure_runner(runner)
    made.configure_metrics([FileMetric("loss", **metric)])
    return made


def run(made: Any, trials: int, parallelism: int = 2, *, db_settings: Any = None, **options: Any) -> None:
    """As ``Client.run_trials``, without the second that it waits after each submission."""
    from ax.orchestration.orchestrator import Orchestrator, OrchestratorOptions

    options = {"run_trials_in_batches": True, "min_seconds_before_poll": 0.0, **options}
    orchestrator = Orchestrator(
        made._experiment,
        made._generation_strategy_or_choose(),
        OrchestratorOptions(
            max_pending_trials=parallelism,
            init_seconds_between_polls=0.1,  # type: ignore[arg-type]  # Ax only sleeps for that long
            seconds_between_polls_backoff_factor=1.0,
            **options,
        ),
        db_settings=db_settings,
    )
    orchestrator.run_n_trials(max_trials=trials)


def statuses(made: Any) -> Counter[str]:
    """How many trials have which status in Ax."""
    return Counter(trial.status.name for trial in made._experiment.trials.values())


def losses(made: Any) -> dict[int, float]:
    """The loss that Ax has for each trial."""
    frame = made._experiment.lookup_data().df
    frame = frame[frame["metric_name"] == "loss"]
    return {int(row.trial_index): float(row.mean) for row in frame.itertuples()}


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in vain waited for {what}"
        time.sleep(0.02)


def slow_at_the_right(parameters: dict[str, Any]) -> dict[str, float]:
    """Reports on its way; takes a minute where x is above 0.5."""
    import time

    from axsched_hpc import report

    for step in range(600 if parameters["x"] > 0.5 else 2):
        report(step, loss=parameters["x"])
        if parameters["x"] > 0.5:
            time.sleep(0.1)
    return {"loss": parameters["x"]}


def process_environment() -> dict[str, str]:
    """For processes that import this tree's package."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def ledger(directory: Path) -> Ledger:
    """What the journal of a directory tells."""
    return journal.replay(journal.read(Layout.at(directory).journal))


def executions(directory: Path) -> Counter[int]:
    """How many workers have claimed an attempt, for each trial."""
    found: Counter[int] = Counter()
    for root in sorted(Layout.at(directory).trials.glob("*/attempt-*")):
        layout = Layout.at(directory)
        files = layout.attempt(int(root.parent.name), int(root.name.removeprefix("attempt-")))
        found[int(root.parent.name)] += claim.executions(files)
    return found


# ---------------------------------------------------------------- processes of their own

#: Makes the client or loads it, runs some trials in parallel, and saves it again.
SCRIPT = """
import sys
from pathlib import Path
from ax.api.client import Client
from axsched_hpc import LocalRunner, SlurmRunner
from axsched_hpc.ax_plugin import bring_back
from tests import scripts
from tests.ax_plugin.kit import prepared, run

folder, kind, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[5]
trials, parallelism = int(sys.argv[3]), int(sys.argv[4])
saved, log = str(folder / "client.json"), str(folder / "executions.log")

def objective(parameters):
    import time
    with open(log, "a") as file:
        file.write(f"{parameters['x']!r}\\n")
    time.sleep(0.3)
    return {"loss": (parameters["x"] - 0.3) ** 2}

if mode == "new":
    slurm = SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=parallelism)
    made = prepared(folder / "run", slurm if kind == "slurm" else LocalRunner(parallelism), objective)
    made.save_to_json_file(saved)
else:
    made = Client.load_from_json_file(saved)
    bring_back(made)
    if mode == "finish":
        trials -= len(made._experiment.trials)
if kind == "slurm":
    made.run_trials(max_trials=trials, parallelism=parallelism)
else:
    run(made, trials, parallelism)
made.save_to_json_file(saved)
"""


def start(
    folder: Path, kind: str, trials: int, parallelism: int, mode: str, *, fault: tuple[str, str] | None = None
) -> Script:
    """Start the script: ``mode`` is "new", "more" or "finish"; a fault is a point and what happens there."""
    script, faults = folder / "script.py", folder / "faults"
    script.write_text(SCRIPT)
    environment = {}
    if fault is not None:
        faults.mkdir()
        (faults / fault[0]).write_text(fault[1])
        environment["AXSCHED_FAULTS"] = str(faults)
    arguments = [folder, kind, trials, parallelism, mode]
    return scripts.start(script, arguments, folder=folder, environment=environment)


def ended(process: Script, code: int = 0) -> None:
    """Wait for the script's end, with this exit code."""
    output, _ = process.communicate(timeout=150)
    assert process.returncode == code, output


def check(folder: Path, trials: int) -> None:
    """Check that the script's trials are completed in Ax, and that each was run once."""
    from ax.api.client import Client

    import axsched_hpc.ax_plugin  # noqa: F401

    loaded = Client.load_from_json_file(str(folder / "client.json"))
    assert statuses(loaded) == {"COMPLETED": trials}
    assert set(losses(loaded)) == set(range(trials))
    assert executions(folder / "run") == dict.fromkeys(range(trials), 1)
    logged = (folder / "executions.log").read_text().splitlines()
    assert len(logged) == len(set(logged)) == trials
