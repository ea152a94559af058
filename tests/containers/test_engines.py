"""What a container objective gets and how it fails is the same with every engine.

Podman and charliecloud are real; docker, apptainer and singularity are the stand-ins of `stand_ins.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives.containers.engines import ENGINES as TABLE
from axsched_hpc.objectives.containers.engines import ContainerRun, Mount
from axsched_hpc.objectives.containers.errors import hint, own_error
from axsched_hpc.objectives.spec import container_objective
from tests.containers.rootfs import import_podman, make_podman_wrapper, make_rootfs
from tests.containers.stand_ins import StandInImage, make_stand_ins
from tests.slurm.fixtures import missing
from tests.unit.memory_cgroup import limited
from tests.unit.worker_kit import Bench, bench

pytestmark = pytest.mark.container

ENGINES = ("podman", "charliecloud", "docker", "apptainer", "singularity")
OTHER_USER = "65534:65534"


@dataclass(frozen=True)
class Kit:
    """One engine, ready to run.

    Attributes
    ----------
    image, other_image
        A plain one, and one that names another user and an entry point.
    """

    name: str
    image: str
    other_image: str
    path: str

    def bench(self, root: Path, command: Any, parameters: Any = None, **options: Any) -> Bench:
        image = options.pop("image", self.image)
        root.mkdir(parents=True, exist_ok=True)
        if self.name in ("podman", "docker"):
            # Its images are on this machine: nothing has to be prepared, which is another matter.
            options["extra_args"] = ["--pull=never", *options.get("extra_args", [])]
        objective = container_objective(image, command, {"engine": self.name, **options})
        return bench(root, objective, parameters)


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kit]]:
    place = tmp_path_factory.mktemp("engines")
    rootfs = make_rootfs(place / "rootfs")
    plain, other = (f"axsched-engines-{kind}-{uuid.uuid4().hex[:8]}:1" for kind in ("plain", "other"))
    make_stand_ins(
        place / "bin",
        {
            "plain:1": StandInImage(rootfs),
            "other:1": StandInImage(rootfs, user=OTHER_USER, entrypoint=("/bin/false",)),
        },
    )
    make_podman_wrapper(place / "bin")
    for name in ("plain", "other"):
        (place / f"{name}.sif").write_text(f"{name}:1\n")
    images = {
        "podman": (
            import_podman(rootfs, plain),
            import_podman(rootfs, other, f"USER {OTHER_USER}", 'ENTRYPOINT ["/bin/false"]'),
        ),
        "charliecloud": (str(rootfs), str(rootfs)),
        "docker": ("docker://plain:1", "other:1"),
        "apptainer": (str(place / "plain.sif"), str(place / "other.sif")),
        "singularity": (str(place / "plain.sif"), str(place / "other.sif")),
    }
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    yield {name: Kit(name, *images[name], path) for name in ENGINES}
    subprocess.run(["podman", "rmi", "--force", *images["podman"]], check=False, capture_output=True)


@pytest.fixture(params=ENGINES)
def kit(request: pytest.FixtureRequest, kits: dict[str, Kit]) -> Kit:
    return kits[request.param]


# Would be executed, split or replaced by anything that takes it for more than a text.
TRICKY = " --x $(touch /tmp/axsched-oh) `id` $HOME 'q' \"d\" a,b:c=d;\n\\n ü \t"
# The same for a path: every engine mounts it, charliecloud all but the colon.
AWKWARD = "-a, 'b' \"c\" $(id) ü\nd=^"

EVERYTHING = """
sed -n 's/.*"x": \\([0-9.]*\\).*/{"loss": \\1}/p' "$AXSCHED_PARAMETERS_FILE" > "$2"
printf '%s|' "$1" "$AXSCHED_PARAMETER_word" "$AXSCHED_PARAMETER_x"
printf '%s|' "$TRICKY" "$EMPTY" "$CUDA_VISIBLE_DEVICES" "$AXSCHED_TRIAL"
cat "/in, put/table"; pwd
echo back > /vol/back; touch made-here; echo said >&2
echo '{"step": 1, "loss": 3}' >> "$AXSCHED_PROGRESS_FILE"
[ "$PWD" = "$AXSCHED_WORKDIR" ] && [ "$2" = "$AXSCHED_METRICS_FILE" ] && touch "$AXSCHED_CHECKPOINT_DIR/state"
"""


def test_everything_arrives_unchanged(kit: Kit, tmp_path: Path) -> None:
    mode = "" if kit.name == "charliecloud" else ":ro"
    place = tmp_path / (AWKWARD if kit.name == "charliecloud" else f"{AWKWARD}:")
    for name in ("in", "out"):
        (place / name).mkdir(parents=True)
    (place / "in" / "table").write_text("from the volume\n")
    inside = {"in": "/in, put", "out": "/vol"}
    if kit.name == "charliecloud":  # its mount points have to be in the image
        image = make_rootfs(tmp_path / "rootfs")
        for target in (*inside.values(), "/axsched"):
            (image / target.lstrip("/")).mkdir()
    else:
        image = Path(kit.image)
    b = kit.bench(
        place,
        ["sh", "-c", EVERYTHING, "sh", "{word}", "{output_file}"],
        {"x": 0.5, "word": TRICKY},
        image=str(image) if image.is_absolute() else kit.image,
        volumes={place / "in": f"{inside['in']}{mode}", place / "out": f"{inside['out']}:rw"},
        env_vars={"TRICKY": TRICKY, "EMPTY": ""},
    )
    code, stderr = b.run(PATH=kit.path, CUDA_VISIBLE_DEVICES="1,3", HOME=str(tmp_path))
    assert (code, stderr) == (0, ""), b.files.stderr.read_text()
    assert b.outcome().metrics == {"loss": (0.5, None)}
    assert (
        b.files.stdout.read_text()
        == f"{TRICKY}|{TRICKY}|0.5|{TRICKY}||1,3|3|from the volume\n/axsched/work\n"
    )
    assert b.files.stderr.read_text().splitlines()[-1] == "said"
    assert b.files.progress.read_text() == '{"step": 1, "loss": 3}\n'
    assert (place / "out" / "back").read_text() == "back\n"
    for made in (b.files.work / "made-here", b.layout.checkpoint(3) / "state", place / "out" / "back"):
        assert (made.stat().st_uid, made.stat().st_gid) == (os.getuid(), os.getgid())
    assert not Path("/tmp/axsched-oh").exists()


def test_read_only_network_user_and_directory(kit: Kit, tmp_path: Path) -> None:
    limits = kit.name == "charliecloud"
    (tmp_path / "data").mkdir()
    options: dict[str, Any] = (
        {} if limits else {"network": "none", "volumes": {tmp_path / "data": "/data:ro"}}
    )
    user = "self" if kit.name == "docker" else "root"
    script = (
        "pwd; id -u; tail -n +3 /proc/net/dev | wc -l; touch /data/no || touch refused; "
        "echo loss 1 > $AXSCHED_METRICS_FILE"
    )
    b = kit.bench(tmp_path / "b", ["sh", "-c", script], workdir="/tmp", user=user, **options)
    assert b.run(PATH=kit.path) == (0, ""), b.files.stderr.read_text()
    where, uid, networks = b.files.stdout.read_text().split()
    assert (where, uid) == ("/tmp", str(os.getuid()) if user == "self" else "0")
    assert limits or networks == "1"
    assert limits or "/data/no: Read-only file system" in b.files.stderr.read_text()
    Path("/tmp/refused").unlink(missing_ok=True)


def test_the_image_s_user_and_entry_point(kit: Kit, tmp_path: Path) -> None:
    script = ["sh", "-c", "id -u; echo loss 1 > $AXSCHED_METRICS_FILE"]
    b = kit.bench(tmp_path / "auto", script, image=kit.other_image)
    assert b.run(PATH=kit.path) == (0, ""), b.files.stderr.read_text()
    assert b.files.stdout.read_text() == f"{os.getuid()}\n"
    assert b.files.metrics.stat().st_uid == os.getuid()
    if kit.name in ("docker", "podman"):
        b = kit.bench(
            tmp_path / "image",
            ["sh", "-c", "id -u >&2; exit 4"],
            image=kit.other_image,
            user="image",
            workdir="/tmp",
        )
        assert b.failure(PATH=kit.path).message.endswith(f": {OTHER_USER.partition(':')[0]}")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_podman_of_a_user_without_ranges_of_ids() -> None:
    if shutil.which("crun"):
        # It refuses this machine's mixed cgroup versions, and a user cannot be shown others.
        missing("podman takes crun here, not runc: apt-get remove crun.", "AXSCHED_REQUIRE_CONTAINERS")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        image = make_rootfs(Path(place) / "rootfs")
        subprocess.run(["chown", "-R", "65534:65534", image], check=True)
        for name in ("home", "run", "out"):
            (Path(place) / name).mkdir(mode=0o700)
            os.chown(Path(place) / name, 65534, 65534)
        run = ContainerRun(
            image=str(image),
            command=("sh", "-c", "id -u; touch /axsched/made"),
            name=f"axsched-test-{os.getpid()}",
            mounts=(Mount(f"{place}/out", "/axsched"),),
            environment=(),
            workdir="/axsched",
            network="none",
            uid=65534,
            gid=65534,
            directory=True,
        )
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        hints = {"auto": "", "self": "Rootless podman needs a range of ids", "other's": "name charliecloud"}
        for user, code, said in (("auto", 0, "0\n"), ("self", 125, ""), ("other's", 126, "")):
            if user == "other's":
                os.chown(image, 0, 0)
            argv = TABLE["podman"].argv(
                replace(run, user="self" if user == "self" else "auto", extra=tuple(limits))
            )
            done = subprocess.run(
                [
                    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                    *("podman", "--log-level=error", "--storage-driver=vfs", *argv),
                ],
                cwd=place,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": f"{place}/home",
                    "XDG_RUNTIME_DIR": f"{place}/run",
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert (done.returncode, done.stdout) == (code, said), done.stderr
            if hints[user]:
                line = own_error("podman", code, done.stderr.splitlines())
                assert line is not None and hints[user] in hint(line)
        assert (Path(place) / "out" / "made").stat().st_uid == 65534


# ---------------------------------------------------------------- bad cases


PAGE = Path(__file__).resolve().parents[2] / "docs/containers.md"


def documented() -> dict[str, str]:
    """The table of the page: what happened, and what axsched says of it."""
    rows = re.findall(r"^\| (.+?) \| `` (.+?) `` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {what: said.replace("\\|", "|") for what, said in rows}


def plain(message: str, kit: Kit, b: Bench) -> str:
    """A message as on the page: of apptainer, an image of a cluster's, a node n1, and a relative path."""
    for found, shown in (
        (str(b.files.root), "outputs/trials/00003/attempt-1"),
        (kit.image, "/shared/solver.sif"),
        (os.uname().nodename, "n1"),
    ):
        message = message.replace(found, shown)
    return re.sub(rf"^{kit.name}\b", "apptainer", message)


