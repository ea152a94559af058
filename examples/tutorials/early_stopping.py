"""Ax's tutorial on early stopping: trials whose curves fall behind are ended, and their slots go to others.

The curve here comes from a formula, a step each twentieth of a second, so that there is something to see in
half a minute; examples/training.py trains a real network. --slurm runs the trials as jobs of Slurm; --short
ends after 8 trials.
"""

import logging
import sys

from ax import Client, RangeParameterConfig
from ax.early_stopping.strategies import PercentileEarlyStoppingStrategy

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

STEPS = 60


def train(parameters):
    """A loss that falls the faster, the better the parameters are."""
    import time
    from math import exp

    from axsched_hpc import report

    reach = (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2
    for step in range(1, STEPS + 1):
        time.sleep(0.05)
        loss = reach + (1 - reach) * exp(-step / (5 + 20 * reach))
        report(step, loss=loss)
    return {"loss": loss}


client = Client(random_seed=1)
client.configure_experiment(
    name="curves",
    parameters=[
        RangeParameterConfig(name=name, parameter_type="float", bounds=(0, 1)) for name in ("x", "y")
    ],
)
client.configure_optimization(objective="-loss")  # the minus sign: lower is better
client.set_early_stopping_strategy(
    PercentileEarlyStoppingStrategy(
        percentile_threshold=50,  # worse than half of the others at the same step
        min_progression=10,  # not before this step
        min_curves=3,  # once so many trials are completed
    )
)

runner = SlurmRunner(memory="500M", max_parallel=3) if "--slurm" in sys.argv else LocalRunner(max_parallel=3)
config = {
    "job_output_dir": "outputs/tutorials/early_stopping",
    "monitoring_interval": 1,  # seconds between two looks at the curves
    "synchronous": False,
}
scheduler = AxScheduler(client, runner, config)
scheduler.set_objective_function(train)
best = scheduler.run_optimization(max_trials=8 if "--short" in sys.argv else 20)
result = scheduler.result
print(f"best: {best}, loss {result.best_values['loss'][0]:.4g}")
hours = result.saved.node_hours or 0
print(f"stopped early: {len(result.stopped_early)} trials; about {3600 * hours:.1f} s of a node not spent")
