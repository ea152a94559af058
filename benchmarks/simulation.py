"""A run of many trials on a simulated cluster in virtual time, and what the driver takes for it.

The session, the loop, the journal, the ledger, the files and the bridge with Ax's experiment behind it are
the driver's own. Only the runner and the clock are simulated: jobs wait, run, fail, are preempted, lost and
requeued as their trial's number says.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.core.arm import Arm
from ax.core.generator_run import GeneratorRun

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.ax_bridge.records import Reference, Runs
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.events import Event, Failure, ObjectiveSet
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import FailureKind, JobState
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.loop import Goal, Loop
from axsched_hpc.loop.progress import shown
from axsched_hpc.loop.session import Session
from axsched_hpc.loop.signals import Interrupts
from tests.loop.simulated import Fate, SimulatedRunner, VirtualClock

PARAMETERS = ("x0", "x1", "x2", "x3")

#: Seconds: the mean wait in the queue, and the mean of what a trial runs.
QUEUED, RUNS = 20.0, 60.0

#: Objects of 300 bytes or so, which take as long to go through as Ax takes for each of 100,000 trials.
COOLING = 400_000

#: Points that are enqueued at a time, as one reads them from a file.
CHUNK = 1000


def fate(trial: int, attempt: int, parameters: Mapping[str, object]) -> Fate:
    """What becomes of an attempt: one in twenty meets the cluster's trouble, one trial in fifty its own."""
    draw = random.Random(f"{trial} {attempt}")
    queued, runs = draw.expovariate(1 / QUEUED), draw.expovariate(1 / RUNS)
    value = sum((float(str(each)) - 0.3) ** 2 for each in parameters.values())
    metrics = {"loss": (value, None)}
    match draw.random():
        case chance if chance < 0.02:
            return Fate(runs, queued, JobState.PREEMPTED, metrics)
        case chance if chance < 0.03:
            return Fate(runs, queued, JobState.NODE_FAILED, metrics)
        case chance if chance < 0.05:
            return Fate(runs, queued, metrics=metrics, requeues=1)
        case chance if chance < 0.07:
            failure = Failure(FailureKind.EXIT_CODE, "it ended with exit code 1", exit_code=1)
            return Fate(runs, queued, failure=failure)
    return Fate(runs, queued, metrics=metrics)


class Meter:
    """The processor's seconds by what they went into; where one thing calls another, to the inner one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._stack = ["driver"]
        self._since = time.process_time()

    def wrap(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, counted under a name."""

        @functools.wraps(work)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._enter(name)
            try:
                return work(*args, **kwargs)
            finally:
                self._leave()

        return counted

    def read(self) -> dict[str, float]:
        """The seconds so far."""
        self._turn()
        return dict(self.seconds)

    @contextmanager
    def collector(self) -> Iterator[None]:
        """Count Python's garbage collector by itself within."""

        def collecting(phase: str, _: dict[str, int]) -> None:
            if phase == "start":
                self._enter("collector")
            else:
                self._leave()

        gc.callbacks.append(collecting)
        try:
            yield
        finally:
            gc.callbacks.remove(collecting)

    def _enter(self, name: str) -> None:
        self._turn()
        self._stack.append(name)

    def _leave(self) -> None:
        self._turn()
        self._stack.pop()

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True)
class Mark:
    """Where a run stood when so many trials had ended.

    Attributes
    ----------
    seconds
        Of the processor since the run's begin, by what they went into.
    rss_mb
        The largest resident memory so far.
    """

    trials: int
    seconds: Mapping[str, float]
    events: int
    rss_mb: float


class Suggestions:
    """Stands in for a strategy's ``gen``: variations of one real suggestion of BoTorch, at once."""

    def __init__(self, bridge: AxBridge) -> None:
        self._strategy = bridge.generation_strategy
        found = json.loads(Path(__file__).with_name("generator_run.json").read_text())
        self._run = Runs(Reference.of(bridge.experiment)).decode(found["generator_run"])
        self._run._generation_node_name = self._strategy._nodes[-1].name
        self._names = bridge.parameter_names
        self._random = random.Random(7)

    def __call__(self, num_trials: int = 1, **_: Any) -> list[list[GeneratorRun]]:
        runs = [self._varied() for _ in range(num_trials)]
        self._strategy._generator_runs += runs
        return [[run] for run in runs]

    def _varied(self) -> GeneratorRun:
        run = self._run.clone()
        run._arm_weight_table.clear()
        run.add_arm(Arm(point(self._random, self._names)))
        run._gen_time = self._random.random()
        acquisition = {"expected_acquisition_value": [self._random.random()]}
        run._gen_metadata = {**(run._gen_metadata or {}), **acquisition}
        return run


