"""What a driver costs its login node and its filesystem while jobs run and nothing happens, and per trial.

Idle: drivers with 10, 100 and 1,000 running jobs, side by side. The jobs are simulated: a double of Slurm's
commands answers that they run; all else is the real driver. After a while in which it settles, its CPU time
is measured, then its system calls on the experiment directory (strace; all but close and lseek, which ask no
filesystem anything), and the commands of Slurm that it runs. "Listed" is a filesystem that other hosts write
to (NFS, Lustre, GPFS), "told" a disk of this machine, where the kernel tells what comes. The claim: with 100
running jobs under 1 % of a core and under 10 operations a second.

Per trial: real trials of a function that does nothing, as processes of this machine; the driver's operations
on the directory and those of the workers.

What real jobs cost a real controller is measured by `manners.py`.

    python benchmarks/idle.py [--jobs 10,100,1000] [--quick] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine

CPU_LIMIT, OPERATIONS_LIMIT, LIMIT_JOBS = 0.01, 10.0, 100
LISTED, TOLD = "listed", "told"

#: Calls that may ask a filesystem something: with paths, and with files that are open.
_COUNTED = (
    "%file,getdents64,read,pread64,write,pwrite64,fsync,fdatasync,fstat,ftruncate,fchmod,utimensat,flock"
)
_CALL = re.compile(r"^(\d+) +(\w+)\(")
#: What makes a thread or a process.
_BEGINS = "clone,clone3,fork,vfork"
_BEGUN = re.compile(r"^(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)\b")


@dataclass(frozen=True)
class Spans:
    """Seconds of each part of a measurement of idle drivers."""

    settle: float
    cpu: float
    operations: float

    @property
    def total(self) -> float:
        """How long the drivers wait."""
        return self.settle + self.cpu + self.operations + 10


# ---------------------------------------------------------------- the drivers, in processes of their own


class Commands:
    """A double of Slurm's commands: whatever is submitted runs, for ever."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._arrays: dict[int, tuple[str, int]] = {}

    def __call__(self, argv: Sequence[str]) -> Any:
        """Answer one command."""
        from axsched_hpc.slurm.run import Completed

        self.asked[argv[0]] += 1
        if argv[0] == "squeue":
            return Completed(0, "".join(self._rows()), "")
        if argv[0] != "sbatch" or "--test-only" in argv:
            return Completed(0, "", "")
        text = Path(argv[-1]).read_text()
        name, count = re.search(r"--job-name=(\S+)", text), re.search(r"--array=0-(\d+)", text)
        assert name is not None
        assert count is not None
        number = 1000 + len(self._arrays)
        self._arrays[number] = (name[1], int(count[1]) + 1)
        return Completed(0, f"Submitted batch job {number}\n", "")

    def _rows(self) -> list[str]:
        at = "2026-01-01T00:00:00"
        return [
            f"{number}_{task}|RUNNING|None|n{task % 4}|{at}|{at}|{name}\n"
            for number, (name, count) in self._arrays.items()
            for task in range(count)
        ]


def drive(jobs: int, directory: Path, seconds: float, way: str) -> None:
    """A driver whose jobs all run: it says when it has nothing to do any more, and what it asks Slurm."""
    from axsched_hpc import SlurmRunner
    from axsched_hpc.io import arrivals
    from axsched_hpc.runners.slurm_jobs import SlurmJobs

    commands = Commands()

    class Runner(SlurmRunner):
        def _made(self, cluster: str, parameters: Mapping[str, Any]) -> SlurmJobs:
            return SlurmJobs(parameters, execute=commands)

    if way == LISTED:
        arrivals._LOCAL = frozenset()
    made = scheduler(Runner(memory="1G", max_parallel=jobs), directory, {"on_timeout": "leave"})
    with made.batch_trial_context() as batch:
        for number in range(jobs):
            batch.add_trial({"x": number / jobs})
    made.wait(15)
    commands.asked.clear()
    sys.stdout.write("idle\n")
    sys.stdout.flush()
    begun = time.monotonic()
    made.wait(seconds)
    took = time.monotonic() - begun
    sys.stdout.write(json.dumps({name: 60 * count / took for name, count in commands.asked.items()}) + "\n")


