"""What Ax can do, feature by feature, each in a run of a few seconds on this machine.

    python examples/features.py              lists them
    python examples/features.py log-scale    runs one, and prints what it found
    python examples/features.py all          runs them one after the other; --short with few trials each

Run again, each goes on from its directory below outputs/features. On a cluster only the runner is another one
(see examples/function.py). The table of docs/ax-features.md says what is tested where.
"""

import logging
import sys
import warnings

from ax import ChoiceParameterConfig, Client, RangeParameterConfig
from ax.api.configs import DerivedParameterConfig

from axsched_hpc import AxScheduler, LocalRunner

logging.basicConfig(format="%(message)s")
logging.getLogger("ax").setLevel(logging.ERROR)

#: Of eight trials the first five are Sobol points, and Ax's model suggests the others.
TRIALS = 4 if "--short" in sys.argv else 8


def client_for(parameters, objective, parameter_constraints=None, outcome_constraints=None):
    """An ax.Client with these parameters and this objective; a minus sign says that less is better."""
    client = Client(random_seed=1)
    client.configure_experiment(parameters, parameter_constraints=parameter_constraints, name="feature")
    client.configure_optimization(objective, outcome_constraints=outcome_constraints)
    return client


def scheduler_for(name, optimised, objective, slots=2, **options):
    """What runs the objective for a client or experiment, in a directory of the feature's own."""
    config = {"job_output_dir": f"outputs/features/{name}", "synchronous": False}
    scheduler = AxScheduler(optimised, LocalRunner(max_parallel=slots), config, **options)
    scheduler.set_objective_function(objective)
    return scheduler


def best_of(scheduler):
    """The best parameters and their metrics, for people."""
    result = scheduler.result
    values = {name: round(mean, 4) for name, (mean, _) in result.best_values.items()}
    return f"{result.best_parameters} with {values}"


# ------------------------------------------------------------ objectives: small, but the real thing


def descend(parameters):
    """Minimise (x - 3)**2 + 10 (y + 1)**2 by gradient descent from (0, 0), and report what is left."""
    import math

    x = y = 0.0
    for step in range(1, parameters.get("steps", 40) + 1):
        rate = parameters["rate"] / (step if parameters.get("decaying") else 1)
        x, y = x - rate * 2 * (x - 3), y - rate * 20 * (y + 1)
        if not abs(x) + abs(y) < 1e6:
            break
    return {"log_loss": math.log10((x - 3) ** 2 + 10 * (y + 1) ** 2 + 1e-12), "steps_taken": step}


def swing(parameters):
    """Integrate a pendulum for 5 s by the chosen method and number of steps: how far off is its energy?"""
    import math

    def slope(angle, speed):
        return speed, -9.81 / parameters.get("length", 1.0) * math.sin(angle)

    steps = parameters["steps"]
    h = 5 / steps
    angle, speed = 1.0, 0.0
    for _ in range(steps):
        a1, s1 = slope(angle, speed)
        if parameters["method"] == "euler":
            angle, speed = angle + h * a1, speed + h * s1
            continue
        a2, s2 = slope(angle + h / 2 * a1, speed + h / 2 * s1)
        if parameters["method"] == "midpoint":
            angle, speed = angle + h * a2, speed + h * s2
            continue
        a3, s3 = slope(angle + h / 2 * a2, speed + h / 2 * s2)
        a4, s4 = slope(angle + h * a3, speed + h * s3)
        angle += h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        speed += h / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
    gravity = 9.81 / parameters.get("length", 1.0)
    energy = speed**2 / 2 - gravity * math.cos(angle)
    error = abs(energy + gravity * math.cos(1.0))
    work = steps * {"euler": 1, "midpoint": 2, "rk4": 4}[parameters["method"]]
    return {"log_error": math.log10(error + 1e-15), "work": work}


