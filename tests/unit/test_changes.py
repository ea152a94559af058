"""Requests as data: what their files hold, what the fold makes of them, what a repair makes again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from axsched_hpc.core.changes import Change
from axsched_hpc.core.event_records import decode, encode
from axsched_hpc.core.events import (
    AttemptFailed,
    BatchPlanned,
    CallStarted,
    DriverOpened,
    Failure,
    RequestAnswered,
    Setting,
    TrialAdded,
    TrialRetried,
)
from axsched_hpc.core.found import Found
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.salvage import Record, salvage
from axsched_hpc.core.states import FailureKind, RequestKind, TrialState, Verdict
from axsched_hpc.io import document, requests
from axsched_hpc.io.layout import Layout

K = RequestKind


def took(kind: RequestKind, id: str = "1", *, cancel: bool = False, **settings: Setting) -> RequestAnswered:
    return RequestAnswered(2.0, id, kind, "ada@login1", 1.0, True, "done", cancel=cancel, **settings)


def opened(run: str | None, pid: int) -> DriverOpened:
    return DriverOpened(1.0, 4, "host", pid, "digest", run=run)


def test_a_request_is_read_as_it_was_laid_down(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    changes = [
        Change(K.STOP, "ada@login1", 1.5, epoch=3, run="r", cancel=True),
        Change(K.ADD, "ada@login1", 2.5, points=({"x": "0.5", "b": True},), places=("line 2",)),
        Change(K.IMPORT, "ada@login1", 3.5, source="m.csv", text="x,y\né,1\n", skip_bad=True),
    ]
    ids = [requests.lay_down(layout, change) for change in changes]
    assert list(requests.waiting(layout)) == list(zip(sorted(ids), changes, strict=True))
    # A member that a later version adds says nothing to this one.
    path = requests.path_of(layout, ids[0])
    path.write_text(document.encode({"request": "pause", "by": "a", "time": 1, "later": 7}))
    assert requests.read(path) == Change(K.PAUSE, "a", 1.0)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"request": "dance"}, "none of stop, cancel"),
        ({"request": "cancel"}, "has no trial to cancel"),
        ({"request": "retry", "trial": -1}, "has the trial -1"),
        # It would be in the answer, which nobody could read again.
        ({"request": "pause", "trial": -1}, "has the trial -1"),
        ({"request": "pause", "time": -1.0}, "has the time -1.0"),
        ({"request": "pause", "time": 1e12}, "has the time 1000000000000.0"),
        ({"request": "set"}, "has no number of at least 1 to set"),
        ({"request": "set", "trials": 0}, "has no number of at least 1 to set"),
        ({"request": "set", "trials": "7"}, "'trials' that is '7', not a whole number"),
        ({"request": "add", "points": [{}]}, "has no points, or not a name for each"),
        ({"request": "import"}, "does not say what to import"),
    ],
)
def test_what_says_nothing_is_no_request(tmp_path: Path, fields: dict[str, object], problem: str) -> None:
    path = requests.path_of(Layout.at(tmp_path), "1")
    path.parent.mkdir()
    path.write_text(document.encode({"by": "ada@login1", "time": 1.0, **fields}))
    with pytest.raises(ValueError, match=f"{path} is no request that can be taken: it .*{problem}"):
        requests.read(path)


def test_a_setting_ends_when_the_script_says_another_number() -> None:
    ledger = Ledger()

    def call(total: int, max_parallel: int) -> tuple[int, int]:
        ledger.apply(CallStarted(3.0, 1, "run", 0, total=total, max_parallel=max_parallel))
        return ledger.changes.total(total), ledger.changes.slots(max_parallel)

    ledger.apply(took(K.SET, trials=Setting(40, 20), max_parallel=Setting(16, 4)))
    assert call(20, 4) == (40, 16)
    assert call(30, 4) == (30, 16)
    # It is over then, also where the script says the old number again.
    assert call(20, 4) == (20, 16)
    assert call(20, 8) == (20, 8)
    assert call(20, 4) == (20, 4)


def test_a_pause_outlives_a_driver_and_a_stop_only_restarts_of_its_run() -> None:
    for run, pid, stopping in (("r", 2, True), ("other", 2, False), (None, 2, False)):
        ledger = Ledger()
        ledger.replay([opened("r", 1), took(K.PAUSE), took(K.STOP, "2"), opened(run, pid)])
        assert ledger.changes.paused is not None
        assert (ledger.changes.stopping is not None) is stopping
    ledger.apply(took(K.RESUME, "3"))
    assert not ledger.changes.halted


def test_a_retry_whose_record_is_lost_is_made_again() -> None:
    failed = AttemptFailed(3.0, 0, 1, Failure(FailureKind.EXIT_CODE, "exit code 3"), Verdict.FAIL)
    events = [
        opened(None, 1),
        TrialAdded(1.0, 0, "0_0", {"x": 0.5}, "ax"),
        BatchPlanned(2.0, "a", ((0, 1),)),
        failed,
        BatchPlanned(5.0, "b", ((0, 2),)),
    ]
    saved = salvage([Record("00001.jsonl", n, event) for n, event in enumerate(events, 1)], Found())
    assert saved.dropped == ()
    assert [type(event) for event in saved.events][-2:] == [TrialRetried, BatchPlanned]
    assert saved.ledger.trials[0].state is TrialState.PLANNED
    assert saved.ledger.failed_arms.total() == 0


@pytest.mark.parametrize("setting", [{"value": 0, "said": 1}, {"value": 1, "said": -1}, {"value": 1}, 3])
def test_a_setting_that_cannot_be_is_damage(setting: object) -> None:
    record = json.loads(json.dumps(encode(took(K.SET))))
    with pytest.raises(ValueError, match="request_answered"):
        decode({**record, "trials": setting})