def point(draw: random.Random, names: Sequence[str] = PARAMETERS) -> dict[str, float]:
    """Any point of a unit cube."""
    return {name: draw.random() for name in names}


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes
    ----------
    counts
        Trials by how they ended.
    virtual
        Seconds of the simulated clock.
    journal, snapshot
        Their bytes.
    rss_mb, rss_saved_mb
        The largest resident memory before the snapshot was written, and after.
    saved
        Seconds of the processor for the snapshot.
    """

    marks: Sequence[Mark]
    counts: Mapping[str, int]
    attempts: int
    events: int
    virtual: float
    journal: int
    rss_mb: float
    saved: float
    snapshot: int
    rss_saved_mb: float


def resumed(folder: Path) -> dict[str, float]:
    """What it takes another process to open a directory again: seconds of the processor and of the clock,
    without the imports, and its largest resident memory.
    """
    code = f"from benchmarks import simulation; simulation.resume({str(folder)!r})"
    found = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    measured: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return measured


def resume(folder: str) -> None:
    """The other process."""
    logging.disable(logging.WARNING)
    bridge = AxBridge.from_input(client())
    before, wall, processor = rss_mb(), time.perf_counter(), time.process_time()
    session = opened(Path(folder), bridge, VirtualClock())
    found = {
        "processor_s": time.process_time() - processor,
        "clock_s": time.perf_counter() - wall,
        "begun_mb": before,
        "rss_mb": rss_mb(),
        "trials": len(session.ledger.trials),
    }
    session._snapshot.behind = False
    session.close(orderly=True)
    print(json.dumps(found))


def client(seed: int = 1) -> Client:
    """Four parameters and one objective, as Ax has them by default."""
    made = Client(random_seed=seed)
    made.configure_experiment(
        [RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in PARAMETERS],
        name="scale",
    )
    made.configure_optimization("-loss")
    made.configure_generation_strategy()
    return made


def rss_mb() -> float:
    """The largest resident memory of this process so far, in MB (10^6 bytes)."""
    # Not `ru_maxrss`, which a process that another one starts has from that one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def opened(folder: Path, bridge: AxBridge, clock: VirtualClock) -> Session:
    """The session of a directory; snapshots are made at its end only, since they take no virtual time."""
    config = SchedulerConfig.from_dict(
        {
            "job_output_dir": str(folder),
            "save_interval": 1e9,
            "synchronous": False,
            "failure_rate": 1.0,
            "retries": {"infrastructure": 5},
        }
    )
    return Session.open(Layout.at(folder), bridge, config, clock)


def run(
    folder: Path,
    bridge: AxBridge,
    trials: int,
    *,
    slots: int,
    marks: Sequence[int],
    suggest: bool,
    cold: bool = False,
    at_mark: Callable[[int], None] = lambda ended: None,
) -> Run:
    """Run so many trials.

    Parameters
    ----------
    marks
        Numbers of ended trials at which it is noted where the run stands.
    suggest
        Whether the points are suggestions, for which :class:`Suggestions` stands in; else they are the
        user's own, from the queue, and nothing of Ax is simulated.
    cold
        Whether the processor's caches are emptied for each trial, as Ax empties them by itself where it goes
        through all of very many trials.
    at_mark
        Called at each mark with its number; what it takes counts nowhere.
    """
    meter, clock = Meter(), VirtualClock()
    if suggest:
        bridge.generation_strategy.gen = Suggestions(bridge)  # type: ignore[method-assign]
    runner = SimulatedRunner(clock, fate, slots)
    for call in ("submit", "poll", "find", "cancel", "usage"):
        setattr(runner, call, meter.wrap("cluster", getattr(runner, call)))
    clock.wait = meter.wrap("cluster", clock.wait)  # type: ignore[method-assign]
    for owner, call in (
        (bridge.generation_strategy, "gen"),
        (bridge.experiment, "new_trial"),
        (bridge.warm, "take"),
        (bridge._observed, "attach"),
    ):
        setattr(owner, call, meter.wrap("ax", getattr(owner, call)))
    if cold:
        attach = meter.wrap("cooling", _cooling(bridge._observed.attach))
        bridge._observed.attach = attach  # type: ignore[method-assign]
    session = opened(folder, bridge, clock)
    session.record(ObjectiveSet(clock.now(), "none", "nothing: the cluster is simulated"))
    mark = meter.wrap("marks", at_mark)
    draw, started = random.Random(7), clock.monotonic()
    found, left, events = list[Mark](), sorted(marks), 0

    def watch(event: Event, ledger: Ledger) -> None:
        nonlocal events
        events += 1
        ended = len(ledger.trials) - len(ledger.active) - len(ledger.waiting)
        if left and ended >= left[0]:
            found.append(Mark(left[0], meter.read(), events, rss_mb()))
            mark(left.pop(0))

    session.listeners.append(watch)
    if not suggest:
        for _ in range(0, trials - session.ledger.own, CHUNK):
            session.enqueue([point(draw) for _ in range(CHUNK)])
    with shown(session, trials), meter.collector():
        Loop(session, runner).run(Goal(trials, synchronous=False), Interrupts())
    peak, begun = rss_mb(), time.process_time()
    session.save()
    saved = time.process_time() - begun
    session.close(orderly=True)
    counts = {str(state): number for state, number in session.ledger.counts.items() if number}
    attempts = sum(len(trial.attempts) for trial in session.ledger.trials.values())
    journal = sum(path.stat().st_size for path in session.layout.journal.iterdir())
    snapshot = session.layout.snapshot.stat().st_size
    virtual = clock.monotonic() - started
    return Run(found, counts, attempts, events, virtual, journal, peak, saved, snapshot, rss_mb())


def _cooling(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and then a walk through more objects than any cache holds."""
    objects = [{"number": number} for number in range(COOLING)]

    def cooling(*args: Any, **kwargs: Any) -> Any:
        done = work(*args, **kwargs)
        for each in objects:
            each["number"]
        return done

    return cooling


def windows(trials: int, slots: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """From how many ended trials to how many the costs at each of these sizes are taken: a tenth of them
    around it, and fifty at the least, while each that ends is followed by another one.
    """
    found = []
    for size in sizes:
        half = max(25, size // 20)
        end = min(max(trials - slots, 2 * half), size + half)
        found.append((end - 2 * half, end))
    return found


def between(marks: Sequence[Mark], begin: int, end: int) -> dict[str, float]:
    """Milliseconds of the processor per trial, by what they went into."""
    at = {mark.trials: mark for mark in marks}
    first, last = at[begin], at[end]
    return {
        name: 1e3 * (seconds - first.seconds.get(name, 0.0)) / (end - begin)
        for name, seconds in last.seconds.items()
    }
