"""Containers as the objective of Slurm jobs."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import AxScheduler, SlurmRunner
from tests.containers.rootfs import import_podman, make_podman_wrapper, make_rootfs
from tests.e2e.kit import client

pytestmark = [pytest.mark.slurm, pytest.mark.container]

# The bowl of the kit, in what busybox has; and what says where it ran.
BOWL = """
awk -v x="$1" -v y="$2" 'BEGIN {d = x - 0.3; e = y - 0.7; printf "loss %.9f\\n", d * d + e * e}' \\
    > "$AXSCHED_METRICS_FILE"
echo "$AXSCHED_TRIAL $SHARE" > /data/"$AXSCHED_TRIAL"
"""


@pytest.mark.parametrize("engine", ["charliecloud", "podman"])
def test_trials_in_containers(engine: str, acct_cluster: Any, tmp_path: Path) -> None:
    rootfs = make_rootfs(tmp_path / "rootfs")
    make_podman_wrapper(tmp_path / "bin")
    name = f"axsched-jobs-{uuid.uuid4().hex[:8]}:1"
    image = str(rootfs) if engine == "charliecloud" else import_podman(rootfs, name)
    (tmp_path / "da ta").mkdir()
    runner = SlurmRunner(
        memory="100M",
        time_limit="00:10:00",
        max_parallel=2,
        config={"environment": {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}},
    )
    config = {"job_output_dir": str(tmp_path / "out"), "poll_interval": 0.2}
    try:
        with AxScheduler(client(), runner, config) as scheduler:
            scheduler.set_container_objective(
                image,
                ["sh", "-c", BOWL, "sh", "{x}", "{y}"],
                {
                    "engine": engine,
                    "volumes": {tmp_path / "da ta": "/data"},
                    "env_vars": {"SHARE": "a 'b' $c"},
                },
            )
            best = scheduler.run_optimization(max_trials=3)
            table = scheduler.experiment.lookup_data().df
    finally:
        if engine == "podman":
            subprocess.run(["podman", "rmi", "--force", image], check=False, capture_output=True)
    assert set(best) == {"x", "y"}
    for trial, loss in zip(table["trial_index"], table["mean"], strict=True):
        arm = scheduler.experiment.trials[trial].arm
        assert loss == pytest.approx(
            (arm.parameters["x"] - 0.3) ** 2 + (arm.parameters["y"] - 0.7) ** 2, rel=1e-4
        )
        made = tmp_path / "da ta" / str(trial)
        assert made.read_text() == f"{trial} a 'b' $c\n"
        assert made.stat().st_uid == os.getuid()
    assert len(table) == 3
