"""Run Ax's batch trials, of three arms each: one of your own, then Ax's. With --slurm each is one job."""

import logging
import sys

from ax.core import (
    Arm,
    Experiment,
    Metric,
    Objective,
    OptimizationConfig,
    ParameterType,
    RangeParameter,
    SearchSpace,
)

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("axsched_hpc").setLevel(logging.INFO)


def settle(parameters):
    """A made-up clarifier, in which too little flocculant settles nothing and too much clogs it."""
    off = ((parameters["dose"] - 12) / 8) ** 2 + ((parameters["speed"] - 40) / 25) ** 2
    return {"turbidity": 0.3 + off}


experiment = Experiment(
    name="clarifier",
    search_space=SearchSpace(
        [
            RangeParameter("dose", ParameterType.FLOAT, lower=0.0, upper=40.0),
            RangeParameter("speed", ParameterType.FLOAT, lower=10.0, upper=120.0),
        ]
    ),
    optimization_config=OptimizationConfig(
        Objective("-turbidity", metric_name_to_signature={"turbidity": "turbidity"})
    ),
    tracking_metrics=[Metric("turbidity")],
)
plant = experiment.new_batch_trial()  # what the plant does now, and two changes of it: run first
for dose, speed in ((20.0, 60.0), (20.0, 40.0), (10.0, 60.0)):
    plant.add_arm(Arm({"dose": dose, "speed": speed}))

slurm = "--slurm" in sys.argv
job = {"time_limit": "00:05:00", "memory": "1G", "trials_per_job": 3, "max_parallel": 6}
runner = SlurmRunner(**job) if slurm else LocalRunner(max_parallel=3)
config = {"job_output_dir": "outputs/batch_trials", "monitoring_interval": 2, "arms_per_trial": 3, "seed": 1}

scheduler = AxScheduler(experiment, runner, config)
scheduler.set_objective_function(settle)
best = scheduler.run_optimization(max_trials=9)  # arms: the three above, and two trials of Ax's
print(experiment.to_df())
print(f"best: {best}, turbidity {scheduler.result.best_values['turbidity'][0]:.3g} NTU")
