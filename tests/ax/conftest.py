"""Fixtures of the tests of the Ax bridge."""

from __future__ import annotations

import pytest

from tests.ax.harness import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def _short(short_searches: None) -> None:
    """For all of them: what Ax alone does, to which the bridge is held, is as short."""
