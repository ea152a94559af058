"""What a driver costs the Slurm controller: its remote procedure calls, as `sdiag` counts them.

Two situations, on the Slurm that SLURM_CONF names and that nobody else uses meanwhile: so many trials, one
after the other in a number of slots; and a minute in which so many jobs just wait.

    python benchmarks/manners.py [--trials N] [--slots N] [--waiting N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig

from axsched_hpc import AxScheduler, SlurmRunner

#: Of all calls those that a driver makes; the others are the jobs' and the daemons' own.
DRIVERS = (
    "REQUEST_SUBMIT_BATCH_JOB",
    "REQUEST_JOB_WILL_RUN",
    "REQUEST_BUILD_INFO",
    "REQUEST_JOB_INFO",
    "REQUEST_JOB_INFO_SINGLE",
    "REQUEST_PARTITION_INFO",
    "REQUEST_FED_INFO",
    "REQUEST_KILL_JOB",
)


def calls() -> Counter[str]:
    """The controller's count of each kind of call since it was started or reset."""
    text = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    by_type = text.split("by message type")[1].split("Remote Procedure Call statistics by user")[0]
    return Counter(
        {name: int(count) for name, count in re.findall(r"(\w+)\s+\(\s*\d+\) count:(\d+)", by_type)}
    )


def scheduler(directory: Path, slots: int, **options: object) -> AxScheduler:
    """A driver with the defaults of the package."""
    client = Client(random_seed=1)
    client.configure_experiment(
        parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 1.0))]
    )
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(method="random_search")
    runner = SlurmRunner(memory="50M", time_limit=10, max_parallel=slots, config={"sbatch_options": options})
    made = AxScheduler(client, runner, {"job_output_dir": directory, "synchronous": False})
    made.set_objective_function(lambda parameters: {"loss": parameters["x"]})
    return made


def counted(before: Counter[str], seconds: float) -> dict[str, object]:
    """What the driver has asked since then."""
    after = calls()
    found = {name: after[name] - before[name] for name in DRIVERS if after[name] > before[name]}
    return {"seconds": round(seconds, 1), "calls": found, "total": sum(found.values())}


def running(folder: Path, trials: int, slots: int) -> dict[str, object]:
    """So many trials from the first to the last."""
    made = scheduler(folder / "running", slots)
    before, begun = calls(), time.monotonic()
    made.run_optimization(max_trials=trials)
    return {"trials": trials, "slots": slots, **counted(before, time.monotonic() - begun)}


def idle(folder: Path, jobs: int) -> dict[str, object]:
    """A minute in which held jobs wait."""
    made = scheduler(folder / "idle", jobs, hold=True)
    with made.batch_trial_context() as batch:
        for number in range(jobs):
            batch.add_trial({"x": number / jobs})
    before, begun = calls(), time.monotonic()
    made.wait(60)
    found = counted(before, time.monotonic() - begun)
    subprocess.run(["scancel", "--me", "--state=PENDING"], check=True)
    return {"jobs": jobs, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--waiting", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        results = {
            "running": running(Path(folder), arguments.trials, arguments.slots),
            "idle": idle(Path(folder), arguments.waiting),
        }
    text = json.dumps(results, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
