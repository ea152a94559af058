"""One small problem through each kind of input, and a stand-in for the loop that keeps a journal."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from math import cos, pi
from typing import Any

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.core.experiment import Experiment

from axsched_hpc.ax_bridge.bridge import AxBridge, Candidate
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import (
    AttemptFailed,
    AttemptSucceeded,
    Event,
    Failure,
    TrialAbandoned,
    TrialAdded,
)
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import FailureKind, Verdict

KINDS = ("AxClient", "ax.Client", "Experiment")
START = 1_700_000_000.0


def branin(x: float, y: float) -> float:
    return (y - 5.1 / (4 * pi**2) * x**2 + 5 / pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * pi)) * cos(x) + 10


def new_ax_client(seed: int | None = 3, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ax.service.ax_client import AxClient, ObjectiveProperties

        client = AxClient(random_seed=seed)
        arguments = {
            "name": "branin",
            "parameters": [
                {"name": "x", "type": "range", "bounds": [-5.0, 10.0]},
                {"name": "y", "type": "range", "bounds": [0.0, 15.0]},
            ],
            "objectives": {"f": ObjectiveProperties(minimize=True)},
        }
        client.create_experiment(**{**arguments, **options})
    return client


def new_client(seed: int | None = 3, parameters: Any = None, objective: str = "-f", **options: Any) -> Client:
    client = Client(random_seed=seed)
    client.configure_experiment(
        parameters
        or [
            RangeParameterConfig(name="x", parameter_type="float", bounds=(-5, 10)),
            RangeParameterConfig(name="y", parameter_type="float", bounds=(0, 15)),
        ],
        parameter_constraints=options.get("parameter_constraints"),
        name="branin",
    )
    client.configure_optimization(objective, outcome_constraints=options.get("outcome_constraints"))
    return client


def new_input(kind: str, seed: int | None = 3) -> Any:
    if kind == "AxClient":
        return new_ax_client(seed)
    client = new_client(seed)
    return client if kind == "ax.Client" else client._experiment


def new_bridge(kind: str, seed: int | None = 3) -> AxBridge:
    source = new_input(kind, seed)
    return AxBridge.from_input(source, seed=seed if isinstance(source, Experiment) else None)


def saved(bridge: AxBridge) -> Any:
    """The experiment as it would be saved: equal for two experiments only if every digit is."""
    return json.loads(bridge.snapshot_text())["experiment"]


class Driver:
    """Asks, runs and tells as the loop does, and keeps what a journal on disk would give back."""

    def __init__(self, bridge: AxBridge) -> None:
        self.bridge = bridge
        self.lines: list[str] = []
        self.now = START

    def record(self, event: Event) -> None:
        self.lines.append(json.dumps(encode(event), allow_nan=False))

    def events(self) -> list[Event]:
        return [decode(json.loads(line)) for line in self.lines]

    def known(self) -> set[int]:
        """The trials that the journal knows."""
        return {event.trial for event in self.events() if isinstance(event, TrialAdded)}

    def record_external(self) -> None:
        for event in self.bridge.external(self.known(), time=self.now):
            self.record(event)

    def tick(self) -> float:
        self.now += 10.0
        return self.now

    def ask(self, n: int = 1) -> tuple[Candidate, ...]:
        asked = self.bridge.ask(n, time=self.tick())
        for candidate in asked.candidates:
            self.record(candidate.event())
        return asked.candidates

    def attach(self, parameters: dict[str, Any], arm_name: str | None = None) -> Candidate:
        candidate = self.bridge.attach(parameters, time=self.tick(), arm_name=arm_name)
        self.record(candidate.event())
        return candidate

    def complete(self, trial: int, metrics: Metrics) -> None:
        event = AttemptSucceeded(self.tick(), trial, 1, metrics)
        self.record(event)
        self.bridge.complete([(trial, metrics, event.time)])

    def fail(self, trial: int, verdict: Verdict, message: str = "exit code 1") -> None:
        event = AttemptFailed(self.tick(), trial, 1, Failure(FailureKind.EXIT_CODE, message), verdict)
        self.record(event)
        if verdict is Verdict.FAIL:
            self.bridge.fail(trial, message, time=event.time)
        elif verdict is Verdict.ABANDON:
            self.bridge.abandon(trial, message, time=event.time)

    def abandon(self, trial: int, reason: str) -> None:
        event = TrialAbandoned(self.tick(), trial, reason)
        self.record(event)
        self.bridge.abandon(trial, reason, time=event.time)

    def run(self, n: int, objective: Callable[..., float] = branin) -> list[dict[str, Any]]:
        points = []
        for _ in range(n):
            (candidate,) = self.ask()
            points.append(candidate.parameters)
            self.complete(candidate.trial, {"f": (objective(**candidate.parameters), None)})
        return points
