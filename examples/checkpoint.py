"""Tune a function that saves its state, and goes on from there in another job. With --slurm as Slurm jobs.

On a cluster its jobs may be shorter than an evaluation, and may be preempted. Here a worker may be killed.
"""

import logging
import sys
import time

from ax import Client, RangeParameterConfig

from axsched_hpc import (
    AxScheduler,
    ContinueLater,
    LocalRunner,
    SlurmRunner,
    checkpoint_directory,
    warned,
)

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

STEPS = 20


def descend(parameters):
    """Gradient descent with momentum, in steps that take their time. Put your training here."""
    state = checkpoint_directory() / "state"
    saved = state.read_text().split() if state.exists() else [0, 1.0, 0.0]
    step, place, speed = int(saved[0]), float(saved[1]), float(saved[2])
    while step < STEPS:
        if warned() or step % 5 == 4:
            new = state.with_suffix(".new")
            new.write_text(f"{step} {place} {speed}")
            new.replace(state)  # whole, or not at all
        if warned():
            raise ContinueLater
        time.sleep(0.02)
        speed = parameters["momentum"] * speed - parameters["rate"] * 2 * place
        step, place = step + 1, place + speed
    return {"distance": abs(place)}


client = Client(random_seed=1)
client.configure_experiment(
    name="descent",
    parameters=[
        RangeParameterConfig(name="rate", parameter_type="float", bounds=(0.01, 0.5)),
        RangeParameterConfig(name="momentum", parameter_type="float", bounds=(0.0, 0.9)),
    ],
)
client.configure_optimization(objective="-distance")  # the minus sign: lower is better

slurm = "--slurm" in sys.argv
runner = SlurmRunner(time_limit="00:10:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
config = {"job_output_dir": "outputs/checkpoint", "monitoring_interval": 2, "synchronous": False}

scheduler = AxScheduler(client, runner, config)
scheduler.set_objective_function(descend, checkpointable=True, warning=120)
best = scheduler.run_optimization(max_trials=8)
print(f"best: {best}, distance {scheduler.result.best_values['distance'][0]:.4g}")
