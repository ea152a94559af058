"""Container objectives run for real: charliecloud and podman over a busybox image, through the worker.

What is the same with every engine is in tests/containers/test_engines.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives.spec import container_objective
from tests.containers.rootfs import import_podman, make_podman_wrapper, make_rootfs
from tests.unit.worker_kit import Bench, bench, wait_for

pytestmark = pytest.mark.container

# Reads x from the parameter file and writes it as the metric: sed, so that nothing but busybox is needed.
COPY_X = """sed -n 's/.*"x": \\([0-9.]*\\).*/{"loss": \\1}/p' "$1" > "$2" """


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


def copying(*more: str) -> list[str]:
    return ["sh", "-c", COPY_X + "; ".join(("", *more)), "sh", "{params_file}", "{output_file}"]


def charliecloud(tmp_path: Path, image: Any, command: Any, **options: Any) -> Bench:
    return bench(tmp_path, container_objective(image, command, {"engine": "charliecloud", **options}))


class TestCharliecloud:
    def test_files_environment_and_volumes(self, tmp_path: Path, rootfs: Path) -> None:
        (tmp_path / "in put").mkdir()
        (tmp_path / "in put" / "table").write_text("from the volume\n")
        show = 'printf "%s\\n" "$TRICKY" "$AXSCHED_PARAMETERS_FILE" "$AXSCHED_METRICS_FILE" "$AXSCHED_TRIAL"'
        b = charliecloud(
            tmp_path,
            rootfs,
            copying("cat /data/table", "pwd", show, "touch made-here"),
            volumes={tmp_path / "in put": "/data"},
            env_vars={"TRICKY": "'a $HOME `id` \\ \"b\"'"},
        )
        assert b.run() == (0, "")
        assert b.outcome().metrics == {"loss": (0.5, None)}
        lines = b.files.stdout.read_text().splitlines()
        inside = lines[1].removesuffix("/work")
        assert lines == [
            "from the volume",
            f"{inside}/work",
            "'a $HOME `id` \\ \"b\"'",
            f"{inside}/parameters.json",
            f"{inside}/metrics.json",
            "3",
        ]
        assert (b.files.work / "made-here").exists()
        assert json.loads((b.files.root / "parameters.json").read_text()) == {"x": 0.5, "n": 3}

    def test_told_to_save_it_does(self, tmp_path: Path, rootfs: Path) -> None:
        b = charliecloud(tmp_path, rootfs, SAVING, checkpointable=True)
        place, count = saves_when_told(b).split()
        assert place.endswith("/checkpoint") and place.startswith(("/mnt/", "/axsched/")) and count == "0"

    def test_an_image_with_a_place_for_the_files(self, tmp_path: Path) -> None:
        image = make_rootfs(tmp_path / "rootfs")
        (image / "axsched").mkdir()
        b = charliecloud(tmp_path, image, copying("pwd"))
        assert b.run()[0] == 0
        assert b.files.stdout.read_text() == "/axsched/work\n"

    def test_auto_finds_an_engine_for_a_directory(self, tmp_path: Path, rootfs: Path) -> None:
        b = bench(tmp_path, container_objective(rootfs, copying(), {"workdir": "/tmp"}))
        command = ["env", "-u", "USER", sys.executable, "-m", "axsched_hpc.worker", str(b.manifest), "0"]
        assert subprocess.run(command, env=b.environment(), check=False, timeout=30).returncode == 0
        assert b.outcome().metrics == {"loss": (0.5, None)}

    def test_a_volume_in_the_place_of_the_files(self, tmp_path: Path, rootfs: Path) -> None:
        failure = charliecloud(tmp_path, rootfs, "true", volumes={tmp_path: "/mnt"}).failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert "make an empty directory /axsched in the image" in failure.message


#: Told to save, it does, in the directory that is mounted for it, and ends as asked.
SAVING = [
    "sh",
    "-c",
    "trap 'told=yes' USR1; touch started; until [ \"$told\" ]; do sleep 0.1; done; "
    'echo "$AXSCHED_CHECKPOINT_DIR $AXSCHED_RESTART_COUNT" > "$AXSCHED_CHECKPOINT_DIR/state"; exit 75',
]


def saves_when_told(b: Bench, **environment: str) -> str:
    """Warn the worker once its container runs; what the container saved."""
    worker = b.start(**environment)
    wait_for((b.files.work / "started").exists, "the container runs")
    worker.send_signal(signal.SIGUSR1)
    worker.communicate(timeout=45)
    failure = b.outcome().failure
    assert failure is not None and failure.kind is FailureKind.CHECKPOINTED, failure
    assert failure.progressed and f"saved its state in {b.layout.checkpoint(3)}" in failure.message
    return (b.layout.checkpoint(3) / "state").read_text()


def test_no_engine(tmp_path: Path, rootfs: Path) -> None:
    b = bench(tmp_path, container_objective(rootfs, "true"))
    failure = b.failure(PATH=str(tmp_path))
    assert failure.kind is FailureKind.CANNOT_RUN
    assert "none of apptainer, singularity, ch-run, podman is on PATH" in failure.message
    assert (
        "Other engines do not fit: docker runs names and tar archives, and no such file." in failure.message
    )
    named = bench(tmp_path / "named", container_objective("a:1", "true", {"engine": "apptainer"}))
    assert "the option engine is 'apptainer', and apptainer is not on PATH" in named.failure().message


@pytest.fixture(scope="module")
def image(rootfs: Path) -> Iterator[str]:
    name = import_podman(rootfs, f"axsched-test-{uuid.uuid4().hex[:8]}:1")
    yield name
    subprocess.run(["podman", "rmi", "--force", name], check=False, capture_output=True)


# A container is named after its batch, which is the same in all of these, and podman has one for each name.
class TestPodman:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        make_podman_wrapper(tmp_path / "bin")
        return f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def test_told_to_save_it_does(self, tmp_path: Path, image: str, path: str) -> None:
        options = {"engine": "podman", "checkpointable": True}
        b = bench(tmp_path, container_objective(image, SAVING, options))
        assert saves_when_told(b, PATH=path) == "/axsched/checkpoint 0\n"

    def test_the_container_ends_with_its_worker(self, tmp_path: Path, image: str, path: str) -> None:
        # As process 1 of its container the shell does not react to SIGTERM.
        command = ["sh", "-c", "touch started; sleep 60"]
        b = bench(tmp_path, container_objective(image, command, {"engine": "podman"}))
        worker = b.start(PATH=path)
        deadline = time.monotonic() + 30
        while not (b.files.work / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=45)
        assert worker.returncode == 143
        assert not b.files.result.exists()
        running = subprocess.run(
            ["podman", "ps", "--quiet", "--filter", f"name=axsched-axs-test-1-3-1-{worker.pid}"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert running.stdout == ""