def bend(parameters):
    """A steel beam of 2 m, 3 kN at its free end: its mass in kg, deflection in mm, greatest stress in MPa."""
    width, height = parameters["width"] / 1000, parameters["height"] / 1000
    inertia = width * height**3 / 12
    return {
        "mass": 7850 * 2 * width * height,
        "deflection": 1000 * 3000 * 2**3 / (3 * 210e9 * inertia),
        "stress": 3000 * 2 * height / 2 / inertia / 1e6,
    }


def mix(parameters):
    """A blend of three solvents: how far its solubility parameters are from those of a polymer."""
    solvents = {"toluene": (18.0, 1.4, 2.0), "acetone": (15.5, 10.4, 7.0), "ethanol": (15.8, 8.8, 19.4)}
    blend = [sum(parameters[name] * solvent[i] for name, solvent in solvents.items()) for i in range(3)]
    target = (17.0, 5.7, 6.1)
    return {"distance": sum((a - b) ** 2 for a, b in zip(blend, target, strict=True)) ** 0.5}


def relax(parameters):
    """Solve a linear system directly, or by relaxation: how many operations does it take?"""
    n = 30
    if parameters["solver"] == "direct":
        band = parameters["band"]
        return {"operations": n * (2 * band**2 + 5 * band) + (0 if band <= 2 else 500)}
    x, sweeps = [0.0] * (n + 2), 0
    while sweeps < 2000:
        sweeps, change = sweeps + 1, 0.0
        for i in range(1, n + 1):
            new = x[i] + parameters["omega"] * ((x[i - 1] + x[i + 1] + 0.1) / 2 - x[i])
            change, x[i] = max(change, abs(new - x[i])), new
        if change < 1e-6:
            break
    return {"operations": 5 * n * sweeps}


def queue(parameters):
    """Simulate a help desk: the mean waiting time over 40 days, and its standard error."""
    import random
    import statistics

    people, days = parameters["people"], []
    for day in range(40):
        chance = random.Random(day)
        free, now, waited = [0.0] * people, 0.0, []
        for _ in range(100):
            now += chance.expovariate(parameters["calls_per_minute"])
            start = max(now, min(free))
            free[free.index(min(free))] = start + chance.expovariate(1 / 5)
            waited.append(start - now)
        days.append(statistics.mean(waited))
    error = statistics.stdev(days) / len(days) ** 0.5
    return {"cost": (statistics.mean(days) + 2.0 * people, error)}


BEAM = [
    RangeParameterConfig(name="width", parameter_type="float", bounds=(20, 120)),
    RangeParameterConfig(name="height", parameter_type="float", bounds=(40, 200)),
]


# ------------------------------------------------------------ parameters


def log_scale(name):
    """A float on a logarithmic scale, and an int: learning rate and steps of a gradient descent."""
    parameters = [
        RangeParameterConfig(name="rate", parameter_type="float", bounds=(1e-4, 0.2), scaling="log"),
        RangeParameterConfig(name="steps", parameter_type="int", bounds=(5, 60)),
        ChoiceParameterConfig(name="decaying", parameter_type="bool", values=[True, False], is_ordered=True),
    ]
    scheduler = scheduler_for(name, client_for(parameters, "-log_loss"), descend)
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


def choices(name):
    """Choices without and with an order, and a fixed parameter (of one value)."""
    parameters = [
        ChoiceParameterConfig(
            name="method", parameter_type="str", values=["euler", "midpoint", "rk4"], is_ordered=False
        ),
        ChoiceParameterConfig(
            name="steps", parameter_type="int", values=[50, 100, 200, 400], is_ordered=True
        ),
        ChoiceParameterConfig(name="length", parameter_type="float", values=[0.5]),
    ]
    scheduler = scheduler_for(name, client_for(parameters, "-log_error - 0.002 * work"), swing)
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


def derived(name):
    """A parameter that follows from others, and a constraint on these: the third part of a blend."""
    parameters = [
        RangeParameterConfig(name="toluene", parameter_type="float", bounds=(0, 1)),
        RangeParameterConfig(name="acetone", parameter_type="float", bounds=(0, 1)),
        DerivedParameterConfig(
            name="ethanol", parameter_type="float", expression_str="1 - toluene - acetone"
        ),
    ]
    client = client_for(parameters, "-distance", parameter_constraints=["toluene + acetone <= 1"])
    scheduler = scheduler_for(name, client, mix)
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


