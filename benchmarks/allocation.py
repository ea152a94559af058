"""Short trials inside one allocation beside one job per trial: how many a minute, by which way of running.

Every way runs the same points, which sleep for 0.1 to 1 s, in as many places side by side, on the Slurm that
SLURM_CONF names; each round runs every way once, one after the other. The floor is what the sleeping alone
would take. The points are given to the driver as one batch, so that Ax suggests none; with ``--sobol`` the
driver asks Ax for them, one as each place gets free.

With ``--noop`` they do not sleep either: what is left is what it takes to run nothing.

    python benchmarks/allocation.py [--trials N] [--slots N] [--rounds N] [--ways W,W,...] [--sobol] [--noop]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Where the package is not installed: for this process, and for the jobs and workers that it starts.
ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))

#: A way of running: what the runner is told, and what the driver's own allocation asks for, if any.
WAYS: dict[str, tuple[dict[str, Any], list[str] | None]] = {
    "one job per trial": ({}, None),
    "packs": ({"trials_per_job": "half"}, None),
    "steps on 2 nodes": ({"mode": "steps"}, ["--nodes=2", "--ntasks-per-node=half"]),
    "processes on 1 node": ({"mode": "steps"}, ["--nodes=1", "--ntasks=all"]),
}
BASE = "one job per trial"


def seconds_of(number: int, trials: int) -> float:
    """How long the trial of this number sleeps: spread evenly over 0.1 to 1 s, in a mixed order."""
    return 0.1 + 0.9 * ((number * 0.6180339887498949) % 1.0) if trials > 1 else 0.1


def sleep(parameters: dict[str, Any]) -> dict[str, float]:
    """The objective."""
    time.sleep(parameters["seconds"])
    return {"loss": parameters["x"]}


def drive(folder: Path, options: dict[str, Any], trials: int, slots: int, *, sobol: bool, noop: bool) -> None:
    """Run the trials in this process, and write what it took."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    from axsched_hpc import AxScheduler, SlurmRunner

    client = Client(random_seed=1)
    bounds = {"x": (0.0, 1.0), "seconds": (0.0 if noop else 0.1, 1.0)}
    client.configure_experiment(
        parameters=[
            RangeParameterConfig(name=name, parameter_type="float", bounds=both)
            for name, both in bounds.items()
        ]
    )
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(initialization_budget=trials)
    runner = SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=slots, **options)
    config = {"job_output_dir": folder / "run", "synchronous": False, "monitoring_interval": 5}
    with AxScheduler(client, runner, config) as scheduler:
        scheduler.set_objective_function(sleep)
        begun, cpu = time.monotonic(), time.process_time()
        if sobol:
            scheduler.run_optimization(max_trials=trials)
        else:
            with scheduler.batch_trial_context() as batch:
                for number in range(trials):
                    point = {"x": number / trials, "seconds": 0.0 if noop else seconds_of(number, trials)}
                    batch.add_trial(point)
            scheduler.wait()
        took = time.monotonic() - begun
        found = {
            "seconds": took,
            "driver_cpu": time.process_time() - cpu,
            "generating": scheduler.result.seconds.generating,
            "completed": int((scheduler.result.trials["trial_status"] == "COMPLETED").sum()),
            "slots": runner.max_parallel,
        }
    (folder / "found.json").write_text(json.dumps(found))


def in_job(command: list[str], folder: Path, asked: list[str]) -> str:
    """Run a command as a batch script, and wait for its end; what it has written."""
    script, ended, log = folder / "job.sh", folder / "ended", folder / "log"
    trap = f"trap {shlex.quote(f'touch {shlex.quote(str(ended))}')} EXIT"
    script.write_text(f"#!/bin/bash\n{trap}\n{shlex.join(command)}\n")
    submit = ["sbatch", "--mem-per-cpu=500M", "--time=30", f"--output={log}", *asked, str(script)]
    done = subprocess.run(submit, capture_output=True, text=True, check=False)
    # sbatch --wait would look again after a minute only.
    while done.returncode == 0 and not ended.exists():
        time.sleep(0.5)
    return log.read_text() if log.exists() else done.stdout + done.stderr


def run_way(way: str, trials: int, slots: int, *, sobol: bool = False, noop: bool = False) -> dict[str, Any]:
    """Run one way in a process of its own: on this machine, or as a batch script."""
    options, allocation = WAYS[way]
    options = {name: slots // 2 if value == "half" else value for name, value in options.items()}
    # On a file system that the nodes share, which /tmp most often is not.
    with tempfile.TemporaryDirectory(dir=os.environ.get("AXSCHED_BENCHMARK_DIR")) as directory:
        folder = Path(directory)
        command = [sys.executable, str(Path(__file__).resolve()), "--drive", str(folder)]
        command += ["--options", json.dumps(options), "--trials", str(trials), "--slots", str(slots)]
        command += ["--sobol"] if sobol else []
        command += ["--noop"] if noop else []
        if allocation is None:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            log = done.stdout + done.stderr
        else:
            sizes = {"half": str(slots // 2), "all": str(slots)}
            parts = [option.partition("=") for option in allocation]
            log = in_job(command, folder, [f"{name}={sizes.get(size, size)}" for name, _, size in parts])
        if not (folder / "found.json").exists():
            raise SystemExit(f"{way} did not end: {log[-2000:]}")
        found: dict[str, Any] = json.loads((folder / "found.json").read_text())
        assert found["completed"] == trials, found
        return found


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated")
    parser.add_argument("--sobol", action="store_true", help="ask Ax for the points")
    parser.add_argument("--noop", action="store_true", help="trials that do nothing")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive is not None:
        runner, kinds = json.loads(options.options), {"sobol": options.sobol, "noop": options.noop}
        drive(options.drive, runner, options.trials, options.slots, **kinds)
        return
    floor = sum(seconds_of(n, options.trials) for n in range(options.trials)) / options.slots
    kind = "that do nothing" if options.noop else "of 0.1 to 1 s"
    rest = "" if options.noop else f"; sleeping alone takes {floor:.0f} s"
    print(
        f"{options.trials} trials {kind} in {options.slots} places, {options.rounds} round(s); "
        f"{os.cpu_count()} cores, {platform.platform()}{rest}"
    )
    ways = options.ways.split(",")
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            kinds = {"sobol": options.sobol, "noop": options.noop}
            found[way].append(run_way(way, options.trials, options.slots, **kinds))
            print(f"  {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    share = "" if options.noop else "of the floor"
    print(f"{'':20}{'seconds':>9}{'trials/min':>12}{share:>14}{'ratio':>8}{'driver CPU':>12}")
    base = [each["seconds"] for each in found.get(BASE, [])]
    for way, runs in found.items():
        took = statistics.median(each["seconds"] for each in runs)
        ratios = [b / each["seconds"] for b, each in zip(base, runs, strict=False)]
        ratio = f"{statistics.median(ratios):8.2f}" if ratios else f"{'':8}"
        cpu = statistics.median(each["driver_cpu"] for each in runs)
        share = "" if options.noop else f"{took / floor:.2f}"
        print(f"{way:20}{took:9.1f}{60 * options.trials / took:12.0f}{share:>14}{ratio}{cpu:10.1f} s")
    if options.json is not None:
        options.json.write_text(json.dumps({"floor": floor, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