def run(trials: int, directory: Path) -> None:
    """A driver of real trials on this machine, which begins when it is told to."""
    from axsched_hpc import LocalRunner

    made = scheduler(LocalRunner(max_parallel=4), directory, {"cleanup_after_completion": False})
    made.run_optimization(max_trials=2)
    sys.stdout.write("idle\n")
    sys.stdout.flush()
    sys.stdin.readline()
    made.run_optimization(max_trials=trials)
    sys.stdout.write("done\n")
    sys.stdout.flush()
    sys.stdin.readline()


def scheduler(runner: Any, directory: Path, config: dict[str, Any]) -> Any:
    """A driver with random points."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    from axsched_hpc import AxScheduler

    client = Client(random_seed=1)
    client.configure_experiment(
        parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 1.0))]
    )
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(method="random_search")
    made = AxScheduler(client, runner, {"job_output_dir": directory, "synchronous": False, **config})
    made.set_objective_function(lambda parameters: {"loss": parameters["x"]})
    return made


# ---------------------------------------------------------------- measuring


class Driver:
    """A driver in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.directory = folder / "-".join(arguments[:2])
        self._trace = self.directory.with_suffix(".strace")
        programs = folder / "programs"
        programs.mkdir(exist_ok=True)
        if shutil.which("srun") is None:
            # submitit looks whether there is one.
            (programs / "srun").write_text("")
            (programs / "srun").chmod(0o755)
        environment = {
            **os.environ,
            "PATH": f"{os.environ['PATH']}{os.pathsep}{programs}",
            "OMP_NUM_THREADS": "1",
        }
        self._log = self.directory.with_suffix(".log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--driver", str(self.directory), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )
        self._strace: subprocess.Popen[bytes] | None = None
        self.threads: set[int] = set()

    def answer(self) -> str:
        """The next line that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(Path(self._log.name).read_text() + "a driver has ended")
        return line.strip()

    def go(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def cpu(self) -> float:
        """CPU seconds so far, with those of commands that have ended."""
        words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")

    def trace(self) -> None:
        """Begin to count."""
        pid = self._process.pid
        self.threads = {int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()}
        options = ["-f", "-y", "-qq", "-s", "0", "-e", f"trace={_COUNTED},{_BEGINS}", "-o", str(self._trace)]
        # The process that workers are forked from is there already.
        attach = [word for each in (pid, *_descendants(pid)) for word in ("-p", str(each))]
        self._strace = subprocess.Popen(["strace", *options, *attach], stderr=subprocess.DEVNULL)
        # It attaches to all threads; until then calls are missed.
        deadline = time.monotonic() + 30
        while "TracerPid:\t0" in Path(f"/proc/{self._process.pid}/status").read_text():
            if time.monotonic() > deadline or self._strace.poll() is not None:
                sys.exit("strace cannot attach to a process of this user; try as root")
            time.sleep(0.05)

    def operations(self) -> Counter[tuple[int, str]]:
        """End counting: operations on the experiment directory, by thread and call; ``threads`` are the
        driver's own.
        """
        assert self._strace is not None
        self._strace.terminate()
        self._strace.wait()
        found: Counter[tuple[int, str]] = Counter()
        making: dict[int, str] = {}
        for line in self._trace.read_text(errors="replace").splitlines():
            call = _CALL.match(line)
            if call is not None and str(self.directory) in line:
                found[int(call[1]), call[2]] += 1
            begun = _BEGUN.match(line)
            if begun is not None:
                # Two lines where something happened in between: flags in the first, the number in the second.
                said = making.pop(int(begun[1]), "") + line
                number = re.search(r"= (\d+)$", line)
                if number is None:
                    making[int(begun[1])] = said
                elif int(begun[1]) in self.threads and "CLONE_THREAD" in said:
                    self.threads.add(int(number[1]))
        return found

    def end(self) -> None:
        """Make sure that it has ended."""
        self._process.kill()
        self._process.communicate()
        self._log.close()


def _descendants(pid: int) -> list[int]:
    """The processes that it has started, and those that they have."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text()
            parents[int(words.split(maxsplit=1)[0])] = int(words.rpartition(")")[2].split()[1])
    children = [child for child, parent in parents.items() if parent == pid]
    return [each for child in children for each in (child, *_descendants(child))]


