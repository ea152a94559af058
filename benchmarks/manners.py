"""What a driver costs the Slurm controller: its remote procedure calls, as `sdiag` counts them.

Two situations, on the Slurm that SLURM_CONF names and that nobody else uses meanwhile, for each number of
jobs: so many trials, one after the other in a number of slots; and a minute in which so many jobs just wait.

    python benchmarks/manners.py [--jobs 10,100,1000] [--slots 10] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig

from axsched_hpc import AxScheduler, SlurmRunner
from benchmarks.machine import machine

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


def table(here: dict[str, str], found: list[dict[str, dict[str, object]]]) -> str:
    """The table in Markdown."""
    about = ", ".join(f"{key} {value}" for key, value in here.items())
    lines = [f"{about}.", "", "| situation | calls | of which |", "|---|---:|---|"]
    for each in found:
        ran, waited = each["running"], each["idle"]
        first = (
            f"{ran['trials']:,} trials without any work, in {ran['slots']} slots, in {ran['seconds']:.0f} s"
        )
        for words, row in ((first, ran), (f"a minute in which {waited['jobs']:,} jobs wait", waited)):
            kinds = row["calls"]
            assert isinstance(kinds, dict)
            parts = ", ".join(f"{number} `{name}`" for name, number in kinds.items())
            lines.append(f"| {words} | {row['total']} | {parts} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", default="10,100,1000", metavar="N,...")
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = []
    for jobs in map(int, options.jobs.split(",")):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            place = Path(folder)
            found.append({"running": running(place, jobs, options.slots), "idle": idle(place, jobs)})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    here = machine("ax-platform", "submitit")
    text = table(here, found)
    sys.stdout.write(text)
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": here, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
