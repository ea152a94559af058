"""Fixtures for all tests, and what tests of containers, of NFS and in a browser need."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

from axsched_hpc.reporting import browser
from tests.nfs.guest import obstacle

# Before anything imports torch: models this small are fitted faster by one thread than by several that fight
# for the cores with the tests beside them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# BoTorch compiles a kernel for several objectives, most of a minute on a new machine, unless there is no
# compiler; then it takes the same in Python. PyTorch looks for the compiler here.
os.environ.setdefault("CXX", "false")

# How long an example takes says something of the machine, and of what else it does.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

# A shell that runs pytest in the background has it ignore Ctrl-C, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.slurm.fixtures"]


def _no_engines() -> str | None:
    absent = [program for program in ("ch-run", "podman", "busybox") if shutil.which(program) is None]
    if not absent:
        return None
    return f"tests of containers need {', '.join(absent)}; on Debian: charliecloud podman busybox-static."


def _no_browser() -> str | None:
    if browser.find() is not None:
        return None
    return f"tests in a browser need one of {', '.join(browser.NAMES)}; on Debian: chromium."


# Marker: the variable that requires what its tests need, and what says why it is not there, if so.
_NEEDS: dict[str, tuple[str, Callable[[], str | None]]] = {
    "container": ("AXSCHED_REQUIRE_CONTAINERS", _no_engines),
    "nfs": ("AXSCHED_REQUIRE_NFS", obstacle),
    "browser": ("AXSCHED_REQUIRE_BROWSER", _no_browser),
}

#: Marker: the variable under which none of its tests may be skipped, for whatever reason.
_REQUIRED = {
    "slurm": "AXSCHED_REQUIRE_SLURM",
    **{marker: variable for marker, (variable, _) in _NEEDS.items()},
}


#: Tests that share something expensive, or would disturb each other: one process runs all of a row.
_TOGETHER: tuple[str | tuple[str, ...], ...] = (
    "tests/ax/test_batch_trials.py",
    "tests/ax/test_encode.py",
    "tests/ax/test_fuzz_snapshots.py",
    "tests/e2e/test_warm.py",
    "tests/examples/test_demo.py",
    ("tests/lease/test_drivers.py", "tests/lease/test_superseded.py"),
    "tests/outages/",
    "tests/report/test_browser.py",
    "tests/report/test_page.py",
    "tests/nfs/",
    "tests/packaging/test_distributions.py",
    "tests/project/test_reconcile.py",
    "tests/containers/test_engines.py",
    "tests/runners/test_killed.py::TestOnSlurm",
    "tests/unit/test_container_kill.py::TestPodman",
    "tests/unit/test_container_worker.py::TestPodman",
)


#: Tests that wait far more than they compute, those that take longest first.
_WAITING = (
    "tests/outages/",
    "tests/nfs/",
    "tests/e2e/test_driver_job.py",
    "tests/e2e/test_slurm_failures.py::test_more_time_and_more_memory",
    "tests/cli/test_submit_slurm.py",
    "tests/e2e/test_checkpoints.py",
    "tests/e2e/test_allocation.py",
    "tests/chaos/test_campaign.py",
    "tests/runners/",
)
#: Tests of which each takes a moment.
_SHORT = ("tests/unit/", "tests/doctor/", "tests/loop/")
#: Of so many processes one begins with the tests that compute, the others with those that wait.
_COMPUTES = 3


class _Together(LoadScopeScheduling):
    """Each test goes to a process that is free, those of one row of the table to the same one.

    Some processes take the tests from their beginning and some from their end: so there is always something
    to compute while others wait, and what is left for the last moments is short.
    """

    def _split_scope(self, nodeid: str) -> str:
        return str(next((row for row in _TOGETHER if nodeid.startswith(row)), nodeid))

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) % _COMPUTES == _COMPUTES - 1:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Together:
    """Tell pytest-xdist how tests are spread; its own marker for this does nothing with pytest 9.2."""
    config.option.loadscopereorder = False
    return _Together(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests: those that wait, those that are short, those that compute."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    for place, row in enumerate(_WAITING):
        if item.nodeid.startswith(row):
            return place
    if item.nodeid.startswith(_SHORT):
        return len(_WAITING) + 1
    return len(_WAITING) + (0 if item.get_closest_marker("slurm") else 2)


@pytest.fixture(scope="module")
def short_searches() -> Iterator[None]:
    """Let the fit of a model and the search for its points end after two steps, by what Ax has for tests.

    The models and their points are Ax's own, and follow from the data as ever; how good they are is not for
    the tests that use this.
    """
    from ax.utils.testing.mock import mock_botorch_optimize_context_manager

    with mock_botorch_optimize_context_manager(force=True):
        yield


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skipped test fail where what it is about is required: such as one that only root can run."""
    report = yield
    if report.skipped:
        for marker, variable in _REQUIRED.items():
            if item.get_closest_marker(marker) is not None and os.environ.get(variable) == "1":
                reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
                report.outcome = "failed"
                report.longrepr = f"{variable}=1, but the test was skipped: {reason}"
    return report
