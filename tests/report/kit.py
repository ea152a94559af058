"""Experiments for reports, as events: with failures, retries, curves, constraints, all that there is."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from axsched_hpc.core.best import Problem
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptReported,
    AttemptRequeued,
    AttemptStarted,
    AttemptSucceeded,
    BatchPlanned,
    BatchSubmitted,
    DriverClosed,
    DriverOpened,
    Event,
    Failure,
    LeaseTaken,
    ObjectiveSet,
    StopDecided,
    TrialAdded,
    TrialStopped,
)
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import FailureKind, Verdict
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.reporting.account import Account, account
from axsched_hpc.reporting.reading import Reading
from axsched_hpc.store.writer import JournalWriter

BEGAN = 1_760_000_000.0

PROVENANCE = {
    "script": "/home/ada/train.py",
    "repository": {"commit": "0123abcd", "dirty": True},
    "modules": ["gcc/13"],
}


def problem(objectives: int = 1, *, bound: float | None = None) -> dict[str, Any]:
    """So many metrics to be minimised, and a constraint on ``size``."""
    names = ["loss", "cost", "mass", "heat"][:objectives]
    constraints = [] if bound is None else [{"weights": {"size": 1.0}, "op": "<=", "bound": bound}]
    return {
        "objectives": [{"weights": {name: 1.0}, "minimize": True} for name in names],
        "constraints": constraints,
    }


def opened(of: dict[str, Any], time: float = BEGAN) -> list[Event]:
    """A driver at the beginning of its segment."""
    versions = {"axsched_hpc": "0.1.0", "ax-platform": "1.3.1"}
    return [
        DriverOpened(time, FORMAT, "login1", 77, "0" * 64, of, versions, provenance=PROVENANCE),
        ObjectiveSet(time, "abc", "script train.py", None, PROVENANCE["repository"]),  # type: ignore[arg-type]
    ]


def history(
    trials: int,
    *,
    parameters: int = 4,
    of: dict[str, Any] | None = None,
    curve: int = 0,
    trouble: bool = True,
    slots: int = 16,
    seed: int = 1,
) -> list[Event]:
    """A run of so many trials on some nodes; with ``trouble`` every 17th fails, some are retried or put back.

    Parameters
    ----------
    curve
        Points of each trial's curve; every 9th trial is stopped early where there are any.
    """
    chance = random.Random(seed)
    of = problem() if of is None else of
    events = opened(of)
    required = Problem.from_json(of).required
    free = [BEGAN + 5.0] * slots
    for n in range(trials):
        slot = min(range(slots), key=free.__getitem__)
        now = free[slot]
        values = {f"p{i}": chance.random() for i in range(parameters)}
        if parameters > 1:
            values["p1"] = 10 ** (-5 * values["p1"])
        if parameters > 2:
            values["p2"] = chance.choice(["relu", "tanh", "logistic"])  # type: ignore[assignment]
        if parameters > 3:
            values["p3"] = chance.randint(1, 64)
        events.append(TrialAdded(now, n, f"{n}_0", dict(values), "ax"))
        attempt, node = 1, f"n{slot // 4 + 1}"
        now = _submitted(events, n, attempt, now, node, chance)
        if trouble and n % 17 == 4:
            failure = Failure(FailureKind.NODE_FAILED, f"{node} went down", node=node, hint="It is excluded.")
            events.append(AttemptFailed(now + 20, n, attempt, failure, Verdict.RETRY, now, now + 20))
            attempt, now = 2, _submitted(events, n, 2, now + 21, node, chance)
        if trouble and n % 23 == 7:
            events.append(AttemptRequeued(now + 9, n, attempt, "PREEMPTED"))
            events.append(AttemptStarted(now + 30, n, attempt, node))
            now += 30
        ran = 60 + 40 * chance.random()
        value = abs(float(values.get("p0", 0.5)) - 0.3) + 0.1 + 0.02 * chance.random()
        points = tuple(
            (step, {"loss": (value + math.exp(-step / (1 + curve / 5)), None)})
            for step in range(1, curve + 1)
        )
        if points:
            events.append(AttemptReported(now + ran / 2, n, attempt, points, 10))
        if points and n % 9 == 5:
            events.append(StopDecided(now + ran / 2, n, attempt, "worse than the median"))
            events.append(TrialStopped(now + ran, n, attempt, "worse than the median", now, now + ran))
        elif trouble and n % 17 == 11:
            failure = Failure(FailureKind.EXIT_CODE, "train.py exited with code 3", exit_code=3)
            events.append(AttemptFailed(now + ran, n, attempt, failure, Verdict.FAIL, now, now + ran))
        else:
            metrics = {
                name: (value if i == 0 else (0.5 + chance.random()) / (value + 0.1 * i), 0.01)
                for i, name in enumerate(required)
            }
            events.append(AttemptSucceeded(now + ran, n, attempt, metrics, now, now + ran, node))  # type: ignore[arg-type]
        free[slot] = now + ran + 1
    return [*events[:2], *sorted(events[2:], key=lambda event: event.time)]


def _submitted(
    events: list[Event], n: int, attempt: int, now: float, node: str, chance: random.Random
) -> float:
    token = f"t-{n}-{attempt}"
    events.append(BatchPlanned(now, token, ((n, attempt),)))
    events.append(BatchSubmitted(now + 0.1, token, {0: f"{1000 + n}_{attempt}"}))
    start = now + 1 + 10 * chance.random()
    events.append(AttemptStarted(start, n, attempt, node))
    return start


def told(events: Sequence[Event], root: str = "/home/ada/outputs/bowl", *, alive: bool = False) -> Account:
    """The account of these events."""
    ledger = Ledger()
    ledger.replay(events)
    of = ledger.driver.problem if ledger.driver else {}
    reading = Reading(Layout.at(root), ledger, Problem.from_json(of), None)
    return account(reading, events, now=ledger.last_time + 60, alive=alive)


def written(directory: Path, events: Iterable[Event]) -> Path:
    """The directory of an experiment with this journal."""
    layout = Layout.at(directory)
    atomic.make_directory(layout.journal)
    lease = LeaseTaken(BEGAN, FORMAT, "login1", 77, None, None, "ada", 60.0)
    writer = JournalWriter(layout.journal, 1, lease)
    events = list(events)
    writer.append([*events, DriverClosed(events[-1].time + 1)])
    writer.close()
    return directory


@dataclass
class Element:
    """An element of a page."""

    name: str
    attributes: dict[str, str | None]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> list[Element]:
        """The elements of this name below it."""
        found = []
        for child in self.children:
            found += [child, *child.all(name)] if child.name == name else child.all(name)
        return found

    @property
    def words(self) -> str:
        """All text below it."""
        return self.text + "".join(child.words for child in self.children)


class Page(HTMLParser):
    """A page as a tree; every element has to be closed where it belongs."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert self._open == [self.root], [each.name for each in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, dict(attrs))
        self._open[-1].children.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].text += data
