"""All benchmarks of performance and scale, one after the other: their tables, and one JSON of all figures.

Each is a script of its own that can be called by itself; what they measure and claim stands in them and in
benchmarks/README.md. Those that need a Slurm are left out where SLURM_CONF names none, and peers that are not
installed are left out of `throughput` (`make benchmarks` installs them). It takes some two hours; `--quick`
a quarter of one, with fewer repetitions and smaller runs.

    python benchmarks/suite.py [--quick] [--only NAME,...] [--folder DIR]

The tables go to DIR/NAME.md, the figures to DIR/figures.json (default: outputs/benchmarks).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402


@dataclass(frozen=True)
class Benchmark:
    """One call of a script.

    Attributes
    ----------
    usual, quick
        What it is called with.
    slurm
        Whether it needs a Slurm.
    """

    name: str
    script: str
    usual: str = ""
    quick: str = "--quick"
    slurm: bool = False

    def command(self, *, quick: bool, figures: Path, table: Path) -> list[str]:
        """Its command line."""
        options = (self.quick if quick else self.usual).split()
        files = ["--json", str(figures), "--markdown", str(table)]
        return [sys.executable, str(ROOT / "benchmarks" / self.script), *options, *files]


SUITE = (
    Benchmark("startup", "startup.py", quick="--rounds 5"),
    Benchmark("workers", "workers.py", slurm=True),
    Benchmark("throughput", "throughput.py", slurm=True),
    Benchmark("utilisation", "utilisation.py"),
    Benchmark("walltime", "walltime.py", quick="--seeds 2 --seconds 60 --problems hartmann6"),
    Benchmark("cost", "cost.py"),
    Benchmark("scale", "scale.py"),
    Benchmark("scale-real", "scale.py", usual="--real", quick="--real --trials 200", slurm=True),
    Benchmark("generation", "generation.py"),
    Benchmark("idle", "idle.py"),
    Benchmark("manners", "manners.py", quick="--jobs 10,100", slurm=True),
)


def run(chosen: Sequence[Benchmark], folder: Path, *, quick: bool) -> bool:
    """Run them; whether all have ended well. What has ended is in the folder, whatever comes later."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    failed = []
    for each in chosen:
        print(f"\n# {each.name}\n", flush=True)
        figures, table = folder / f"{each.name}.json", folder / f"{each.name}.md"
        begun = time.monotonic()
        done = subprocess.run(each.command(quick=quick, figures=figures, table=table), cwd=ROOT, check=False)
        print(f"\n({time.monotonic() - begun:.0f} s)", flush=True)
        if done.returncode:
            failed.append(each.name)
            continue
        found[each.name] = json.loads(figures.read_text())
        figures.unlink()
        document = {"machine": machine("ax-platform", "submitit"), "quick": quick, "benchmarks": found}
        (folder / "figures.json").write_text(json.dumps(document, indent=1) + "\n")
    if failed:
        print(f"ended with an error: {', '.join(failed)}", file=sys.stderr)
    return not failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="NAME,...", help=", ".join(each.name for each in SUITE))
    parser.add_argument("--folder", type=Path, default=Path("outputs/benchmarks"), metavar="DIR")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else [each.name for each in SUITE]
    if unknown := sorted(set(wanted) - {each.name for each in SUITE}):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(each.name for each in SUITE)}")
    slurm = shutil.which("sbatch") is not None and "SLURM_CONF" in os.environ
    chosen = [each for each in SUITE if each.name in wanted and (slurm or not each.slurm)]
    for each in SUITE:
        if each.name in wanted and each not in chosen:
            print(f"{each.name} is left out: SLURM_CONF names no Slurm.", file=sys.stderr)
    sys.exit(0 if run(chosen, options.folder, quick=options.quick) else 1)


if __name__ == "__main__":
    main()
