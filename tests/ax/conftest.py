"""Fixtures of the tests of the Ax bridge."""

from __future__ import annotations

import pytest

from tests.ax.harness import KINDS


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
