"""Fixtures for all tests, and what tests of containers need."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

# Before anything imports torch: models this small are fitted faster by one thread than by several that fight
# for the cores with the tests beside them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs pytest in the background has it ignore Ctrl-C, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.slurm.fixtures"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of containers, or fail them where containers are required, on a machine without engines."""
    if item.get_closest_marker("container") is None:
        return
    absent = [program for program in ("ch-run", "podman", "busybox") if shutil.which(program) is None]
    if not absent:
        return
    reason = f"tests of containers need {', '.join(absent)}; on Debian: charliecloud podman busybox-static."
    if os.environ.get("AXSCHED_REQUIRE_CONTAINERS") == "1":
        pytest.fail(f"AXSCHED_REQUIRE_CONTAINERS=1, but {reason}", pytrace=False)
    pytest.skip(reason)
