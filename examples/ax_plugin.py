"""Ax drives: its own client runs the trials, on this machine or, with --slurm, as Slurm jobs.

Started again it goes on, with four trials more, also where it was killed.
"""

import logging
import sys
from pathlib import Path

from ax import Client, RangeParameterConfig

from axsched_hpc import LocalRunner, SlurmRunner
from axsched_hpc.ax_plugin import FileMetric, SubmititAxRunner, bring_back

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def valley(parameters):
    """Rosenbrock's valley, lowest at (1, 1). Put your simulation or training here."""
    x, y = parameters["x"], parameters["y"]
    return {"height": (1 - x) ** 2 + 100 * (y - x * x) ** 2}


folder = Path("outputs/ax_plugin")
saved = folder / "client.json"

if saved.exists():
    client = Client.load_from_json_file(str(saved))
    bring_back(client)  # what was run after it was saved
else:
    client = Client()
    client.configure_experiment(
        name="valley",
        parameters=[
            RangeParameterConfig(name="x", parameter_type="float", bounds=(-2.0, 2.0)),
            RangeParameterConfig(name="y", parameter_type="float", bounds=(-1.0, 3.0)),
        ],
    )
    client.configure_optimization(objective="-height")  # the minus sign: lower is better
    slurm = "--slurm" in sys.argv
    runner = SubmititAxRunner(
        folder, SlurmRunner(time_limit="00:05:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
    )
    runner.set_objective_function(valley)
    client.configure_runner(runner)
    client.configure_metrics([FileMetric("height")])
    client.save_to_json_file(str(saved))

client.run_trials(max_trials=4, parallelism=2)
client.save_to_json_file(str(saved))
best, values, _, _ = client.get_best_parameterization(use_model_predictions=False)
print(f"best: {best}, height {values['height'][0]:.4g}")
