"""What a job costs around the objective: a function and a script that do nothing, by this package's worker,
beside a bare submitit job of the same function and a bare batch script.

Each round runs every program once, one after the other, in a job of its own on Slurm and without Slurm as the
batch script would. Measured is from the start of the job's command to its end, with all that it starts. A
program of Python also costs what Python costs: so there is a bare `python -c pass` as well. The claim: the
worker takes at most 1.15 times what submitit's does, in CPU and in wall time.

    python benchmarks/workers.py [--rounds N] [--quick] [--local] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__" and sys.argv[1:2] == ["--job"]:
    # In the job, as what Slurm starts: a small process that runs the command and measures it.
    begun = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[3], sys.argv[3:], os.environ)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    report = json.dumps([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, wall])
    place = Path(sys.argv[2])
    place.with_suffix(".tmp").write_text(report)
    place.with_suffix(".tmp").rename(place)
    sys.exit()

sys.path.insert(0, str(Path(__file__).parents[1]))

from submitit.core.utils import DelayedSubmission, JobPaths

from axsched_hpc.io import atomic, manifest
from axsched_hpc.io.layout import Layout
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.kinds import Objective
from axsched_hpc.objectives.spec import script_objective
from axsched_hpc.runners.base import Batch
from benchmarks.machine import machine

LIMIT = 1.15
PYTHON, SUBMITIT, SCRIPT = "python -c pass", "submitit, function", "batch script"
SUBMITIT_SCRIPT, WORKER, WORKER_SCRIPT = "submitit, script", "worker, function", "worker, script"
#: What is claimed: (ours, beside what).
PAIRS = ((WORKER, SUBMITIT), (WORKER_SCRIPT, SUBMITIT_SCRIPT))
LOCAL, SLURM = "without Slurm", "on Slurm"

Sample = tuple[float, float]


def nothing(parameters: dict[str, float]) -> dict[str, float]:
    """The objective."""
    return {"loss": parameters["x"]}


@dataclass(frozen=True)
class Program:
    """What a job runs in a round, and the variables that its starter gives it."""

    command: Callable[[int], list[str]]
    variables: Callable[[int], dict[str, str]] = lambda round_: {}


def ours(directory: Path, objective: Objective | Callable[..., object], rounds: int) -> Program:
    """The worker, with an attempt of its own for each round."""
    layout = Layout.at(directory)
    name = install(layout, objective)
    atomic.make_directory(layout.inbox)
    for trial in range(rounds):
        atomic.make_directory(layout.attempt(trial, 1).root)
        atomic.write_json(layout.parameters(trial), {"x": 0.5})
    attempts = tuple((trial, 1) for trial in range(rounds))
    path = manifest.write(layout, manifest.Manifest("axs-bench", layout.root, name, attempts))
    return Program(Batch("axs-bench", path, (), directory).command)


def submitits(directory: Path, call: DelayedSubmission) -> Program:
    """What submitit's jobs run, with the variables of its local executor, on Slurm too: without `srun`."""
    directory.mkdir()
    call.set_timeout(10, 3)
    call.dump(JobPaths(directory, "0").submitted_pickle)
    job = {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "0"}
    argv = [sys.executable, "-u", "-m", "submitit.core._submit", str(directory)]
    return Program(lambda _: argv, lambda _: job)


def programs(directory: Path, rounds: int) -> dict[str, Program]:
    """All that is compared."""
    script = directory / "nothing.sh"
    script.write_text('#!/bin/sh\necho \'{"loss": 0.5}\' > "$AXSCHED_METRICS_FILE"\n')
    script.chmod(0o755)
    batch = directory / "job.sh"
    batch.write_text(f"#!/bin/bash\nexport AXSCHED_METRICS_FILE={directory}/metrics.json\nexec {script}\n")
    batch.chmod(0o755)
    return {
        PYTHON: Program(lambda _: [sys.executable, "-c", "pass"]),
        SCRIPT: Program(lambda _: [str(batch)]),
        SUBMITIT: submitits(directory / "a", DelayedSubmission(nothing, {"x": 0.5})),
        WORKER: ours(directory / "b", nothing, rounds),
        SUBMITIT_SCRIPT: submitits(directory / "c", DelayedSubmission(subprocess.check_call, [str(batch)])),
        WORKER_SCRIPT: ours(directory / "d", script_objective(script), rounds),
    }


