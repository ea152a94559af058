"""Tables of trials and curves for other programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.best import Objective, Problem
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.machine import Attempt, Trial
from axsched_hpc.core.metrics import Metrics
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting import export

PROBLEM = Problem((Objective({"loss": 1.0}, minimize=True),))

ATTEMPT = Attempt(2, "t", 0, 1.0, job="7_1", node="n1", submitted=10.0, started=12.5, ended=14.0)


def trial(number: int = 0, metrics: Metrics | None = None, **parameters: Any) -> Trial:
    state = TrialState.COMPLETED if metrics else TrialState.FAILED
    return Trial(
        number, f"{number}_0", parameters, "ax", 0.0, state, (ATTEMPT,), None, metrics, 15.0, "no\nlicence"
    )


def columns(*trials: Trial, problem: Problem = PROBLEM) -> list[str]:
    names = list(export.trial_table(trials, problem).columns)
    assert names[:4] == ["trial", "arm", "state", "origin"]
    end = names.index("attempts")
    assert names[end:] == [
        "attempts",
        "job",
        "node",
        "submitted",
        "started",
        "ended",
        "seconds",
        "cancelled",
        "reason",
    ]
    return names[4:end]


def rendered(form: str, *trials: Trial) -> bytes:
    return export.RENDERERS[form](export.trial_table(trials, PROBLEM))


def test_columns_of_parameters_and_metrics() -> None:
    assert columns() == ["loss", "loss_sem"]
    there = columns(trial(0, {"size": (1.0, None), "loss": (2.0, 0.5)}, x=1.0), trial(1, None, x=2.0, y="a"))
    assert there == ["x", "y", "loss", "loss_sem", "size", "size_sem"]


@pytest.mark.parametrize(
    ("parameters", "metrics", "expected"),
    [
        (("trial", "x"), ("loss",), ["parameter.trial", "x", "loss", "loss_sem"]),
        (("loss",), ("loss",), ["loss", "metric.loss", "metric.loss_sem"]),
        (("loss_sem",), ("loss",), ["loss_sem", "metric.loss", "metric.loss_sem"]),
        (("x",), ("loss", "seconds"), ["x", "loss", "loss_sem", "metric.seconds", "metric.seconds_sem"]),
        ((), ("loss", "loss_sem"), ["loss", "loss_sem", "metric.loss_sem", "metric.loss_sem_sem"]),
        ((), ("loss_sem", "loss"), ["loss", "loss_sem", "metric.loss_sem", "metric.loss_sem_sem"]),
        (
            ("trial", "parameter.trial"),
            ("loss",),
            ["parameter.trial", "parameter.parameter.trial", "loss", "loss_sem"],
        ),
    ],
)
def test_what_would_be_called_the_same(
    parameters: tuple[str, ...], metrics: tuple[str, ...], expected: list[str]
) -> None:
    values: Metrics = {name: (1.0, None) for name in metrics}
    assert columns(trial(0, values, **dict.fromkeys(parameters, 1.0))) == expected


def test_csv() -> None:
    text = rendered(
        "csv", trial(0, {"loss": (0.1, None)}, x=1e-300, on=True), trial(1, None, x=2, name='a,"b')
    )
    first, second = csv.DictReader(io.StringIO(text.decode()))
    assert first == {
        "trial": "0",
        "arm": "0_0",
        "state": "completed",
        "origin": "ax",
        "x": "1e-300",
        "on": "true",
        "name": "",
        "loss": "0.1",
        "loss_sem": "",
        "attempts": "1",
        "job": "7_1",
        "node": "n1",
        "submitted": "1970-01-01T00:00:10.000Z",
        "started": "1970-01-01T00:00:12.500Z",
        "ended": "1970-01-01T00:00:14.000Z",
        "seconds": "1.5",
        # A completed trial has the reason of its first attempt's failure, which is none of its own.
        "reason": "",
        "cancelled": "false",
    }
    assert (second["name"], second["loss"], second["reason"]) == ('a,"b', "", "no licence")


def test_json() -> None:
    trials = [trial(0, {"loss": (0.5, 0.25)}, x=1, on=False), trial(1, None, x=2)]
    rows = json.loads(rendered("json", *trials))
    assert [(row["trial"], row["x"], row["on"], row["loss"], row["loss_sem"]) for row in rows] == [
        (0, 1, False, 0.5, 0.25),
        (1, 2, None, None, None),
    ]
    assert rows[0]["ended"] == "1970-01-01T00:00:14.000Z"
    lines = rendered("jsonl", *trials).decode().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert (json.loads(rendered("json")), rendered("jsonl")) == ([], b"")


def test_parquet_has_types() -> None:
    import pyarrow.parquet as pq

    trials = [
        trial(0, {"loss": (0.5, 0.25)}, n=1, x=1, on=True, name="ä", mixed=1, huge=2**70),
        trial(1, None, n=2, x=0.5, on=False, name="b", mixed="two"),
    ]
    table = pq.read_table(io.BytesIO(rendered("parquet", *trials)))
    assert {field.name: str(field.type) for field in table.schema} == {
        **{"trial": "int64", "arm": "string", "state": "string", "origin": "string"},
        **{"n": "int64", "x": "double", "on": "bool", "name": "string", "mixed": "string", "huge": "string"},
        **{"loss": "double", "loss_sem": "double", "attempts": "int64", "job": "string", "node": "string"},
        **dict.fromkeys(["submitted", "started", "ended"], "timestamp[ms, tz=UTC]"),
        **{"seconds": "double", "reason": "string", "cancelled": "bool"},
    }
    first, second = table.to_pylist()
    assert (first["n"], first["x"], first["on"], first["name"]) == (1, 1.0, True, "ä")
    assert (first["mixed"], first["huge"], first["loss"], first["reason"]) == ("1", str(2**70), 0.5, None)
    assert first["started"].astimezone(UTC) == datetime.fromtimestamp(12.5, UTC)
    assert (second["mixed"], second["huge"], second["loss"]) == ("two", None, None)


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'axsched-hpc\[parquet\]'"):
        export.write(tmp_path / "a.parquet", export.trial_table([], PROBLEM))
    assert not list(tmp_path.iterdir())


def test_curves() -> None:
    table = export.curve_table({3: {1: {"loss": (1.0, None)}, 2: {"loss": (0.5, 0.1), "n": (7.0, None)}}})
    assert export.RENDERERS["csv"](table).decode().splitlines() == [
        "trial,step,metric,mean,sem",
        "3,1,loss,1.0,",
        "3,2,loss,0.5,0.1",
        "3,2,n,7.0,",
    ]


def test_files(tmp_path: Path) -> None:
    table = export.trial_table([trial(0, None, x=1)], PROBLEM)
    target = tmp_path / "a.CSV"
    target.write_text("old")
    (tmp_path / "link.csv").symlink_to(target)
    export.write(tmp_path / "link.csv", table)
    assert target.read_bytes() == export.RENDERERS["csv"](table)
    assert (tmp_path / "link.csv").is_symlink()
    with pytest.raises(ConfigError, match=r"ends? with \.csv, \.json, \.jsonl or \.parquet"):
        export.write(tmp_path / "a.xls", table)
    with pytest.raises(ConfigError, match=r"missing/a\.csv cannot be written \(No such file or directory\)"):
        export.write(tmp_path / "missing" / "a.csv", table)
    with pytest.raises(ConfigError, match=r"/dev/null is no file that could be replaced"):
        export.write("/dev/null", table, "csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.CSV", "link.csv"]
