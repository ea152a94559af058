"""What all tests of the plugin need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _directories_are_given_back() -> Iterator[None]:
    yield
    from axsched_hpc.ax_plugin import engine

    for _, root in list(engine._ENGINES):
        engine.release(engine.Layout(root))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the experiment directory of a test is to be."""
    return tmp_path / "run"
