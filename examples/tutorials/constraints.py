"""Ax's tutorial on outcome constraints: the lowest value of Hartmann6 among points near the origin.

The objective returns a second metric, and a constraint says what it may be. --slurm runs the trials as jobs
of Slurm; --short ends after 5 trials, before Ax has a model: with six parameters and a constraint each point
of one takes Ax ten seconds and more.
"""

import logging
import math
import sys

from ax import Client, RangeParameterConfig
from hartmann import hartmann6

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def evaluate(parameters):
    """What is minimised, and the distance from the origin that is bounded."""
    x = [parameters[f"x{i}"] for i in range(1, 7)]
    return {"hartmann6": hartmann6(x), "distance": math.hypot(*x)}


client = Client(random_seed=1)
client.configure_experiment(
    name="hartmann6_constrained",
    parameters=[
        RangeParameterConfig(name=f"x{i}", parameter_type="float", bounds=(0, 1)) for i in range(1, 7)
    ],
    parameter_constraints=["x1 + x2 <= 1.5"],  # holds for every point that is suggested
)
client.configure_optimization(
    objective="-hartmann6",
    outcome_constraints=["distance <= 1.25"],  # is learned from what trials report
)

runner = SlurmRunner(memory="1G", max_parallel=3) if "--slurm" in sys.argv else LocalRunner(max_parallel=3)
scheduler = AxScheduler(
    client, runner, {"job_output_dir": "outputs/tutorials/constraints", "synchronous": False}
)
scheduler.set_objective_function(evaluate)
best = scheduler.run_optimization(max_trials=5 if "--short" in sys.argv else 30)
values = {name: round(mean, 4) for name, (mean, _) in scheduler.result.best_values.items()}
print(f"best of the trials within the constraint: {best}, with {values}")
