"""How long the package and the command take to start, beside a bare Python that imports click.

Each round starts every program once, one after the other, so that what else the machine does falls on all of
them alike. The claim: `import axsched_hpc`, and each command that looks at an experiment of 20 trials, take
under 3 times that; at 1,000 trials, whose whole journal is read, under 4 times.

All of them run in an environment of their own that holds click and this package, as pip would lay them out,
and nothing else: what other packages add to the start of a Python would make the ratios smaller.

    python benchmarks/startup.py [--rounds N] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

import axsched_hpc
from axsched_hpc.core.events import (
    AttemptStarted,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    DriverClosed,
    DriverOpened,
    Event,
    LeaseTaken,
    TrialAdded,
)
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store.writer import JournalWriter
from benchmarks.machine import machine

BASE = "python -c 'import click'"
#: Trials -> how many times the base a command may take.
LIMITS = {20: 3.0, 1000: 4.0}
VERBS = ("status", "best", "trials", "show 7", "logs 7")


def experiment(directory: Path, trials: int) -> None:
    """A journal of so many completed trials."""
    layout = Layout.at(directory)
    atomic.make_directory(layout.journal)
    # What Ax's model for Bayesian optimisation leaves behind with each point.
    suggested = json.loads(Path(__file__).with_name("generator_run.json").read_text())
    objective = {"weights": {"loss": 1.0}, "minimize": True}
    events: list[Event] = [DriverOpened(1.0, FORMAT, "host", 1, "0" * 64, {"objectives": [objective]})]
    for n in range(trials):
        token = f"token-{n}"
        events += [
            TrialAdded(2.0, n, f"{n}_0", {"x": 0.5, "y": float(n)}, "ax", suggested),
            BatchPlanned(3.0, token, ((n, 1),)),
            BatchSubmitted(4.0, token, {0: f"{n}_0"}),
            AttemptStarted(5.0, n, 1, "node"),
            AttemptSucceeded(6.0, n, 1, {"loss": (float(n), None)}),
        ]
    # What `logs` prints.
    files = layout.attempt(7, 1)
    atomic.make_directory(files.root)
    files.stdout.write_text("step 1\n" * 100)
    writer = JournalWriter(layout.journal, 1, LeaseTaken(1.0, FORMAT, "host", 1, None, None, "user", 60.0))
    writer.append([*events, DriverClosed(7.0)])
    writer.close()


def installed(directory: Path) -> str:
    """A Python with click and this package, both compiled."""
    venv.create(directory)
    (packages,) = directory.glob("lib/python*/site-packages")
    for package in (click, axsched_hpc):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, packages / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(packages, quiet=1)
    return str(directory / "bin" / "python")


def programs(directory: Path, python: str) -> dict[str, list[str]]:
    """What is compared: a name for the table, and the command."""
    # The entry point, without the few lines that pip puts around it: the same wherever it is installed.
    command = [python, "-c", "from axsched_hpc.cli import main; main()"]
    found = {
        "python -c pass": [python, "-c", "pass"],
        BASE: [python, "-c", "import click"],
        "import axsched_hpc": [python, "-c", "import axsched_hpc"],
        "axsched --help": [*command, "--help"],
    }
    for trials in LIMITS:
        experiment(directory / str(trials), trials)
        for verb in VERBS:
            found[named(verb, trials)] = [*command, *verb.split(), str(directory / str(trials))]
    return found


def named(verb: str, trials: int) -> str:
    """A command in the table."""
    return f"axsched {verb}, {trials} trials"


def seconds(argv: list[str], environment: dict[str, str]) -> float:
    """The time of one run, from start to end."""
    started = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each program in each round, after one round that only fills the caches."""
    # PYTHONPATH would bring in more than is installed.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            found = seconds(argv, environment)
            if number:
                times[name].append(found)
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, list[float]]:
    """How many times the base each program took, in each round: what disturbs a round disturbs both terms."""
    return {
        name: [each / base for each, base in zip(found, times[BASE], strict=True)]
        for name, found in times.items()
    }


def table(here: dict[str, str], times: dict[str, list[float]]) -> str:
    """The table in Markdown."""
    rounds = len(times[BASE])
    lines = [
        f"{rounds} interleaved rounds: median, and quartiles in brackets. "
        + ", ".join(f"{key} {value}" for key, value in here.items())
        + ".",
        "",
        f"| program | ms | times `{BASE}` |",
        "|---|---|---|",
    ]
    for name, found in ratios(times).items():
        low, middle, high = (1000 * q for q in statistics.quantiles(times[name], n=4))
        least, usual, most = statistics.quantiles(found, n=4)
        lines.append(
            f"| `{name}` | {middle:.0f} [{low:.0f}, {high:.0f}] | {usual:.2f} [{least:.2f}, {most:.2f}] |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        times = measure(programs(place, installed(place / "venv")), options.rounds)
    here = machine("click")
    text = table(here, times)
    usual = {name: statistics.median(found) for name, found in ratios(times).items()}
    limits = {named(verb, trials): limit for trials, limit in LIMITS.items() for verb in VERBS}
    limits |= dict.fromkeys(("import axsched_hpc", "axsched --help"), LIMITS[20])
    missed = [name for name, limit in limits.items() if usual[name] >= limit]
    claim = ", ".join(f"{limit:g} times the base at {trials} trials" for trials, limit in LIMITS.items())
    sys.stdout.write(f"{text}\nunder {claim}: " + ("yes\n" if not missed else f"NO: {'; '.join(missed)}\n"))
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        report = {"machine": here, "rounds": options.rounds, "base": BASE, "seconds": times, "ratios": usual}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
