"""Images that have to be fetched or converted: real engines, a registry, worker and driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import atomic, manifest
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.objectives.containers import prepare
from axsched_hpc.objectives.containers.prepare import Stopped
from axsched_hpc.objectives.kinds import ContainerObjective
from axsched_hpc.objectives.spec import container_objective
from tests.containers.pulling import make_apptainer, make_docker, make_docker_without_daemon
from tests.containers.registry import (
    Registry,
    flat_archive,
    make_certificate,
    podman_takes_http,
    serving,
)
from tests.containers.rootfs import make_podman_wrapper, make_rootfs
from tests.unit.worker_kit import REPOSITORY, Bench, bench, wait_for

pytestmark = pytest.mark.container

WRITES = ["sh", "-c", 'cat /version; pwd; echo "loss 1" > "$AXSCHED_METRICS_FILE"']
WROTE = "one\n/axsched/work\n"

#: A driver that prepares an image: what AxScheduler does before the first submission.
DRIVE = """
import sys, time
from pathlib import Path
from axsched_hpc.io.layout import Layout
from axsched_hpc.objectives.containers import prepare
from axsched_hpc.objectives.spec import container_objective

image, engine, root = sys.argv[1:]
objective = container_objective(image, "true", {"engine": engine})
prepare.in_driver(objective, Layout(Path(root)), nearby=False, pause=time.sleep)
"""


def drive(objective: ContainerObjective, layout: Layout, *, nearby: bool = False) -> None:
    """What the driver does, in this process."""
    prepare.in_driver(objective, layout, nearby=nearby, pause=time.sleep)


def driver(image: object, engine: str, layout: Layout, path: str = os.environ["PATH"]) -> Any:
    """The same as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVE, str(image), engine, str(layout.root)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def content(layout: Layout) -> list[str]:
    """What is in the image cache, without the lock: nothing half-made is left."""
    return sorted(path.name for path in layout.images.iterdir() if not path.name.endswith(".lock"))


def preparations(layout: Layout) -> int:
    """How often an image was prepared, by the logs in the image cache."""
    logs = [path.read_text() for path in layout.images.glob("*.log")]
    return sum(line.startswith("== ") and " prepares " in line for text in logs for line in text.splitlines())


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")
    (made / "version").write_text("one\n")
    return made


@pytest.fixture
def archive(tmp_path: Path, rootfs: Path) -> Path:
    return flat_archive(rootfs, tmp_path / "solver.tar.gz")


@dataclass(frozen=True)
class Job(Bench):
    """A job of another trial."""

    trial: int

    @classmethod
    def beside(cls, bench: Bench, trial: int) -> Job:
        """Make one of the same experiment."""
        atomic.make_directory(bench.layout.attempt(trial, 1).root)
        atomic.write_json(bench.layout.parameters(trial), {"x": 0.5})
        objective = manifest.read(bench.manifest).objective
        batch = Manifest(f"axs-test-{trial}", bench.layout.root, objective, ((trial, 1),))
        return cls(bench.layout, manifest.write(bench.layout, batch), trial)

    @property
    def files(self) -> AttemptFiles:
        return self.layout.attempt(self.trial, 1)


@dataclass(frozen=True)
class Tool:
    """A program on PATH that becomes the real one, notes its calls, and can be held at its end."""

    directory: Path
    name: str

    @classmethod
    def make(cls, directory: Path, name: str) -> Tool:
        directory.mkdir()
        tool = cls(directory, name)
        (directory / name).write_text(
            f"""#!/bin/sh
echo "$*" >> '{directory}/calls'
'{shutil.which(name)}' "$@" || exit
: > '{directory}/reached'
while [ -e '{directory}/hold' ]; do sleep 0.1; done
if [ -e '{directory}/fail' ]; then echo 'error: no space'; exit 3; fi
"""
        )
        (directory / name).chmod(0o755)
        return tool

    @property
    def path(self) -> str:
        return f"{self.directory}{os.pathsep}{os.environ['PATH']}"

    def calls(self) -> int:
        return len((self.directory / "calls").read_text().splitlines())

    def hold(self) -> None:
        (self.directory / "hold").touch()

    def wait_until_held(self) -> None:
        wait_for((self.directory / "reached").exists, f"{self.name} has done its work")

    def let_go(self) -> None:
        (self.directory / "hold").unlink()

    def running(self) -> list[str]:
        """Command lines of processes of it."""
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in lines.splitlines() if str(self.directory) in line]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool.make(tmp_path / "tools", "ch-convert")