def hierarchical(name):
    """Parameters that are there for one choice only: each solver has one of its own."""
    parameters = [
        ChoiceParameterConfig(
            name="solver",
            parameter_type="str",
            values=["direct", "relaxation"],
            is_ordered=True,
            dependent_parameters={"direct": ["band"], "relaxation": ["omega"]},
        ),
        RangeParameterConfig(name="band", parameter_type="int", bounds=(1, 10)),
        RangeParameterConfig(name="omega", parameter_type="float", bounds=(0.5, 1.95)),
    ]
    scheduler = scheduler_for(name, client_for(parameters, "-operations"), relax)
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


# ------------------------------------------------------------ objectives and outcome constraints


def outcome_constraints(name):
    """The lightest beam that bends little and does not yield; one constraint is on a sum of two metrics."""
    limits = ["deflection <= 20", "stress + 3 * deflection <= 180"]
    scheduler = scheduler_for(name, client_for(BEAM, "-mass", outcome_constraints=limits), bend)
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


def weighted_sum(name):
    """One objective made of two metrics: a millimetre of deflection is worth half a kilogram."""
    scheduler = scheduler_for(name, client_for(BEAM, "-mass - 0.5 * deflection"), bend)
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


def multi_objective(name):
    """Two objectives with thresholds: the Pareto front of beams below 250 kg and 60 mm."""
    limits = ["mass <= 250", "deflection <= 60"]
    scheduler = scheduler_for(name, client_for(BEAM, "-mass, -deflection", outcome_constraints=limits), bend)
    front = scheduler.run_optimization(TRIALS)
    return f"{len(front)} beams that no other beats in both: {front}"


def baseline(name):
    """A constraint relative to a status quo arm: no more than 10 % above today's deflection."""
    from ax.core.arm import Arm

    client = client_for(BEAM, "-mass", outcome_constraints=["deflection <= 1.1 * baseline"])
    today = {"width": 60.0, "height": 120.0}
    client._experiment.status_quo = Arm(parameters=today)
    scheduler = scheduler_for(name, client, bend)
    with scheduler.batch_trial_context() as batch:
        batch.add_trial(today)
    scheduler.wait()
    scheduler.run_optimization(TRIALS)
    return best_of(scheduler)


def noise(name):
    """A metric with its standard error: Ax's model then knows how far to trust each value."""
    parameters = [
        RangeParameterConfig(name="people", parameter_type="int", bounds=(1, 9)),
        ChoiceParameterConfig(name="calls_per_minute", parameter_type="float", values=[0.8]),
    ]
    scheduler = scheduler_for(name, client_for(parameters, "-cost"), queue)
    scheduler.run_optimization(TRIALS)
    mean, error = scheduler.result.best_values["cost"]
    return f"{scheduler.result.best_parameters['people']} people, cost {mean:.2f} +- {error:.2f}"


def tracking(name):
    """Metrics beside the objective's are kept with the trials, and shown with them."""
    rate = RangeParameterConfig(name="rate", parameter_type="float", bounds=(0.001, 0.2))
    scheduler = scheduler_for(name, client_for([rate], "-log_loss"), descend)
    scheduler.run_optimization(TRIALS)
    table = scheduler.result.trials[["trial_index", "rate", "log_loss", "steps_taken"]]
    return f"\n{table.to_string(index=False)}"


# ------------------------------------------------------------ strategies and kinds of input


