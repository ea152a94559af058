"""Trials in a container whose image is an archive: prepared once, against unpacked by each job.

The image is a busybox with so many MB of random data, as a compressed tar archive, and a trial writes one
number. Three ways, on the Slurm that SLURM_CONF names, with charliecloud: the archive as the image of a
container objective; a directory that was unpacked beforehand, which is the floor; and a script objective of
jobs that unpack the archive themselves, as people write it by hand. Preparations are counted by the logs.

    python benchmarks/images.py [--trials N] [--by-hand N] [--slots N] [--mb N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.containers.registry import flat_archive  # noqa: E402
from tests.containers.rootfs import make_rootfs  # noqa: E402

COMMAND = ["sh", "-c", 'echo "loss 1" > "$AXSCHED_METRICS_FILE"']

BY_HAND = """\
#!/bin/sh
set -e
export USER="${{USER:-$(id -un)}}"
image=$(mktemp -d)
trap 'rm -rf "$image"' EXIT
echo unpacked >> {log}
ch-convert -i tar -o dir {archive} "$image/rootfs" > /dev/null 2>&1
ch-run --bind="$PWD:/mnt" "$image/rootfs" -- sh -c 'echo "loss 1" > /mnt/metrics'
cp metrics "$AXSCHED_METRICS_FILE"
"""


def make_image(folder: Path, megabytes: int) -> tuple[Path, Path]:
    """A root file system and its archive."""
    rootfs = make_rootfs(folder / "rootfs")
    (rootfs / "data").mkdir(exist_ok=True)
    for number in range(megabytes):
        (rootfs / "data" / f"{number}.bin").write_bytes(os.urandom(1_000_000))
    return rootfs, flat_archive(rootfs, folder / "solver.tar.gz")


def run(folder: Path, way: str, image: Path, trials: int, slots: int) -> dict[str, Any]:
    """Run the trials of one way in this process."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    from axsched_hpc import AxScheduler, SlurmRunner

    client = Client(random_seed=1)
    client.configure_experiment([RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 1.0))])
    client.configure_optimization(objective="-loss")
    runner = SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=slots)
    config = {"job_output_dir": folder / "run", "synchronous": False, "monitoring_interval": 5}
    log = folder / "by-hand.log"
    with AxScheduler(client, runner, config) as scheduler:
        if way == "by hand":
            script = folder / "trial.sh"
            script.write_text(BY_HAND.format(log=shlex.quote(str(log)), archive=shlex.quote(str(image))))
            scheduler.set_script_objective(script)
        else:
            scheduler.set_container_objective(image, COMMAND, {"engine": "charliecloud"})
        begun = time.monotonic()
        with scheduler.batch_trial_context() as batch:
            for number in range(trials):
                batch.add_trial({"x": number / trials})
        scheduler.wait()
        took = time.monotonic() - begun
        completed = int((scheduler.result.trials["trial_status"] == "COMPLETED").sum())
    assert completed == trials, f"{way}: {completed} of {trials} trials completed"
    results = [json.loads(path.read_text()) for path in (folder / "run").glob("trials/*/*/result.json")]
    logs = [log] if log.exists() else list((folder / "run/images").glob("*.log"))
    made = [line for path in logs for line in path.read_text().splitlines()]
    return {
        "trials": trials,
        "seconds": took,
        "job": statistics.median(result["ended"] - result["started"] for result in results),
        "preparations": sum(line == "unpacked" or " prepares " in line for line in made),
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--by-hand", type=int, default=40, help="trials whose jobs unpack the archive")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--mb", type=int, default=50, help="size of the image")
    options = parser.parse_args()
    if shutil.which("ch-run") is None:
        raise SystemExit("charliecloud is not installed: apt-get install charliecloud")
    version = subprocess.run(
        ["sinfo", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(
        f"an image of {options.mb} MB, {options.slots} places; {version.strip()}, {os.cpu_count()} cores, "
        f"{platform.platform()}"
    )
    print(f"{'':24}{'trials':>8}{'preparations':>14}{'s per job':>11}{'s per trial':>13}{'ratio':>7}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("AXSCHED_BENCHMARK_DIR")) as directory:
        folder = Path(directory)
        rootfs, archive = make_image(folder, options.mb)
        base = None
        for way, image, trials in (
            ("prepared once", archive, options.trials),
            ("a directory", rootfs, options.trials),
            ("by hand", archive, options.by_hand),
        ):
            place = folder / way.replace(" ", "-")
            place.mkdir()
            found = run(place, way, image, trials, options.slots)
            each = found["seconds"] / trials
            base = each if base is None else base
            print(
                f"{way:24}{trials:8}{found['preparations']:14}{found['job']:11.3f}{each:13.3f}"
                f"{each / base:7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
