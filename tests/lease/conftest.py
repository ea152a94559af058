"""What the tests with whole drivers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lease.driving import Forge, forge


@pytest.fixture(scope="session")
def drivers() -> Iterator[Forge]:
    """One process that has imported Ax, for all of them: tests/conftest.py keeps them together."""
    with forge() as made:
        yield made
