"""Experiments that Ax itself drives, and what their objectives have done."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import claim
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal


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
