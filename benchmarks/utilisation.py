"""How busy the slots are while Ax's model chooses the points: busy slot time over slot time.

The driver, its session, journal and Ax are real, and so is the time that they take. The cluster is simulated:
its jobs take no time of the machine, and while nothing is computed the clock is put forward to what happens
next. So a run of trials of two minutes is measured in seconds, and a slot that waits for a point waits for as
long as it would.

Each run begins with so many observations, and is measured from the first point of the model to the last start
of a trial. Durations are constant, or heavy-tailed: lognormal with the sigma of its logarithm 1, where one in
ten takes more than 3.6 times the median.

    python benchmarks/utilisation.py [--trials N] [--quick] [--json FILE] [--markdown FILE]
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import math
import random
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import sys  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))

from ax.api.client import Client  # noqa: E402 - warnings are off by now
from ax.api.configs import RangeParameterConfig  # noqa: E402

from axsched_hpc.ax_bridge.bridge import AxBridge  # noqa: E402
from axsched_hpc.core.config import SchedulerConfig  # noqa: E402
from axsched_hpc.core.events import ObjectiveSet  # noqa: E402
from axsched_hpc.io.layout import Layout  # noqa: E402
from axsched_hpc.loop.loop import Goal, Loop  # noqa: E402
from axsched_hpc.loop.session import Session  # noqa: E402
from axsched_hpc.loop.signals import Interrupts  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from tests.loop.simulated import Fate, SimulatedRunner, VirtualClock  # noqa: E402

SIGMA = 1.0


class SkippingClock(VirtualClock):
    """The machine's clock, put forward over the times in which nothing is computed."""

    passes = True

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = None
        self._last = time.perf_counter()
        self._woken = threading.Event()

    def now(self) -> float:
        self._go_on()
        return self.time

    def monotonic(self) -> float:
        return self.now()

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self._go_on()
        end = self.time + max(seconds, 1e-6)
        woken = False
        while self.time < end and not woken:
            until = min(end, self._due[0][0] if self._due else math.inf)
            if self.session is not None and self.session.ax_is_busy:
                woken = self._woken.wait(max(0.0, until - self.time))
                self._go_on()
            else:
                self.time = max(self.time, until)
            self._happen()
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def _go_on(self) -> None:
        now = time.perf_counter()
        self.time, self._last = self.time + now - self._last, now

    def _happen(self) -> None:
        while self._due and self._due[0][0] <= self.time:
            heapq.heappop(self._due)[2]()
        # What the simulated cluster does is no work of the driver's.
        self._last = time.perf_counter()


@dataclass(frozen=True)
class Setting:
    """One run.

    Attributes
    ----------
    median
        Seconds of a trial.
    observed
        Trials that are completed before.
    """

    median: float = 30.0
    heavy: bool = False
    slots: int = 8
    parameters: int = 4
    observed: int = 20
    prefetch: int = 0
    synchronous: bool = False


@dataclass(frozen=True)
class Measured:
    """What a run has shown.

    Attributes
    ----------
    busy
        Busy slot time over slot time.
    per_hour
        Trials that ended per hour.
    point
        Seconds that Ax took for a point, on average.
    """

    busy: float
    per_hour: float
    point: float


def client_of(setting: Setting) -> Client:
    """An experiment with its first observations."""
    client = Client(random_seed=1)
    client.configure_experiment(
        [
            RangeParameterConfig(name=f"x{n}", parameter_type="float", bounds=(0.0, 1.0))
            for n in range(setting.parameters)
        ]
    )
    client.configure_optimization("-loss")
    dice = random.Random(1)
    for _ in range(setting.observed):
        point = {f"x{n}": dice.random() for n in range(setting.parameters)}
        client.complete_trial(client.attach_trial(point), {"loss": loss(point)})
    return client


def loss(point: Mapping[str, Any]) -> float:
    """Something smooth with a single minimum, and waves around it."""
    return sum((x - 0.3) ** 2 + 0.1 * math.sin(9 * x) for x in map(float, point.values()))


