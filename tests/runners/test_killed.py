"""A worker is killed, or its job is: nothing of what it has started goes on, whoever has to end it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import container_objective, script_objective
from axsched_hpc.runners.base import BaseRunner, Batch
from axsched_hpc.runners.local_jobs import LocalJobs
from axsched_hpc.testing.runner_contract import Task, Workshop
from tests.containers.rootfs import forget_podman, import_podman, make_podman_wrapper, make_rootfs
from tests.slurm.harness import Cluster
from tests.unit.worker_kit import MARKER, started_with, wait_for

# Deaf to SIGTERM, with a child that is in another session, and one that has no parent any more.
DEAF = "trap '' TERM INT\nsetsid sleep 300 &\n(setsid sleep 301 &)\n"
SCRIPT = DEAF + "touch ready\nwhile :; do sleep 1; done\n"
IN_CONTAINER = ["sh", "-c", "trap '' TERM INT; (sleep 300 &); touch ready; while :; do sleep 1; done"]


@pytest.fixture
def tag() -> Iterator[str]:
    value = uuid.uuid4().hex
    yield value
    for pid in started_with(value):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def workshop(tmp_path: Path, tag: str) -> Workshop:
    made = Workshop.at(tmp_path)
    script = tmp_path / "deaf.sh"
    script.write_text(SCRIPT)
    made.objective = install(made.layout, script_objective(script, {"environment": {MARKER: tag}}))
    return made


def ready(batch: Batch, index: int = 0) -> AttemptFiles:
    files = AttemptFiles(batch.attempts[index].directory)
    wait_for((files.work / "ready").exists, "the objective runs", 60)
    return files


def worker(files: AttemptFiles) -> int:
    owner = claim.read(files)
    assert owner is not None
    return owner.pid


def nothing_is_left(tag: str, seconds: float = 30) -> None:
    wait_for(lambda: not started_with(tag), f"nothing is left of {started_with(tag)}", seconds)


class TestLocally:
    def test_who_polls_ends_what_a_killed_worker_has_left(self, workshop: Workshop, tag: str) -> None:
        batch = workshop.batch(Task())
        job = LocalJobs().submit(batch)[0]
        os.kill(worker(ready(batch)), signal.SIGKILL)
        assert len(started_with(tag)) >= 3
        another = LocalJobs()  # of a driver that was started again
        wait_for(lambda: another.poll([job])[job].state is JobState.FAILED, "the end is seen")
        nothing_is_left(tag)

    def test_a_worker_of_a_pack(self, workshop: Workshop, tag: str) -> None:
        batch = workshop.batch(Task(), Task())
        # Without SLURM_JOB_ID no guardian helps.
        job = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_CPUS_ON_NODE": "2"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        argv = [sys.executable, "-m", "axsched_hpc.pack", str(batch.manifest), "2", "0"]
        supervisor = subprocess.Popen(argv, env=environment | job)
        try:
            files = [ready(batch, 0), ready(batch, 1)]
            before = len(started_with(tag))
            for each in files:
                os.kill(worker(each), signal.SIGKILL)
            assert before >= 6
            nothing_is_left(tag)
            assert supervisor.wait(timeout=30) == 0
            assert all(each.result.exists() for each in files)
        finally:
            supervisor.kill()
            supervisor.wait()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Images for the container engines that are here."""
    if any(shutil.which(program) is None for program in ("ch-run", "podman", "busybox")):
        yield {}
        return
    rootfs = make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")
    name = import_podman(rootfs, f"axsched-killed-{uuid.uuid4().hex[:8]}:1")
    yield {"charliecloud": str(rootfs), "podman": name}
    forget_podman(name)


@pytest.mark.slurm
class TestOnSlurm:
    """Slurm's own means find a process by its parent here (proctrack/linuxproc), which is the weakest way."""

    @pytest.mark.parametrize("how", ["scancel", "SIGKILL"])
    def test_nothing_is_left_on_the_node(
        self,
        noacct_cluster: Cluster,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        workshop: Workshop,
        images: dict[str, str],
        tag: str,
        how: str,
    ) -> None:
        make_podman_wrapper(tmp_path / "bin") if images else None
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        runner: BaseRunner = SlurmRunner(memory="100M", time_limit=10)
        batches = [workshop.batch(Task())]
        for engine, image in images.items():
            options = {"engine": engine, "env_vars": {MARKER: tag}}
            workshop.objective = install(workshop.layout, container_objective(image, IN_CONTAINER, options))
            batches.append(workshop.batch(Task()))
        jobs = [runner.submit(dataclasses.replace(batch))[0] for batch in batches]
        files = [ready(batch) for batch in batches]
        assert len(started_with(tag)) >= 3 + 3 * len(images)
        if how == "scancel":
            runner.cancel(jobs)
        else:
            for each in files:
                os.kill(worker(each), signal.SIGKILL)
        nothing_is_left(tag)
        wait_for(lambda: all(status.state.final for status in runner.poll(jobs).values()), "all jobs end")
