"""How good the results are, beside Ax alone: at equal numbers of trials, and at equal time.

The same problems, seeds and durations of trials for all ways. Ours is the driver's own session, loop, journal
and bridge; the cluster and its clock are simulated (ways.py). For each problem and seed these run:

- `rounds`: Ax's `get_next_trials` and `complete_trial` as its tutorials have it, in rounds of as many trials
  as there are slots;
- `ours, rounds`: the driver's synchronous mode, with as many trials in as many slots;
- `ours`: its asynchronous mode, in as many slots, for the time that the rounds take;
- `ours, one` and `Ax, one`: one trial at a time. Both have to suggest the same points, to the last digit;
- `orchestrator`: Ax's own asynchronous `Client.run_trials`, on the first problem, for as many trials as ours.

The table, in Markdown, has the median over the seeds and [the quartiles], on how many seeds ours had less and
more, and the p of Wilcoxon's signed-rank test of that, two-sided. Each run is appended to a file when it has
ended, and a call goes on with what is missing.

    python benchmarks/quality.py [--seeds 10] [--trials 24] [--slots 8] [--problems NAME,...] [--quick]
                                 [--runs FILE] [--json FILE] [--report]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402 - OMP_NUM_THREADS counts when torch is loaded
from scipy.stats import wilcoxon  # noqa: E402 - OMP_NUM_THREADS counts when torch is loaded

from benchmarks import ways  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.problems import PROBLEMS, Problem  # noqa: E402
from benchmarks.ways import Ran  # noqa: E402

OURS, OURS_ROUNDS, OURS_ONE = "ours", "ours, rounds", "ours, one"
ROUNDS, AX_ONE, ORCHESTRATOR = "rounds", "Ax, one", "orchestrator"

#: Which ways are set side by side, and at what that is equal.
COMPARISONS = (
    (OURS_ROUNDS, ROUNDS, "trials"),
    (OURS, ROUNDS, "trials"),
    (OURS, ROUNDS, "time"),
    (OURS, ORCHESTRATOR, "time"),
)

#: Trials of the runs of one at a time: Sobol's five, then five of a model.
ALONE = 10


class Store:
    """The runs, in a file of one line each below the setting that they share."""

    def __init__(self, path: Path, setting: dict[str, Any]) -> None:
        self._path = path
        self.setting = setting
        self.runs: dict[tuple[str, int, str], list[Ran]] = {}
        self.seconds = 0.0
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and json.loads(lines[0]) != setting:
            sys.exit(f"{path} has runs of another setting: {lines[0]}. Give another file with --runs.")
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(setting)
        for line in lines[1:]:
            self._take(json.loads(line))

    def run(self, problem: str, seed: int, way: str, run: Callable[[], list[Ran]]) -> list[Ran]:
        """The trials of a run, which takes place only where it is not in the file."""
        key = (problem, seed, way)
        if key not in self.runs:
            begun = time.process_time()
            trials = [asdict(each) for each in run()]
            seconds = time.process_time() - begun
            row = {"problem": problem, "seed": seed, "way": way, "seconds": seconds, "trials": trials}
            self._append(row)
            self._take(row)
            print(f"{problem}, seed {seed}, {way}: {seconds:.0f} s", file=sys.stderr, flush=True)
        return self.runs[key]

    def seeds(self, problem: str, *ways: str) -> list[int]:
        """The seeds for which a problem has run in all of these ways."""
        found = sorted({seed for name, seed, _ in self.runs if name == problem})
        return [seed for seed in found if all((problem, seed, way) in self.runs for way in ways)]

    def of(self, problem: str, way: str, seeds: Sequence[int]) -> list[list[Ran]]:
        """The runs of these seeds."""
        return [self.runs[problem, seed, way] for seed in seeds]

    def _append(self, row: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _take(self, row: dict[str, Any]) -> None:
        self.runs[row["problem"], row["seed"], row["way"]] = [Ran(**each) for each in row["trials"]]
        self.seconds += row["seconds"]


def carry_out(store: Store, problems: Sequence[Problem], seeds: int) -> None:
    """Run what is missing, seed by seed, so that an interrupted call leaves whole seeds."""
    slots, trials, sobol = (store.setting[name] for name in ("slots", "trials", "sobol"))
    alone = min(trials, ALONE)

    def run(p: Problem, seed: int, name: str, way: Callable[..., list[Ran]], **options: Any) -> list[Ran]:
        return store.run(p.name, seed, name, lambda: way(p, p.client(seed, sobol=sobol), seed, **options))

    for seed in range(seeds):
        for p in problems:
            limit = end(run(p, seed, ROUNDS, ways.rounds, slots=slots, trials=trials))
            run(p, seed, OURS_ROUNDS, ways.ours, slots=slots, trials=trials, synchronous=True)
            run(p, seed, OURS, ways.ours, slots=slots, limit=limit)
    for seed in range(seeds):
        for p in problems:
            run(p, seed, OURS_ONE, ways.ours, slots=1, trials=alone)
            run(p, seed, AX_ONE, ways.rounds, slots=1, trials=alone)
    p = problems[0]
    for seed in range(seeds if p.curve is None else 0):
        asked = len(store.runs[p.name, seed, OURS])
        run(p, seed, ORCHESTRATOR, ways.orchestrator, slots=slots, trials=asked)


# ------------------------------------------------------------ what the runs say


def end(trials: Sequence[Ran]) -> float:
    """When the last trial has ended, in seconds from the begin."""
    return max(each.ended for each in trials)


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the quartiles."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def paired(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Two ways on the same seeds; less is better."""
    better = sum(a < b for a, b in zip(ours, theirs, strict=True))
    worse = sum(a > b for a, b in zip(ours, theirs, strict=True))
    p = float(wilcoxon(ours, theirs).pvalue) if better + worse else 1.0
    return {"ours": spread(ours), "theirs": spread(theirs), "better": better, "worse": worse, "p": p}