def idle(folder: Path, jobs: Sequence[int], spans: Spans) -> list[dict[str, Any]]:
    """What idle drivers cost, for each number of jobs, side by side."""
    ways = [(each, LISTED) for each in jobs] + [(LIMIT_JOBS, TOLD)]
    drivers = [Driver(folder, str(each), way, str(spans.total)) for each, way in ways]
    try:
        for each in drivers:
            each.answer()
        time.sleep(spans.settle)
        before, begun = [each.cpu() for each in drivers], time.monotonic()
        time.sleep(spans.cpu)
        took = time.monotonic() - begun
        shares = [(each.cpu() - cpu) / took for each, cpu in zip(drivers, before, strict=True)]
        calls = []
        if shutil.which("strace") is not None:
            begun = time.monotonic()
            for each in drivers:
                each.trace()
            time.sleep(spans.operations)
            took = time.monotonic() - begun
            calls = [each.operations() for each in drivers]
        asked = [json.loads(each.answer()) for each in drivers]
    finally:
        for each in drivers:
            each.end()
    return [
        {
            "jobs": number,
            "inbox": way,
            "cpu": shares[place],
            "operations": sum(calls[place].values()) / took if calls else None,
            "calls": by_name(calls[place]) if calls else {},
            "commands": asked[place],
        }
        for place, (number, way) in enumerate(ways)
    ]


def by_name(calls: Mapping[tuple[int, str], int]) -> dict[str, int]:
    """How many of each call."""
    found: Counter[str] = Counter()
    for (_, name), count in calls.items():
        found[name] += count
    return dict(found)


def per_trial(folder: Path, trials: int) -> dict[str, Any]:
    """Operations on the directory per trial of so many: the driver's, and the workers'."""
    driver = Driver(folder, "trials", str(trials))
    try:
        driver.answer()
        driver.trace()
        driver.go()
        driver.answer()
        calls = driver.operations()
    finally:
        driver.end()
    own = {key: count for key, count in calls.items() if key[0] in driver.threads}
    others = {key: count for key, count in calls.items() if key[0] not in driver.threads}
    return {
        who: {name: round(count / trials, 1) for name, count in by_name(found).items()}
        for who, found in (("driver", own), ("worker", others))
    }


# ---------------------------------------------------------------- the table


def table(here: Mapping[str, str], rows: Sequence[Mapping[str, Any]], runs: Mapping[int, Any]) -> str:
    """The tables in Markdown."""
    lines = [
        ", ".join(f"{key} {value}" for key, value in here.items()) + ".",
        "",
        "| running jobs | inbox | CPU, % of a core | file operations a second | Slurm commands a minute |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        operations = "no strace" if row["operations"] is None else f"{row['operations']:.1f}"
        asked = ", ".join(f"{count:.1f} {name}" for name, count in row["commands"].items()) or "0"
        lines.append(f"| {row['jobs']} | {row['inbox']} | {100 * row['cpu']:.2f} | {operations} | {asked} |")
    if runs:
        lines += ["", "| per trial | of a run of | file operations | of which syncs |", "|---|---|---|---|"]
    for trials, found in runs.items():
        for who, calls in found.items():
            syncs = sum(count for name, count in calls.items() if name in ("fsync", "fdatasync"))
            lines.append(f"| {who} | {trials} trials | {sum(calls.values()):.0f} | {syncs:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the tables, write the files."""
    if sys.argv[1:2] == ["--driver"]:
        directory, kind, *rest = sys.argv[2:]
        if kind == "trials":
            run(int(rest[0]), Path(directory))
        else:
            drive(int(kind), Path(directory), float(rest[1]), rest[0])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", default="10,100,1000", help="numbers of running jobs")
    parser.add_argument("--quick", action="store_true", help="shorter spans; figures vary more")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    spans = Spans(120, 10, 20) if options.quick else Spans(120, 30, 40)
    jobs = [int(word) for word in options.jobs.split(",")]
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".idle-") as folder:
        rows = idle(Path(folder), jobs, spans)
        strace = shutil.which("strace") is not None
        runs = {each: per_trial(Path(folder), each) for each in (jobs if strace else ())}
    here = machine("ax-platform", "submitit")
    text = table(here, rows, runs)
    judged = [row for row in rows if row["jobs"] == LIMIT_JOBS]
    held = all(row["cpu"] < CPU_LIMIT and (row["operations"] or 0) < OPERATIONS_LIMIT for row in judged)
    claim = (
        f"with {LIMIT_JOBS} jobs under {CPU_LIMIT:.0%} of a core and {OPERATIONS_LIMIT:g} operations a second"
    )
    sys.stdout.write(f"{text}\n{claim}: {'yes' if held else 'NO'}\n")
    if shutil.which("strace") is None:
        sys.stdout.write(
            "There is no strace here, so operations were not counted (apt-get install strace).\n"
        )
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        report = {"machine": here, "idle": rows, "per_trial": runs}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
