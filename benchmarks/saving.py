"""What it costs to keep an experiment, per event and as a whole, beside Ax's own saving, and to resume it.

For each number of trials one experiment is made, whose suggestions are variations of a real one of BoTorch:
five float parameters, two metrics, one trial in twenty fails. Measured in the same process:

- `event`: what one more event costs us: the journal's append with its sync, the ledger, telling Ax. The mean
  over the last events, those of a trial's whole life taken together and divided by their number.
- `snapshot`: the text of our snapshot. `Ax`: `client.save_to_json_file` of the same experiment, to a memory
  disk where there is one. `ratio`: how many times longer Ax takes.
- `resume`: in a process of its own, after its imports: reading the journal, its fold, replaying it into Ax.

Snapshots and resuming compute and hardly wait: they are given in seconds of the processor, which depend far
less on what else the machine does. An event waits for the disk: it is given in time of the clock.

    python benchmarks/saving.py [--trials 100,1000,5000,10000] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from ax.api.client import Client  # noqa: E402 - OMP_NUM_THREADS counts when torch is loaded
from ax.api.configs import RangeParameterConfig  # noqa: E402

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402
from axsched_hpc.core.events import (  # noqa: E402
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    DriverOpened,
    Event,
    Failure,
    LeaseTaken,
)
from axsched_hpc.core.ledger import Ledger  # noqa: E402
from axsched_hpc.core.machine import TellCompleted, TellFailed  # noqa: E402
from axsched_hpc.core.states import FailureKind, Verdict  # noqa: E402
from axsched_hpc.io.layout import FORMAT  # noqa: E402
from axsched_hpc.store import journal  # noqa: E402
from axsched_hpc.store.writer import JournalWriter  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.simulation import Suggestions  # noqa: E402

START = 1_700_000_000.0
#: Over how many trials the cost of an event is taken.
LAST = 50

Append = Callable[[list[Event]], None]


def opened(directory: Path) -> Append:
    """Begin a journal; how events are appended to it."""
    writer = JournalWriter(directory, 1, LeaseTaken(START, FORMAT, "host", 1, None, None, "user", 60.0))
    writer.append([DriverOpened(START, FORMAT, "host", 1, "0" * 64)])
    return writer.append


def fresh() -> AxBridge:
    """The optimisation before its first trial."""
    client = Client(random_seed=3)
    client.configure_experiment(
        [RangeParameterConfig(name=name, parameter_type="float", bounds=(0, 1)) for name in "abcde"],
        name="saving",
    )
    client.configure_optimization("-f, -g")
    client.configure_generation_strategy()
    return AxBridge.from_input(client)


def live(bridge: AxBridge, ledger: Ledger, append: Append, number: int) -> tuple[float, int]:
    """One trial's life; seconds and number of its events, without the time of its suggestion."""
    now, seconds = START + number, 0.0
    values = random.Random(number)
    (candidate,) = bridge.ask(1, time=now).candidates
    events: list[Event] = [
        candidate.event(),
        BatchPlanned(now, f"token-{number}", ((number, 1),)),
        BatchSubmitted(now, f"token-{number}", {0: f"{number}_0"}),
        AttemptStarted(now, number, 1, "n1"),
    ]
    if number % 20 == 19:
        failure = Failure(FailureKind.EXIT_CODE, "exit code 1")
        events.append(AttemptFailed(now, number, 1, failure, Verdict.FAIL))
    else:
        metrics = {name: (values.random(), None) for name in "fg"}
        events.append(AttemptSucceeded(now, number, 1, metrics, now, now, "n1"))
    for event in events:
        started = time.perf_counter()
        append([event])
        for action in ledger.apply(event):
            match action:
                case TellCompleted(trial, told, at):
                    bridge.complete([(trial, told, at)])
                case TellFailed(trial, reason, at):
                    bridge.fail(trial, reason, time=at)
        seconds += time.perf_counter() - started
    return seconds, len(events)


def seconds(work: Callable[[], Any]) -> float:
    """How much of the processor's time one call takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """One row per size. The experiment grows from one size to the next, so that each trial is made once."""
    rows = []
    bridge, ledger = fresh(), Ledger()
    bridge.generation_strategy.gen = Suggestions(bridge)  # type: ignore[method-assign]
    ledger.apply(DriverOpened(START, FORMAT, "host", 1, "0" * 64))
    scratch = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory(dir=scratch) as memory:
        append, file = opened(Path(directory)), Path(memory) / "client.json"
        number = 0
        for size in sizes:
            costs = []
            while number < size:
                costs.append(live(bridge, ledger, append, number))
                number += 1
            last = costs[-LAST:]
            snapshots = [seconds(bridge.snapshot_text) for _ in range(rounds)]
            ax = seconds(lambda: bridge.client.save_to_json_file(str(file)))
            snapshots += [seconds(bridge.snapshot_text) for _ in range(rounds)]
            rows.append(
                {
                    "trials": size,
                    "event": sum(cost for cost, _ in last) / sum(count for _, count in last),
                    "snapshot": statistics.median(snapshots),
                    "snapshot_mb": len(bridge.snapshot_text()) / 1e6,
                    "ax": ax,
                    "ax_mb": file.stat().st_size / 1e6,
                    "resume": statistics.median(resumed(Path(directory)) for _ in range(rounds)),
                    "journal_kb": sum(path.stat().st_size for path in Path(directory).iterdir()) / size / 1e3,
                }
            )
            show(rows[-1])
    return rows


def resumed(directory: Path) -> float:
    """What it takes another process to bring the experiment back, after its imports."""
    found = subprocess.run(
        [sys.executable, __file__, "--resume", str(directory)], check=True, capture_output=True, text=True
    )
    return float(found.stdout.split()[-1])


def resume(directory: Path) -> None:
    """The other process."""
    bridge = fresh()

    def work() -> None:
        # As a driver does when it opens a directory.
        segments = journal.read(directory)
        journal.replay(segments)
        bridge.replay(journal.events(segments))

    print(seconds(work))


COLUMNS = (("trials", 7), ("event", 10), ("snapshot", 11), ("", 9), ("Ax", 11), ("", 9), ("ratio", 8))
HEAD = "".join(f"{name:>{width}}" for name, width in (*COLUMNS, ("resume", 10), ("journal", 16)))


def show(row: dict[str, Any]) -> None:
    """One line of the table."""
    print(
        f"{row['trials']:7d}{1e3 * row['event']:7.2f} ms{row['snapshot']:9.2f} s{row['snapshot_mb']:6.1f} MB"
        f"{row['ax']:9.2f} s{row['ax_mb']:6.1f} MB{row['ax'] / row['snapshot']:8.0f}{row['resume']:8.2f} s"
        f"{row['journal_kb']:5.1f} KB/trial",
        flush=True,
    )


def main() -> None:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", default="100,1000,5000,10000", metavar="N,N,...", help="the sizes")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of all but Ax's own saving")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--resume", type=Path, metavar="DIRECTORY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume is not None:
        resume(options.resume)
        return
    here = machine("ax-platform")
    print(", ".join(f"{key} {value}" for key, value in here.items()))
    print(
        f"snapshot: median of {2 * options.rounds}, around Ax's own, which runs once; resume: median of "
        f"{options.rounds}; event: mean over the last {LAST} trials"
    )
    print(HEAD)
    rows = measure(sorted(int(size) for size in options.trials.split(",")), options.rounds)
    first, last = rows[0], rows[-1]
    growth = last["event"] / first["event"]
    print(f"an event at {last['trials']} trials costs {growth:.1f} times what it costs at {first['trials']}")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": here, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