class TestCharliecloud:
    OPTIONS = {"engine": "charliecloud"}  # noqa: RUF012 - nobody changes it

    @pytest.fixture
    def objective(self, archive: Path) -> ContainerObjective:
        return container_objective(archive, WRITES, self.OPTIONS)

    def test_the_first_job_converts_an_archive_and_the_next_finds_it(
        self, tmp_path: Path, objective: ContainerObjective
    ) -> None:
        b = bench(tmp_path, objective)
        assert b.run() == (0, "")
        assert b.files.stdout.read_text() == WROTE
        assert "charliecloud prepares the container image" in b.files.stderr.read_text()
        product, log = content(b.layout)
        assert log == f"{product}.log" and product.startswith("solver-")
        second = Job.beside(b, 4)
        assert second.run() == (0, "")
        assert (second.files.stdout.read_text(), second.files.stderr.read_text()) == (WROTE, "")
        assert preparations(b.layout) == 1

    def test_the_driver_does_it_before_the_jobs(
        self, tmp_path: Path, archive: Path, objective: ContainerObjective
    ) -> None:
        b = bench(tmp_path, objective)
        drive(objective, b.layout)
        archive.chmod(0o400)  # what is made lasts: it is not asked for its content again
        assert b.run() == (0, "")
        assert b.files.stdout.read_text() == WROTE and b.files.stderr.read_text() == ""
        assert preparations(b.layout) == 1

    def test_a_changed_archive_is_another_image(
        self, tmp_path: Path, archive: Path, objective: ContainerObjective
    ) -> None:
        b = bench(tmp_path, objective)
        drive(objective, b.layout)
        drive(objective, b.layout)
        assert preparations(b.layout) == 1
        os.utime(archive, (1, 1))
        drive(objective, b.layout)
        assert preparations(b.layout) == 2 and len(content(b.layout)) == 4

    def test_a_directory_of_the_user_s_choice(self, tmp_path: Path, archive: Path) -> None:
        options = {**self.OPTIONS, "image_cache": tmp_path / "cache"}
        b = bench(tmp_path, container_objective(archive, WRITES, options))
        assert b.run() == (0, "")
        assert not b.layout.images.exists() and (tmp_path / "cache").is_dir()

    def test_a_place_that_cannot_be_used(self, tmp_path: Path, archive: Path) -> None:
        objective = container_objective(archive, WRITES, {**self.OPTIONS, "image_cache": archive / "cache"})
        b = bench(tmp_path, objective)
        with pytest.raises(ObjectiveError, match=r"'image_cache'\] is .* cannot be written .* of your own"):
            drive(objective, b.layout)
        assert "cannot be written" in b.failure().message
        (tmp_path / "elsewhere").mkdir()
        b = bench(tmp_path / "linked", container_objective(archive, WRITES, self.OPTIONS))
        b.layout.images.symlink_to(tmp_path / "elsewhere")
        assert "links inside an experiment directory are not followed" in b.failure().message

    def test_what_cannot_be_converted_is_refused_before_anything_is_submitted(
        self, tmp_path: Path, rootfs: Path
    ) -> None:
        layout = Layout(tmp_path / "run")
        layers = tmp_path / "layers"
        layers.mkdir()
        (layers / "manifest.json").write_text("[]")
        saved = flat_archive(layers, tmp_path / "saved.tar")
        with pytest.raises(ObjectiveError, match=r"saved.tar cannot be run with charliecloud: it holds"):
            drive(container_objective(saved, "true", self.OPTIONS), layout)
        damaged = tmp_path / "damaged.tar.gz"
        damaged.write_bytes(b"\x1f\x8bno")
        with pytest.raises(ObjectiveError, match=r"damaged.tar.gz is no tar archive, or is damaged"):
            drive(container_objective(damaged, "true", self.OPTIONS), layout)
        assert content(layout) == [] or all(name.startswith(".") for name in content(layout))

    def test_a_name_is_pulled_once(
        self, tmp_path: Path, rootfs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        certificate = make_certificate(tmp_path / "registry.pem")
        monkeypatch.setenv("CH_IMAGE_STORAGE", str(tmp_path / "storage"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_suffix(".crt")))
        # ch-image takes the first python3, and needs one with Debian's packages.
        monkeypatch.setenv("PATH", f"/usr/bin:{os.environ['PATH']}")
        with serving(certificate) as registry:
            name = registry.push(rootfs, "solver", "1")
            objective = container_objective(f"docker://{name}", WRITES, self.OPTIONS)
            b = bench(tmp_path, objective)
            drive(objective, b.layout)
            assert registry.pulls() == 2  # a layer and a configuration
            with pytest.raises(ObjectiveError, match=r"could not prepare .*nosuch:1 on .* Nothing was"):
                nosuch = f"{registry.address}/nosuch:1"
                drive(container_objective(nosuch, "true", self.OPTIONS), b.layout)
        assert b.run() == (0, "")
        assert b.files.stdout.read_text() == WROTE
        # Another experiment takes it from ch-image's storage: the registry is gone.
        drive(objective, Layout(tmp_path / "another"))
        assert content(Layout(tmp_path / "another"))

    def test_drivers_and_jobs_at_once_prepare_it_once(
        self, tmp_path: Path, archive: Path, objective: ContainerObjective, tool: Tool
    ) -> None:
        b = bench(tmp_path, objective)
        tool.hold()
        first = driver(archive, "charliecloud", b.layout, tool.path)
        tool.wait_until_held()
        worker = b.start(PATH=tool.path)
        second = driver(archive, "charliecloud", b.layout, tool.path)
        wait_for(lambda: "waiting for it" in text(b.files.stderr), "the job waits")
        tool.let_go()
        assert [process.wait(30) for process in (first, worker, second)] == [0, 0, 0]
        assert b.files.stdout.read_text() == WROTE
        assert tool.calls() == preparations(b.layout) == 1

    @pytest.mark.parametrize("who", ["driver", "job"])
    def test_after_a_preparer_that_was_killed_the_next_one_goes_on(
        self, tmp_path: Path, archive: Path, objective: ContainerObjective, tool: Tool, who: str
    ) -> None:
        b = bench(tmp_path, objective)
        tool.hold()
        if who == "driver":
            killed = driver(archive, "charliecloud", b.layout, tool.path)
        else:
            killed = Job.beside(b, 4).start(PATH=tool.path)
        tool.wait_until_held()
        half_made = [name for name in content(b.layout) if name.endswith(".tmp")]
        assert len(half_made) == 1
        killed.kill()
        killed.communicate()
        wait_for(lambda: not tool.running(), "what it had started is gone")
        tool.let_go()
        assert b.run() == (0, "")
        assert b.files.stdout.read_text() == WROTE
        product, log = content(b.layout)
        assert log == f"{product}.log"
        assert preparations(b.layout) == 2

    @pytest.mark.parametrize("doing", ["prepares", "waits"])
    def test_a_job_that_is_told_to_end(
        self, tmp_path: Path, archive: Path, objective: ContainerObjective, tool: Tool, doing: str
    ) -> None:
        b = bench(tmp_path, objective)
        tool.hold()
        holder = driver(archive, "charliecloud", b.layout, tool.path) if doing == "waits" else None
        if holder:
            tool.wait_until_held()
        worker = b.start(PATH=tool.path)
        if holder:
            wait_for(lambda: "waiting for it" in text(b.files.stderr), "the job waits")
        else:
            tool.wait_until_held()
        worker.terminate()
        assert worker.wait(10) == 143
        worker.communicate()
        assert not b.files.result.exists()
        if holder:
            tool.let_go()
            assert holder.wait(30) == 0
        else:
            assert not tool.running() and len(content(b.layout)) == 1  # the log

    def test_who_waits_for_one_that_fails_does_not_try_it_again(
        self, tmp_path: Path, archive: Path, objective: ContainerObjective, tool: Tool
    ) -> None:
        b = bench(tmp_path, objective)
        tool.hold()
        first = driver(archive, "charliecloud", b.layout, tool.path)
        tool.wait_until_held()
        worker = b.start(PATH=tool.path)
        wait_for(lambda: "waiting for it" in text(b.files.stderr), "the job waits")
        (tool.directory / "fail").touch()
        tool.let_go()
        assert first.wait(30) == 1 and "could not prepare" in first.communicate()[1]
        assert worker.wait(30) == 1
        failure = b.outcome().failure
        assert failure is not None and failure.kind is FailureKind.CANNOT_RUN
        assert "could not prepare" in failure.message
        assert tool.calls() == 1

    def test_a_driver_that_is_told_to_end(
        self, tmp_path: Path, objective: ContainerObjective, tool: Tool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        layout = Layout(tmp_path / "run")
        monkeypatch.setenv("PATH", tool.path)
        tool.hold()

        def pause(seconds: float) -> None:
            time.sleep(seconds)
            if (tool.directory / "reached").exists():
                raise Stopped("SIGTERM came")

        with pytest.raises(Stopped):
            prepare.in_driver(objective, layout, nearby=False, pause=pause)
        assert not tool.running() and len(content(layout)) == 1


@dataclass(frozen=True)
class Nodes:
    """Machines whose podman has a storage of its own, and a registry."""

    registry: Registry
    environment: dict[str, str]
    storages: Path

    def node(self, name: str) -> dict[str, str]:
        """The variables of a process on a machine."""
        conf = self.storages / f"{name}.conf"
        place = self.storages / name
        conf.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/g"\nrunroot = "{place}/r"\n')
        return {**self.environment, "CONTAINERS_STORAGE_CONF": str(conf)}

    def podman(self, name: str, *words: str | Path) -> str:
        """Call podman on a machine."""
        environment = {**os.environ, **self.node(name)}
        done = subprocess.run(["podman", *words], env=environment, capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    make_podman_wrapper(tmp_path / "bin")
    # Podman's sockets lie there, and their paths may not be long.
    with serving() as registry, tempfile.TemporaryDirectory(prefix="axs-", dir="/tmp") as storages:
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, **podman_takes_http(registry, tmp_path / "registries.conf")}
        yield Nodes(registry, environment, Path(storages))
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if (place := line.split()[1]).startswith(f"{storages}/"):
                subprocess.run(["umount", "--lazy", place], check=True)


class TestPodman:
    OPTIONS = {"engine": "podman"}  # noqa: RUF012

    @pytest.fixture
    def login(self, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> str:
        """This process is on the login node."""
        for variable, value in nodes.node("login").items():
            monkeypatch.setenv(variable, value)
        return "login"

    def test_one_pull_for_all_nodes_of_one_image(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, login: str
    ) -> None:
        name = nodes.registry.push(rootfs, "solver", "latest")
        objective = container_objective(name, WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        drive(objective, b.layout)
        assert nodes.registry.pulls() == 2  # a layer and a configuration
        asked = len(nodes.registry.requests)
        assert b.run(**nodes.node("n1")) == (0, "")
        # The tag moves while the experiment runs.
        other = tmp_path / "other"
        shutil.copytree(rootfs, other, symlinks=True)
        (other / "version").write_text("two\n")
        nodes.registry.push(other, "solver", "latest")
        again, far = Job.beside(b, 4), Job.beside(b, 5)
        assert again.run(**nodes.node("n1")) == (0, "")
        assert far.run(**nodes.node("n2")) == (0, "")
        drive(objective, b.layout)
        assert len(nodes.registry.requests) == asked
        for job, fetches in ((b, 1), (again, 0), (far, 1)):
            assert job.files.stdout.read_text() == WROTE
            assert job.files.stderr.read_text().count("== ready after") == fetches

    def test_without_an_engine_in_the_driver_the_first_job_pulls(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes
    ) -> None:
        name = nodes.registry.push(rootfs, "solver", "1")
        b = bench(tmp_path, container_objective(f"docker://{name}", WRITES, self.OPTIONS))
        assert b.run(**nodes.node("n1")) == (0, "")
        assert "podman prepares the container image" in b.files.stderr.read_text()
        other = Job.beside(b, 4)
        assert other.run(**nodes.node("n2")) == (0, "")
        assert "podman load -i" in other.files.stderr.read_text()
        assert nodes.registry.pulls() == 2

    def test_an_image_that_was_built_where_the_driver_runs(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, login: str
    ) -> None:
        nodes.podman("login", "import", "--quiet", flat_archive(rootfs, tmp_path / "a.tar"), "mine:1")
        objective = container_objective("mine:1", WRITES, self.OPTIONS)
        (tmp_path / "a:b").mkdir()
        b = bench(tmp_path / "a:b", objective)
        drive(objective, b.layout)
        assert b.run(**nodes.node("n1")) == (0, "")
        assert b.files.stdout.read_text() == WROTE and nodes.registry.requests == []

    def test_a_pull_that_fails_is_said_before_anything_is_submitted(
        self, tmp_path: Path, nodes: Nodes, login: str
    ) -> None:
        layout = Layout(tmp_path / "run")
        objective = container_objective(f"{nodes.registry.address}/nosuch:1", "true", self.OPTIONS)
        with pytest.raises(ObjectiveError, match=r"podman could not prepare .*manifest unknown. Check"):
            drive(objective, layout)
        assert [name.rpartition(".")[2] for name in content(layout)] == ["failed", "log"]

    @pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "flat"])
    def test_an_archive_is_taken_into_each_node_s_storage(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, login: str, form: str
    ) -> None:
        archive = flat_archive(rootfs, tmp_path / "flat.tar")
        if form != "flat":
            nodes.podman("build", "import", "--quiet", archive, "mine:1")
            archive = tmp_path / "saved.tar"
            nodes.podman("build", "save", "--quiet", "--format", form, "-o", archive, "mine:1")
        # Podman itself takes no such path.
        archive = archive.rename(tmp_path / "a b:1.tar")
        objective = container_objective(archive, WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        drive(objective, b.layout)
        jobs = [b, Job.beside(b, 4)]
        assert [job.run(**nodes.node("n1")) for job in jobs] == [(0, ""), (0, "")]
        assert [job.files.stdout.read_text() for job in jobs] == [WROTE, WROTE]
        assert [job.files.stderr.read_text().count("== ready after") for job in jobs] == [1, 0]

    def test_jobs_at_once_on_a_node_take_it_in_once(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, login: str
    ) -> None:
        objective = container_objective(flat_archive(rootfs, tmp_path / "a.tar"), WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        jobs = [b, *(Job.beside(b, trial) for trial in (4, 5, 6))]
        workers = [job.start(**nodes.node("n1")) for job in jobs]
        assert [worker.wait(60) for worker in workers] == [0, 0, 0, 0]
        assert [worker.communicate()[1] for worker in workers] == ["", "", "", ""]
        assert sum(job.files.stderr.read_text().count("$ podman import") for job in jobs) == 1

    def test_who_says_when_to_pull_gets_what_he_asks_for(
        self, tmp_path: Path, nodes: Nodes, login: str
    ) -> None:
        name = f"{nodes.registry.address}/nosuch:1"
        objective = container_objective(name, WRITES, {**self.OPTIONS, "extra_args": ["--pull=always"]})
        layout = Layout(tmp_path / "run")
        drive(objective, layout)
        assert not layout.images.exists()

    def test_for_jobs_of_this_machine_nothing_is_kept(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, login: str
    ) -> None:
        name = nodes.registry.push(rootfs, "solver", "1")
        objective = container_objective(name, WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        drive(objective, b.layout, nearby=True)
        assert [path.rpartition(".")[2] for path in content(b.layout)] == ["json", "log"]
        assert b.run() == (0, "")
        # The experiment goes on on a cluster.
        drive(objective, b.layout, nearby=False)
        assert [path.rpartition(".")[2] for path in content(b.layout)] == ["json", "log", "tar"]
        assert nodes.registry.pulls() == 2


class TestDocker:
    OPTIONS = {"engine": "docker"}  # noqa: RUF012

    def test_one_pull_for_all_nodes(
        self, tmp_path: Path, rootfs: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_docker(tmp_path / "bin")
        name = nodes.registry.push(rootfs, "solver", "1")
        objective = container_objective(f"docker://{name}", WRITES, self.OPTIONS)
        b = bench(tmp_path, objective)
        with monkeypatch.context() as patch:
            for variable, value in nodes.node("login").items():
                patch.setenv(variable, value)
            drive(objective, b.layout)
        assert b.run(**nodes.node("n1")) == (0, "")
        assert b.files.stdout.read_text() == WROTE
        assert "docker takes into its storage" in b.files.stderr.read_text()
        assert nodes.registry.pulls() == 2

    def test_without_a_daemon_it_is_left_to_the_jobs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        make_docker_without_daemon(tmp_path / "bin")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        objective = container_objective("solver:1", "true", self.OPTIONS)
        b = bench(tmp_path, objective)
        drive(objective, b.layout)
        assert "Cannot connect to the Docker daemon" in caplog.text
        assert "It is left to the first job." in caplog.text
        failure = b.failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert "docker could not prepare the container image solver:1 on " in failure.message


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
class TestApptainer:
    @pytest.fixture
    def program(self, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> Path:
        program = make_apptainer(tmp_path / "bin", engine)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return program

    def test_a_name_is_pulled_once(self, tmp_path: Path, engine: str, program: Path) -> None:
        layout = Layout(tmp_path / "run")
        for image in ("ghcr.io/me/solver:1", "docker://ghcr.io/me/solver:1", "oras://ghcr.io/me/solver:1"):
            for _ in range(2):
                drive(container_objective(image, "true", {"engine": engine}), layout)
        made = sorted(layout.images.glob("solver-1-*.sif"))
        assert sorted(path.read_text() for path in made) == [
            "docker://ghcr.io/me/solver:1\n",
            "oras://ghcr.io/me/solver:1\n",
        ]
        assert len(Path(f"{program}.calls").read_text().splitlines()) == 2

    def test_what_cannot_be_pulled_is_refused(self, tmp_path: Path, engine: str, program: Path) -> None:
        objective = container_objective("nosuch:1", "true", {"engine": engine})
        with pytest.raises(ObjectiveError, match=rf"{engine} could not prepare .* manifest unknown"):
            drive(objective, Layout(tmp_path / "run"))

    def test_an_archive_is_built_once(self, tmp_path: Path, engine: str, program: Path, rootfs: Path) -> None:
        (tmp_path / "layers").mkdir()
        (tmp_path / "layers" / "manifest.json").write_text("[]")
        saved = flat_archive(tmp_path / "layers", tmp_path / "saved.tar")
        layout = Layout(tmp_path / "run")
        drive(container_objective(saved, "true", {"engine": engine}), layout)
        assert next(layout.images.glob("saved-*.sif")).read_text() == f"docker-archive:{saved}\n"
        flat = flat_archive(rootfs, tmp_path / "flat.tar")
        with pytest.raises(ObjectiveError, match=rf"cannot be run with {engine}: it holds a file system"):
            drive(container_objective(flat, "true", {"engine": engine}), layout)
