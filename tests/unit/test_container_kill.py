"""However a container's trial or its worker ends, no process of the container survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives.spec import container_objective
from tests.containers.rootfs import forget_podman, import_podman, make_podman_wrapper, make_rootfs
from tests.unit.worker_kit import MARKER, Bench, bench, started_with, wait_for

pytestmark = pytest.mark.container

# Deaf to SIGTERM, with children in sessions of their own.
COMMAND = ["sh", "-c", "trap '' TERM INT; (sleep 300 &) ; sleep 301 & touch started; while :; do wait; done"]


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture(scope="module")
def image(rootfs: Path) -> Iterator[str]:
    name = import_podman(rootfs, f"axsched-kill-{uuid.uuid4().hex[:8]}:1")
    yield name
    forget_podman(name)


@pytest.fixture
def tag() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    for pid in started_with(value):
        os.kill(pid, signal.SIGKILL)


def container(tmp_path: Path, image: Any, engine: str, tag: str, **options: Any) -> Bench:
    variables = {"env_vars": {MARKER: tag}}
    spec = container_objective(image, COMMAND, {"engine": engine, **variables, **options})
    return bench(tmp_path, spec)


def begin(b: Bench, tag: str, grace: float, **environment: str) -> subprocess.Popen[str]:
    """A worker with a shorter time between SIGTERM and SIGKILL, whose container runs."""
    code = (
        "import sys; from axsched_hpc import worker; from axsched_hpc.objectives import process;"
        f"process.GRACE = {grace}; sys.exit(worker.main(sys.argv[1:]))"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, str(b.manifest), "0"],
        env=b.environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for((b.files.work / "started").exists, "the container runs")
    assert len(started_with(tag)) >= 3
    return worker


def ends(b: Bench, tag: str, how: str, **environment: str) -> int:
    """End a running container's worker in some way, and see that nothing is left; the worker's pid."""
    worker = begin(b, tag, 0.5, **environment)
    if how != "timeout":
        worker.send_signal(getattr(signal, how))
    worker.communicate(timeout=45)
    if how == "timeout":
        assert worker.returncode == 1
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.OBJECTIVE_TIMEOUT
    else:
        assert worker.returncode == (-signal.SIGKILL if how == "SIGKILL" else 128 + getattr(signal, how))
        assert not b.files.result.exists()
    if how == "SIGKILL":
        wait_for(lambda: not started_with(tag), "nothing is left of the container")
    else:
        assert started_with(tag) == []
    return worker.pid


class TestCharliecloud:
    @pytest.mark.parametrize("how", ["timeout", "SIGTERM", "SIGKILL"])
    def test_nothing_survives(self, tmp_path: Path, rootfs: Path, tag: str, how: str) -> None:
        b = container(tmp_path, rootfs, "charliecloud", tag, **({"timeout": 1} if how == "timeout" else {}))
        # ch-run's processes are the worker's: without a cgroup around the job its guardian ends them.
        ends(b, tag, how, **({"SLURM_JOB_ID": "4711"} if how == "SIGKILL" else {}))


class TestPodman:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        make_podman_wrapper(tmp_path / "bin")
        return f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    @pytest.mark.parametrize("how", ["timeout", "SIGTERM", "SIGKILL"])
    def test_nothing_survives(self, tmp_path: Path, image: str, path: str, tag: str, how: str) -> None:
        b = container(tmp_path, image, "podman", tag, **({"timeout": 3} if how == "timeout" else {}))
        name = f"axsched-axs-test-1-3-1-{ends(b, tag, how, PATH=path)}"
        known = ["podman", "ps", "--all", "--quiet", "--filter", f"name={name}"]

        def removed() -> bool:
            return not subprocess.run(known, check=True, capture_output=True, text=True).stdout

        wait_for(removed, "podman knows the container no more", seconds=60)
