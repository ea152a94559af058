"""An AxClient limits how many trials run at a time: the driver says why slots stay idle."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from ax.adapter.registry import Generators
from ax.generation_strategy.generation_node import GenerationStep
from ax.generation_strategy.generation_strategy import GenerationStrategy

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.reporting.reading import read_experiment

SLOTS = 8


def ax_client(most: int | None) -> Any:
    """An AxClient that limits the trials of its only step as it does, by itself, those of its model."""
    step = GenerationStep(Generators.SOBOL, num_trials=-1, max_parallelism=most, generator_kwargs={"seed": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ax.service.ax_client import AxClient, ObjectiveProperties

        client = AxClient(generation_strategy=GenerationStrategy(nodes=[step]), verbose_logging=False)
        client.create_experiment(
            name="limited",
            parameters=[{"name": "x", "type": "range", "bounds": [0.0, 1.0]}],
            objectives={"loss": ObjectiveProperties(minimize=True)},
        )
    return client


def run(directory: Path, most: int | None, together: int) -> int:
    """Run eight trials, each of which ends when so many have begun; how many were under way at a time."""
    meeting = str(directory / "begun")
    Path(meeting).mkdir(parents=True)

    def objective(parameters: dict[str, float]) -> dict[str, float]:
        (Path(meeting) / repr(parameters["x"])).touch()
        deadline = time.monotonic() + 60
        while len(list(Path(meeting).iterdir())) < together:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {together} trials are running")
            time.sleep(0.02)
        return {"loss": parameters["x"]}

    config = {"job_output_dir": directory / "out", "poll_interval": 0.05, "synchronous": False}
    with AxScheduler(ax_client(most), LocalRunner(SLOTS), config) as scheduler:
        scheduler.set_objective_function(objective)
        scheduler.run_optimization(max_trials=SLOTS)
    moments: list[tuple[float, int]] = []
    for trial in read_experiment(directory / "out").ledger.trials.values():
        (attempt,) = trial.attempts
        assert attempt.submitted is not None
        assert attempt.ended is not None
        moments += [(attempt.submitted, 1), (attempt.ended, -1)]
    under_way = most_at_once = 0
    for _, change in sorted(moments):
        under_way += change
        most_at_once = max(most_at_once, under_way)
    return most_at_once


def test_idle_slots_are_explained_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="axsched_hpc")
    assert run(tmp_path, 3, together=3) == 3
    (said,) = [r for r in caplog.records if "Slots stay idle" in r.getMessage()]
    assert said.levelno == logging.WARNING
    assert said.getMessage().startswith("0 of 5 points generated. Slots stay idle, since Ax allows no more")
    assert "max_parallelism of its GenerationStep" in said.getMessage()


def test_without_a_limit_all_slots_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(tmp_path, None, together=SLOTS) == SLOTS
    assert "Slots stay idle" not in caplog.text
