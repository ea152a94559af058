"""Run points of your own choosing as one batch, then let Ax go on from there. With --slurm as Slurm jobs."""

import itertools
import logging
import sys

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def react(parameters):
    """A made-up reaction that likes 80 degrees and a pH of 6.5."""
    off = ((parameters["temperature"] - 80) / 30) ** 2 + ((parameters["ph"] - 6.5) / 2) ** 2
    return {"output": 100 / (1 + off)}


client = Client(random_seed=1)
client.configure_experiment(
    name="reaction",
    parameters=[
        RangeParameterConfig(name="temperature", parameter_type="float", bounds=(20.0, 120.0)),
        RangeParameterConfig(name="ph", parameter_type="float", bounds=(3.0, 10.0)),
    ],
)
client.configure_optimization(objective="output")

slurm = "--slurm" in sys.argv
runner = SlurmRunner(time_limit="00:05:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
config = {"job_output_dir": "outputs/batch", "monitoring_interval": 2}

scheduler = AxScheduler(client, runner, config)
scheduler.set_objective_function(react)
with scheduler.batch_trial_context() as batch:  # leaving the block submits all, on Slurm as one job array
    for temperature, ph in itertools.product((40.0, 90.0), (5.0, 8.0)):
        batch.add_trial({"temperature": temperature, "ph": ph})
best = scheduler.run_optimization(max_trials=3)  # the four points are all that Ax's model needs to start
print(f"best: {best}, output {scheduler.result.best_values['output'][0]:.3g} %")
