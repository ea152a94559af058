"""What the driver itself takes per trial, and whether that grows; what an event costs beside Ax's saving.

A run on a simulated cluster in virtual time (simulation.py). The points are variations of one real suggestion
of BoTorch, so that records have their real size, and generation takes no time. Ax's part (generation, making
trials, attaching data) is counted by itself, as is the simulated cluster.

- `driver`: milliseconds of the processor per trial around that number of ended trials.
- `saving`, in seconds of the processor: an event kept our way is one line appended and synced (the wait for
  the sync is given beside it; Ax's file is not synced). Ax's Orchestrator saves the experiment after each
  step: `save_to_json_file` is timed at some sizes, and taken for each event between them.

    python benchmarks/cost.py [--trials 10000] [--slots 200] [--saves 1000] [--quick]
                              [--directory DIR] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402 - OMP_NUM_THREADS counts at torch's import
from axsched_hpc.core.events import LeaseTaken  # noqa: E402
from axsched_hpc.io.layout import FORMAT, Layout  # noqa: E402
from axsched_hpc.store import journal  # noqa: E402
from axsched_hpc.store.writer import JournalWriter  # noqa: E402
from benchmarks import simulation  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.scale import simulated, table  # noqa: E402

#: Milliseconds of the processor per trial; and how many times that at the first size it may be at the last.
MOST_MS, GROWTH = 3.0, 1.2
#: How many times cheaper an event is kept than by Ax's saving.
CHEAPER = 1000
#: Sizes at which Ax's saving is timed, as shares of the run.
PARTS = (0.1, 0.25, 0.5, 0.75, 1.0)


def saving(folder: Path, trials: int, slots: int) -> dict[str, Any]:
    """Keeping the events of a run so large: our way once more, to a disk, and Ax's way at some sizes."""
    sizes = [max(1, round(part * trials)) for part in PARTS]
    theirs: dict[int, float] = {}
    bridge = AxBridge.from_input(simulation.client())
    file = folder / "client.json"

    def save(ended: int) -> None:
        theirs[ended] = _seconds(lambda: bridge.client.save_to_json_file(str(file)))

    ran = simulation.run(
        folder / "outputs", bridge, trials, slots=slots, marks=sizes, suggest=True, at_mark=save
    )
    events = list(journal.events(journal.read(Layout.at(folder / "outputs").journal)))
    first = LeaseTaken(events[0].time, FORMAT, "host", 1, None, None, "user", 60.0)
    with tempfile.TemporaryDirectory() as disk:
        writer = JournalWriter(Path(disk), 1, first)
        begun = time.perf_counter()
        ours = _seconds(lambda: [writer.append([event]) for event in events[1:]])
        clock = time.perf_counter() - begun
    # Between two sizes the cost is taken to grow evenly, as it does.
    points = [(0, 0.0), *sorted(theirs.items())]
    total = sum((b - a) * (before + after) / 2 for (a, before), (b, after) in pairwise(points))
    each = ran.events / trials
    return {
        "trials": trials,
        "events": ran.events,
        "ours_s": ours,
        "ours_clock_s": clock,
        "ax_once_s": theirs,
        "ax_s": total * each,
        "ax_per_trial_s": total,
    }


def _seconds(work: Any) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def said(saved: dict[str, Any]) -> str:
    """The saving, in words."""
    last = max(saved["ax_once_s"])
    return (
        f"- Keeping {saved['events']:,} events of {saved['trials']:,} trials, each by itself: "
        f"{saved['ours_s']:.1f} s of the processor, {saved['ours_clock_s']:.1f} s of the clock with its "
        f"syncs. Ax's save_to_json_file takes {saved['ax_once_s'][last]:.1f} s at {last:,} trials: "
        f"{saved['ax_s']:,.0f} s after each event, {saved['ax_per_trial_s']:,.0f} s after each trial.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--saves", type=int, help="trials of the run whose events are saved")
    parser.add_argument("--quick", action="store_true", help="1,000 trials, and the saves of 200")
    memory = Path("/dev/shm")
    parser.add_argument(
        "--directory",
        type=Path,
        default=memory if memory.is_dir() else None,
        help="where the experiment lies meanwhile; default: a memory disk where there is one",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    trials = options.trials or (1000 if options.quick else 10_000)
    saves = options.saves or (200 if options.quick else 1000)
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        saved = saving(Path(place), saves, options.slots)
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        found = simulated(trials, options.slots, Path(place) / "outputs", suggest=True)
    here = machine("ax-platform")
    text = table(here, found) + said(saved)
    rows = found["rows"]
    growth, cheaper = rows[-1]["driver"] / rows[0]["driver"], saved["ax_s"] / saved["ours_s"]
    claims = {
        f"at most {MOST_MS:g} ms per trial": (
            max(row["driver"] for row in rows) <= MOST_MS,
            ", ".join(f"{row['driver']:.2f}" for row in rows),
        ),
        f"at {trials:,} trials at most {GROWTH:g} times that at {rows[0]['trials']}": (
            growth <= GROWTH,
            f"{growth:.2f}",
        ),
        f"an event is kept at least {CHEAPER:,} times cheaper than by Ax's saving": (
            cheaper >= CHEAPER,
            f"{cheaper:,.0f}",
        ),
    }
    lines = (f"{claim}: {'yes' if held else 'NO'} ({value})" for claim, (held, value) in claims.items())
    sys.stdout.write(text + "\n" + "\n".join(lines) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json is not None:
        whole = {"machine": here, "slots": options.slots, **found, "saving": saved}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
