"""How good the best trial is after so much time: asynchronous and in rounds, with and without `prefetch`.

The clock is that of utilisation.py: the driver, Ax and the time that they take are real, the cluster is
simulated, and while nothing is computed the clock is put forward. So what it costs that a point is suggested
before the results that come meanwhile are known, and what it saves that no slot waits for Ax, are both in the
figure. Problems, optima and durations of trials are those of quality.py, but for shorter trials: the shorter
they are, the more Ax's own time counts.

The table has, at parts of the time, the median over the seeds of what is missing to the optimum and [the
quartiles]; then the trials completed, and on how many seeds less was missing, and more, at the end than
without `prefetch`, with the p of Wilcoxon's signed-rank test of that, two-sided.

    python benchmarks/walltime.py [--seeds 10] [--seconds 120] [--median 15] [--problems NAME,...]
                                  [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402 - OMP_NUM_THREADS counts at torch's import
from axsched_hpc.core.config import SchedulerConfig  # noqa: E402
from axsched_hpc.core.events import ObjectiveSet  # noqa: E402
from axsched_hpc.io.layout import Layout  # noqa: E402
from axsched_hpc.loop.loop import Goal, Loop  # noqa: E402
from axsched_hpc.loop.session import Session  # noqa: E402
from axsched_hpc.loop.signals import Interrupts  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.problems import PROBLEMS, Problem  # noqa: E402
from benchmarks.quality import paired, spread  # noqa: E402
from benchmarks.utilisation import SkippingClock  # noqa: E402
from benchmarks.ways import MEDIAN, seconds_of  # noqa: E402
from tests.loop.simulated import Fate, SimulatedRunner  # noqa: E402

#: A name for the table -> what the run is configured with.
WAYS: dict[str, dict[str, Any]] = {
    "rounds": {"synchronous": True},
    "asynchronous": {},
    "prefetch 2": {"prefetch": 2},
    "prefetch 8": {"prefetch": 8},
}
USUAL = "asynchronous"
#: Parts of the time at which it is asked how good the best is.
PARTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Found:
    """What a run has shown: what is missing at each part of the time, and how many trials were completed."""

    problem: str
    way: str
    seed: int
    missing: tuple[float, ...]
    completed: int


def run(problem: Problem, way: str, seed: int, *, slots: int, seconds: float, median: float) -> Found:
    """Run for so many seconds."""
    clock = SkippingClock()

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        metrics = {name: (value, None) for name, value in problem.evaluate(problem.point(parameters)).items()}
        runs = seconds_of(problem, seed, trial) * median / MEDIAN
        return Fate(runs=runs, queued=0.0, metrics=metrics)

    random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        options = {"job_output_dir": folder, "save_interval": 1e9, **WAYS[way]}
        synchronous = options.pop("synchronous", False)
        config = SchedulerConfig.from_dict(options)
        bridge = AxBridge.from_input(problem.client(seed))
        session = Session.open(Layout.at(folder), bridge, config, clock)
        begun = clock.now()
        session.record(ObjectiveSet(begun, "none", problem.name))
        clock.session = session
        goal = Goal(10**6, synchronous=synchronous, deadline=clock.monotonic() + seconds)
        Loop(session, SimulatedRunner(clock, fate, slots)).run(goal, Interrupts())
        ended = [
            ((trial.attempts[-1].ended or 0.0) - begun, {name: pair[0] for name, pair in metrics.items()})
            for trial in session.ledger.trials.values()
            if (metrics := trial.metrics) is not None
        ]
        session.close(orderly=True)
    at = [[values for end, values in ended if end <= seconds * part] for part in PARTS]
    return Found(problem.name, way, seed, tuple(problem.miss(values) for values in at), len(at[-1]))


def table(runs: Sequence[Found], seconds: float) -> Iterator[str]:
    """The rows in Markdown."""
    yield (
        "| problem | way | "
        + " | ".join(f"missing at {seconds * part:.0f} s" for part in PARTS)
        + " | completed | less, more than asynchronous | p |"
    )
    yield "|---" * (5 + len(PARTS)) + "|"
    for problem in dict.fromkeys(each.problem for each in runs):
        rows = {
            way: [each for each in runs if (each.problem, each.way) == (problem, way)]
            for way in dict.fromkeys(each.way for each in runs)
        }
        for way, found in rows.items():
            cells = [
                "{median:.3g} [{low:.3g}, {high:.3g}]".format(**spread([each.missing[n] for each in found]))
                for n in range(len(PARTS))
            ]
            completed = spread([each.completed for each in found])["median"]
            beside = "| | |"
            if way != USUAL:
                two = paired([each.missing[-1] for each in found], [each.missing[-1] for each in rows[USUAL]])
                beside = f"| {two['better']}, {two['worse']} | {two['p']:.2g} |"
            yield f"| {problem} | {way} | {' | '.join(cells)} | {completed:g} {beside}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=120.0, help="of the clock, for each run")
    parser.add_argument("--median", type=float, default=15.0, help="seconds of a trial")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--problems", default="hartmann6", metavar="NAME,...")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    settings = {"slots": options.slots, "seconds": options.seconds, "median": options.median}
    runs = []
    # Seed by seed, so that what else the machine does falls on all ways alike.
    for seed in range(options.seeds):
        for name in options.problems.split(","):
            for way in WAYS:
                runs.append(run(PROBLEMS[name], way, seed, **settings))
                print(f"{name}, seed {seed}, {way}: {runs[-1].completed} trials", file=sys.stderr, flush=True)
    here = machine("ax-platform", "botorch")
    about = ", ".join(f"{key} {value}" for key, value in here.items())
    said = (
        f"{options.seeds} seeds, {options.slots} slots, trials of {options.median:g} s in the median and "
        f"twice that at the 88th percentile. {about}."
    )
    text = "\n".join([said, "", *table(runs, options.seconds)]) + "\n"
    sys.stdout.write(text)
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        found = {"machine": here, "setting": settings, "runs": [asdict(each) for each in runs]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
