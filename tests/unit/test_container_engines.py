"""Every engine's command line, option by option."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from axsched_hpc.objectives.engines import (
    ENGINES,
    ContainerRun,
    Image,
    Mount,
    client_environment,
    image_kind,
    in_order,
)

RUN = ContainerRun(
    image="/images/solver.sif",
    command=("solve", "a b; $(id)", "-x"),
    name="axsched-t-1-1-7",
    mounts=(Mount("/exp/a b/attempt-1", "/axsched"), Mount("/data", "/inputs", read_only=True)),
    environment=(("A", "1,2 $HOME 'q'"), ("Q", "'q'")),
    workdir="/axsched/work",
)
USER = ["--user", f"{os.getuid()}:{os.getgid()}"]
OCI = [
    *("-v", "/exp/a b/attempt-1:/axsched", "-v", "/data:/inputs:ro", "-w", "/axsched/work"),
    *("-e", "A=1,2 $HOME 'q'", "-e", "Q='q'"),
]
NAMED = ["run", "--rm", "--name", "axsched-t-1-1-7"]


def argv(engine: str, **changes: object) -> list[str]:
    return ENGINES[engine].argv(replace(RUN, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
def test_apptainer_and_singularity(engine: str) -> None:
    assert argv(engine) == [
        *("exec", "--bind", "/exp/a b/attempt-1:/axsched", "--bind", "/data:/inputs:ro"),
        *("--pwd", "/axsched/work", "/images/solver.sif", "solve", "a b; $(id)", "-x"),
    ]
    prefix = {"apptainer": "APPTAINERENV_", "singularity": "SINGULARITYENV_"}[engine]
    assert client_environment(ENGINES[engine], RUN) == {f"{prefix}A": "1,2 $HOME 'q'", f"{prefix}Q": "'q'"}


def test_podman() -> None:
    assert argv("podman", image="solver:1") == [*NAMED, *OCI, "solver:1", "solve", "a b; $(id)", "-x"]
    assert client_environment(ENGINES["podman"], RUN) == {}


def test_docker_runs_as_the_user() -> None:
    expected = [*NAMED, *USER, *OCI, "solver:1", "solve", "a b; $(id)", "-x"]
    assert argv("docker", image="docker://solver:1") == expected


def test_charliecloud() -> None:
    assert argv("charliecloud", mounts=RUN.mounts[:1]) == [
        *("--bind=/exp/a b/attempt-1:/axsched", "--cd=/axsched/work", "--env-no-expand"),
        *("--set-env=A=1,2 $HOME 'q'", "--set-env=Q=''q''"),
        *("/images/solver.sif", "--", "solve", "a b; $(id)", "-x"),
    ]


@pytest.mark.parametrize(
    ("engine", "gpus", "words"),
    [
        ("apptainer", "nvidia", ["--nv"]),
        ("apptainer", "amd", ["--rocm"]),
        ("singularity", "nvidia", ["--nv"]),
        ("podman", "nvidia", ["--device", "nvidia.com/gpu=all"]),
        ("podman", "amd", ["--device", "/dev/kfd", "--device", "/dev/dri"]),
        ("docker", "nvidia", ["--gpus", "all"]),
        ("docker", "amd", ["--device", "/dev/kfd", "--device", "/dev/dri"]),
        ("charliecloud", "nvidia", []),
    ],
)
def test_gpus_and_extra_arguments_stand_before_the_image(engine: str, gpus: str, words: list[str]) -> None:
    plain = argv(engine)
    place = plain.index(RUN.image)
    assert argv(engine, gpus=gpus, extra=("--x", "y")) == [*plain[:place], *words, "--x", "y", *plain[place:]]


def test_a_registry_name_is_a_uri_to_apptainer() -> None:
    assert "docker://ubuntu:22.04" in argv("apptainer", image="ubuntu:22.04")
    assert "oras://site/x" in argv("apptainer", image="oras://site/x")


@pytest.mark.parametrize(
    ("image", "kind", "programs"),
    [
        ("/images/a.sif", Image.PATH, ["apptainer", "singularity", "ch-run"]),
        ("docker://a:1", Image.URI, ["apptainer", "singularity", "podman", "ch-run", "docker"]),
        ("/a/b.tar.gz", Image.ARCHIVE, ["apptainer", "singularity", "podman", "ch-run", "docker"]),
        ("a:1", Image.NAME, ["apptainer", "singularity", "podman", "ch-run", "docker"]),
    ],
)
def test_auto_looks_for_what_can_run_the_image(image: str, kind: Image, programs: list[str]) -> None:
    assert image_kind(image) is kind
    assert [engine.program for engine in in_order("auto", image)] == programs
    assert [engine.program for engine in in_order("docker", image)] == ["docker"]


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("apptainer", "FATAL:   could not open image /a.sif: no such file"),
        ("singularity", "\x1b[31mFATAL:  \x1b[0m stat a: no such file or directory"),
        ("podman", "Error: crun: executable file `x` not found in $PATH: No such file or directory"),
        ("docker", "docker: Error response from daemon: pull access denied"),
        (
            "charliecloud",
            "ch-run[12]: error: can't execve(2): x: No such file or directory (ch_core.c:410 2)",
        ),
    ],
)
def test_the_engines_own_errors_are_recognised(engine: str, line: str) -> None:
    pattern = ENGINES[engine].own_error
    assert pattern.match(line)
    assert not pattern.match("solver: no convergence, Error: residual 1e3")
