"""An allocation around a test, as salloc or a batch script gives one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.slurm.harness import Cluster


@contextmanager
def allocated(cluster: Cluster, nodes: int, monkeypatch: pytest.MonkeyPatch, *options: str) -> Iterator[str]:
    """Take whole nodes for a while. On one node the test passes for a process that runs there."""
    arguments = [f"--nodes={nodes}", "--ntasks-per-node=8", "--mem=1600", "--time=5", *options]
    made = cluster.run("salloc", "--no-shell", *arguments)
    assert made.returncode == 0, made.stderr
    job = made.stderr.split("Granted job allocation ")[1].split()[0]
    monkeypatch.setenv("SLURM_JOB_ID", job)
    if nodes == 1:
        monkeypatch.setenv("SLURMD_NODENAME", "n1")
    try:
        yield job
    finally:
        cluster.run("scancel", job)
