"""What Ax's model says in a report: clear words before it has a model, then what truly matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ax import ChoiceParameterConfig, Client, RangeParameterConfig

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.ax_bridge.sight import Sight, sight
from axsched_hpc.core.standing import standing
from axsched_hpc.reporting.html.model import figures, model_figures
from axsched_hpc.reporting.html.page import report_html
from axsched_hpc.reporting.reading import read_history
from tests.report.kit import Page, told


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve evaluations of a function in which ``x`` matters, ``mode`` a little, and ``y`` not at all."""
    root = tmp_path_factory.mktemp("model") / "outputs"
    client = Client(random_seed=1)
    client.configure_experiment(
        name="bowl",
        parameters=[
            RangeParameterConfig(name="x", parameter_type="float", bounds=(-1, 1)),
            RangeParameterConfig(name="y", parameter_type="int", bounds=(1, 50)),
            ChoiceParameterConfig(
                name="mode", parameter_type="str", values=["a", "b", "c"], is_ordered=False
            ),
        ],
    )
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(initialization_budget=3, initialize_with_center=False)
    points: list[dict[str, Any]] = [
        {"x": -1 + i / 6, "y": 1 + 7 * i % 50, "mode": "abc"[i % 3]} for i in range(12)
    ]
    rows = [{**p, "loss": (p["x"] - 0.2) ** 2 + 0.1 * (p["mode"] == "b")} for p in points]
    scheduler = AxScheduler(client, LocalRunner(max_parallel=1), {"job_output_dir": str(root)})
    try:
        scheduler.attach(rows)
    finally:
        scheduler.close()
    return root


def test_importances_slices_and_predictions(directory: Path) -> None:
    reading, events = read_history(directory)
    (best,) = standing(reading.ledger.trials.values(), reading.problem).best
    said = sight(directory / "definition.json", events, (best.number, best.parameters))
    assert said.reason == ""
    importances = said.importances["loss"]
    assert next(iter(importances)) == "x"
    assert importances["x"] > 0.5 > importances["y"]
    points = said.slices["loss"]["x"]
    assert [value for value, _, _ in points] == sorted(value for value, _, _ in points)
    assert abs(min(points, key=lambda point: point[1])[0] - 0.2) < 0.2
    assert {value for value, _, _ in said.slices["loss"]["mode"]} == {"a", "b", "c"}
    assert all(type(value) is int for value, _, _ in said.slices["loss"]["y"])
    assert len(said.folds["loss"]) == 12
    page = Page(report_html(told(events), figures(said)))
    assert "What matters for loss" in page.root.words
    assert {row.all("th")[0].words for row in page.root.all("tr") if row.all("th")} >= {"x", "y", "mode"}


def test_before_there_is_a_model_that_is_said(directory: Path) -> None:
    _, events = read_history(directory)
    before = [event for event in events if event.kind != "trial_added"]
    said = sight(directory / "definition.json", before, None)
    assert said.reason == "Ax has no data yet, so that there is no model."
    assert "no model" in figures(Sight(reason=said.reason))[0]
    few = [event for event in events if getattr(event, "trial", 0) < 2]
    assert "Ax has no model yet: its strategy is at" in sight(directory / "definition.json", few, None).reason
    few = [event for event in events if getattr(event, "trial", 0) < 2]
    assert "Ax has no model yet: its strategy is at" in sight(directory / "definition.json", few, None).reason


def test_a_directory_that_ax_drove_says_so(directory: Path, tmp_path: Path) -> None:
    _, events = read_history(directory)
    found = told(events, root=str(tmp_path))
    (tmp_path / "definition.json").write_text('{"_type": "DrivenByAx"}')
    (words,) = model_figures(found, events)
    assert "Ax itself has driven it" in words
