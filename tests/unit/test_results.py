"""Metrics that are extracted from what a program writes, through the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives.spec import container_objective, script_objective
from tests.containers.rootfs import make_rootfs
from tests.unit.worker_kit import bench, script_bench

SOLVER = """
echo "step 1 energy = 9.0"; echo "step 2 energy = -1.5D+01"
mkdir -p out; printf 'step;error\\n1;0.5\\n2;0.25\\n' > out/history.csv
"""
EXTRACT: dict[str, Any] = {
    "energy": {"regex": r"energy = (\S+)"},
    "error": {"file": "out/history.csv", "csv": "error"},
}


@pytest.mark.parametrize("scratch", [False, True])
def test_from_the_log_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: bool) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    b = script_bench(tmp_path, SOLVER, {"extract": EXTRACT, "scratch": scratch})
    assert b.run() == (0, "")
    assert b.outcome().metrics == {"energy": (-15.0, None), "error": (0.25, None)}
    # The metrics of every trial stand in the same file, whoever wrote them.
    assert b.files.metrics.read_text().split() == ["{", '"energy":', "-15.0,", '"error":', "0.25", "}"]


def test_beside_metrics_that_the_program_writes_itself(tmp_path: Path) -> None:
    own = 'echo "iterations 7" > "$AXSCHED_METRICS_FILE"\n'
    b = script_bench(tmp_path, SOLVER + own, {"extract": EXTRACT})
    assert b.run() == (0, "")
    assert b.outcome().metrics == {"energy": (-15.0, None), "error": (0.25, None), "iterations": (7.0, None)}
    again = script_bench(
        tmp_path, 'echo "energy 7" > "$AXSCHED_METRICS_FILE"\n' + SOLVER, {"extract": EXTRACT}
    )
    failure = bench(tmp_path / "2", script_objective(tmp_path / "train.sh", {"extract": EXTRACT})).failure()
    assert failure.kind is FailureKind.BAD_METRICS
    assert "wrote the metric 'energy' to" in failure.message and again.layout.root.exists()


def test_what_is_not_there_is_told_with_the_files_last_lines(tmp_path: Path) -> None:
    b = script_bench(tmp_path, "echo no convergence", {"extract": EXTRACT})
    failure = b.failure()
    assert failure.kind is FailureKind.BAD_METRICS and failure.exit_code == 0
    assert failure.message.startswith(
        f"{tmp_path / 'train.sh'} exited with code 0, but its metrics cannot be read. Metric 'energy': "
    )
    assert str(b.files.stdout) in failure.message and "no convergence" in failure.message


def test_a_program_that_fails_is_not_asked_for_metrics(tmp_path: Path) -> None:
    failure = script_bench(tmp_path, SOLVER + "exit 3", {"extract": EXTRACT}).failure()
    assert (failure.kind, failure.exit_code) == (FailureKind.EXIT_CODE, 3)


@pytest.mark.container
def test_from_a_container(tmp_path: Path) -> None:
    image = make_rootfs(tmp_path / "image")
    options = {"engine": "charliecloud", "extract": EXTRACT}
    b = bench(tmp_path, container_objective(image, ["sh", "-ec", SOLVER], options))
    assert b.run() == (0, "")
    assert b.outcome().metrics == {"energy": (-15.0, None), "error": (0.25, None)}


def test_a_directory_for_all_trials_is_no_place_for_results(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.touch()
    for extract, allowed in (({"energy": EXTRACT["energy"]}, True), (EXTRACT, False)):
        options = {"extract": extract, "working_directory": tmp_path}
        if allowed:
            assert script_objective(script, options).extract[0].metric == "energy"
            continue
        with pytest.raises(ConfigError, match=r"would overwrite each other's"):
            script_objective(script, options)
