"""The benchmark that runs on the simulated cluster: that it runs, goes on where it was, and compares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_quality_runs_every_way_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import quality

    runs, found = tmp_path / "runs.jsonl", tmp_path / "found.json"
    command = ["--quick", "--problems", "hartmann6,branin-disk", "--runs", str(runs), "--json", str(found)]
    quality.main(command)
    lines = runs.read_text().splitlines()
    assert len(lines) == 1 + 2 * 5 + 1
    document = json.loads(found.read_text())
    assert document["identical"] == {"hartmann6": [1, 1], "branin-disk": [1, 1]}
    rounds, orchestrator = [["ours, rounds", "rounds"], ["ours", "rounds"]], ["ours", "orchestrator"]
    shown = [(row["problem"], row["ways"]) for row in document["rows"] if row["at"] == "4 trials"]
    assert shown == [(problem, ways) for problem in ("hartmann6", "branin-disk") for ways in rounds]
    assert [row["measure"] for row in document["rows"] if row["ways"] == orchestrator] == [
        "regret",
        "trials completed",
    ]
    # In rounds both ways have Sobol's points, so the same results.
    assert all(row["ours"] == row["theirs"] for row in document["rows"] if row["ways"] == rounds[0])
    assert "ours and Ax suggest the same points on 1 of 1 seeds" in capsys.readouterr().out

    # As an interrupted call leaves it: the last run is missing, and nothing else runs again.
    runs.write_text("\n".join(lines[:-1]) + "\n")
    quality.main(command)
    again = runs.read_text().splitlines()
    assert again[:-1] == lines[:-1]
    assert json.loads(again[-1])["trials"] == json.loads(lines[-1])["trials"]


def test_what_a_time_buys_is_told_for_each_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import walltime

    figures, table = tmp_path / "found.json", tmp_path / "table.md"
    numbers = {"seeds": "1", "seconds": "4", "median": "1", "slots": "4"}
    options = {**numbers, "problems": "hartmann6", "json": str(figures), "markdown": str(table)}
    walltime.main([f"--{name}={value}" for name, value in options.items()])
    runs = json.loads(figures.read_text())["runs"]
    assert [each["way"] for each in runs] == list(walltime.WAYS)
    assert sum(each["completed"] for each in runs) > 0
    for each in runs:
        # The later, the better; and nothing beyond the optimum.
        assert each["missing"] == sorted(each["missing"], reverse=True)
        assert each["missing"][-1] > 0
    text = table.read_text()
    assert capsys.readouterr().out == text
    assert [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| hartmann6")] == list(
        walltime.WAYS
    )


def test_a_benchmark_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import suite

    with pytest.raises(SystemExit):
        suite.main(["--only", "cost,cots"])
    assert "there is no cots; there are startup, workers," in capsys.readouterr().err
    assert all((suite.ROOT / "benchmarks" / each.script).is_file() for each in suite.SUITE)
