from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner

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

scheduler = AxScheduler(client, LocalRunner(max_parallel=2))
scheduler.set_script_objective("spring.sh", {"parameters_format": "env"})
best = scheduler.run_optimization(max_trials=5)
print(f"best: {best}, unrest {scheduler.result.best_values['unrest'][0]:.4g}")
