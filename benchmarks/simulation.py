"""A run of many trials on a simulated cluster in virtual time, and what the driver takes for it.

The session, the loop, the journal, the ledger, the files and the bridge with Ax's experiment behind it are the
driver's own. Only the runner and the clock are simulated: jobs wait, run, fail, are preempted, lost and
requeued as their trial's number says.
"""

from __future__ import annotations

import functools
import gc
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig

from axsched_hpc.ax_bridge.bridge import AxBridge
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

PARAMETERS = "abcd"

#: Seconds: the mean wait in the queue, and the mean of what a trial runs.
QUEUED, RUNS = 20.0, 60.0

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


def client(seed: int = 1) -> Client:
    """Four parameters and one objective; random points, where any are asked for."""
    made = Client(random_seed=seed)
    made.configure_experiment(
        [RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in PARAMETERS],
        name="scale",
    )
    made.configure_optimization("-loss")
    made.configure_generation_strategy(method="random_search")
    return made


def rss_mb() -> float:
    """The largest resident memory of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


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
    folder: Path, bridge: AxBridge, trials: int, *, slots: int, marks: Sequence[int], enqueue: bool = True
) -> list[Mark]:
    """Run so many trials; where the run stood at each of the marks.

    Parameters
    ----------
    enqueue
        Whether the points come from the queue; else the bridge is asked for them.
    """
    meter, clock = Meter(), VirtualClock()
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
    session = opened(folder, bridge, clock)
    session.record(ObjectiveSet(clock.now(), "none", "nothing: the cluster is simulated"))
    draw = random.Random(7)
    found, left, events = list[Mark](), sorted(marks), 0

    def watch(event: Event, ledger: Ledger) -> None:
        nonlocal events
        events += 1
        ended = len(ledger.trials) - len(ledger.active) - len(ledger.waiting)
        if left and ended >= left[0]:
            found.append(Mark(left.pop(0), meter.read(), events, rss_mb()))

    session.listeners.append(watch)
    loop = Loop(session, runner)
    with shown(session, trials), meter.collector():
        done = 0
        while done < trials:
            part = min(CHUNK, trials - done)
            if enqueue:
                session.enqueue([{name: draw.random() for name in PARAMETERS} for _ in range(part)])
            done += part
            # A call per chunk would drain the slots at its end.
            if not enqueue or done >= trials:
                loop.run(Goal(trials, synchronous=False), Interrupts())
    session.close(orderly=True)
    return found


def per_trial(marks: Sequence[Mark], what: str) -> list[float]:
    """Milliseconds of the processor per trial between each mark and the next one."""
    return [
        1e3 * (b.seconds.get(what, 0.0) - a.seconds.get(what, 0.0)) / (b.trials - a.trials)
        for a, b in zip(marks[::2], marks[1::2], strict=True)
    ]


def to_json(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """For a file."""
    return [asdict(mark) for mark in marks]
