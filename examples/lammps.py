"""Fit a potential for copper with LAMMPS: three parameters, so that three measured numbers come out.

With --slurm its trials are Slurm jobs, with --mpi each runs on two MPI ranks. --short ends after 7 trials.
LAMMPS has to be on the PATH as lmp (Debian: apt-get install --no-install-recommends lammps).
"""

import logging
import sys
from pathlib import Path

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

client = Client(random_seed=1)
client.configure_experiment(
    name="copper",
    parameters=[
        RangeParameterConfig(name="D", parameter_type="float", bounds=(0.2, 0.5)),
        RangeParameterConfig(name="alpha", parameter_type="float", bounds=(1.2, 1.8)),
        RangeParameterConfig(name="r0", parameter_type="float", bounds=(2.6, 3.1)),
    ],
)
client.configure_optimization(objective="-log_misfit")  # the minus sign: lower is better

slurm = "--slurm" in sys.argv
ranks = 2 if "--mpi" in sys.argv else 1
runner = SlurmRunner(time_limit="00:05:00", memory="1G", tasks_per_node=ranks) if slurm else LocalRunner(2)
config = {"job_output_dir": "outputs/lammps", "monitoring_interval": 2, "synchronous": False}

options = {
    "args": ["-in", "in.copper", "-screen", "none"],
    "templates": [Path(__file__).with_name("lammps") / "in.copper.j2"],
    "extract": {
        "log_misfit": {"file": "log.lammps", "regex": r"^LOG_MISFIT *= (\S+)"},
        "lattice_constant": {"file": "log.lammps", "regex": r"^LATTICE_CONSTANT *= (\S+)"},
        "cohesive_energy": {"file": "log.lammps", "regex": r"^COHESIVE_ENERGY *= (\S+)"},
        "bulk_modulus": {"file": "log.lammps", "regex": r"^BULK_MODULUS *= (\S+)"},
    },
}
if ranks > 1:
    options["interpreter"] = f"mpirun -np {ranks} --bind-to none"
    # Open MPI refuses to run for root, who one is in a container, unless it is told twice.
    options["environment"] = {"OMPI_ALLOW_RUN_AS_ROOT": 1, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": 1}

scheduler = AxScheduler(client, runner, config)
scheduler.set_script_objective("lmp", options)
best = scheduler.run_optimization(max_trials=7 if "--short" in sys.argv else 24)
values = {name: mean for name, (mean, _) in scheduler.result.best_values.items()}
print(f"best: {best}, misfit {10 ** values.pop('log_misfit'):.3g} %: {values}")
