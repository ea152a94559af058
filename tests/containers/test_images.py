"""Images that have to be fetched or converted: real engines, a registry, worker and driver."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.objectives import prepare
from axsched_hpc.objectives.spec import container_objective
from tests.containers.registry import (
    Registry,
    flat_archive,
    podman_takes_http,
    serving,
)
from tests.containers.rootfs import make_podman_wrapper, make_rootfs
from tests.unit.worker_kit import Bench, bench

pytestmark = pytest.mark.container

WRITES = ["sh", "-c", 'cat /version; pwd; echo "loss 1" > "$AXSCHED_METRICS_FILE"']


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")
    (made / "version").write_text("one\n")
    return made


@pytest.fixture
def archive(tmp_path: Path, rootfs: Path) -> Path:
    return flat_archive(rootfs, tmp_path / "solver.tar.gz")


def images(bench: Bench) -> list[str]:
    """What is in the image cache, also hidden files."""
    return sorted(path.name for path in bench.layout.images.iterdir())


def preparations(directory: Path) -> int:
    """How often an image was prepared, or taken into a storage, by the logs in a cache directory."""
    logs = [path.read_text() for path in directory.glob("*.log")]
    return sum(line.startswith("== ") and " prepares " in line for text in logs for line in text.splitlines())


def drive(bench: Bench, objective: Any, *, nearby: bool = False, pause: Any = time.sleep) -> None:
    """What the driver does before the first submission."""
    prepare.in_driver(objective, bench.layout, nearby=nearby, pause=pause)


class TestCharliecloud:
    OPTIONS = {"engine": "charliecloud"}  # noqa: RUF012 - never changed

    def test_an_archive_is_converted_once(self, tmp_path: Path, archive: Path) -> None:
        b = bench(tmp_path, container_objective(archive, WRITES, self.OPTIONS))
        assert b.run() == (0, "")
        assert b.files.stdout.read_text() == "one\n/axsched/work\n"
        assert "charliecloud prepares the container image" in b.files.stderr.read_text()
        key = next(name for name in images(b) if name.endswith(".log")).removesuffix(".log")
        assert images(b) == [f".{key}.lock", key, f"{key}.log"]
        again = bench(tmp_path, container_objective(archive, WRITES, self.OPTIONS))
        again.files.result.unlink()
        for claim in again.files.root.glob("claim*"):
            claim.unlink()
        assert again.run()[0] == 0
        assert preparations(b.layout.images) == 1

    def test_the_driver_does_it(self, tmp_path: Path, archive: Path) -> None:
        objective = container_objective(archive, WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        drive(b, objective)
        assert preparations(b.layout.images) == 1
        assert b.run()[0] == 0
        assert "prepares" not in b.files.stderr.read_text()
        assert preparations(b.layout.images) == 1


@dataclass
class Nodes:
    """Machines whose podman has a storage of its own, and a registry."""

    registry: Registry
    environment: dict[str, str]
    storages: Path

    def node(self, name: str) -> dict[str, str]:
        """The variables of a process on a machine."""
        conf = self.storages / f"{name}.conf"
        if not conf.exists():
            place = self.storages / name
            conf.write_text(
                f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/g"\nrunroot = "{place}/r"\n'
            )
        return {**self.environment, "CONTAINERS_STORAGE_CONF": str(conf)}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    make_podman_wrapper(tmp_path / "bin")
    # Podman's sockets lie there, and their paths may not be long.
    with serving() as registry, tempfile.TemporaryDirectory(prefix="axs-", dir="/tmp") as storages:
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        yield Nodes(
            registry,
            {"PATH": path, **podman_takes_http(registry, tmp_path / "registries.conf")},
            Path(storages),
        )


class TestPodman:
    OPTIONS = {"engine": "podman"}  # noqa: RUF012

    def test_one_pull_for_all_nodes(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = nodes.registry.push(rootfs, "solver", "latest")
        objective = container_objective(name, WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        with monkeypatch.context() as patch:
            for variable, value in nodes.node("login").items():
                patch.setenv(variable, value)
            drive(b, objective)
        assert nodes.registry.pulls() == 2  # a layer and a configuration
        assert b.run(**nodes.node("n1")) == (0, "")
        assert b.files.stdout.read_text() == "one\n/axsched/work\n"
        assert nodes.registry.pulls() == 2