def without_engine_s_words(message: str) -> str:
    return re.sub(r"(It says: ).*?\.( [A-Z][^.]*\.)?$", r"\1...\2", message)


BAD = {
    "The program is not in the image": ("no-such-solver --fast", {}, FailureKind.CANNOT_RUN),
    "It wrote no metrics": ("true", {}, FailureKind.BAD_METRICS),
    "What it wrote is no JSON": (["sh", "-c", 'echo "{loss" > {output_file}'], {}, FailureKind.BAD_METRICS),
    "It failed": ("sh -c 'echo no convergence >&2; exit 3'", {}, FailureKind.EXIT_CODE),
    "It ran too long": ("sleep 60", {"timeout": 1}, FailureKind.OBJECTIVE_TIMEOUT),
    "A signal ended it": ("sh -c 'kill -SEGV $$'", {}, FailureKind.CRASHED),
    "An option that the engine does not have": (
        "true",
        {"extra_args": ["--volume-x"]},
        FailureKind.CANNOT_RUN,
    ),
}


#: What the engine has no part in; two of them are enough.
WITHOUT_ENGINE = ("It wrote no metrics", "What it wrote is no JSON", "It ran too long")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (name, what)
        for name in ENGINES
        for what in BAD
        if what not in WITHOUT_ENGINE or name in ("podman", "apptainer")
    ],
)
def test_bad_cases(kits: dict[str, Kit], tmp_path: Path, name: str, what: str) -> None:
    kit = kits[name]
    command, options, kind = BAD[what]
    if kit.name in ("podman", "docker"):
        # Process 1 of a container cannot end itself by a signal, nor does it react to SIGTERM.
        if what == "A signal ended it":
            command, kind = ["sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"], FailureKind.EXIT_CODE
            what = "A signal ended it, in docker or podman"
        elif what == "It ran too long":
            command = ["sh", "-c", "trap 'exit 1' TERM; sleep 60 & wait"]
    b = kit.bench(tmp_path, command, **options)
    failure = b.failure(PATH=kit.path)
    assert failure.kind is kind, failure.message
    said, written = plain(failure.message, kit, b), documented()[what]
    if kit.name == "apptainer":
        assert said == written
    else:
        assert without_engine_s_words(said) == without_engine_s_words(written)


