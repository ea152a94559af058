"""Ax's quickstart with trials that run as jobs: the Hartmann6 function in six parameters.

As in Ax, the client is told of the parameters and of what is sought. What differs is the loop: there is none.
--slurm runs the trials as jobs of Slurm; --short ends after 8 trials.
"""

import logging
import sys

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def hartmann6(parameters):
    """The function to be minimised; its lowest value is -3.32237. Put your own here."""
    import numpy as np

    alpha = np.array([1.0, 1.2, 3.0, 3.2])
    steepness = np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    x = np.array([parameters[f"x{i}"] for i in range(1, 7)])
    return {"hartmann6": float(-alpha @ np.exp(-(steepness * (x - centres) ** 2).sum(axis=1)))}


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
scheduler.set_objective_function(hartmann6)
scheduler.run_optimization(max_trials=8 if "--short" in sys.argv else 30)

# From here on all is as in Ax: the client knows every trial.
parameters, values, trial, arm = client.get_best_parameterization()
print(f"best, by Ax's model: {parameters}")
mean, sem = values["hartmann6"]
print(f"hartmann6 = {mean:.4f} +/- {sem:.4f}, in trial {trial} (arm {arm})")
