"""Where CI requires something, a skipped test of it is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.mounts import mounted

TESTS = """\
import pytest

@pytest.mark.skipif(True, reason="only root can")
@pytest.mark.{marker}
def test_one():
    pass

@pytest.mark.{marker}
def test_other():
    pytest.skip("nothing there")

def test_free():
    pytest.skip("nobody minds")
"""


@pytest.mark.parametrize(
    ("marker", "required", "outcome"),
    [
        ("slurm", "1", "1 failed, 1 skipped, 1 error"),
        ("slurm", "0", "3 skipped"),
        ("nfs", "1", "1 failed, 1 skipped, 1 error"),
    ],
)
def test_a_skip_is_a_failure_where_it_is_required(
    marker: str, required: str, outcome: str, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.format(marker=marker))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slurm\n    nfs\n")
    variables = {"AXSCHED_REQUIRE_SLURM": required, "AXSCHED_REQUIRE_NFS": required}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        cwd=tmp_path,
        env={**os.environ, **variables, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout.splitlines()[-1]
    assert ("but the test was skipped: Skipped: only root can" in done.stdout) == (required == "1")


@pytest.mark.parametrize(
    ("required", "outcome"), [("1", pytest.fail.Exception), ("0", pytest.skip.Exception)]
)
def test_so_is_a_disk_that_cannot_be_mounted(
    required: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXSCHED_REQUIRE_NFS", required)
    with pytest.raises(outcome, match=r"mounted here: |only root can mount"), mounted(tmp_path, "-t", "none"):
        pass
