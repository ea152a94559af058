"""A hundred thousand trials on a simulated cluster in virtual time: does a trial cost the same at the end?

The session, loop, journal, ledger, files, store and bridge are the driver's own, and so is Ax's experiment
behind it; only the runner and the clock are simulated, with waits in the queue, preemption, lost nodes,
requeues, failures and retries. The points are the user's own, taken from the queue: Ax's own generation costs
more with each trial there is (generation.py). With `--suggest` they are variations of one real suggestion.
With `--cold` the processor's caches are emptied for each trial, as Ax does by itself where it goes through
100,000 trials for each new one: what a large run does to a small one.

- `driver`: milliseconds of the processor per trial, without what follows.
- `Ax`: making its trials and attaching their data, of which each takes a look at all there are.
- `collector`: Python's garbage collector. `cluster`: the simulated cluster, which is no part of a real run.
- `memory`: the largest resident memory so far, Ax's imports included.
- `resume`: opening the directory again in another process, after its imports.

    python benchmarks/scale.py [--trials 100000] [--slots 200] [--quick] [--suggest] [--cold]
                               [--directory DIR] [--json FILE] [--markdown FILE]
    python benchmarks/scale.py --real [--trials 5000] [--slots 8] [--ways W,W,...]

With `--real` nothing is simulated: trials that do nothing run on the Slurm that SLURM_CONF names, in the ways
of allocation.py. How many there are then is what the driver, Slurm and this machine's processes make of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402 - OMP_NUM_THREADS counts at torch's import
from benchmarks import allocation, simulation  # noqa: E402
from benchmarks.machine import machine  # noqa: E402

TRIALS, QUICK = 100_000, 5000
#: Trials that are run for real, and in which ways of allocation.py.
REAL, WAYS = 5000, "processes on 1 node"
SIZES = (100, 1000, 10_000, 100_000)
#: What a driver may take for so many trials.
MEMORY_MB, RESUME_S = 2000, 60
COLUMNS = ("driver", "ax", "collector", "cluster")


def simulated(trials: int, slots: int, folder: Path, *, suggest: bool, cold: bool = False) -> dict[str, Any]:
    """Run, and open the directory again."""
    sizes = sorted({min(trials, size) for size in (*SIZES, trials)})
    windows = simulation.windows(trials, slots, sizes)
    marks = sorted({number for window in windows for number in window})
    begun = time.perf_counter()
    bridge = AxBridge.from_input(simulation.client())
    ran = simulation.run(folder, bridge, trials, slots=slots, marks=marks, suggest=suggest, cold=cold)
    took = time.perf_counter() - begun
    rss = {mark.trials: mark.rss_mb for mark in ran.marks}
    rows = [
        {"trials": size, **simulation.between(ran.marks, *window), "rss_mb": rss[window[1]]}
        for size, window in zip(sizes, windows, strict=True)
    ]
    whole = {name: value for name, value in asdict(ran).items() if name != "marks"}
    return {"rows": rows, "run": whole, "clock_s": took, "resume": simulation.resumed(folder)}


def table(here: dict[str, str], found: dict[str, Any]) -> str:
    """The table, and what there is to say of the run as a whole."""
    lines = [
        ", ".join(f"{key} {value}" for key, value in here.items()),
        "",
        "| trials | driver | Ax | collector | cluster | memory |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        cells = [f"{row.get(name, 0.0):.2f} ms" for name in COLUMNS]
        lines.append(f"| {row['trials']:,} | {' | '.join(cells)} | {row['rss_mb']:.0f} MB |")
    run, resume, trials = found["run"], found["resume"], found["rows"][-1]["trials"]
    ended = ", ".join(f"{count:,} {state}" for state, count in sorted(run["counts"].items()))
    lines += [
        "",
        f"- {trials:,} trials in {run['attempts']:,} attempts: {ended}; {run['virtual'] / 3600:.1f} h of the "
        f"cluster's time, {found['clock_s']:.0f} s of this machine's.",
        f"- The journal has {run['events']:,} events and {run['journal'] / 1e6:.0f} MB, "
        f"{run['journal'] / trials / 1e3:.1f} KB per trial.",
        f"- The driver's memory came to {run['rss_mb']:.0f} MB, and with the snapshot at the end, which took "
        f"{run['saved']:.1f} s and has {run['snapshot'] / 1e6:.0f} MB, to {run['rss_saved_mb']:.0f} MB.",
        f"- Another process has it back after {resume['processor_s']:.1f} s of the processor and "
        f"{resume['clock_s']:.1f} s of the clock, with {resume['rss_mb']:.0f} MB.",
    ]
    return "\n".join(lines) + "\n"


def real(trials: int, slots: int, ways: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Trials that do nothing, run for real; each run ends with all of them completed or with an error."""
    return {way: allocation.run_way(way, trials, slots, noop=True) for way in ways}


