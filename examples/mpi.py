"""Tune an MPI program that runs on several nodes: mpi/integrate.c, started by a script inside the job.

It needs Slurm, and an MPI library with its compiler: on Debian mpich, libmpich-dev, gcc and libc6-dev.
"""

import logging
import shutil
import subprocess
from pathlib import Path

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

source = Path(__file__).with_name("mpi")
program = Path("outputs/mpi-program/integrate")
program.parent.mkdir(parents=True, exist_ok=True)
# Where Debian has several MPI libraries, plain mpicc is the compiler of any of them.
compiler = shutil.which("mpicc.mpich") or "mpicc"
subprocess.run([compiler, "-O2", "-o", program, source / "integrate.c", "-lm"], check=True)

client = Client(random_seed=1)
client.configure_experiment(
    name="polynomial",
    parameters=[
        RangeParameterConfig(name="first", parameter_type="float", bounds=(0.0, 8.0)),
        RangeParameterConfig(name="second", parameter_type="float", bounds=(0.0, 8.0)),
    ],
)
client.configure_optimization(objective="-error")  # the minus sign: lower is better

# Each trial has two ranks on each of two nodes.
runner = SlurmRunner(
    time_limit="00:05:00",
    memory="1G",
    max_parallel=2,
    nodes=2,
    tasks_per_node=2,
)
config = {"job_output_dir": "outputs/mpi", "monitoring_interval": 2, "synchronous": False}

scheduler = AxScheduler(client, runner, config)
scheduler.set_script_objective(source / "integrate.sh", {"parameters_format": "env", "copy": [program]})
best = scheduler.run_optimization(max_trials=8)
print(f"best: {best}, error {scheduler.result.best_values['error'][0]:.4g}")
