"""What a notebook shows of a scheduler and of its result."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.reporting.notebook import notebook_html
from tests.e2e.kit import client


class Table(HTMLParser):
    """The rows of the tables, cell by cell; fails where a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def facts(html: str) -> dict[str, str]:
    return {row[0]: row[1] for row in Table(html).rows}


def objective(parameters: dict[str, Any]) -> dict[str, float]:
    if parameters["x"] > 0.5:
        raise ValueError("<b>too & far</b>")
    return {"loss": parameters["x"]}


def test_a_scheduler_and_its_result(tmp_path: Path) -> None:
    options = {"job_output_dir": tmp_path / "run", "poll_interval": 0.1, "failure_rate": 1.0}
    with AxScheduler(client(initial=4), LocalRunner(2), options) as scheduler:
        scheduler.set_objective_function(objective)
        assert facts(scheduler._repr_html_())["trials"] == "none yet: nothing has been run"
        assert not (tmp_path / "run").exists()
        best = scheduler.run_optimization(max_trials=4)
        shown, result = facts(scheduler._repr_html_()), facts(scheduler.result._repr_html_())
        number = scheduler.result.best_trial
    assert shown["directory"] == str(tmp_path / "run")
    assert shown["runner"] == "LocalRunner, 2 slots"
    failed = next(name for name in shown if name.startswith("failure of trial "))
    assert "ValueError: <b>too & far</b>" in shown[failed]
    assert shown["best"] == result["best"] == f"loss = {best['x']:.6g} in trial {number}"
    assert shown["x"] == result["x"] == f"{best['x']:.6g}"
    assert (result["trials"], result["ended by"]) == ("4 trials", "budget")
    assert result["time"].startswith("running ")
    # Closed, it is read from the journal: without the right to drive.
    assert facts(scheduler._repr_html_()) == shown
    segments = sorted((tmp_path / "run/journal").iterdir())
    segments[0].write_text("damaged\n")
    assert "line 1 is damaged" in facts(scheduler._repr_html_())["trials"]
    assert sorted((tmp_path / "run/journal").iterdir()) == segments


@pytest.mark.parametrize("number", [2, 12])
def test_a_front_has_a_table(number: int) -> None:
    front = [
        (f"{each}_0", {"a": (each / 3, None), "b": (1.0, 0.5)}, {"x": 0.1 * each, "<k>": "é"})
        for each in range(number)
    ]
    head, *rows = Table(notebook_html("Result", [], front)).rows
    assert head == ["arm", "a", "b", "x", "<k>"]
    assert rows[1] == ["1_0", "0.333333", "1", "0.1", "é"]
    assert len(rows) == min(number, 10)
