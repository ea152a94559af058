"""Every engine's command line, option by option; what an engine cannot do; its own errors, as recorded."""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.objectives.containers.engines import (
    ENGINES,
    ContainerRun,
    Image,
    Mount,
    client_environment,
    forwarded,
    image_kind,
)
from axsched_hpc.objectives.containers.errors import hint, own_error
from axsched_hpc.objectives.containers.limits import able, reasons, refusal
from axsched_hpc.objectives.kinds import ContainerObjective

RUN = ContainerRun(
    image="/images/solver.sif",
    command=("solve", "a b; $(id)", "-x"),
    name="axsched-t-1-1-7",
    mounts=(Mount("/exp/a b/attempt-1", "/axsched"), Mount("/data", "/inputs", read_only=True)),
    environment=(("A", "1,2 HOME 'q'"), ("Q", "'q'")),
    workdir="/axsched/work",
    uid=1000,
    gid=100,
    groups=(100, 4242),
)
COMMAND = ["solve", "a b; $(id)", "-x"]


def argv(engine: str, **changes: Any) -> list[str]:
    return ENGINES[engine].argv(replace(RUN, **changes))


def oci(*user: str) -> list[str]:
    return [
        *("run", "--rm", "--name", "axsched-t-1-1-7"),
        *("--entrypoint=", "--log-driver=none", "--security-opt=label=disable"),
        *("--mount", "type=bind,source=/exp/a b/attempt-1,target=/axsched"),
        *("--mount", "type=bind,source=/data,target=/inputs,readonly", "-w", "/axsched/work"),
        *("-e", "A=1,2 HOME 'q'", "-e", "Q='q'"),
        *user,
    ]


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_apptainer_and_singularity(engine: str) -> None:
    assert argv(engine) == [
        *("exec", "--bind", "/exp/a b/attempt-1:/axsched", "--bind", "/data:/inputs:ro"),
        *("--pwd", "/axsched/work", "/images/solver.sif", *COMMAND),
    ]


def test_the_client_s_environment() -> None:
    assert client_environment(ENGINES["apptainer"], RUN) == {
        "APPTAINERENV_A": "1,2 HOME 'q'",
        "APPTAINERENV_Q": "'q'",
    }
    both = client_environment(ENGINES["singularity"], RUN)
    assert set(both) == {"SINGULARITYENV_A", "SINGULARITYENV_Q", "APPTAINERENV_A", "APPTAINERENV_Q"}
    for engine in ("podman", "docker", "charliecloud"):
        assert client_environment(ENGINES[engine], RUN) == {}


@pytest.mark.parametrize("value", ["$HOME", "`id`", "a\\b", '"'])
def test_values_that_a_shell_would_change_are_not_evaluated(value: str) -> None:
    assert "--no-eval" in argv("apptainer", environment=(("A", value),))
    assert "--no-eval" not in argv("apptainer")


def test_podman() -> None:
    assert argv("podman", image="solver:1") == [*oci("--user", "0:0"), "solver:1", *COMMAND]
    assert argv("podman", image="/images/tree", directory=True)[-5:] == [
        *("--rootfs", "/images/tree:O"),
        *COMMAND,
    ]


def test_docker_runs_as_the_user() -> None:
    user = ("--user", "1000:100", "--group-add", "4242")
    assert argv("docker", image="docker://solver:1") == [*oci(*user), "solver:1", *COMMAND]


def test_charliecloud() -> None:
    assert argv("charliecloud", mounts=RUN.mounts[:1]) == [
        *("--bind=/exp/a b/attempt-1:/axsched", "--cd=/axsched/work", "--env-no-expand"),
        *("--set-env=A=1,2 HOME 'q'", "--set-env=Q=''q''"),
        *("/images/solver.sif", "--", *COMMAND),
    ]
    # The image's own variables come first: ours win.
    words = argv("charliecloud", own_environment=True)
    assert words.index("--set-env") < words.index("--env-no-expand") < words.index("--set-env=Q=''q''")


@pytest.mark.parametrize(
    ("engine", "option", "value", "words"),
    [
        ("apptainer", "gpus", "nvidia", ["--nv"]),
        ("apptainer", "gpus", "amd", ["--rocm"]),
        ("singularity", "gpus", "nvidia", ["--nv"]),
        ("podman", "gpus", "nvidia", ["--device", "nvidia.com/gpu=all"]),
        ("podman", "gpus", "amd", ["--device", "/dev/kfd", "--device", "/dev/dri"]),
        ("docker", "gpus", "nvidia", ["--gpus", "all"]),
        ("docker", "gpus", "amd", ["--device", "/dev/kfd", "--device", "/dev/dri"]),
        ("charliecloud", "gpus", "nvidia", []),
        ("apptainer", "network", "none", ["--net", "--network=none"]),
        ("singularity", "network", "none", ["--net", "--network=none"]),
        ("apptainer", "network", "host", []),
        ("podman", "network", "none", ["--network=none"]),
        ("podman", "network", "host", ["--network=host"]),
        ("docker", "network", "none", ["--network=none"]),
        ("charliecloud", "network", "host", []),
        ("apptainer", "user", "self", []),
        ("apptainer", "user", "root", ["--fakeroot"]),
        ("singularity", "user", "root", ["--fakeroot"]),
        ("charliecloud", "user", "self", []),
        ("charliecloud", "user", "root", ["--uid=0", "--gid=0"]),
        ("docker", "user", "self", []),
        ("podman", "user", "root", []),
        ("docker", "extra", ("--shm-size=1g", "x"), ["--shm-size=1g", "x"]),
    ],
)
def test_an_option_adds_words_before_the_image(
    engine: str, option: str, value: Any, words: list[str]
) -> None:
    plain, changed = argv(engine), argv(engine, **{option: value})
    image = len(plain) - 1 - plain[::-1].index(RUN.image)
    assert changed[len(changed) - len(plain[image:]) :] == plain[image:]
    added = changed[: len(changed) - len(plain[image:])]
    for word in plain[:image]:
        added.remove(word)
    assert added == words


