"""The interface that was asked for (AxScheduler.md beside this file) works exactly as it is written there."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.runners.base import BaseRunner

DOCUMENT = Path(__file__).with_name("AxScheduler.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
DEFINITIONS = [block for block in BLOCKS if "def " in block]
USAGE = next(block for block in BLOCKS if "# Create a scheduler" in block)


def _functions() -> list[ast.FunctionDef]:
    found: list[ast.FunctionDef] = []
    for block in DEFINITIONS:
        tree = ast.parse(textwrap.dedent(block))
        found += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return found


@pytest.mark.parametrize("function", _functions(), ids=lambda node: node.name)
def test_names_arguments_and_defaults_are_those_of_the_document(function: ast.FunctionDef) -> None:
    real = inspect.signature(getattr(AxScheduler, function.name))
    names = [argument.arg for argument in function.args.args]
    positional = [p.name for p in real.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == names
    defaults = [ast.literal_eval(node) for node in function.args.defaults]
    for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        assert real.parameters[name].default == default


def test_the_document_was_read_whole() -> None:
    assert [function.name for function in _functions()] == [
        "__init__",
        "set_objective_function",
        "set_script_objective",
        "set_container_objective",
        "run_optimization",
        "batch_trial_context",
        "save_experiment",
        "load_experiment",
    ]


def test_the_options_have_the_defaults_of_the_document() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (.+?) \|", DOCUMENT, flags=re.MULTILINE)
    assert len(rows) == 4
    for name, default in rows:
        assert getattr(SchedulerConfig(), name) == ast.literal_eval(default)


def _ax_client() -> Any:
    from ax.service.ax_client import AxClient
    from ax.service.utils.instantiation import ObjectiveProperties

    client = AxClient(random_seed=7, verbose_logging=False)
    client.create_experiment(
        parameters=[
            {"name": "x", "type": "range", "bounds": [0.0, 1.0]},
            {"name": "y", "type": "range", "bounds": [0.0, 1.0]},
        ],
        objectives={"loss": ObjectiveProperties(minimize=True)},
        choose_generation_strategy_kwargs={"num_initialization_trials": 20},
    )
    return client


def my_objective_function(parameters: dict[str, Any]) -> dict[str, Any]:
    """A bowl with its lowest point at (0.3, 0.7)."""
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}


def _run_the_document(runner: BaseRunner) -> None:
    ax_client = _ax_client()
    space: dict[str, Any] = {
        "AxScheduler": AxScheduler,
        "ax_client": ax_client,
        "runner": runner,
        "my_objective_function": my_objective_function,
    }
    exec(compile(USAGE, "AxScheduler.md", "exec"), space)
    best = space["best_params"]
    scheduler: AxScheduler = space["scheduler"]
    assert scheduler.directory == Path("trial_outputs").absolute()
    frame = ax_client.get_trials_data_frame()
    assert len(frame) == 20
    assert set(frame["trial_status"]) == {"COMPLETED"}
    lowest = frame.sort_values("loss").iloc[0]
    assert best == {"x": lowest["x"], "y": lowest["y"]}
    assert my_objective_function(best)["loss"] == pytest.approx(lowest["loss"])
    assert ax_client.get_best_parameters()[0] == best

    # The usage that the document gives inside batch_trial_context's docstring, verbatim.
    context = next(block for block in DEFINITIONS if "batch_trial_context" in block)
    usage = textwrap.dedent(context[context.index("with scheduler") : context.rindex('"""')])
    usage = "\n".join(
        line.removeprefix("    ") if line.startswith("     ") else line for line in usage.splitlines()
    )
    exec(compile(textwrap.dedent(usage), "AxScheduler.md", "exec"), space)
    scheduler.wait()
    assert len(ax_client.experiment.trials) == 22
    assert ax_client.experiment.trials[21].arm.parameters == {"x": 0.3, "y": 0.4}

    scheduler.save_experiment("saved.json")
    scheduler.load_experiment("saved.json")
    assert len(scheduler.experiment.trials) == 22
    assert scheduler.run_optimization(max_trials=1) == scheduler.result.best_parameters
    assert len(scheduler.experiment.trials) == 23
    scheduler.close()


def test_the_examples_run_verbatim_with_local_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _run_the_document(LocalRunner(max_parallel=4))


@pytest.mark.slurm
def test_the_examples_run_verbatim_on_slurm(
    slurm_cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _run_the_document(SlurmRunner(memory="100M", max_parallel=8))
