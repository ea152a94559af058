"""Find the cooling fin that gives off most heat, with a solver in Fortran and its namelists: fortran/fin.f90.

With --slurm its trials are Slurm jobs; --short ends after 7 trials. It needs gfortran (a package of Debian).
"""

import logging
import subprocess
import sys
from pathlib import Path

from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)

source = Path(__file__).with_name("fortran")
program = Path("outputs/fortran-program/fin")
program.parent.mkdir(parents=True, exist_ok=True)
subprocess.run(["gfortran", "-O2", "-o", program, source / "fin.f90"], check=True)

client = Client(random_seed=1)
client.configure_experiment(
    name="fin",
    parameters=[
        RangeParameterConfig(name="length", parameter_type="float", bounds=(0.02, 0.25)),
        RangeParameterConfig(name="taper", parameter_type="float", bounds=(0.0, 4.0)),
    ],
)
client.configure_optimization(objective="heat_flow")

slurm = "--slurm" in sys.argv
runner = SlurmRunner(time_limit="00:05:00", memory="1G") if slurm else LocalRunner(max_parallel=2)
config = {"job_output_dir": "outputs/fortran", "monitoring_interval": 2, "synchronous": False}

scheduler = AxScheduler(client, runner, config)
scheduler.set_script_objective(
    program,
    {
        "args": ["fin.nml"],
        "templates": [source / "fin.nml.j2"],
        "extract": {"heat_flow": {"regex": r"^ HEAT FLOW +(\S+) W/m"}},
    },
)
best = scheduler.run_optimization(max_trials=7 if "--short" in sys.argv else 20)
print(f"best: {best}, heat_flow {scheduler.result.best_values['heat_flow'][0]:.4g} W/m")
