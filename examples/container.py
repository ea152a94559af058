"""Tune what is inside a container, with whichever engine is there. With --slurm its trials are Slurm jobs.

The image here is a directory made of busybox on the spot (Debian: apt-get install busybox-static), for
charliecloud, apptainer or singularity. Yours may be a .sif file, or a name such as docker://python:3.12.
"""

import logging
import sys
from pathlib import Path

from ax import Client, RangeParameterConfig
from busybox_image import make_image

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

image = make_image(Path("outputs/busybox"))

client = Client(random_seed=1)
client.configure_experiment(
    name="box",
    parameters=[
        RangeParameterConfig(name="width", parameter_type="float", bounds=(1.0, 30.0)),
        RangeParameterConfig(name="height", parameter_type="float", bounds=(1.0, 30.0)),
    ],
)
client.configure_optimization(objective="-surface")  # the minus sign: lower is better

slurm = "--slurm" in sys.argv
runner = SlurmRunner(time_limit="00:05:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
config = {"job_output_dir": "outputs/container", "monitoring_interval": 2, "synchronous": False}

scheduler = AxScheduler(client, runner, config)
scheduler.set_container_objective(str(image), "surface {params_file} {output_file}")
best = scheduler.run_optimization(max_trials=7)
print(f"best: {best}, surface {scheduler.result.best_values['surface'][0]:.4g}")
