"""What it costs to take in the curves of running trials, as they grow.

100 trials run and report side by side; between two looks of the driver each appends so many lines to its
progress file. The driver's own code looks: it reads the files, journals what it keeps, and tells Ax. Every
look has the same number of new lines, so its cost should be the same, whatever was read before; the table has
the means over tenths of all looks, and the ratio of the last tenth to the second (the first one finds the
files). `read` is the first part alone: files, without journal and Ax. Beside it, in the same run: reading
all files from their beginnings, as a look without a memory would have to.

    python benchmarks/curves.py [--trials 100] [--lines 1000] [--per-look 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from ax.api.client import Client  # noqa: E402 - OMP_NUM_THREADS counts when torch is loaded
from ax.api.configs import RangeParameterConfig  # noqa: E402

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402
from axsched_hpc.core.config import SchedulerConfig  # noqa: E402
from axsched_hpc.core.events import AttemptStarted, BatchPlanned, BatchSubmitted  # noqa: E402
from axsched_hpc.io import atomic, progress  # noqa: E402
from axsched_hpc.io.layout import Layout  # noqa: E402
from axsched_hpc.loop.clock import SystemClock  # noqa: E402
from axsched_hpc.loop.curves import Curves  # noqa: E402
from axsched_hpc.loop.session import Session  # noqa: E402
from benchmarks.machine import machine  # noqa: E402

TENTHS = 10


def running(directory: Path, trials: int) -> Session:
    """An experiment whose trials all run."""
    client = Client(random_seed=3)
    client.configure_experiment(
        [RangeParameterConfig(name=name, parameter_type="float", bounds=(0, 1)) for name in "ab"],
        name="curves",
    )
    client.configure_optimization("-loss")
    client.configure_generation_strategy("random_search")
    config = SchedulerConfig.from_dict({"job_output_dir": str(directory)})
    session = Session.open(Layout.at(directory), AxBridge.from_input(client), config, SystemClock())
    now = session.clock.now()
    candidates = session.bridge.ask(trials, time=now).candidates
    session.record(
        *(each.event() for each in candidates),
        BatchPlanned(now, "token", tuple((each.trial, 1) for each in candidates)),
        BatchSubmitted(now, "token", {index: f"1_{index}" for index in range(trials)}),
        *(AttemptStarted(now, each.trial, 1, "n1") for each in candidates),
    )
    for each in candidates:
        atomic.make_directory(session.layout.attempt(each.trial, 1).root)
    return session


def append(session: Session, first: int, count: int) -> None:
    """Let every trial report the next steps."""
    for trial in session.ledger.active:
        lines = (
            f'{{"step": {step}, "loss": {1 / (1 + step + trial)}}}\n' for step in range(first, first + count)
        )
        progress.append(session.layout.attempt(trial, 1).progress, "".join(lines))


def whole(session: Session) -> None:
    """Read all that has been reported, as a look without a memory would."""
    for trial in session.ledger.active:
        start, more = 0, True
        while more:
            chunk = progress.read(session.layout.attempt(trial, 1).progress, start)
            start, more = chunk.end, chunk.more


def measure(session: Session, lines: int, per_look: int) -> list[tuple[float, float, float]]:
    """Milliseconds of processor time of each look: (the whole of it, its reading, reading all again)."""
    curves, record, found = Curves(session), session.record, []
    for first in range(0, lines, per_look):
        append(session, first, per_look)
        started = time.process_time()
        whole(session)
        again = time.process_time()
        reading = 0.0

        def timed(*events: object, begun: float = again) -> None:
            nonlocal reading
            reading = time.process_time() - begun
            record(*events)  # type: ignore[arg-type]

        session.record = timed  # type: ignore[method-assign]
        curves.look()
        session.record = record  # type: ignore[method-assign]
        found.append(tuple(1e3 * each for each in (time.process_time() - again, reading, again - started)))
    return found  # type: ignore[return-value]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--per-look", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        session = running(Path(folder) / "run", options.trials)
        looks = measure(session, options.lines, options.per_look)
        points = len(session.bridge.experiment.data._data_rows)
        session.close(orderly=False)
    size = max(1, len(looks) // TENTHS)
    here = machine("ax-platform")
    print(", ".join(f"{key} {value}" for key, value in here.items()))
    print(
        f"{options.trials} trials, {options.lines} lines each, {options.per_look} new ones of each per look; "
        f"{points} points in Ax at the end. Milliseconds of processor time per look:"
    )
    print(f"{'lines before':>12} {'look':>8} {'read':>8} {'all again':>10}")
    table = []
    for first in range(0, size * TENTHS, size):
        row = [statistics.mean(each[i] for each in looks[first : first + size]) for i in range(3)]
        table.append({"lines": first * options.per_look, "look": row[0], "read": row[1], "again": row[2]})
        print(f"{first * options.per_look:>12} {row[0]:>8.1f} {row[1]:>8.1f} {row[2]:>10.1f}")
    ratios = {name: table[-1][name] / table[1][name] for name in ("look", "read", "again")}
    print(f"{'last/second':>12} {ratios['look']:>8.2f} {ratios['read']:>8.2f} {ratios['again']:>10.2f}")
    if options.json is not None:
        options.json.write_text(
            json.dumps({"machine": here, "looks": table, "ratios": ratios, "points": points}, indent=1)
        )


if __name__ == "__main__":
    sys.exit(main())
