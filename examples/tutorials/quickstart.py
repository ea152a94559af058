"""Ax's quickstart with trials that run as jobs: the Hartmann6 function in six parameters.

As in Ax, the client is told of the parameters and of what is sought. What differs is the loop: there is none.
--slurm runs the trials as jobs of Slurm; --short ends after 6 trials.
"""

import logging
import sys

from ax import Client, RangeParameterConfig
from hartmann import hartmann6

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def evaluate(parameters):
    """What is minimised. Put your own here."""
    return {"hartmann6": hartmann6([parameters[f"x{i}"] for i in range(1, 7)])}


client = Client(random_seed=1)
client.configure_experiment(
    name="hartmann6",
    parameters=[
        RangeParameterConfig(name=f"x{i}", parameter_type="float", bounds=(0, 1)) for i in range(1, 7)
    ],
)
client.configure_optimization(objective="-hartmann6")  # the minus sign: lower is better

runner = SlurmRunner(memory="500M", max_parallel=3) if "--slurm" in sys.argv else LocalRunner(max_parallel=3)
scheduler = AxScheduler(
    client, runner, {"job_output_dir": "outputs/tutorials/quickstart", "synchronous": False}
)
scheduler.set_objective_function(evaluate)
scheduler.run_optimization(max_trials=6 if "--short" in sys.argv else 30)

# From here on all is as in Ax: the client knows every trial.
parameters, values, trial, arm = client.get_best_parameterization()
print(f"best, by Ax's model: {parameters}")
mean, _ = values["hartmann6"]
print(f"hartmann6 = {mean:.4f}, in trial {trial} (arm {arm}); the lowest there is: -3.3224")
