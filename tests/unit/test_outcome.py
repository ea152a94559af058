"""Outcomes: result and notice, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.events import Failure
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import outcome
from axsched_hpc.io.layout import Layout, parse_notice_name
from axsched_hpc.io.outcome import Outcome
from tests.unit.worker_kit import unsealed

GOOD = Outcome(
    12, 2, "axs-1", {"loss": (0.5, None), "time": (3.0, 0.1)}, None, "n1", "41_0", 10.0, 20.5, 99.5
)
BAD = replace(
    GOOD,
    metrics=None,
    failure=Failure(FailureKind.CRASHED, "killed\nby ü \udcff", None, 9, "n1", ("a", "b")),
    job=None,
    max_rss_mb=None,
)
FULL = replace(
    BAD,
    failure=Failure(
        FailureKind.CHECKPOINTED,
        "saved",
        exit_code=75,
        asked_mb=1024.0,
        used_mb=99.5,
        elapsed_s=1.5,
        limit_s=60.0,
        hint="wait",
        progressed=True,
    ),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path)
    made.attempt(12, 2).root.mkdir(parents=True)
    return made


@pytest.mark.parametrize("given", [GOOD, BAD, FULL])
def test_round_trip(layout: Layout, given: Outcome) -> None:
    outcome.publish(layout, given)
    assert outcome.read(layout.attempt(12, 2).result) == given
    (notice,) = layout.inbox.iterdir()
    assert parse_notice_name(notice.name) == (12, 2)
    assert outcome.read(notice) == given


def test_either_metrics_or_a_failure() -> None:
    with pytest.raises(ValueError, match="either"):
        outcome.encode(replace(GOOD, metrics=None))
    with pytest.raises(ValueError, match="either"):
        outcome.encode(replace(GOOD, failure=BAD.failure))


def test_no_notice_without_a_result(layout: Layout) -> None:
    layout.attempt(12, 2).root.rmdir()
    with pytest.raises(FileNotFoundError):
        outcome.publish(layout, GOOD)
    assert not layout.inbox.exists()


def test_a_failure_as_earlier_versions_wrote_it(layout: Layout) -> None:
    failure = {
        "kind": "crashed",
        "message": "killed",
        "exit_code": None,
        "signal": 9,
        "node": "n1",
        "stderr_tail": ["a"],
    }
    path = layout.attempt(12, 2).result
    path.write_text(json.dumps(unsealed(outcome.encode(GOOD)) | {"metrics": None, "failure": failure}))
    assert outcome.read(path).failure == Failure(FailureKind.CRASHED, "killed", None, 9, "n1", ("a",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": {}}, "holds no metric at all"),
        ({"metrics": {"loss": ["a", None]}}, "not a number"),
        ({"metrics": None}, "either 'metrics' or 'failure'"),
        ({"metrics": [1]}, "field 'metrics' is [1], not dict or NoneType"),
        ({"trial": "12"}, "field 'trial' is '12', not int"),
        ({"trial": True}, "field 'trial' is True, not int"),
        ({"started": None}, "field 'started' is None"),
        (
            {"failure": {"kind": "bored"}, "metrics": None},
            "'failure' has a field 'kind' that is 'bored', none of",
        ),
        ({"failure": {"kind": "crashed", "stderr_tail": [1]}, "metrics": None}, "'stderr_tail'"),
        ({"failure": {"kind": "crashed", "stderr_tail": []}, "metrics": None}, "lacks the field 'message'"),
        ({"format": 99}, "later version"),
        ({"trial": 13}, "holds the outcome of trial 13, attempt 2"),
        ({"attempt": 1}, "holds the outcome of trial 12, attempt 1"),
        ({"attempt": 0}, "field 'attempt' is 0, not a whole number from 1 on"),
        ({"trial": -1}, "field 'trial' is -1, not a whole number from 0 on"),
        ({"started": float("nan")}, "field 'started' is nan, not a finite number"),
        ({"ended": 10**400}, "field 'ended' is 1000"),
        (
            {
                "failure": {
                    "kind": "crashed",
                    "message": "",
                    "stderr_tail": [],
                    "exit_code": None,
                    "signal": -9,
                    "node": None,
                },
                "metrics": None,
            },
            "the field 'failure' has the signal -9, which is none",
        ),
        (
            {"failure": {"kind": "crashed", "message": "", "used_mb": "all"}, "metrics": None},
            "'failure' has a field 'used_mb' that is 'all', not a number",
        ),
        (
            {"failure": {"kind": "crashed", "message": "", "progressed": 1}, "metrics": None},
            "'failure' has a field 'progressed' that is 1, not true or false",
        ),
        (
            {"failure": {"kind": "crashed", "message": "", "mood": 1}, "metrics": None},
            "'failure' has the unknown field 'mood'",
        ),
    ],
)
def test_a_malformed_outcome_names_its_file(layout: Layout, change: dict[str, Any], words: str) -> None:
    path = layout.attempt(12, 2).result
    path.write_text(json.dumps(unsealed(outcome.encode(GOOD)) | change))
    with pytest.raises(ValueError, match=r"result\.json") as caught:
        outcome.read(path)
    assert words in str(caught.value)


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "stderr.log"
    assert outcome.tail(log) == ()
    log.write_bytes(b"old\n" + b"\xff bad\n\n  \nlast  ")
    assert outcome.tail(log) == ("old", "\ufffd bad", "last")
    assert outcome.tail(log, start=4) == ("\ufffd bad", "last")
    log.write_text("x" * 100_000 + "\n" + "y" * 1000)
    assert outcome.tail(log) == ("y" * outcome.LINE_LENGTH,)
    log.write_text("".join(f"{number}\n" for number in range(100_000)))
    assert outcome.tail(log) == tuple(str(number) for number in range(99_980, 100_000))
