"""A project becomes an experiment in Ax: every kind of parameter, objective, constraint and strategy."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from axsched_hpc.ax_bridge import building, definition
from axsched_hpc.ax_bridge.bridge import AxBridge
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.project import keys
from axsched_hpc.project.model import Project
from axsched_hpc.project.reading import parse

TEXT = """\
parameters:
  x: {type: float, lower: 0, upper: 1}
  rate: {type: float, lower: 1e-4, upper: 0.1, log: true}
  n: {type: int, lower: 1, upper: 9, step: 4}
  solver: {type: choice, values: [cg, gmres, lu]}
  order: {type: choice, values: [1, 2, 4]}
  tolerance: {type: float, lower: 0.1, upper: 0.5, when: {solver: cg}}
  exact: {type: bool}
  mesh: {type: fixed, value: fine}
parameter_constraints: [2*x <= 1.5, n >= 4*x]
objective: {command: [echo]}
budget: {trials: 3}
seed: 4
"""


def project(more: str = "objectives: {loss: minimize}\n") -> Project:
    return parse(TEXT + more, "axsched.yaml")


def fingerprint(made: Project) -> dict[str, object]:
    return definition.fingerprint(building.client_of(made)._experiment)


def test_parameters_are_what_the_file_says() -> None:
    client = building.client_of(project())
    found = definition.fingerprint(client._experiment)["parameters"]
    assert {name: (each["kind"], each["parameter_type"]) for name, each in found.items()} == {
        "x": ("range", "float"),
        "rate": ("range", "float"),
        "n": ("choice", "int"),
        "solver": ("choice", "string"),
        "order": ("choice", "int"),
        "tolerance": ("range", "float"),
        "exact": ("choice", "bool"),
        "mesh": ("fixed", "string"),
    }
    assert found["rate"]["log_scale"] and not found["x"]["log_scale"]
    assert found["n"]["values"] == [1, 5, 9]
    assert (found["solver"]["is_ordered"], found["order"]["is_ordered"]) == (False, True)
    assert found["solver"]["dependents"] == {"cg": ["tolerance"]}
    bridge = AxBridge.from_input(client)
    for each in bridge.ask(4, time=0.0).candidates:
        assert ("tolerance" in each.parameters) == (each.parameters["solver"] == "cg")
        assert each.parameters["n"] >= 4 * each.parameters["x"]
    assert bridge.seed == 4


@pytest.mark.parametrize(
    ("more", "objective", "constraints"),
    [
        ("objectives: {loss: minimize}\n", ["minimize loss"], []),
        ("objectives: {loss: minimize, gain: maximize}\n", ["maximize gain", "minimize loss"], []),
        (
            "objectives: {a: {goal: minimize, weight: 2}, b: {goal: maximize, weight: 0.5}}\n",
            ["maximize -2*a + 0.5*b"],
            [],
        ),
        (
            "objectives: {a: {goal: minimize, threshold: 3}, b: {goal: maximize, threshold: 1}}\n",
            ["maximize b", "minimize a"],
            ["a <= 3", "b >= 1"],
        ),
        (
            "objectives: {a: minimize}\nconstraints: ['3 >= 2*m', m + 2*k >= 5]\n",
            ["minimize a"],
            ["2*k + m >= 5", "m <= 1.5"],
        ),
        (
            "objectives: {a: minimize}\nconstraints: [m >= 0.9 * baseline, baseline >= k]\n"
            "baseline: {x: 0.1, rate: 0.01, n: 5, solver: cg, order: 2, tolerance: 0.2, exact: true}\n",
            ["minimize a"],
            ["k <= 0% relative to the status quo", "m >= -10% relative to the status quo"],
        ),
    ],
)
def test_what_is_wanted_is_what_the_file_says(
    more: str, objective: list[str], constraints: list[str]
) -> None:
    found = fingerprint(project(more))
    assert (found["objective"], found["outcome_constraints"]) == (objective, constraints)


def test_tracked_metrics_are_on_the_experiment() -> None:
    experiment = building.client_of(
        project("objectives: {loss: minimize}\ntracked_metrics: [time]\n")
    )._experiment
    assert [metric.name for metric in experiment.tracking_metrics] == ["time"]


@pytest.mark.parametrize("name", [*keys.EARLY, *keys.GLOBAL])
def test_the_settings_of_strategies_are_ax_s(name: str) -> None:
    ours = {key.name for key in {**keys.EARLY, **keys.GLOBAL}[name].keys} - {"strategy"}
    theirs = set(inspect.signature(building.STRATEGIES[name]).parameters)
    assert {"metric_signatures" if key == "metric" else key for key in ours} == theirs


def test_strategies_have_their_settings() -> None:
    made = building.stopping_of(
        project(
            "objectives: {loss: minimize}\n"
            "early_stopping: {strategy: percentile, metric: loss, percentile_threshold: 25, min_curves: 3}\n"
            "global_stopping: {strategy: improvement, min_trials: 20}\n"
            "parallel: {synchronous: false}\n"
        )
    )
    early, whole = made["early_stopping"], made["global_stopping"]
    assert (early.percentile_threshold, early.min_curves, list(early.metric_signatures)) == (25, 3, ["loss"])
    assert (whole.min_trials, whole.inactive_when_pending_trials) == (20, False)
    assert building.stopping_of(project()) == {"early_stopping": None, "global_stopping": None}


def test_what_only_ax_refuses_is_an_error_in_its_words(tmp_path: Path) -> None:
    wrong = project(
        "objectives: {loss: minimize}\nglobal_stopping: {strategy: improvement, min_trials: 5, "
        "improvement_bar: -1}\n"
    )
    with pytest.raises(
        ConfigError, match="global_stopping: Ax refuses the settings: improvement_bar must be"
    ):
        building.stopping_of(wrong)