def test_an_image_that_is_not_known(kits: dict[str, Kit], tmp_path: Path) -> None:
    for name, words in (
        ("podman", "It says: Error: localhost/axsched-none:1: image not known. Correct the image's name"),
        ("docker", "It says: docker: Error response from daemon: No such image: localhost/axsched-none:1"),
    ):
        kit = kits[name]
        b = kit.bench(tmp_path / name, "true", image="localhost/axsched-none:1")
        failure = b.failure(PATH=kit.path)
        assert failure.kind is FailureKind.CANNOT_RUN
        assert words in plain(failure.message, kit, b)


def test_an_image_that_no_registry_has(kits: dict[str, Kit], tmp_path: Path) -> None:
    kit = kits["apptainer"]
    b = kit.bench(tmp_path, "true", image="site/solvr:1")
    code, _ = b.run(PATH=kit.path)
    failure = b.outcome().failure
    assert code == 1 and failure is not None and failure.kind is FailureKind.CANNOT_RUN
    said, written = (
        re.sub(r"the last lines of .*\| FATAL", "the last lines of a log: FATAL", message)
        for message in (plain(failure.message, kit, b), documented()["The image is not known to a registry"])
    )
    assert said == written


def test_nothing_to_run_it_with(kits: dict[str, Kit], tmp_path: Path) -> None:
    kit = kits["apptainer"]
    b = kit.bench(tmp_path / "none", "true", engine="auto", network="none")
    failure = b.failure(PATH="/nowhere")
    assert failure.kind is FailureKind.CANNOT_RUN
    assert plain(failure.message, kit, b) == documented()["There is no engine on the node"]
    image = tmp_path / "gone.sif"
    image.touch()
    b = kit.bench(tmp_path / "gone", "true", image=str(image))
    image.unlink()
    failure = b.failure(PATH=kit.path)
    assert failure.kind is FailureKind.CANNOT_RUN
    message = plain(failure.message, kit, b).replace(str(image), "/shared/solver.sif")
    assert message == documented()["The image is not there"]


