"""Trials per second: the same trials by this package, by nothing at all, and by others that can do so.

24 trials of 1 s in 8 slots, and 200 of 0.1 s in 32, at random points, as processes of this machine and on the
Slurm that SLURM_CONF names. Each way (see `contestants.py`) runs in a process of its own, one after the other
within a round, so that what else the machine does falls on all of them alike. What counts is the time of the
loop: imports and the configuration of the experiment are done before. `floor` is what has no optimiser: on
Slurm submitit's `map_array`, locally a pool of processes that stay.

A way whose package is not installed is left out; `make peers` makes an environment that has them all.

    .venv-peers/bin/python benchmarks/throughput.py [--where local,slurm] [--work 24x1x8,200x0.1x32]
        [--ways NAME,...] [--rounds N] [--quick] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import allocation  # noqa: E402
from benchmarks.contestants import IN_JOB, LOOK, WAYS  # noqa: E402
from benchmarks.machine import machine  # noqa: E402

OURS = "axsched-hpc"
FLOORS = {"local": "pool", "slurm": "map_array"}
TITLES = {"local": "Processes of this machine", "slurm": "Slurm"}
WORK = "24x1x8,200x0.1x32"

#: The claims: where, beside whom, at most how many times its time.
CLAIMS = (
    ("slurm", "map_array", 1.0),
    ("slurm", "Orchestrator", 0.5),
    ("local", "libEnsemble", 1.3),
)

#: Ways that take longer than the others together, and what more repetitions of them would tell: one does.
ONCE = ("Client.run_trials",)

#: Seconds after which a way is given up.
PATIENCE = 600.0

Seconds = dict[str, list[float]]


def once(way: str, where: str, work: tuple[int, float, int]) -> tuple[float, dict[str, float], float]:
    """One run of one way: the seconds of its loop, phases in ms where it has written them down, and which
    part of the machine's processors was busy meanwhile.
    """
    trials, seconds, slots = work
    # A directory that all nodes see: that of the caller, as for his own runs.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".throughput-") as folder:
        argv = [sys.executable, "-m", "benchmarks.contestants", way, where, "--folder", folder]
        argv += ["--trials", str(trials), "--seconds", f"{seconds:g}", "--slots", str(slots)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_path())}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if way == IN_JOB:
            path = f"PYTHONPATH={environment['PYTHONPATH']}"
            asked = [f"--nodes={_nodes(slots)}", f"--ntasks={slots}", f"--export=ALL,{path}"]
            output = allocation.in_job(argv, Path(folder), asked)
        else:
            done = subprocess.run(
                argv, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False
            )
            output = done.stdout + done.stderr
    found = re.findall(r'^\{"seconds": .*\}$', output, re.MULTILINE)
    if not found:
        raise SystemExit(f"{way} on {where} failed:\n{output[-4000:]}")
    told = json.loads(found[-1])
    if told["completed"] != trials:
        raise SystemExit(f"{way} on {where} completed {told['completed']} of {trials} trials.")
    return float(told["seconds"]), told.get("phases", {}), float(told["busy"])


def starts(count: int = 16) -> list[float]:
    """Seconds from the call of sbatch to the first command of a batch script, at any moments: what Slurm
    itself takes, whoever submits.
    """
    found = []
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".throughput-") as folder:
        for number in range(count):
            told = Path(folder, str(number))
            script = Path(folder, f"{number}.sh")
            script.write_text(f"#!/bin/sh\ndate +%s.%N > '{told}.new'\nmv '{told}.new' '{told}'\n")
            time.sleep(random.random())
            begun = time.time()
            argv = ["sbatch", "--mem=50M", "--time=5", "--output=/dev/null", str(script)]
            subprocess.run(argv, check=True, capture_output=True)
            while not told.exists():
                time.sleep(LOOK)
                if time.time() - begun > PATIENCE:
                    raise SystemExit("a batch script that does nothing does not start")
            found.append(float(told.read_text()) - begun)
    return found


def _nodes(slots: int) -> int:
    """The fewest nodes that have a CPU for each slot."""
    done = subprocess.run(["sinfo", "--noheader", "--format=%c"], capture_output=True, text=True, check=True)
    largest = max(int(word.rstrip("+")) for word in done.stdout.split())
    return -(-slots // largest)


def _path() -> Iterable[str]:
    yield str(ROOT)
    if os.environ.get("PYTHONPATH"):
        yield os.environ["PYTHONPATH"]


def able(where: str, wanted: Iterable[str]) -> list[str]:
    """The ways that can run there, of those that are wanted; says which are left out."""
    found = []
    for name in wanted:
        _, package, places = WAYS[name]
        if where not in places:
            continue
        if package and importlib.util.find_spec(package) is None:
            print(f"{name} is left out: {package} is not installed.", file=sys.stderr)
            continue
        found.append(name)
    return found


def measure(
    where: str, ways: list[str], work: tuple[int, float, int], rounds: int
) -> tuple[Seconds, dict[str, list[float]], list[float]]:
    """Seconds of each way in each round, our phases, and how busy the machine was with us."""
    times: Seconds = {name: [] for name in ways}
    phases: dict[str, list[float]] = {}
    busy = []
    for number in range(rounds):
        for name in ways:
            if number and name in ONCE:
                continue
            seconds, found, worked = once(name, where, work)
            times[name].append(seconds)
            if name == OURS:
                busy.append(worked)
                for phase, took in found.items():
                    phases.setdefault(phase, []).append(took)
            print(f"{where}, {said(work)}, {name}: {times[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return times, phases, busy


def said(work: tuple[int, float, int]) -> str:
    """The work in words."""
    trials, seconds, slots = work
    return f"{trials} trials of {seconds:g} s in {slots} slots"


def ratio(times: Seconds, name: str, base: str) -> float | None:
    """How many times the base a way took, the median over the rounds that have both; None without them."""
    pairs = zip(times.get(name, ()), times.get(base, ()), strict=False)
    found = [each / other for each, other in pairs]
    return statistics.median(found) if found else None


def table(where: str, work: tuple[int, float, int], times: Seconds) -> str:
    """The table of one place and one work, in Markdown."""
    trials, seconds, slots = work
    ideal = -(-trials // slots) * seconds
    floor = FLOORS[where]
    lines = [
        f"{TITLES[where]}: {said(work)}, {ideal:g} s at the least.",
        "",
        f"| | seconds | times `{floor}` | times {OURS} |",
        "|---|---|---|---|",
    ]
    for name, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        spread = f" [{min(found):.2f}, {max(found):.2f}]" if len(found) > 1 else ""
        ratios = [ratio(times, name, base) for base in (floor, OURS)]
        words = ["" if each is None else f"{each:.2f}" for each in ratios]
        lines.append(f"| {name} | {statistics.median(found):.2f}{spread} | {words[0]} | {words[1]} |")
    return "\n".join(lines) + "\n"


def slot(phases: dict[str, list[float]], busy: list[float]) -> str:
    """Where a slot's time goes between two trials of ours, and the processors' meanwhile, in Markdown."""
    lines = ["| where a slot's time goes between two trials | ms |", "|---|---|"]
    lines += [f"| {name} | {statistics.median(found):.0f} |" for name, found in phases.items()]
    lines += ["", f"The processors of this machine were busy for {statistics.median(busy):.0%} of that run."]
    return "\n".join(lines) + "\n"


def judged(where: str, times: Seconds) -> list[str]:
    """What of the claims is true."""
    words = []
    for place, other, most in CLAIMS:
        if place == where and (found := ratio(times, OURS, other)) is not None:
            words.append(f"at most {most:g} x {other}: {'yes' if found <= most else 'NO'} ({found:.2f})")
    return words


def _work(text: str) -> tuple[int, float, int]:
    trials, seconds, slots = text.split("x")
    return int(trials), float(seconds), int(slots)


def main() -> None:
    """Measure, print the tables, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--where", default="local,slurm", help="local, slurm or both")
    parser.add_argument("--work", default=WORK, metavar="TRIALSxSECONDSxSLOTS,...")
    parser.add_argument("--ways", default=",".join(WAYS), metavar="NAME,...", help=", ".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, without the slowest")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    wanted = options.ways.split(",")
    if unknown := set(wanted) - set(WAYS):
        parser.error(f"--ways knows {', '.join(WAYS)}, and not {', '.join(sorted(unknown))}")
    if options.quick:
        options.rounds = 1
        wanted = [name for name in wanted if name not in ONCE]
    here = machine("ax-platform", "submitit")
    for name in wanted:
        package = WAYS[name][1]
        if package and importlib.util.find_spec(package) is not None:
            here.update(machine(package))
    if "slurm" in options.where:
        version = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=False)
        here["slurm"] = version.stdout.strip().removeprefix("slurm-wlm ") or "none"
    text = (
        f"{options.rounds} interleaved round{'s' if options.rounds > 1 else ''}: median of the loop's seconds"
        f", and least and most in brackets; {', '.join(ONCE)} once. "
        + ", ".join(f"{key} {value}" for key, value in here.items())
        + ".\n"
    )
    print(text)
    if "slurm" in options.where:
        bare = starts()
        least, usual, most = min(bare), statistics.median(bare), max(bare)
        said_of_starts = (
            f"\nA batch script that does nothing begins {usual:.2f} s [{least:.2f}, {most:.2f}] after the"
            f" call of `sbatch`, {len(bare)} of them one after the other, at any moments.\n"
        )
        print(said_of_starts, flush=True)
        text += said_of_starts
    results: list[dict[str, Any]] = []
    for where in options.where.split(","):
        ways = able(where, wanted)
        for work in map(_work, options.work.split(",")):
            times, phases, busy = measure(where, ways, work, options.rounds)
            found = table(where, work, times) + (f"\n{slot(phases, busy)}" if phases else "")
            print(found, *judged(where, times), sep="\n", flush=True)
            print()
            text += f"\n{found}"
            results.append(
                {
                    "where": where,
                    "work": work,
                    "seconds": times,
                    "phases": phases,
                    "busy": busy,
                    "claims": judged(where, times),
                }
            )
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": here, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
