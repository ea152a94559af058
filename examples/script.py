"""Tune a program of any language: here spring.sh, a shell script. With --slurm its trials are Slurm jobs."""

import logging
import sys
from pathlib import Path

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

client = Client(random_seed=1)
client.configure_experiment(
    name="spring",
    parameters=[
        RangeParameterConfig(name="stiffness", parameter_type="float", bounds=(0.1, 10.0), scaling="log"),
        RangeParameterConfig(name="damping", parameter_type="float", bounds=(0.1, 10.0), scaling="log"),
    ],
)
client.configure_optimization(objective="-unrest")  # the minus sign: lower is better

slurm = "--slurm" in sys.argv
runner = SlurmRunner(time_limit="00:05:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
config = {"job_output_dir": "outputs/script", "monitoring_interval": 2, "synchronous": False}

scheduler = AxScheduler(client, runner, config)
# The parameter file is then one that a shell can read; JSON, YAML and TOML are the other choices.
scheduler.set_script_objective(Path(__file__).with_name("spring.sh"), {"parameters_format": "env"})
best = scheduler.run_optimization(max_trials=8)
print(f"best: {best}, unrest {scheduler.result.best_values['unrest'][0]:.4g}")
