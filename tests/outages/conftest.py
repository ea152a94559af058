"""A private Slurm for the session, put into order after each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.outages.site import Outages, outages
from tests.slurm.fixtures import missing
from tests.slurm.harness import JOB_VARIABLES
from tests.slurm.services import missing_packages
from tests.storage.conftest import messages, points

__all__ = ["messages", "points"]


@pytest.fixture(scope="session")
def _private() -> Iterator[Outages]:
    if os.geteuid() != 0:
        missing("daemons can be stopped in a Slurm of one's own only, and starting one needs root.")
    if missing_packages():
        missing(f"packages for the test Slurm are missing: {' '.join(missing_packages())}")
    with outages() as private:
        yield private


@pytest.fixture
def site(_private: Outages) -> Iterator[Outages]:
    """The private Slurm, with all its daemons up."""
    yield _private
    _private.repair()
    for name in ("acct", "noacct"):
        _private.cluster(name).run("scancel", "--user=root")


@pytest.fixture(params=["acct", "noacct"])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, site: Outages) -> str:
    """The name of the cluster to which Slurm's commands speak now."""
    for variable in os.environ:
        if variable.startswith(JOB_VARIABLES):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("SLURM_CONF", str(site.cluster(request.param).conf))
    return str(request.param)
