"""Progress files: what an objective appends, and how it is read while it is written."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import axsched_hpc
from axsched_hpc.core.errors import MetricsError
from axsched_hpc.io import progress
from axsched_hpc.objectives import progress as reporting
from axsched_hpc.objectives.context import PROGRESS_FILE


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The progress file of a trial that runs here."""
    tmp_path.chmod(0o700)
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(PROGRESS_FILE, str(path))
    for name in ("_warned", "_torn"):
        monkeypatch.setattr(reporting, name, set())
    return path


def _steps(chunk: progress.Chunk) -> list[int]:
    return [report.step for report in chunk.reports]


# ---------------------------------------------------------------- writing


def test_what_is_reported_is_read(file: Path) -> None:
    axsched_hpc.report(0, loss=0.5)
    axsched_hpc.report(1, loss=(0.25, 0.01), **{"val/accuracy": 1})
    assert file.read_text() == (
        '{"step": 0, "loss": 0.5}\n{"step": 1, "loss": [0.25, 0.01], "val/accuracy": 1.0}\n'
    )
    assert file.stat().st_mode & 0o777 == 0o600
    chunk = progress.read(file, 0)
    assert [(each.step, each.metrics) for each in chunk.reports] == [
        (0, {"loss": (0.5, None)}),
        (1, {"loss": (0.25, 0.01), "val/accuracy": (1.0, None)}),
    ]
    assert chunk.reports[-1].end == chunk.end == file.stat().st_size


def test_numbers_of_numpy_are_numbers(file: Path) -> None:
    import numpy as np

    axsched_hpc.report(np.int64(3), loss=np.float32(0.5))  # type: ignore[arg-type]
    assert json.loads(file.read_text()) == {"step": 3, "loss": 0.5}


@pytest.mark.parametrize(
    ("step", "metrics", "message"),
    [
        (-1, {"loss": 1}, "the step is -1"),
        (1.5, {"loss": 1}, "the step is 1.5"),
        ("3", {"loss": 1}, "the step is '3'"),
        (True, {"loss": 1}, "the step is True"),
        (2**60, {"loss": 1}, "the step is"),
        (3, {}, r"report\(3, ...\) holds no metric"),
        (3, {"loss": float("nan")}, "metric 'loss' is nan, not a finite number"),
        (3, {"loss": "low"}, "metric 'loss' is a string"),
        (3, {"loss": (1, -1)}, "negative"),
        (3, {"step": 4, "loss": 1}, "no metric can be called 'step'"),
    ],
)
def test_what_is_no_report_is_an_error_at_once(
    file: Path, step: Any, metrics: dict[str, Any], message: str
) -> None:
    with pytest.raises(MetricsError, match=message):
        axsched_hpc.report(step, **metrics)
    assert not file.exists()


def test_outside_of_a_job_it_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    monkeypatch.setattr(reporting, "_warned", set())
    with pytest.warns(RuntimeWarning, match="does nothing here, since no trial runs") as caught:
        for step in range(3):
            axsched_hpc.report(step, loss=1.0)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_report_that_cannot_be_written_does_not_end_the_objective(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS_FILE, str(file.parent / "gone" / "progress.jsonl"))
    with pytest.warns(RuntimeWarning, match="intermediate values are lost"):
        axsched_hpc.report(1, loss=1.0)


