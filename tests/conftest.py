"""Fixtures for all tests, and what tests of containers and of NFS need."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pytest

from tests.nfs.guest import obstacle

# Before anything imports torch: models this small are fitted faster by one thread than by several that fight
# for the cores with the tests beside them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs pytest in the background has it ignore Ctrl-C, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.slurm.fixtures"]


def _no_engines() -> str | None:
    absent = [program for program in ("ch-run", "podman", "busybox") if shutil.which(program) is None]
    if not absent:
        return None
    return f"tests of containers need {', '.join(absent)}; on Debian: charliecloud podman busybox-static."


# Marker: the variable that requires what its tests need, and what says why it is not there, if so.
_NEEDS: dict[str, tuple[str, Callable[[], str | None]]] = {
    "container": ("AXSCHED_REQUIRE_CONTAINERS", _no_engines),
    "nfs": ("AXSCHED_REQUIRE_NFS", obstacle),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests on a machine without what they need, or fail them where that is required."""
    for marker, (variable, reason_against) in _NEEDS.items():
        if item.get_closest_marker(marker) is None:
            continue
        reason = reason_against()
        if reason is None:
            continue
        if os.environ.get(variable) == "1":
            pytest.fail(f"{variable}=1, but {reason}", pytrace=False)
        pytest.skip(reason)
