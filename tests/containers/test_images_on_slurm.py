"""Jobs of a real Slurm that need one image, on nodes of which none has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, SlurmRunner
from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.containers.registry import flat_archive
from tests.containers.rootfs import make_rootfs
from tests.containers.test_images import preparations
from tests.e2e.kit import client
from tests.slurm.harness import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.container]

TRIALS = 12


def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be on a login node without charliecloud."""
    which = shutil.which

    def elsewhere(name: str, *more: Any, **options: Any) -> str | None:
        return None if name.startswith("ch-") else which(name, *more, **options)

    monkeypatch.setattr(shutil, "which", elsewhere)


def test_the_first_of_many_jobs_prepares_the_image_for_all(
    noacct_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive = flat_archive(make_rootfs(tmp_path / "rootfs"), tmp_path / "solver.tar.gz")
    without_engine(monkeypatch)
    caplog.set_level("INFO", logger="axsched_hpc")
    runner = SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=TRIALS)
    config = {"job_output_dir": tmp_path / "run", "synchronous": False, "monitoring_interval": 2}
    with AxScheduler(client(initial=TRIALS), runner, config) as scheduler:
        damaged = tmp_path / "damaged.tar"
        damaged.write_text("no archive")
        scheduler.set_container_objective(damaged, "true", {"engine": "podman"})
        with pytest.raises(ObjectiveError, match=r"is no tar archive, or is damaged .* Nothing was"):
            scheduler.run_optimization(max_trials=TRIALS)
        assert not (tmp_path / "run/trials").exists() or not list((tmp_path / "run/trials").iterdir())
        command = ["sh", "-c", 'echo "loss 1" > "$AXSCHED_METRICS_FILE"']
        scheduler.set_container_objective(archive, command, {"engine": "charliecloud"})
        scheduler.run_optimization(max_trials=TRIALS)
    assert "is checked and prepared by the first job: ch-convert is not on PATH" in caplog.text
    found = read_experiment(tmp_path / "run")
    trials = found.ledger.trials.values()
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * TRIALS
    assert {len(trial.attempts) for trial in trials} == {1}
    assert preparations(found.layout) == 1
