"""Tune a Python function, on this machine or, with --slurm, as Slurm jobs. One line makes the difference.

Started again it goes on, with eight trials more.
"""

import logging
import sys

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def valley(parameters):
    """Rosenbrock's valley, lowest at (1, 1). Put your simulation or training here."""
    x, y = parameters["x"], parameters["y"]
    return {"height": (1 - x) ** 2 + 100 * (y - x * x) ** 2}


client = Client(random_seed=1)
client.configure_experiment(
    name="valley",
    parameters=[
        RangeParameterConfig(name="x", parameter_type="float", bounds=(-2.0, 2.0)),
        RangeParameterConfig(name="y", parameter_type="float", bounds=(-1.0, 3.0)),
    ],
)
client.configure_optimization(objective="-height")  # the minus sign: lower is better

slurm = "--slurm" in sys.argv
runner = SlurmRunner(time_limit="00:05:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
config = {"job_output_dir": "outputs/function", "monitoring_interval": 2, "synchronous": False}

scheduler = AxScheduler(client, runner, config)
scheduler.set_objective_function(valley)
best = scheduler.run_optimization(max_trials=8)
print(f"best: {best}, height {scheduler.result.best_values['height'][0]:.4g}")
