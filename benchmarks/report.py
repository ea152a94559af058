"""How long `axsched report` takes, how large its file is, and the same of very many trials.

Journals with failures, retries, preemptions and learning curves. The claim: at 1,000 trials the whole command
takes under a second, from its start to the file, and the file has under 1.5 MB. Each round runs every command
once, one after the other, so that what else the machine does falls on all of them alike.

    python benchmarks/report.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import machine
from benchmarks.startup import seconds
from tests.report.kit import history, problem, written

BASE = "python -c 'import click'"

#: Name -> (trials, parameters, objectives, points of each curve).
CASES = {
    "20 trials": (20, 4, 1, 0),
    "1,000 trials": (1000, 4, 1, 0),
    "1,000 trials, 30 parameters": (1000, 30, 1, 0),
    "1,000 trials, 2 objectives": (1000, 4, 2, 0),
    "1,000 trials, curves of 50 steps": (1000, 4, 1, 50),
    "10,000 trials": (10_000, 4, 1, 0),
}
#: Of these: seconds, and bytes.
CLAIMED, SECONDS, BYTES = "1,000 trials", 1.0, 1_500_000


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    python = [sys.executable, "-c"]
    command = [*python, "from axsched_hpc.cli import main; main()", "report"]
    with tempfile.TemporaryDirectory() as name:
        programs = {BASE: [*python, "import click"]}
        for case, (trials, parameters, objectives, curve) in CASES.items():
            events = history(trials, parameters=parameters, of=problem(objectives), curve=curve)
            programs[case] = [*command, str(written(Path(name) / case, events))]
        for argv in programs.values():
            seconds(argv, dict(os.environ))
        times: dict[str, list[float]] = {case: [] for case in programs}
        for _ in range(options.rounds):
            for case, argv in programs.items():
                times[case].append(seconds(argv, dict(os.environ)))
        sizes = {case: (Path(name) / case / "report.html").stat().st_size for case in CASES}
    here = machine("click")
    lines = [", ".join(f"{key} {value}" for key, value in here.items())]
    lines.append(f"{options.rounds} interleaved rounds; median [quartiles] in ms; size of the file")
    for case, found in times.items():
        low, middle, high = (1000 * q for q in statistics.quantiles(found, n=4))
        size = f"{sizes[case] / 1e6:8.2f} MB" if case in sizes else ""
        lines.append(f"{case:34}{middle:8.0f}  [{low:.0f}, {high:.0f}]{size}")
    kept = statistics.median(times[CLAIMED]) < SECONDS and sizes[CLAIMED] < BYTES
    lines.append(f"{CLAIMED}: under {SECONDS:g} s and {BYTES / 1e6:g} MB: {'yes' if kept else 'NO'}")
    sys.stdout.write("\n".join(lines) + "\n")
    if options.json is not None:
        report = {"machine": here, "rounds": options.rounds, "seconds": times, "bytes": sizes}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
