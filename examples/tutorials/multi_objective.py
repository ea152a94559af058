"""Ax's tutorial on several objectives: Branin and Currin, of which one gets worse as the other gets better.

The thresholds say what is still of use of each; the front is what lies within them. --slurm runs the trials
as jobs of Slurm; --short ends after 6 trials.
"""

import logging
import sys

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def evaluate(parameters):
    """Both are minimised."""
    from math import cos, exp, pi

    x, y = parameters["x"], parameters["y"]
    u, v = 15 * x - 5, 15 * y
    branin = (v - 5.1 / (4 * pi**2) * u**2 + 5 / pi * u - 6) ** 2 + 10 * (1 - 1 / (8 * pi)) * cos(u) + 10
    bump = 1 - exp(-1 / (2 * y)) if y > 0 else 1.0
    currin = bump * (2300 * x**3 + 1900 * x**2 + 2092 * x + 60) / (100 * x**3 + 500 * x**2 + 4 * x + 20)
    return {"branin": branin, "currin": currin}


client = Client(random_seed=1)
client.configure_experiment(
    name="branin_currin",
    parameters=[
        RangeParameterConfig(name=name, parameter_type="float", bounds=(0, 1)) for name in ("x", "y")
    ],
)
client.configure_optimization(
    objective="-branin, -currin",
    outcome_constraints=["branin <= 18", "currin <= 6"],  # of an objective, this is its threshold
)

runner = SlurmRunner(memory="500M", max_parallel=3) if "--slurm" in sys.argv else LocalRunner(max_parallel=3)
config = {"job_output_dir": "outputs/tutorials/multi_objective", "synchronous": False}
scheduler = AxScheduler(client, runner, config)
scheduler.set_objective_function(evaluate)
front = scheduler.run_optimization(max_trials=6 if "--short" in sys.argv else 30)
print(f"{len(front)} trials are on the Pareto front:")
table = client.summarize().set_index("arm_name")  # all that Ax knows
print(table.loc[list(front), ["x", "y", "branin", "currin"]].to_string())