def run(setting: Setting, trials: int) -> Measured:
    """Run so many trials beyond those that fill the slots, and measure."""
    clock = SkippingClock()
    ran: list[tuple[float, float]] = []

    def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
        drawn = random.Random(f"{trial}").lognormvariate(0.0, SIGMA) if setting.heavy else 1.0
        ran.append((clock.time, clock.time + setting.median * drawn))
        return Fate(runs=setting.median * drawn, queued=0.0, metrics={"loss": (loss(parameters), None)})

    with tempfile.TemporaryDirectory() as folder:
        options = {"job_output_dir": folder, "save_interval": 1e9, "prefetch": setting.prefetch}
        config = SchedulerConfig.from_dict(options)
        session = Session.open(Layout.at(folder), AxBridge.from_input(client_of(setting)), config, clock)
        session.record(ObjectiveSet(clock.now(), "none", "simulated"))
        clock.session = session
        loop = Loop(session, SimulatedRunner(clock, fate, setting.slots))
        goal = Goal(setting.slots + trials, synchronous=setting.synchronous)
        loop.run(goal, Interrupts())
        session.close(orderly=True)
    # From when all slots were filled for the first time until the last trial was handed out.
    begin, end = ran[setting.slots - 1][0], ran[-1][0]
    if setting.synchronous:
        begin, end = ran[0][0], max(stop for _, stop in ran)
    busy = sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in ran)
    ended = sum(begin < stop <= end for _, stop in ran)
    return Measured(
        busy / (setting.slots * (end - begin)),
        3600 * ended / (end - begin),
        loop.generating / (setting.slots + trials),
    )


def settings(*, quick: bool) -> Iterator[Setting]:
    """What is measured: one thing varied at a time."""
    base = Setting()
    medians = (5.0, 30.0) if quick else (5.0, 30.0, 120.0)
    for median in medians:
        for prefetch in (0, 2, 8):
            yield replace(base, median=median, prefetch=prefetch)
    for synchronous in (False, True):
        yield replace(base, heavy=True, prefetch=0 if synchronous else 2, synchronous=synchronous)
    if quick:
        return
    for prefetch in (0, 2, 8):
        yield replace(base, slots=32, prefetch=prefetch)
    for parameters in (2, 10):
        for prefetch in (0, 2):
            yield replace(base, parameters=parameters, prefetch=prefetch)
    for observed in (100, 300):
        for prefetch in (0, 2):
            yield replace(base, observed=observed, prefetch=prefetch)


def row(setting: Setting, found: Measured) -> str:
    """A line of the table."""
    mode = "rounds" if setting.synchronous else "asynchronous"
    times = f"{setting.median:g} s" + (", heavy-tailed" if setting.heavy else "")
    varied = (setting.slots, setting.parameters, setting.observed, mode, setting.prefetch)
    return (
        f"| {times} | {' | '.join(map(str, varied))} "
        f"| {100 * found.busy:.1f} % | {found.per_hour:.0f} | {found.point:.2f} s |"
    )


HEAD = (
    "| trials of | slots | parameters | observations before | mode | prefetch | slots busy | trials per hour "
    "| Ax per point |\n|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=32, help="measured per run (default: 32)")
    parser.add_argument("--quick", action="store_true", help="fewer settings")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    about = ", ".join(f"{key} {value}" for key, value in machine("ax-platform", "torch").items())
    print(f"{about}\n\n{HEAD}", flush=True)
    run(replace(Setting(), observed=6), 2)  # what Ax does only once
    rows, figures = [], []
    for setting in settings(quick=options.quick):
        found = run(setting, options.trials)
        rows.append(row(setting, found))
        figures.append({**asdict(setting), **asdict(found)})
        print(rows[-1], flush=True)
    if options.markdown is not None:
        said = f"{options.trials} trials per run, each run once. {about}."
        options.markdown.write_text("\n".join([said, "", HEAD, *rows]) + "\n")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "runs": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
