"""A small disk, fault points in this process, and the driver's messages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from axsched_hpc.io import faults
from axsched_hpc.loop import patience
from tests.storage.kit import Disk, Points, Warnings
from tests.storage.mounts import mounted


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 2 MB. It lies beside what the objective logs."""
    root = tmp_path / "disk"
    root.mkdir()
    with mounted(root, "-t", "tmpfs", "-o", "size=2m,nr_inodes=600", "tmpfs"):
        yield Disk(root)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Points]:
    """What happens at fault points of this process; its children know nothing of it."""
    made = Points()
    faults.arm(tmp_path)
    monkeypatch.setattr(faults, "_reach", made.reach)
    yield made
    faults.arm(None)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Warnings]:
    """The driver's messages; it tries again soon, so that the tests are over soon."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.05)
    handler = Warnings()
    logger = logging.getLogger("axsched_hpc")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
