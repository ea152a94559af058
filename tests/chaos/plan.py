"""What happens to the processes of a round: drawn by its seed and number, or covering given points."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from axsched_hpc.core.changes import Change
from axsched_hpc.core.states import RequestKind
from axsched_hpc.io.faults import POINTS

WORKER_POINTS = tuple(point for point in POINTS if point.startswith("worker."))

#: Reached by drivers and by workers.
COMMON_POINTS = ("file.written",)

DRIVER_POINTS = tuple(point for point in POINTS if point not in WORKER_POINTS)

#: A driver comes to these at the end of its work only.
LAST_POINTS = ("close.before", "close.after")

#: Points with writing or reading right behind or before them, at which a filesystem can fail.
ERROR_POINTS = ("file.written", "journal.before", "journal.torn", "journal.unsynced", "journal.after")
ERRORS = ("ENOSPC", "EIO", "ESTALE", "EDQUOT", "EROFS")

#: To which arrival a fault may wait; 1 where nothing else is said.
_ARRIVALS = {
    "journal": 15,
    "ask": 4,
    "batch": 4,
    "submit": 4,
    "inbox": 6,
    "poll": 6,
    "tell": 8,
    "snapshot": 2,
    "cleanup": 6,
    "file": 8,
    "request": 3,
}

#: What is asked for, as often as it stands here, and who asks.
_ASKED = ("cancel", "cancel", "cancel and retry", "pause", "trials", "parallel", "add", "add")
_ASKS = "ada@login1"


class Who(StrEnum):
    """Whom a fault hits."""

    DRIVER = "driver"
    WORKER = "worker"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    action
        ``kill``, ``stop``, ``requeue`` (by Slurm), or the name of an error.
    point
        Where; None for a random moment.
    arrival
        At which arrival at the point; without a point, of a worker: from the which-th execution on.
    delay
        Seconds to the random moment, from the driver's start or the beginning of the execution; with a point,
        and action ``stop``, how long it is stopped.
    """

    who: Who
    action: str
    point: str | None = None
    arrival: int = 1
    delay: float = 0.0

    @property
    def label(self) -> str:
        """For the table."""
        return f"{self.who} {self.action} at {self.point or 'a random moment'}"


@dataclass(frozen=True)
class Ask:
    """A request that somebody lays into the inbox.

    Attributes
    ----------
    delay
        Seconds from the driver's start; where it lives shorter, the request is there before the next one.
    change
        What is asked for; its time is that at which it is laid down.
    which
        Of a cancellation: which of the trials that are to be run then. A retry is of the last cancelled one.
    """

    delay: float
    change: Change
    which: int = 0