def environment(bytecode: Path) -> dict[str, str]:
    """That of all jobs: none of a job around this, and modules are compiled once."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM_JOB", "AXSCHED_", "PYTHONDONTWRITEBYTECODE"))
    }
    return {**clean, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONPYCACHEPREFIX": str(bytecode)}


def run(argv: list[str], variables: dict[str, str], place: Path, *, on_slurm: bool) -> Sample:
    """CPU seconds and wall seconds of one job's command."""
    report = place.with_suffix(".json")
    measured = [sys.executable, "-S", str(Path(__file__).resolve()), "--job", str(report), *argv]
    if on_slurm:
        output = place.with_suffix(".log")
        options = ["--mem=100M", "--time=5", f"--output={output}", f"--wrap=exec {shlex.join(measured)}"]
        subprocess.run(["sbatch", "--parsable", *options], env=variables, stdout=subprocess.PIPE, check=True)
        deadline = time.monotonic() + 120
        while not report.exists():
            if time.monotonic() > deadline:
                sys.exit(f"the job did not end within two minutes; see {output}")
            time.sleep(0.02)
    else:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(measured, env=variables, check=True, **quiet)  # type: ignore[call-overload]
    code, cpu, wall = json.loads(report.read_text())
    if code != 0:
        sys.exit(f"{shlex.join(argv)} ended with {code}")
    return cpu, wall


def measure(where: str, rounds: int, folder: Path) -> dict[str, list[Sample]]:
    """What each program took in each round, after one that only fills the caches."""
    folder.mkdir()
    compared, around = programs(folder, rounds + 1), environment(folder / "bytecode")
    found: dict[str, list[Sample]] = {name: [] for name in compared}
    for number in range(rounds + 1):
        for place, (name, program) in enumerate(compared.items()):
            sample = run(
                program.command(number),
                {**around, **program.variables(number)},
                folder / f"{place}-{number}",
                on_slurm=where == SLURM,
            )
            if number:
                found[name].append(sample)
    return found


def ratio(found: dict[str, list[Sample]], ours: str, theirs: str, which: int) -> float:
    """The median of the rounds' ratios: what disturbs a round disturbs both terms."""
    pairs = zip(found[ours], found[theirs], strict=True)
    return statistics.median(one[which] / other[which] for one, other in pairs)


def table(here: dict[str, str], results: dict[str, dict[str, list[Sample]]]) -> str:
    """The table in Markdown."""
    rounds = len(next(iter(results.values()))[PYTHON])
    lines = [
        f"{rounds} interleaved rounds: medians. " + ", ".join(f"{k} {v}" for k, v in here.items()) + ".",
        "",
        "| job | CPU, ms | wall, ms | CPU, times submitit's | wall, times submitit's |",
        "|---|---|---|---|---|",
    ]
    base = {WORKER: SUBMITIT, WORKER_SCRIPT: SUBMITIT_SCRIPT, SCRIPT: SUBMITIT_SCRIPT, PYTHON: SUBMITIT}
    for where, found in results.items():
        for name, samples in found.items():
            cpu, wall = (1000 * statistics.median(each[which] for each in samples) for which in (0, 1))
            times = [f"{ratio(found, name, base.get(name, name), which):.2f}" for which in (0, 1)]
            lines.append(f"| {name}, {where} | {cpu:.1f} | {wall:.1f} | {times[0]} | {times[1]} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--local", action="store_true", help="without Slurm only")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    places = [LOCAL] if options.local or shutil.which("sbatch") is None else [LOCAL, SLURM]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        folder = Path(directory)
        results = {place: measure(place, rounds, folder / place.replace(" ", "-")) for place in places}
    here = machine("submitit")
    text = table(here, results)
    ratios = {
        f"{ours} / {theirs}, {where}": [ratio(found, ours, theirs, which) for which in (0, 1)]
        for where, found in results.items()
        for ours, theirs in PAIRS
    }
    missed = [name for name, found in ratios.items() if max(found) > LIMIT]
    held = "yes" if not missed else f"NO: {'; '.join(missed)}"
    sys.stdout.write(f"{text}\nat most {LIMIT:g} times a bare submitit job: {held}\n")
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        report = {"machine": here, "rounds": rounds, "cpu_and_wall_seconds": results, "ratios": ratios}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