def test_the_user_of_docker_and_podman() -> None:
    for engine in ("docker", "podman"):
        assert "--user" not in argv(engine, user="image")
    words = argv("podman", user="self")
    assert words[words.index("--user") - 1 :][:3] == ["--userns=keep-id", "--user", "1000:100"]
    assert "--userns=keep-id" not in argv("podman", user="self", uid=0, gid=0)


PAGE = Path(__file__).resolve().parents[2] / "docs/containers.md"


def test_the_page_s_table_of_options() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r'^\| `(network|user|gpus)="(\w+)"` \|(.*)\|$', text, re.MULTILINE)
    assert len(rows) == 8
    for option, value, cells in rows:
        columns = [cell.strip() for cell in cells.split("|")]
        for engine, cell in zip(("docker", "podman", "apptainer", "charliecloud"), columns, strict=True):
            refused = refusal(ENGINES[engine], asking(**{option: value}), directory=False)
            assert (cell == "refused") == (refused is not None), (engine, option, value)
            if refused is None:
                without = argv(engine, groups=(), user="image")
                words = argv(engine, **{"groups": (), "user": "image", option: value})
                added = [word for word in words if word not in without]
                shown = cell.strip("`").replace("UID:GID", "1000:100").split() if "`" in cell else []
                # A flag that the command line has anyway is no new word.
                assert added == [word for word in shown if word not in without]


AWKWARD = ["/a,b", "/a:b", '/a "b"', "/a\nb", "/a'b", "/-x", "/ü", "/a ", "/$(id)", "/a^b", "/a\\b", "/a=b"]


@pytest.mark.parametrize("path", AWKWARD)
@pytest.mark.parametrize("engine", ["docker", "podman", "apptainer", "singularity"])
def test_any_path_is_mounted(engine: str, path: str) -> None:
    words = argv(engine, mounts=(Mount(path, path, read_only=True),))
    flag, value = next(pair for pair in itertools.pairwise(words) if pair[0] in ("--mount", "--bind"))
    if flag == "--bind":
        assert value.split(":") == [path, path, "ro"]
        assert "," not in value
    else:
        (fields,) = csv.reader([value], strict=True)
        assert fields == ["type=bind", f"source={path}", f"target={path}", "readonly"]


def test_a_path_that_cannot_be_mounted() -> None:
    for engine, path, words in (
        ("charliecloud", "/a:b", "charliecloud takes a ':' in a path for a separator"),
        ("podman", "/a\r", "podman takes a carriage return in a path for the end of a line"),
    ):
        found = refusal(ENGINES[engine], asking(volumes=((path, "/x", "rw"),)), directory=False)
        assert found is not None
        assert words in str(found)
    assert refusal(ENGINES["charliecloud"], asking(volumes=(("/a, b", "/x", "rw"),)), directory=True) is None


def test_a_registry_name_is_a_uri_to_apptainer() -> None:
    assert "docker://ubuntu:22.04" in argv("apptainer", image="ubuntu:22.04")
    assert "oras://site/x" in argv("apptainer", image="oras://site/x")


def test_a_container_gets_its_job_s_share() -> None:
    job = {
        "CUDA_VISIBLE_DEVICES": "1",
        "HIP_VISIBLE_DEVICES": "2",
        "OMP_NUM_THREADS": "4",
        "PYTHONPATH": "/x",
    }
    assert forwarded(job) == {name: job[name] for name in job if name != "PYTHONPATH"}


# ---------------------------------------------------------------- what engines cannot do


def asking(image: str = "a:1", **options: Any) -> ContainerObjective:
    return ContainerObjective(image=image, command=("true",), **options)


@pytest.mark.parametrize(
    ("image", "kind"), [("/images/a.sif", Image.PATH), ("docker://a:1", Image.URI), ("a:1", Image.NAME)]
)
def test_kinds_of_images(image: str, kind: Image) -> None:
    assert image_kind(image) is kind