def test_a_volume_that_is_not_there(kit: Kit, tmp_path: Path) -> None:
    b = kit.bench(tmp_path, "true", volumes={"/shared/data": "/data"})
    failure = b.failure(PATH=kit.path)
    assert failure.kind is FailureKind.CANNOT_RUN
    assert plain(failure.message, kit, b) == documented()["A volume is not there"]


REACH = """
import sys
from axsched_hpc.core import events
from axsched_hpc.objectives.containers import checks
from axsched_hpc.objectives.context import ObjectiveFailed
from axsched_hpc.objectives.containers.engines import ENGINES, ContainerRun, Mount
import os, pwd
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
own = Mount("/", "/axsched")
for path in sys.argv[1:]:
    run = ContainerRun("a:1", (), "", (own, Mount("/tmp", "/axsched/checkpoint"), Mount(path, "/x")), (), "/")
    try:
        checks.check(ENGINES["podman"], run)
    except ObjectiveFailed as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_volume_that_cannot_be_read() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        closed = Path(place) / "data"
        (closed / "below").mkdir(parents=True)
        closed.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", REACH, str(closed), str(closed / "below"), place],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [
            line.replace(place, "/shared").replace(os.uname().nodename, "n1").replace("nobody", "ann")
            for line in done.stdout.splitlines()
        ]
        assert lines == [
            documented()["A volume may not be read"],
            documented()["A directory above it may not be entered"].replace("/shared/ben", "/shared"),
        ]


def test_out_of_memory(kits: dict[str, Kit], tmp_path: Path) -> None:
    kit = kits["charliecloud"]
    b = kit.bench(tmp_path, ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=400M count=1"])
    with limited(200) as place:
        enter = f'echo $$ > "{place}/cgroup.procs"; exec "$@"'
        command = ["sh", "-c", enter, "sh", sys.executable, "-m", "axsched_hpc.worker", str(b.manifest), "0"]
        subprocess.run(command, env=b.environment(), check=False, timeout=60)
    failure = b.outcome().failure
    assert failure is not None and failure.kind is FailureKind.OUT_OF_MEMORY, failure
    said = re.sub(r"held [\d.]+ ", "held 198 ", plain(failure.message, kit, b))
    assert said == re.sub(r"held [\d.]+ ", "held 198 ", documented()["The node's memory did not suffice"])
