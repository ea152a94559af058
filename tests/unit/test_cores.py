"""The cores that a driver may keep busy."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc.io import cores


@pytest.mark.parametrize(
    ("usable", "environment", "expected"),
    [
        (64, {}, cores.SHARED),  # a login node
        (2, {}, 2),
        (64, {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "8", "SLURM_CPUS_ON_NODE": "16"}, 8),
        (64, {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "16"}, 16),
        (1, {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "16"}, 1),
        (64, {"SLURM_JOB_ID": "1"}, cores.SHARED),
        (64, {"SLURM_CPUS_PER_TASK": "8"}, cores.SHARED),  # left over in an interactive shell
        (0, {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "no number"}, 1),
    ],
)
def test_the_least_that_something_grants(
    monkeypatch: pytest.MonkeyPatch, usable: int, environment: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(cores, "usable_cpus", lambda: frozenset(range(usable)))
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(cores.cgroup, "own", lambda: "")
    assert cores.own(environment) == expected


def test_a_quota_holds_for_all_cgroups_below_it(tmp_path: Path) -> None:
    own = "1:cpu:/old\n0::/user.slice/user-7.slice/session.scope\n"
    inner = tmp_path / "user.slice" / "user-7.slice" / "session.scope"
    inner.mkdir(parents=True)
    assert cores.quota(own, tmp_path) is None
    (inner / "cpu.max").write_text("max 100000\n")
    assert cores.quota(own, tmp_path) is None
    (inner.parent / "cpu.max").write_text("250000 100000\n")
    assert cores.quota(own, tmp_path) == 3
    (inner / "cpu.max").write_text("rubbish\n")
    assert cores.quota(own, tmp_path) == 3
    assert cores.quota("1:cpu:/old\n", tmp_path) is None
