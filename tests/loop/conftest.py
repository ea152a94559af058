"""A session and a loop over the simulated cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.events import ObjectiveSet
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.loop import Loop
from axsched_hpc.loop.session import Session
from tests.loop.simulated import Fate, FateOf, SimulatedRunner, VirtualClock

Made = Callable[..., tuple[Session, Loop, SimulatedRunner, VirtualClock]]


def client(seed: int = 1) -> Any:
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    made = Client(random_seed=seed)
    made.configure_experiment(
        parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 1.0))]
    )
    made.configure_optimization(objective="-loss")
    made.configure_generation_strategy(method="random_search")
    return made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    sessions: list[Session] = []

    def make(
        fate: FateOf, *, slots: int = 4, clock: VirtualClock | None = None, **options: Any
    ) -> tuple[Session, Loop, SimulatedRunner, VirtualClock]:
        clock = clock or VirtualClock()
        config = SchedulerConfig.from_dict({"poll_interval": 1, "monitoring_interval": 10, **options})
        bridge = AxBridge.from_input(client(), early_stopping=config.early_stopping)
        session = Session.open(Layout.at(tmp_path / "run"), bridge, config, clock)
        sessions.append(session)
        session.record(ObjectiveSet(clock.now(), "none", "simulated"))
        runner = SimulatedRunner(clock, fate, slots)
        return session, Loop(session, runner), runner, clock

    yield make
    for session in sessions:
        session.close(orderly=False)


def always(**fields: Any) -> FateOf:
    return lambda trial, attempt, parameters: Fate(**fields)
