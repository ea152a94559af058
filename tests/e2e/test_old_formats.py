"""Experiment directories of earlier versions open for ever (tests/data/make_experiment.py made them)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.cli import cli
from axsched_hpc.core import lease
from axsched_hpc.core.curve import Reach
from axsched_hpc.core.errors import JournalError
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.store import repair as mending

DATA = Path(__file__).resolve().parents[1] / "data"

KEPT = sorted(path.name for path in DATA.glob("format-*"))

STATES = [
    "failed",
    "completed",
    "abandoned",
    "completed",
    "completed",
    "completed",
    "failed",
    *["completed"] * 2,
]


@pytest.fixture(params=KEPT)
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of such a directory, whose last driver is not watched for long before it counts as dead."""
    monkeypatch.setattr(lease, "WATCHED_SHARE", 0.01)
    return Path(shutil.copytree(DATA / request.param, tmp_path / "run"))


def axsched(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done
    return done.output


def test_there_is_one_of_the_first_format() -> None:
    assert "format-1" in KEPT


def test_status_and_best(old: Path) -> None:
    status = axsched("status", old)
    curves = (old / "trials/00009/attempt-1/progress.jsonl").exists()
    counts = "1 early_stopped, 2 failed" if curves else "3 failed"
    assert status.startswith(f"{old}: 10 trials (6 completed, {counts}, 1 abandoned)\ndriver: process ")
    assert "\nbest: loss = 0.00484797 in trial 7\n" in status
    rows = [line.split() for line in status.partition("\n\n")[2].splitlines()[1:]]
    assert [row[1] for row in rows] == [*STATES, "early_stopped" if curves else "failed"]
    assert [row[2] for row in rows] == ["1", "1", "1", "1", "2", "3", "1", "1", "1", "1"]
    assert axsched("best", old).splitlines() == [
        "trial 7 (arm 7_0)",
        "  x = 0.6696273786947131",
        "  -> loss = 0.00484797 +/- 0.01",
    ]


def test_the_story_is_whole(old: Path) -> None:
    ledger = read_experiment(old).ledger
    fifth = ledger.trials[5]
    assert [attempt.withdrawn for attempt in fifth.attempts] == [True, False, False]
    assert [str(failure.kind) for failure in fifth.failures()] == ["worker_killed"]
    assert [trial.origin for trial in ledger.trials.values()] == ["batch"] * 4 + ["ax"] * 6


def test_curves_are_there_from_format_4_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Path(shutil.copytree(DATA / "format-4", tmp_path / "run"))
    trials = read_experiment(old).ledger.trials
    assert trials[9].reach == Reach(1, 3, {"loss": (9.5, 0.25)})
    with AxScheduler.resume(old, LocalRunner(2), {"failure_rate": 1.0}) as scheduler:
        scheduler.wait()
        frame = scheduler.experiment.data.full_df
    # Its third attempt was the one that came to an end.
    assert trials[5].state is TrialState.COMPLETED
    assert list(frame[frame.trial_index == 5]["step"]) == [1, 4]
    assert list(frame[frame.trial_index == 9]["mean"]) == [1.0, 0.5, 9.5]


def test_a_new_driver_goes_on(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(DATA.parents[1]))
    with AxScheduler.resume(old, LocalRunner(2), {"failure_rate": 1.0}) as scheduler:
        scheduler.run_optimization(max_trials=2)
        assert len(scheduler.experiment.trials) == 12
    assert axsched("status", old).startswith(f"{old}: 12 trials (")
    assert "driver: none; the last one ended in good order" in axsched("status", old)


def test_a_repaired_one_goes_on(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(DATA.parents[1]))
    segment = old / "journal" / "00001.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    for word in (b'"attempt_succeeded"', b'"trial_added"', b'"origin": "ax"'):
        spoilt = next(number for number, line in enumerate(lines) if word in line)
        lines[spoilt] = b"#" * (len(lines[spoilt]) - 1) + b"\n"
    segment.write_bytes(b"".join(lines))
    with pytest.raises(JournalError):
        AxScheduler.resume(old, LocalRunner(2)).run_optimization(max_trials=1)
    assert "journal/00001.jsonl, line" in axsched("repair", old, "--yes")
    assert mending.examine(read_experiment(old).layout).error is None
    with AxScheduler.resume(old, LocalRunner(2), {"failure_rate": 1.0}) as scheduler:
        scheduler.run_optimization(max_trials=1)
        assert len(scheduler.experiment.trials) == 11
        # What was lost of the trials 0 and 4 is how Ax came to them.
        assert scheduler.experiment.trials[0].arms[0].parameters == {"x": 0.125}
        assert scheduler.experiment.trials[4].arms[0].parameters == {"x": 0.963007926940918}
        assert len(scheduler.experiment.to_df()) == 11
    assert "best: loss = 0.00" in axsched("status", old)