def missing(problem: Problem, trials: Iterable[Ran]) -> float:
    """How far the best of the completed ones among these trials is from the optimum."""
    return problem.miss([each.values for each in trials if each.values is not None])


def compared(store: Store, problem: Problem, ours: str, theirs: str, equal: str) -> list[dict[str, Any]]:
    """Two ways on one problem, a row per measure; none where they have no seed in common."""
    seeds = store.seeds(problem.name, ROUNDS, ours, theirs)
    if not seeds:
        return []
    limits = [end(run) for run in store.of(problem.name, ROUNDS, seeds)]
    number = store.setting["trials"]
    at = f"{number} trials" if equal == "trials" else f"{statistics.median(limits) / 3600:.1f} h"

    def measured(way: str, measure: Callable[[list[Ran]], float]) -> list[float]:
        runs = zip(store.of(problem.name, way, seeds), limits, strict=True)
        return [
            measure([t for t in run if (t.trial < number if equal == "trials" else t.ended <= limit)])
            for run, limit in runs
        ]

    measures: dict[str, Callable[[list[Ran]], float]] = {problem.measure: lambda run: missing(problem, run)}
    if problem.curve is not None:
        measures["epochs"] = lambda run: sum(each.epochs for each in run)
    if equal == "time":
        measures["trials completed"] = lambda run: sum(each.values is not None for each in run)
    return [
        {"problem": problem.name, "ways": [ours, theirs], "seeds": len(seeds), "at": at, "measure": name}
        | paired(measured(ours, measure), measured(theirs, measure))
        for name, measure in measures.items()
    ]


def same(store: Store, problem: str) -> tuple[int, int]:
    """On how many seeds ours and Ax have suggested the same points, one trial at a time; of how many."""
    seeds = store.seeds(problem, OURS_ONE, AX_ONE)
    runs = zip(*(store.of(problem, way, seeds) for way in (OURS_ONE, AX_ONE)), strict=True)
    return sum([t.parameters for t in a] == [t.parameters for t in b] for a, b in runs), len(seeds)


def progress(store: Store, problem: Problem, way: str) -> list[dict[str, float]]:
    """What was missing in each hundredth of the time, over the seeds; the time is what the rounds take."""
    seeds = store.seeds(problem.name, OURS, ROUNDS, way)
    limits = [end(run) for run in store.of(problem.name, ROUNDS, seeds)]
    runs = list(zip(store.of(problem.name, way, seeds), limits, strict=True))
    return [
        {"time": part / 100}
        | spread([missing(problem, (t for t in run if t.ended <= limit * part / 100)) for run, limit in runs])
        for part in range(101 if seeds else 0)
    ]


HEAD = """
| problem | at | measure | ours | | Ax | | less, more, seeds | p |
|---|---|---|---|---|---|---|---|---|"""


def show(row: dict[str, Any]) -> None:
    """One comparison, as a line of a Markdown table."""
    ours, theirs = ("{median:.3g} [{low:.3g}, {high:.3g}]".format(**row[each]) for each in ("ours", "theirs"))
    cells = (row["problem"], row["at"], row["measure"], row["ways"][0], ours, row["ways"][1], theirs)
    print("|", " | ".join(cells), f"| {row['better']}, {row['worse']}, {row['seeds']} | {row['p']:.2g} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=24, help="of the rounds")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--problems", default=",".join(PROBLEMS), metavar="NAME,...")
    parser.add_argument("--runs", type=Path, default=Path("outputs/quality.jsonl"), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--report", action="store_true", help="say what is in the file, and run nothing")
    parser.add_argument(
        "--quick", action="store_true", help="a try: one seed, 4 trials in 2 slots, all of them Sobol's"
    )
    options = parser.parse_args(arguments)
    seeds, setting = options.seeds, {"slots": options.slots, "trials": options.trials, "sobol": False}
    if options.quick:
        seeds, setting = 1, {"slots": 2, "trials": 4, "sobol": True}
    problems = [PROBLEMS[name] for name in options.problems.split(",")]
    store = Store(options.runs, setting)
    if not options.report:
        carry_out(store, problems, seeds)
    here = machine("ax-platform", "botorch")
    print(", ".join(f"{key} {value}" for key, value in here.items()))
    print(HEAD)
    rows = [row for p in problems for which in COMPARISONS for row in compared(store, p, *which)]
    for row in rows:
        show(row)
    print()
    identical = {problem.name: same(store, problem.name) for problem in problems}
    for name, (equal, of) in identical.items():
        print(f"- {name}, one trial at a time: ours and Ax suggest the same points on {equal} of {of} seeds")
    print(f"\nAll runs together took {store.seconds:.0f} s of the processor.")
    if options.json is not None:
        found = {"machine": here, "setting": setting, "rows": rows, "identical": identical}
        found["progress"] = {
            problem.name: {
                "measure": problem.measure,
                "ways": {way: progress(store, problem, way) for way in (OURS, ROUNDS, ORCHESTRATOR)},
            }
            for problem in problems
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