def test_after_half_a_line_the_next_report_stands_on_its_own(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that was full for a while."""
    append = progress.append

    def full(path: Path, text: str) -> None:
        append(path, text[:10])
        raise OSError(28, "No space left on device")

    axsched_hpc.report(1, loss=1.0)
    with monkeypatch.context() as disk:
        disk.setattr(progress, "append", full)
        with pytest.warns(RuntimeWarning, match="No space left"):
            axsched_hpc.report(2, loss=1.0)
    axsched_hpc.report(3, loss=1.0)
    chunk = progress.read(file, 0)
    assert _steps(chunk) == [1, 3]
    assert chunk.bad is not None


def test_reporting_is_light() -> None:
    code = (
        "import sys, axsched_hpc; axsched_hpc.report; "
        "print(sorted({'ax', 'torch', 'numpy', 'pandas', 'yaml', 'submitit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---------------------------------------------------------------- reading


def test_it_is_read_on_from_where_it_was_read_to_and_half_a_line_waits(file: Path) -> None:
    progress.append(file, '{"step": 1, "loss": 1}\n{"step": 2, "lo')
    first = progress.read(file, 0)
    assert _steps(first) == [1]
    assert progress.read(file, first.end).reports == ()
    progress.append(file, 'ss": 0.5}\n')
    second = progress.read(file, first.end)
    assert _steps(second) == [2]
    assert progress.read(file, second.end) == progress.Chunk((), second.end)


def test_a_long_file_is_read_in_chunks_and_each_byte_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "CHUNK", 1000)
    file.write_text("".join(f'{{"step": {n}, "loss": 1}}\n' for n in range(500)))
    read, steps, looks = 0, [], 0
    while True:
        chunk = progress.read(file, read)
        steps += _steps(chunk)
        read, looks = chunk.end, looks + 1
        if not chunk.more:
            break
    assert steps == list(range(500))
    assert looks <= file.stat().st_size / 950 + 1


def test_a_file_that_was_written_anew_is_read_from_its_beginning(file: Path) -> None:
    file.write_text('{"step": 1, "loss": 1}\n{"step": 2, "loss": 1}\n')
    end = progress.read(file, 0).end
    file.write_text('{"step": 0, "loss": 1}\n')
    assert _steps(progress.read(file, end)) == [0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("loss 3", "'loss 3' is neither 'step metric value [sem]' nor JSON such as"),
        ("[3, 0.5]", "'[3, 0.5]' is neither"),
        ("3 loss 1 2 3", "is neither"),
        ("3 step 1", "is neither"),
        ("1.5 loss 1", "the step is '1.5'"),
        ("-1 loss 1", "the step is '-1'"),
        ("٣ loss 1", "the step is '٣'"),
        (f"{2**60} loss 1", "the step is"),
        ("3 loss low", "'low' is not a number"),
        ("3 loss 1_0", "'1_0' is not a number"),
        ("3 loss nan", "not a finite number"),
        ("3 loss 1 -1", "negative"),
        ('{"loss": 0.5}', "no object with a step"),
        ('{"step": 1.5, "loss": 0.5}', "the step is 1.5"),
        ('{"step": -1, "loss": 0.5}', "the step is -1"),
        ('{"step": true, "loss": 0.5}', "the step is True"),
        ('{"step": 3}', "holds no metric"),
        ('{"step": 3, "loss": NaN}', "not a finite number"),
        ('{"step": 3, "loss": "0.5"}', "is a string"),
        ('{"step": 3, "loss": 1, "loss": 2}', "the member 'loss' twice"),
        ('{"step": 3, "loss": 0.5', "it is not JSON"),
        ("\ufffd" * 3, "is neither"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_skipped(file: Path, line: str, message: str) -> None:
    file.write_text(f'{{"step": 1, "loss": 1}}\n\n{line}\n{{"step": 4, "loss": 1}}\n')
    chunk = progress.read(file, 0)
    assert _steps(chunk) == [1, 4]
    assert chunk.bad is not None
    said = progress.complaint(file, chunk.bad)
    assert said.startswith(f"{file}, line 3")
    assert message in said


def test_what_is_not_text_and_what_never_ends_is_skipped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b'\xff\xfe\x00\n{"step": 1.0, "loss": 1}\r\n')
    assert _steps(progress.read(file, 0)) == [1]
    assert progress.complaint(file, 0) == f"{file}, line 1: it is not text in UTF-8"
    monkeypatch.setattr(progress, "CHUNK", 100)
    file.write_text("x" * 250 + '\n{"step": 5, "loss": 1}\n')
    first = progress.read(file, 0)
    assert (first.reports, first.end, first.more, first.bad) == ((), 100, True, 0)
    assert "line 1: 'xxx" in progress.complaint(file, 0)
    steps: list[int] = []
    while first.more:
        first = progress.read(file, first.end)
        steps += _steps(first)
    assert steps == [5]


def test_a_link_or_a_pipe_in_its_place_is_no_progress_file(file: Path) -> None:
    import os

    file.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        progress.read(file, 0)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(OSError, match="not a regular file"):
        progress.read(file, 0)


def test_an_execution_begins_on_a_line_of_its_own(file: Path) -> None:
    progress.end_line(file)
    assert not file.exists()
    file.write_text('{"step": 1, "loss": 1}\n')
    progress.end_line(file)
    assert file.read_text() == '{"step": 1, "loss": 1}\n'
    file.write_text('{"step": 1, "loss": 1}\n{"st')
    progress.end_line(file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axsched_hpc.report(2, loss=1)
    assert _steps(progress.read(file, 0)) == [1, 2]


def test_half_a_number_is_no_report(file: Path) -> None:
    whole = "2 loss 12.5 0.25"
    for length in range(len(whole) + 1):
        file.write_text(f"1 loss 3\n{whole[:length]}")
        progress.end_line(file)
        progress.append(file, "3 loss 1\n")
        assert _steps(progress.read(file, 0)) == [1, 3], length


def test_lines_of_words_are_reports(file: Path) -> None:
    file.write_text('# step metric value\n007 loss .5\n8\tval/größe  +1.5E-3 1.\r\n{"step": 9, "loss": 1}\n')
    chunk = progress.read(file, 0)
    assert chunk.bad is None
    assert [(each.step, each.metrics) for each in chunk.reports] == [
        (7, {"loss": (0.5, None)}),
        (8, {"val/größe": (1.5e-3, 1.0)}),
        (9, {"loss": (1.0, None)}),
    ]