@dataclass(frozen=True)
class Life:
    """One driver process: what happens while it lives, what it is asked for, and the pause after its end."""

    faults: tuple[Fault, ...] = ()
    pause: float = 0.0
    asks: tuple[Ask, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A round. After its ``lives`` a driver brings the run to its end undisturbed."""

    seed: int
    number: int
    trials: int
    slots: int
    synchronous: bool
    cleanup: bool
    shortest: float
    longest: float
    lives: tuple[Life, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults of all lives."""
        return tuple(fault for life in self.lives for fault in life.faults)


def draw(seed: int, number: int, *, trials: int | None = None, slurm: bool = False) -> Plan:
    """A round of which everything is drawn. ``slurm``: its jobs may be requeued."""
    source = random.Random(f"chaos {seed} {number}")
    lives = [
        Life(
            tuple(_drawn_faults(source, slurm)),
            source.choice((0.0, source.uniform(0, 0.6))),
            tuple(_drawn_asks(source)),
        )
        for _ in range(source.randint(3, 6))
    ]
    return _plan(source, seed, number, trials, lives, cleanup=source.random() < 0.5)


def cover(
    seed: int, number: int, points: Sequence[str], *, trials: int | None = None, slurm: bool = False
) -> Plan:
    """A round in which a driver or a worker is killed at each of these points.

    What a point needs beside is arranged: files are cleaned up, an attempt is there to be closed, somebody
    asks for something.
    """
    source = random.Random(f"chaos {seed} {number}")
    lives: list[Life] = []
    # One life may be too short for a worker to come to its point.
    at_worker = [Fault(Who.WORKER, "kill", point) for point in points if point in WORKER_POINTS]
    last = [Fault(Who.DRIVER, "kill", point) for point in LAST_POINTS if point in points]
    for point in points:
        if point in WORKER_POINTS or point in LAST_POINTS:
            continue
        if point == "claim.closed":
            lives.append(Life((Fault(Who.DRIVER, "kill", "submit.before"),)))
        asked = point.startswith("request.")
        fault = Fault(Who.DRIVER, "kill", point, source.randint(1, 2) if _most(point) > 1 else 1)
        asks = [Ask(0.0, _change(RequestKind.SET, max_parallel=slots)) for slots in (3, 4) if asked]
        # A run that does not come to the point comes to its end.
        lives.append(Life((fault, *at_worker, *last[:1]), source.uniform(0, 0.3), tuple(asks)))
    if at_worker and not lives:
        lives.append(Life((*at_worker, *last[:1])))
    lives += [Life((fault,)) for fault in last]
    cleanup = any(point.startswith("cleanup.") for point in points) or source.random() < 0.5
    return _plan(source, seed, number, trials, lives, cleanup=cleanup)


def _plan(
    source: random.Random,
    seed: int,
    number: int,
    trials: int | None,
    lives: Sequence[Life],
    *,
    cleanup: bool,
) -> Plan:
    shortest = source.uniform(0.05, 0.2)
    return Plan(
        seed,
        number,
        trials=trials or source.randint(8, 12),
        slots=4,
        synchronous=source.random() < 0.4,
        cleanup=cleanup,
        shortest=shortest,
        longest=shortest + 0.2,
        lives=tuple(lives),
    )


def _drawn_faults(source: random.Random, slurm: bool) -> Iterator[Fault]:
    yield _driver_fault(source)
    if source.random() < 0.35:
        point = source.choice(ERROR_POINTS)
        yield Fault(Who.DRIVER, source.choice(ERRORS), point, _arrival(source, point))
    if source.random() < 0.25:
        point = source.choice((*WORKER_POINTS, *COMMON_POINTS))
        arrival = source.randint(1, 3) if point in COMMON_POINTS else 1
        yield Fault(Who.WORKER, "kill", point, arrival)
    elif source.random() < 0.15:
        yield Fault(Who.WORKER, source.choice(ERRORS), "file.written", source.randint(1, 3))
    for _ in range(source.choice((0, 0, 1, 2))):
        yield Fault(Who.WORKER, "kill", arrival=source.randint(1, 6), delay=source.uniform(0, 0.4))
    if slurm and source.random() < 0.1:
        yield Fault(Who.WORKER, "requeue", arrival=source.randint(1, 4), delay=source.uniform(0, 0.3))


def _drawn_asks(source: random.Random) -> Iterator[Ask]:
    """What a driver is asked for: some of it cannot be done, and is to be refused."""
    for _ in range(source.choice((0, 0, 1, 2, 3))):
        first = source.uniform(0, source.choice((0.3, 1.5)))
        later = first + source.uniform(0, 1.0)
        match source.choice(_ASKED):
            case "cancel":
                yield Ask(first, _change(RequestKind.CANCEL, trial=0), source.randint(0, 4))
            case "cancel and retry":
                yield Ask(first, _change(RequestKind.CANCEL, trial=0), source.randint(0, 4))
                yield Ask(later, _change(RequestKind.RETRY, trial=0))
            case "pause":
                yield Ask(first, _change(RequestKind.PAUSE))
                yield Ask(later, _change(RequestKind.RESUME))
            case "trials":
                yield Ask(first, _change(RequestKind.SET, trials=source.randint(5, 14)))
            case "parallel":
                yield Ask(first, _change(RequestKind.SET, max_parallel=source.randint(1, 6)))
            case "add":
                points = [{name: source.random() for name in "xy"} for _ in range(source.randint(1, 2))]
                if source.random() < 0.15:
                    points[-1]["y"] = 7.0  # not in its range
                places = tuple(f"point {n}" for n in range(len(points)))
                yield Ask(first, _change(RequestKind.ADD, points=tuple(points), places=places))


def _change(kind: RequestKind, **fields: Any) -> Change:
    return Change(kind, _ASKS, 0.0, **fields)


def _driver_fault(source: random.Random) -> Fault:
    kind = source.random()
    if kind < 0.45:
        return Fault(Who.DRIVER, "kill", delay=source.uniform(0, source.choice((0.2, 1.0, 2.5))))
    if kind < 0.55:
        return Fault(Who.DRIVER, "stop", delay=source.uniform(0.05, 2.0))
    point = source.choice(DRIVER_POINTS)
    if kind < 0.62:
        return Fault(Who.DRIVER, "stop", point, _arrival(source, point), delay=source.uniform(0.05, 1.0))
    return Fault(Who.DRIVER, "kill", point, _arrival(source, point))


def _arrival(source: random.Random, point: str) -> int:
    # Most runs come to a point a few times only.
    return source.choice((1, source.randint(1, _most(point))))


def _most(point: str) -> int:
    return _ARRIVALS.get(point.partition(".")[0], 1)
