"""What `axsched best` and `axsched export` say of the results, from journals alone."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.best import Constraint, Objective, Problem
from axsched_hpc.core.errors import ConfigError
from tests.cli.conftest import Story

RECORDED = Path(__file__).parents[1] / "data" / "format-4"

LOSS = Objective({"loss": 1.0}, minimize=True)
SPEED = Objective({"speed": 1.0}, minimize=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="axsched")


def told(directory: Path, problem: Problem, *outcomes: tuple[float, float]) -> Path:
    """A run whose trials have these values of loss and speed."""
    trials = range(len(outcomes))
    story = Story().opened(problem.to_json()).added(*trials).submitted(*trials).started(*trials)
    for number, (loss, speed) in enumerate(outcomes):
        story.succeeded(number, loss, speed=speed)
    return story.closed().write(directory)


def test_constraints_that_are_met_and_that_are_not(tmp_path: Path) -> None:
    problem = Problem((LOSS,), (Constraint({"speed": 1.0}, ">=", 20.0),))
    met = told(tmp_path / "met", problem, (1.0, 10.0), (2.0, 30.0), (3.0, 40.0))
    assert run("best", met).output.splitlines() == [
        "trial 1 (arm 1_0)",
        "  rate = 0.25",
        "  kind = 'a'",
        "  -> loss = 2",
        "  -> speed = 30",
        "",
        "Trial 1 satisfies the constraint speed >= 20; 2 of 3 completed trials do.",
    ]
    assert "\nbest: loss = 2 in trial 1 (feasible)\n" in run("status", met).output
    unmet = told(tmp_path / "unmet", problem, (1.0, 10.0), (2.0, 19.5))
    why = (
        "No completed trial satisfies the constraint speed >= 20; the nearest is trial 1, which violates "
        "speed >= 20 by 0.5."
    )
    assert run("best", unmet).output == f"{unmet}: nothing is best. {why}\n"
    assert f"\nbest: none. {why}\n" in run("status", unmet).output
    found = json.loads(run("best", "--json", unmet).output)
    assert (found["feasible"], found["feasibility"], found["best"]) == (False, why, [])
    assert found["constraints"] == ["speed >= 20"]
    for directory in (met, unmet):
        _same_of_both(directory)


def _same_of_both(directory: Path) -> dict[str, Any]:
    """What `status` says of constraints, which is what `best` says."""
    status, best = (json.loads(run(verb, "--json", directory).output) for verb in ("status", "best"))
    keys = ("feasible", "feasibility", "constraints", "objectives")
    assert {key: status[key] for key in keys} == {key: best[key] for key in keys}
    assert status["best"] == [each["trial"] for each in best["best"]]
    return dict(status)


def test_a_baseline_and_what_cannot_be_judged_without_it(tmp_path: Path) -> None:
    relative = Constraint({"speed": 1.0}, ">=", 10.0, relative=True)
    before = told(tmp_path / "before", Problem((LOSS,), (relative,), status_quo="base"), (1.0, 10.0))
    assert (
        "\nbest: loss = 1 in trial 0 (feasible as far as can be told before the baseline is completed)\n"
        "baseline: arm base, not run yet\n"
    ) in run("status", before).output
    status = _same_of_both(before)
    assert (status["feasible"], status["baseline"]) == (None, {"arm": "base", "trial": None})
    problem = Problem((LOSS,), (relative,), status_quo="0_0")
    after = told(tmp_path / "after", problem, (1.0, 10.0), (2.0, 12.0))
    assert (
        "\nbest: loss = 2 in trial 1 (feasible)\n"
        "baseline: arm 0_0, trial 0, completed: loss = 1, speed = 10\n"
    ) in run("status", after).output
    status = _same_of_both(after)
    assert (status["feasible"], status["baseline"]) == (True, {"arm": "0_0", "trial": 0})


def test_a_front_with_its_hypervolume(tmp_path: Path) -> None:
    run_ = told(tmp_path / "run", Problem((LOSS, SPEED)), (1.0, 10.0), (2.0, 30.0), (3.0, 20.0))
    lines = run("best", run_).output.splitlines()
    assert [line for line in lines if line.startswith("trial")] == ["trial 0 (arm 0_0)", "trial 1 (arm 1_0)"]
    assert lines[-3:] == [
        "",
        "hypervolume: 4.2 after 3 completed trials; it last grew with trial 1",
        "  reference point: loss = 2.1, speed = 8 (a tenth beyond the front, since there are no objective "
        "thresholds)",
    ]
    assert "\nbest: a front of 2 trials; see axsched best\n" in run("status", run_).output
    found = json.loads(run("best", run_, "--json").output)
    assert found["objectives"] == [
        {"name": "loss", "goal": "minimize"},
        {"name": "speed", "goal": "maximize"},
    ]
    assert [(each["trial"], each["metrics"]["speed"]) for each in found["best"]] == [
        (0, {"mean": 10.0, "sem": None}),
        (1, {"mean": 30.0, "sem": None}),
    ]
    over_time = found["hypervolume"]["over_time"]
    assert [step["trial"] for step in over_time] == [0, 1, 2]
    assert [step["hypervolume"] for step in over_time] == pytest.approx([2.2, 4.2, 4.2])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", over_time[0]["time"])
    bounds = (Constraint({"loss": 1.0}, "<=", 3.0), Constraint({"speed": 1.0}, ">=", 0.0))
    some = told(tmp_path / "some", Problem((LOSS, SPEED), thresholds=bounds[:1]), (1.0, 10.0), (2.0, 30.0))
    assert (
        "  reference point: loss = 3, speed = 8 (speed: a tenth beyond the front, for lack of a threshold)"
        in (run("best", some).output)
    )
    every = told(tmp_path / "every", Problem((LOSS, SPEED), thresholds=bounds), (1.0, 10.0), (2.0, 30.0))
    assert run("best", every).output.endswith(
        "\nAll 2 trials of the front satisfy all constraints (loss <= 3, speed >= 0); 2 of 2 completed "
        "trials do.\n"
        "\nhypervolume: 40 after 2 completed trials; it last grew with trial 1\n"
        "  reference point: loss = 3, speed = 0 (the objective thresholds)\n"
    )


def rows(output: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(output)))


def test_a_recorded_run_as_csv() -> None:
    # As a process of its own: what is printed is for a pipe. Neither Ax nor pandas is there.
    blocked = "import sys\nfor name in ('ax', 'torch', 'pandas', 'numpy'): sys.modules[name] = None\n"
    command = [sys.executable, "-c", f"{blocked}from axsched_hpc.cli import main\nmain()", "export", RECORDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    trials = rows(done.stdout)
    assert [row["state"] for row in trials[:5]] == [
        "failed",
        "completed",
        "abandoned",
        "completed",
        "completed",
    ]
    assert trials[1] == {
        **{"trial": "1", "arm": "1_0", "state": "completed", "origin": "batch", "x": "0.75"},
        **{"loss": "0.0225", "loss_sem": "0.01", "attempts": "1", "node": "node-1"},
        **{"cancelled": "false", "reason": ""},
        **{"job": trials[1]["job"], "seconds": trials[1]["seconds"]},
        **{name: trials[1][name] for name in ("submitted", "started", "ended")},
    }
    assert trials[1]["submitted"] < trials[1]["started"] < trials[1]["ended"]
    assert 0 < float(trials[1]["seconds"]) < 1
    assert "no value at x = 0.125" in trials[0]["reason"]
    # Stopped early: it has a curve, and no metrics.
    assert (trials[9]["state"], trials[9]["loss"]) == ("early_stopped", "")
    # Its first two attempts were killed: what is told is of the third.
    assert (trials[5]["attempts"], trials[5]["reason"]) == ("3", "")


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_files_of_every_format(tmp_path: Path, form: str) -> None:
    target = tmp_path / f"trials.{form}"
    done = run("export", RECORDED, "-o", target)
    assert (done.exit_code, done.output) == (0, f"Wrote 10 trials to {target}.\n")
    read: Any = target.read_bytes()
    if form == "parquet":
        import pyarrow.parquet as pq

        losses = pq.read_table(target)["loss"].to_pylist()
    elif form == "csv":
        losses = [float(row["loss"]) if row["loss"] else None for row in rows(read.decode())]
    else:
        found = json.loads(read) if form == "json" else [json.loads(line) for line in read.splitlines()]
        losses = [row["loss"] for row in found]
    assert losses[:2] == [None, 0.0225]
    assert len(losses) == 10
    if form != "parquet":
        assert run("export", RECORDED, "--format", form, "-o", "-").output.encode() == read


def test_curves(tmp_path: Path) -> None:
    points = rows(run("export", RECORDED, "--curves").output)
    assert list(points[0]) == ["trial", "step", "metric", "mean", "sem"]
    # The last report of a completed trial is its metric; trial 9 was stopped at its third.
    assert [(row["step"], row["mean"]) for row in points if row["trial"] == "1"] == [
        ("1", "1.0"),
        ("2", "0.0225"),
    ]
    assert [row["sem"] for row in points if row["trial"] == "9"] == ["", "", "0.25"]
    target = tmp_path / "curves.csv"
    assert (
        run("export", RECORDED, "--curves", "-o", target).output == f"Wrote {len(points)} rows to {target}.\n"
    )
    assert rows(target.read_text()) == points


def test_wrong_usage_of_export(tmp_path: Path) -> None:
    done = run("export", RECORDED, "--format", "parquet")
    assert done.exit_code == 2
    assert "name a file with -o" in done.output
    assert isinstance(run("export", tmp_path, "-o", tmp_path / "a.csv").exception, ConfigError)
    error = run("export", RECORDED, "-o", "a.xls").exception
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "The format of a.xls is not known. Let its name end with .csv, .json, .jsonl or .parquet, or name "
        "the format: csv, json, jsonl or parquet."
    )
    assert not list(tmp_path.iterdir())
