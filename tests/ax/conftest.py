"""Fixtures of the tests of the Ax bridge."""

from __future__ import annotations

import pytest
import torch

from tests.ax.harness import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small are fitted faster by one thread than by several that share a busy machine."""
    torch.set_num_threads(1)
