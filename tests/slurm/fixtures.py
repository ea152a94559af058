"""Pytest fixtures that put a test on a real Slurm.

A missing Slurm skips the test, or with AXSCHED_REQUIRE_SLURM=1 fails it.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.slurm.harness import JOB_VARIABLES, Cluster, ClusterMissing, ensure_up


def missing(reason: str, variable: str = "AXSCHED_REQUIRE_SLURM") -> NoReturn:
    """Skip the test, or fail it where Slurm, or what another variable names, is required."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{variable}=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def _slurm_clusters() -> list[Cluster] | str:
    # The reason is kept as a value, so that a Slurm that does not come up is tried once, not in each test.
    try:
        return ensure_up()
    except ClusterMissing as missing:
        return str(missing)


def _select(found: list[Cluster] | str, accounting: bool, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    if isinstance(found, str):
        missing(found)
    wanted = [cluster for cluster in found if cluster.accounting is accounting]
    if not wanted:
        # A site has one cluster of one kind: the tests of the other are skipped there, and CI brings both.
        missing(f"the Slurm found here is {'without' if accounting else 'only with'} accounting.")
    cluster = wanted[0]
    environment = cluster.environment()
    for variable in os.environ:
        if variable.startswith(JOB_VARIABLES) and variable not in environment:
            monkeypatch.delenv(variable)
    if cluster.conf is not None:
        monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    return cluster


@pytest.fixture(params=[True, False], ids=["acct", "noacct"])
def slurm_cluster(
    request: pytest.FixtureRequest, _slurm_clusters: list[Cluster] | str, monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    """Run the test once on a cluster with accounting and once on one without; SLURM_CONF is set to it."""
    return _select(_slurm_clusters, request.param, monkeypatch)


@pytest.fixture
def acct_cluster(_slurm_clusters: list[Cluster] | str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Run the test on a cluster with accounting; SLURM_CONF is set to it."""
    return _select(_slurm_clusters, True, monkeypatch)


@pytest.fixture
def noacct_cluster(_slurm_clusters: list[Cluster] | str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Run the test on a cluster without accounting; SLURM_CONF is set to it."""
    return _select(_slurm_clusters, False, monkeypatch)
