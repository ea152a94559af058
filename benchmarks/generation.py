"""What Ax itself takes per trial, by how many trials there are: nothing here is this package's own.

Milliseconds of the processor per point, or per trial:

- `Sobol, one`: `GenerationStrategy.gen` for one trial, as it is asked whenever a slot gets free. Most of it
  is that Ax makes its adapter anew, from all data, and compares the point with all there are.
- `16 at once`: the same for 16 trials in one call, for which Ax makes one adapter.
- `16 in one run`: 16 points of one generator run, which are compared with all others together: as the bridge
  asks for random points, and makes trials of them.
- `not compared`: the same with `generator_kwargs={"deduplicate": False}`.
- `new trial`: `Experiment.new_trial`, which looks for the trial among all others.
- `attach`: `Experiment.attach_data` of one value, which compares all rows; and as the bridge does it.

    python benchmarks/generation.py [--trials 100,1000,10000] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from ax.adapter.registry import Generators  # noqa: E402 - OMP_NUM_THREADS counts at torch's import
from ax.core.data import Data  # noqa: E402
from ax.core.trial_status import TrialStatus  # noqa: E402
from ax.generation_strategy.generation_node import GenerationNode  # noqa: E402
from ax.generation_strategy.generation_strategy import GenerationStrategy  # noqa: E402
from ax.generation_strategy.generator_spec import GeneratorSpec  # noqa: E402

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402
from axsched_hpc.ax_bridge.trials import finish, observations, own_point, start  # noqa: E402
from benchmarks import simulation  # noqa: E402
from benchmarks.machine import machine  # noqa: E402

#: Trials of one call, as many as get free at a time on a cluster.
AT_ONCE = 16
ROUNDS = 3


def strategy(*, deduplicate: bool) -> GenerationStrategy:
    """Sobol alone."""
    spec = GeneratorSpec(Generators.SOBOL, generator_kwargs={"deduplicate": deduplicate})
    return GenerationStrategy(name="sobol", nodes=[GenerationNode(name="Sobol", generator_specs=[spec])])


def grow(bridge: AxBridge, trials: int, draw: random.Random) -> None:
    """Bring the experiment to so many completed trials."""
    experiment, rows = bridge.experiment, []
    for index in range(len(experiment.trials), trials):
        trial = own_point(experiment, index, simulation.point(draw), f"{index}_0")
        start(trial, 1e9)
        finish(trial, TrialStatus.COMPLETED, 1e9)
        rows += observations(experiment, trial, {"loss": (draw.random(), None)})
    bridge._observed.attach(rows)


def milliseconds(work: Callable[[], Any]) -> float:
    """Of the processor, the median of some calls."""
    found = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        found.append(1e3 * (time.process_time() - begun))
    return statistics.median(found)


def measure(bridge: AxBridge, trials: int, draw: random.Random) -> dict[str, float]:
    """One row of the table."""
    grow(bridge, trials, draw)
    experiment = bridge.experiment
    usual, plain = strategy(deduplicate=True), strategy(deduplicate=False)
    found = {
        "Sobol, one": milliseconds(lambda: usual.gen(experiment, n=1)),
        f"{AT_ONCE} at once": milliseconds(lambda: usual.gen(experiment, n=1, num_trials=AT_ONCE)) / AT_ONCE,
        f"{AT_ONCE} in one run": milliseconds(lambda: usual.gen(experiment, n=AT_ONCE)) / AT_ONCE,
        "not compared": milliseconds(lambda: plain.gen(experiment, n=AT_ONCE)) / AT_ONCE,
    }
    runs = iter([run for made in plain.gen(experiment, n=1, num_trials=ROUNDS) for run in made])
    found["new trial"] = milliseconds(lambda: experiment.new_trial(generator_run=next(runs)))
    new = iter(list(experiment.trials.values())[-ROUNDS:])

    def row() -> Any:
        return observations(experiment, next(new), {"loss": (1.0, None)})

    found["attach"] = milliseconds(lambda: experiment.attach_data(Data(data_rows=row())))
    bridge._observed.of(0)  # what others have attached is taken in once
    last = list(experiment.trials.values())[-ROUNDS:]
    rows = iter([observations(experiment, trial, {f"m{trials}": (1.0, None)}) for trial in last])
    found["attach, bridge"] = milliseconds(lambda: bridge._observed.attach(next(rows)))
    for trial in last:
        start(trial, 1e9)
        finish(trial, TrialStatus.COMPLETED, 1e9)
    return found


def table(here: dict[str, str], found: dict[int, dict[str, float]]) -> str:
    """The table, in Markdown."""
    names = list(next(iter(found.values())))
    lines = [
        ", ".join(f"{key} {value}" for key, value in here.items()),
        "",
        f"| trials | {' | '.join(names)} |",
        "|---:" * (len(names) + 1) + "|",
    ]
    for trials, row in found.items():
        lines.append(f"| {trials:,} | {' | '.join(f'{row[name]:.2f}' for name in names)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", default="100,1000,10000", metavar="N,N,...", help="the sizes")
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 trials")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    bridge, draw = AxBridge.from_input(simulation.client()), random.Random(7)
    sizes = sorted(int(size) for size in ("100,1000" if options.quick else options.trials).split(","))
    found = {size: measure(bridge, size, draw) for size in sizes}
    here = machine("ax-platform")
    text = table(here, found)
    sys.stdout.write(text)
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": here, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
