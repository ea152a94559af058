"""Experiment directories of earlier versions open for ever (tests/data/make_experiment.py made them)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.cli import cli
from axsched_hpc.core.errors import JournalError
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
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of such a directory."""
    return Path(shutil.copytree(DATA / request.param, tmp_path / "run"))


def axsched(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done
    return done.output


def test_there_is_one_of_the_first_format() -> None:
    assert "format-1" in KEPT


def test_status_and_best(old: Path) -> None:
    status = axsched("status", old)
    assert status.startswith(f"{old}: 10 trials (6 completed, 3 failed, 1 abandoned)\ndriver: process ")
    assert "\nbest: loss = 0.00484797 in trial 7\n" in status
    rows = [line.split() for line in status.partition("\n\n")[2].splitlines()[1:]]
    assert [row[1] for row in rows] == [*STATES, "failed"]
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