def real_table(here: dict[str, str], trials: int, found: dict[str, dict[str, Any]]) -> str:
    """The table of those."""
    lines = [
        ", ".join(f"{key} {value}" for key, value in here.items()),
        "",
        f"{trials:,} trials that do nothing, all completed:",
        "",
        "| way | slots | trials per minute | driver, per trial |",
        "|---|---:|---:|---:|",
    ]
    for way, run in found.items():
        rate, cost = 60 * trials / run["seconds"], 1e3 * run["driver_cpu"] / trials
        lines.append(f"| {way} | {run['slots']} | {rate:,.0f} | {cost:.2f} ms |")
    return "\n".join(lines) + "\n"


def claims(found: dict[str, Any]) -> str:
    """Whether the claims hold."""
    first, last = found["rows"][0], found["rows"][-1]
    growth = last["driver"] / first["driver"]
    trials = last["trials"]
    answers = {
        f"the driver's cost at {trials:,} trials is at most 1.2 times that at {first['trials']}": (
            growth <= 1.2,
            f"{growth:.2f}",
        ),
        f"memory under {MEMORY_MB} MB": (
            found["run"]["rss_saved_mb"] < MEMORY_MB,
            f"{found['run']['rss_saved_mb']:.0f}",
        ),
        f"resumed within {RESUME_S} s": (
            found["resume"]["clock_s"] < RESUME_S,
            f"{found['resume']['clock_s']:.1f}",
        ),
    }
    return "".join(
        f"{claim}: {'yes' if held else 'NO'} ({value})\n" for claim, (held, value) in answers.items()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int)
    parser.add_argument("--slots", type=int, help="default: 200 simulated, 8 real")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} trials")
    parser.add_argument(
        "--suggest", action="store_true", help="variations of one suggestion of BoTorch instead of the queue"
    )
    parser.add_argument("--cold", action="store_true", help="empty the processor's caches for each trial")
    memory = Path("/dev/shm")
    parser.add_argument(
        "--directory",
        type=Path,
        default=memory if memory.is_dir() else None,
        help="where the experiment lies meanwhile; default: a memory disk where there is one",
    )
    parser.add_argument("--real", action="store_true", help="trials that do nothing, on a real Slurm")
    parser.add_argument("--ways", default=WAYS, metavar="W,W,...", help="of allocation.py")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    found: dict[str, Any]
    if options.real:
        trials, slots = options.trials or REAL, options.slots or 8
        found = real(trials, slots, options.ways.split(","))
        here = machine("ax-platform", "submitit")
        text, said = real_table(here, trials, found), ""
    else:
        trials, slots = options.trials or (QUICK if options.quick else TRIALS), options.slots or 200
        with tempfile.TemporaryDirectory(dir=options.directory) as place:
            found = simulated(
                trials, slots, Path(place) / "outputs", suggest=options.suggest, cold=options.cold
            )
        here = machine("ax-platform")
        text, said = table(here, found), claims(found)
    sys.stdout.write(f"{text}\n{said}")
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": here, "slots": slots, **found}, indent=1) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
