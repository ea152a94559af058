from ax import Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner


def spring(parameters):
    """How restless is a weight on a spring, and how hard is it pulled?"""
    x, v, t, unrest = 1.0, 0.0, 0.0, 0.0
    dt = 0.001
    while t < 20:
        force = -parameters["stiffness"] * x - parameters["damping"] * v
        v += force * dt
        x += v * dt
        unrest += (t * abs(x) + 0.1 * force**2) * dt
        t += dt
    return {"unrest": unrest}


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
scheduler.set_objective_function(spring)
best = scheduler.run_optimization(max_trials=5)
print(f"best: {best}, unrest {scheduler.result.best_values['unrest'][0]:.4g}")
