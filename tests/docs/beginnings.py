"""What a session of a page begins with, where the page does not make it by itself: ``<!-- with: NAME -->``.

Each is a function of the session's namespace of Python; the current directory is the session's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from axsched_hpc.core.events import AttemptFailed, AttemptReported, AttemptSucceeded, Failure, TrialAdded
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from tests.cli.conftest import Story
from tests.docs.blocks import ROOT

Space = dict[str, Any]


def nothing(space: Space) -> None:
    """An empty directory."""


def finished(space: Space) -> None:
    """A finished experiment of ten trials in ./outputs, with curves and logs; trial 2 failed."""
    story = Story().opened()
    for n in range(10):
        story.events.append(TrialAdded(story.tick(), n, f"{n}_0", {"x": 0.1 * n, "y": 1 - 0.1 * n}, "ax"))
    story.submitted(*range(10)).started(*range(10))
    for n in range(10):
        if n == 2:
            failure = Failure(FailureKind.OUT_OF_MEMORY, "train.py ran out of memory", hint="Raise memory.")
            story.events.append(AttemptFailed(story.tick(), n, 1, failure, Verdict.FAIL))
        else:
            loss = {"loss": ((n - 4) ** 2 / 10, None)}
            story.events.append(AttemptReported(story.tick(), n, 1, ((1, loss), (2, loss)), 40))
            story.events.append(AttemptSucceeded(story.tick(), n, 1, loss, node="n1"))
    directory = story.closed().write(Path("outputs").absolute())
    layout = Layout.at(directory)
    for n in range(10):
        files = layout.attempt(n, 1)
        atomic.make_directory(files.root)
        files.stdout.write_text("warming up\n")
        files.stderr.write_text("")
        if n != 2:
            metrics = {"loss": [(n - 4) ** 2 / 10, None]}
            (files.root / "result.json").write_text(json.dumps({"trial": n, "metrics": metrics}))


def scheduler(space: Space) -> None:
    """A scheduler with an objective: x and y in 0..1, and points that cost nothing to find."""
    _scheduler(space, "-loss")


def scheduler_of_two(space: Space) -> None:
    """The same with two objectives, and the result of a run."""
    _scheduler(space, "-loss, -cost")
    space["scheduler"].run_optimization(max_trials=2)
    space["result"] = space["scheduler"].result


def solver(space: Space) -> None:
    """A scheduler, and the files of a solver."""
    for name in ("solver", "solver.jl", "airfoil.dat", "big.h5"):
        Path(name).write_text("#!/bin/sh\n")
        Path(name).chmod(0o755)
    _scheduler(space, "-loss", ("rate", "cells", "stretched", "viscosity"))


def names_of_a_script(space: Space) -> None:
    """A client of Ax's service interface, a runner, and an objective."""
    from ax.service.ax_client import AxClient, ObjectiveProperties

    from axsched_hpc import AxScheduler, LocalRunner

    client = AxClient(random_seed=1, verbose_logging=False)
    client.create_experiment(
        parameters=[{"name": name, "type": "range", "bounds": [0.0, 1.0]} for name in "xy"],
        objectives={"loss": ObjectiveProperties(minimize=True)},
    )
    space.update(
        AxScheduler=AxScheduler,
        ax_client=client,
        runner=LocalRunner(max_parallel=2),
        my_objective_function=bowl,
    )


def hydra_application(space: Space) -> None:
    """What docs/coming-from/hydra.md shows, without Hydra: app.py, which reads x=0.5 and y=0.5."""
    Path("app.py").write_text(
        "import sys\n"
        "cfg = dict(word.split('=', 1) for word in sys.argv[1:])\n"
        "assert cfg['hydra.run.dir'].startswith('/')\n"
        "print('loss', (float(cfg['x']) - 0.3) ** 2 + (float(cfg['y']) - 0.7) ** 2)\n"
    )


def checkpoint_of_scheduler_epic(space: Space) -> None:
    """A scheduler, and a file bowl.json as that package writes it, with two trials."""
    from ax.storage.json_store.encoder import object_to_json

    names_of_a_script(space)
    client = space["ax_client"]
    for _ in range(2):
        parameters, index = client.get_next_trial()
        client.complete_trial(index, raw_data={"loss": bowl(parameters)["loss"]})
    written = object_to_json({"experiment": client.experiment, "trials_metrics": {"0": {}}})
    Path("bowl.json").write_text(json.dumps(written))
    _scheduler(space, "-loss")


def client_of_the_plugin(space: Space) -> None:
    """A client with the plugin's runner and metric, saved to client.json, and what scripts of it import."""
    from ax.api.client import Client

    from axsched_hpc import LocalRunner, SlurmRunner
    from axsched_hpc.ax_plugin import FileMetric, SubmititAxRunner, bring_back

    client = _client("-loss")
    runner = SubmititAxRunner("outputs", LocalRunner(max_parallel=2))
    runner.set_objective_function(bowl)
    client.configure_runner(runner)
    client.configure_metrics([FileMetric("loss")])
    client.save_to_json_file("client.json")
    space.update(
        client=client,
        experiment=client._experiment,
        generation_strategy=client._generation_strategy,
        **{each.__name__: each for each in (Client, SlurmRunner, FileMetric, SubmititAxRunner, bring_back)},
    )


def _client(objective: str, names: Iterable[str] = "xy") -> Any:
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    client = Client(random_seed=1)
    client.configure_experiment(
        [RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in names]
    )
    client.configure_optimization(objective)
    client.configure_generation_strategy(method="random_search")
    return client


def _scheduler(space: Space, objective: str, names: Iterable[str] = "xy") -> None:
    from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

    client, runner = _client(objective, names), LocalRunner(max_parallel=4)
    made = AxScheduler(client, runner, {"job_output_dir": "outputs"})
    made.set_objective_function(bowl)
    space.update(
        client=client, runner=runner, scheduler=made, AxScheduler=AxScheduler, SlurmRunner=SlurmRunner
    )


def bowl(parameters: dict[str, Any]) -> dict[str, float]:
    """Lowest at (0.3, 0.7), cheapest at x = 0."""
    x, y = parameters["x"], parameters["y"]
    return {"loss": (x - 0.3) ** 2 + (y - 0.7) ** 2, "cost": 1 + x}


def examples(space: Space) -> None:
    """The files of examples/, but for its folders."""
    for path in (ROOT / "examples").iterdir():
        if path.is_file():
            shutil.copy(path, path.name)


#: Name -> what makes it.
BEGINNINGS: dict[str, Callable[[Space], None]] = {
    "nothing": nothing,
    "a finished run": finished,
    "a scheduler": scheduler,
    "a scheduler of two objectives": scheduler_of_two,
    "a scheduler and a solver": solver,
    "the names of a script": names_of_a_script,
    "a client of the plugin": client_of_the_plugin,
    "an application of Hydra's": hydra_application,
    "a checkpoint of scheduler_epic": checkpoint_of_scheduler_epic,
    "the examples": examples,
}
