from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, SlurmRunner

client = Client(random_seed=1)
client.configure_experiment(
    name="spring",
    parameters=[
        RangeParameterConfig(
            name=name,
            parameter_type="float",
            bounds=(0.1, 10),
            scaling="log",
        )
        for name in ("stiffness", "damping")
    ],
)
client.configure_optimization(objective="-unrest")  # the minus sign: lower is better

runner = SlurmRunner(time_limit="00:05:00", memory="500M", max_parallel=2)
scheduler = AxScheduler(client, runner)
scheduler.set_script_objective("spring.sh", {"parameters_format": "env"})
best = scheduler.run_optimization(max_trials=5)
print(f"best: {best}, unrest {scheduler.result.best_values['unrest'][0]:.4g}")