def custom_strategy(name):
    """An Experiment of Ax's core classes, with a generation strategy of one's own nodes."""
    from ax.adapter.registry import Generators
    from ax.core.experiment import Experiment
    from ax.core.objective import Objective
    from ax.core.optimization_config import OptimizationConfig
    from ax.core.parameter import ParameterType, RangeParameter
    from ax.core.search_space import SearchSpace
    from ax.generation_strategy.center_generation_node import CenterGenerationNode
    from ax.generation_strategy.generation_node import GenerationNode
    from ax.generation_strategy.generation_strategy import GenerationStrategy
    from ax.generation_strategy.generator_spec import GeneratorSpec
    from ax.generation_strategy.transition_criterion import MinTrials

    names = {"mass": "mass", "deflection": "deflection"}
    objective = Objective(expression="-mass - deflection", metric_name_to_signature=names)
    experiment = Experiment(
        name="feature",
        search_space=SearchSpace(
            [
                RangeParameter("width", ParameterType.FLOAT, 20, 120),
                RangeParameter("height", ParameterType.FLOAT, 40, 200),
            ]
        ),
        optimization_config=OptimizationConfig(objective),
    )
    then = [MinTrials(threshold=2, transition_to="uniform")]
    sobol = [GeneratorSpec(Generators.SOBOL, generator_kwargs={"seed": 1})]
    strategy = GenerationStrategy(
        name="centre, Sobol, uniform",
        nodes=[
            CenterGenerationNode("sobol"),
            GenerationNode("sobol", sobol, transition_criteria=then, should_deduplicate=True),
            GenerationNode("uniform", [GeneratorSpec(Generators.UNIFORM)]),
        ],
    )
    scheduler = scheduler_for(name, experiment, bend, generation_strategy=strategy)
    scheduler.run_optimization(TRIALS)
    nodes = scheduler.result.trials["generation_node"].tolist()
    return f"{best_of(scheduler)}; suggested by {nodes}"


def parallelism(name):
    """AxClient runs at most 3 trials at a time in its model's phase, unless it is told otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # AxClient is deprecated, and gone in Ax 1.4
        from ax.service.ax_client import AxClient, ObjectiveProperties

        client = AxClient(random_seed=1, verbose_logging=False)
        client.create_experiment(
            name="feature",
            parameters=[
                {"name": "width", "type": "range", "bounds": [20.0, 120.0]},
                {"name": "height", "type": "range", "bounds": [40.0, 200.0]},
            ],
            objectives={"mass": ObjectiveProperties(minimize=True)},
            outcome_constraints=["deflection <= 20"],
            choose_generation_strategy_kwargs={"max_parallelism_override": -1},
        )
    scheduler = scheduler_for(name, client, bend, slots=4)
    scheduler.run_optimization(TRIALS)
    return f"{best_of(scheduler)}; limits of AxClient: {client.get_max_concurrency()}"


def failures(name):
    """Trials whose objective fails are FAILED in Ax, and the run goes on: a high beam does not fit in."""

    def fit_in(parameters):
        if parameters["height"] > 150:
            raise ValueError(f"a beam {parameters['height']:.0f} mm high does not fit in")
        return bend(parameters)

    scheduler = scheduler_for(name, client_for(BEAM, "-mass - deflection"), fit_in)
    scheduler.run_optimization(TRIALS)
    reasons = [failed.reason for failed in scheduler.result.failures]
    return f"{best_of(scheduler)}; {len(reasons)} failed: {reasons}"


FEATURES = {
    function.__name__.replace("_", "-"): function
    for function in (
        log_scale,
        choices,
        derived,
        hierarchical,
        outcome_constraints,
        weighted_sum,
        multi_objective,
        baseline,
        noise,
        tracking,
        custom_strategy,
        parallelism,
        failures,
    )
}


def main():
    """Run what the command line names, or list what there is."""
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    unknown = [word for word in wanted if word not in (*FEATURES, "all")]
    if unknown or not wanted:
        for name, function in FEATURES.items():
            print(f"{name:20} {function.__doc__.splitlines()[0]}")
        sys.exit(f"No such feature: {', '.join(unknown)}." if unknown else 0)
    for name in FEATURES if "all" in wanted else wanted:
        print(f"{name}: {FEATURES[name](name)}", flush=True)


if __name__ == "__main__":
    main()