@pytest.mark.parametrize(
    ("container", "directory", "programs"),
    [
        (asking("/images/a.sif"), False, ["apptainer", "singularity"]),
        (asking("/images/a.sqfs"), False, ["apptainer", "singularity", "ch-run"]),
        (asking("/images/a"), True, ["apptainer", "singularity", "ch-run", "podman"]),
        (asking("/images/a:b"), True, ["apptainer", "singularity", "ch-run"]),
        (asking("oras://a:1"), False, ["apptainer", "singularity"]),
        (asking("docker://a:1"), False, ["apptainer", "singularity", "podman", "ch-run", "docker"]),
        (asking("/a/b.tar.gz"), False, ["apptainer", "singularity", "podman", "ch-run", "docker"]),
        (asking("a:1"), False, ["apptainer", "singularity", "podman", "ch-run", "docker"]),
        (asking("a:1", network="none"), False, ["apptainer", "singularity", "podman", "docker"]),
        (
            asking("a:1", volumes=(("/a", "/a", "ro"),)),
            False,
            ["apptainer", "singularity", "podman", "docker"],
        ),
        (asking("a:1", user="image"), False, ["podman", "docker"]),
        (asking("a:1", user="root"), False, ["apptainer", "singularity", "podman", "ch-run"]),
        (asking("a:1", env_vars=(("A.B", "1"),)), False, ["podman", "ch-run", "docker"]),
        (asking("/images/a.sif", user="image"), False, []),
        (asking("a:1", engine="docker"), False, ["docker"]),
        (asking("/images/a", engine="docker"), True, []),
    ],
)
def test_auto_looks_for_what_can_do_it(
    container: ContainerObjective, directory: bool, programs: list[str]
) -> None:
    fit, unfit = able(container, directory=directory)
    assert [engine.program for engine in fit] == programs
    assert len(fit) + len(unfit) == (5 if container.engine == "auto" else 1)
    assert all(engine.name in reasons(unfit) for engine, _ in unfit)


# ---------------------------------------------------------------- what engines say


@pytest.mark.parametrize(
    ("engine", "code", "line", "to_do"),
    [
        (
            "apptainer",
            255,
            "FATAL:   could not open image /a.sif: failed to retrieve path for /a.sif: lstat /a.sif: no such "
            "file or directory",
            "",
        ),
        ("apptainer", 255, 'FATAL:   "nope": executable file not found in $PATH', "The image has no such"),
        ("apptainer", 1, 'Error for command "exec": unknown flag: --no-eval', "older than Apptainer 1.1"),
        ("singularity", 1, 'Error for command "exec": unknown flag: --mount', "older than Apptainer 1.0"),
        (
            "singularity",
            255,
            "FATAL:  stat /nope: no such file or directory",
            "The image has no such program",
        ),
        (
            "podman",
            127,
            'Error: runc: runc create failed: unable to start container process: exec: "no-such": executable '
            "file not found in $PATH: OCI runtime attempted to invoke a command that was not found",
            "The image has no such program",
        ),
        ("podman", 125, "Error: statfs /nope: no such file or directory", ""),
        (
            "podman",
            125,
            'Error: short-name "no-such-image:1" did not resolve to an alias and no unqualified-search '
            'registries are defined in "/etc/containers/registries.conf"',
            "Correct the image's name",
        ),
        (
            "podman",
            126,
            "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
            "nvidia-ctk cdi generate",
        ),
        (
            "docker",
            125,
            "docker: Cannot connect to the Docker daemon at unix:///nowhere. Is the docker daemon running?",
            "name another engine",
        ),
        ("docker", 125, "unknown flag: --volume-x", "Correct container_options['extra_args']"),
        (
            "charliecloud",
            1,
            "ch-run[12]: error: can't execve(2): x: No such file or directory (ch_core.c:410 2)",
            "The image has no such program",
        ),
        (
            "charliecloud",
            1,
            "ch-run[7273]: error: can't mkdir: /rootfs/notthere: Read-only file system (ch_misc.c:409 30)",
            "make an empty directory",
        ),
        ("charliecloud", 64, "/usr/bin/ch-run: unrecognized option '--nope'", "Correct container_options"),
    ],
)
def test_an_engine_s_own_errors(engine: str, code: int, line: str, to_do: str) -> None:
    said = ["INFO: starting", line, "", "Run 'docker run --help' for more information"]
    assert own_error(engine, code, said) == line
    assert to_do in hint(line) and bool(to_do) == bool(hint(line))


def test_colours_are_taken_off() -> None:
    line = "\x1b[31mFATAL:  \x1b[0m stat /a: no such file or directory"
    assert own_error("singularity", 255, [line]) == "FATAL:   stat /a: no such file or directory"


@pytest.mark.parametrize(
    ("engine", "code", "line"),
    [
        ("podman", 1, "Error: no convergence"),
        ("podman", 127, "sh: solve: not found"),
        ("docker", 3, "docker: not a word of the engine"),
        ("apptainer", 1, "FATAL: no convergence"),
        ("apptainer", 255, "no convergence"),
        ("charliecloud", 137, "ch-run[7]: error: quoted in a log"),
        ("charliecloud", 1, "ch-run: not the engine"),
    ],
)
def test_a_program_s_error_is_its_own(engine: str, code: int, line: str) -> None:
    assert own_error(engine, code, [line]) is None
