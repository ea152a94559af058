"""Evaluations from outside, the queue and the baseline: what they mean, without Ax and without files."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest

from axsched_hpc.core.errors import ParameterError
from axsched_hpc.core.evaluations import Row, mixed_sems, of_table, plainly
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import (
    BaselineSet,
    CallEnded,
    CallStarted,
    DriverClosed,
    Event,
    PointsEnqueued,
    TrialAdded,
)
from axsched_hpc.core.found import Found
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import IllegalTransition
from axsched_hpc.core.salvage import Record, salvage
from axsched_hpc.io import table
from tests.unit.journal_kit import opened


def taken(*cells: dict[str, Any]) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
    rows = [Row(f"row {number}", each) for number, each in enumerate(cells)]
    source = of_table("it", rows, ("x", "kind"), ("loss",))
    return [(each.parameters, each.metrics) for each in source.evaluations], source.remarks


def test_columns_are_known_by_their_names() -> None:
    cells = {"trial_index": 4, "arm_name": "4_0", "Unnamed: 0": 7, "x": 0.5, "kind": "a", "loss": 1.0}
    assert taken({**cells, "loss_sem": 0.1, "memory": 3}) == (
        [({"x": 0.5, "kind": "a"}, {"loss": (1.0, 0.1), "memory": 3})],
        (),
    )


def test_what_is_not_there_is_left_out_but_where_it_must_be() -> None:
    given, remarks = taken(
        {"x": 0.5, "kind": None, "loss": nan, "memory": nan, "loss_sem": nan},
        {"x": nan, "kind": "a", "loss": "none", "memory": 1.0, "note": "by hand"},
    )
    assert str(given) == str([({"x": 0.5}, {"loss": nan}), ({"kind": "a"}, {"loss": "none", "memory": 1.0})])
    assert remarks == ("The column 'note' of it is no metric: not all of it is numbers.",)


def test_trials_that_are_not_completed_are_left_out_and_counted() -> None:
    row = {"x": 0.5, "kind": "a", "loss": 1.0}
    given, remarks = taken(
        {**row, "trial_status": "COMPLETED"},
        {**row, "trial_status": "FAILED"},
        {**row, "trial_status": "RUNNING"},
        {**row, "trial_status": "FAILED"},
    )
    assert len(given) == 1
    assert remarks == ("Trials of it that are not completed are left out (2 FAILED, 1 RUNNING).",)


def test_a_parameter_may_have_the_name_of_such_a_column() -> None:
    source = of_table("it", [Row("row 0", {"state": "solid", "loss": 1.0})], ("state",), ("loss",))
    assert source.evaluations[0].parameters == {"state": "solid"}


def test_names_that_another_column_has_are_understood() -> None:
    cells = {
        "state": "completed",
        "parameter.state": "solid",
        "metric.seconds": 2.0,
        "metric.seconds_sem": 0.1,
    }
    rows = [Row("row 0", plainly({**cells, "seconds": 7.5, "a.b": 1.0}))]
    (found,) = of_table("it", rows, ("state",), ("seconds",)).evaluations
    assert (found.parameters, found.metrics) == ({"state": "solid"}, {"seconds": (2.0, 0.1), "a.b": 1.0})


def test_standard_errors_are_there_in_all_or_in_none() -> None:
    wrong = mixed_sems(
        [("line 2", {"a": (1.0, None), "b": (1.0, 0.5)}), ("line 3", {"a": (2.0, 0.0), "c": (1.0, None)})],
        {"b": (False, "trial 7")},
    )
    assert [(number, text.split(";")[0]) for number, text in wrong.items()] == [
        (0, "metric 'b' has a standard error, and trial 7 has none"),
        (1, "metric 'a' has a standard error, and line 2 has none"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_in_files(delimiter: str) -> None:
    text = "\n".join(["|x| kind|loss", '0|1e-3|"two words"|', "", "1|2|b", '2|"3"|c|1']).replace(
        "|", delimiter
    )
    assert table.parse(text, "it") == [
        Row("line 2", {"x": "1e-3", "kind": "two words", "loss": None}),
        Row("line 4", problem="it has 3 cells, and the first line 4"),
        Row("line 5", {"x": "3", "kind": "c", "loss": "1"}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("\n1,2\n", "is empty"), ("x,,y\n", "column 2 has no name"), ("x,y,x\n", "but 'x'")],
)
def test_tables_without_names(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        table.parse(text, "it.csv")


# ---------------------------------------------------------------- the queue and the baseline


def enqueued(first: int, *xs: float, ordinal: int | None = None, front: bool = False) -> PointsEnqueued:
    return PointsEnqueued(1.0, first, tuple({"x": x} for x in xs), ordinal, front)


def added(trial: int, x: float, place: int | None) -> TrialAdded:
    return TrialAdded(2.0, trial, f"{trial}_0", {"x": x}, "enqueued", {"generator_run": {}}, place)


def folded(*events: Event) -> Ledger:
    ledger = Ledger()
    ledger.replay(decode(encode(event)) for event in events)
    return ledger


def test_points_leave_the_queue_when_they_become_trials() -> None:
    ledger = folded(enqueued(0, 0.1, 0.2), enqueued(2, 0.3, front=True), added(0, 0.3, 2), added(1, 0.1, 0))
    assert ledger.queue == {1: {"x": 0.2}}
    assert (ledger.next_place, ledger.own, list(ledger.waiting)) == (3, 2, [0, 1])
    assert list(folded(enqueued(0, 0.1, 0.2), enqueued(2, 0.3, front=True)).queue) == [2, 0, 1]


def test_a_place_is_taken_once() -> None:
    with pytest.raises(IllegalTransition, match="place 1, which is taken"):
        folded(enqueued(0, 0.1, 0.2), enqueued(1, 0.3))


@pytest.mark.parametrize("point", [{"x": [1]}, {"": 1.0}])
def test_a_queue_holds_points(point: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has a parameter"):
        decode(encode(PointsEnqueued(1.0, 0, (point,))))
    with pytest.raises(ValueError, match="has no point"):
        decode(encode(PointsEnqueued(1.0, 0, ())))


def test_what_a_script_enqueued_is_known_until_it_ends_in_good_order() -> None:
    run = [opened(0.0, {}), enqueued(0, 0.1, ordinal=1), enqueued(1, 0.2, ordinal=1), enqueued(2, 0.4)]
    call = [CallStarted(3.0, 1, "run", 0)]
    known = {1: ({"x": 0.1}, {"x": 0.2})}
    assert folded(*run, *call, opened(5.0, {})).enqueued == known
    ended = folded(*run, *call, CallEnded(4.0, 1, "budget"), DriverClosed(4.0), opened(5.0, {}))
    assert ended.enqueued == {}
    assert len(ended.queue) == 3


def test_the_baseline_belongs_to_what_is_optimised() -> None:
    ledger = folded(opened(0.0, {}), BaselineSet(1.0, "baseline", {"x": 0.5}))
    assert ledger.driver is not None
    assert ledger.driver.problem["status_quo"] == "baseline"
    assert ledger.baseline is not None


def test_a_repair_does_not_run_a_point_of_the_queue_twice() -> None:
    events = [opened(0.0, {}), enqueued(0, 0.1, 0.2), added(1, 0.2, 1)]
    records = [Record("00001.jsonl", line, event) for line, event in enumerate(events, 1)]
    saved = salvage(records, Found(trials={0: (1.0, {"x": 0.1}), 1: (1.0, {"x": 0.2})}))
    assert saved.ledger.queue == {}
    assert [trial.origin for trial in saved.ledger.trials.values()] == ["enqueued", "enqueued"]
    # Where what was enqueued is lost, its trials are not.
    saved = salvage([records[0], records[2]], Found(trials={1: (1.0, {"x": 0.2})}))
    assert (list(saved.ledger.trials), saved.ledger.queue, saved.dropped) == ([1], {}, ())
