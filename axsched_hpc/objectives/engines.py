"""The container engines: their command lines, as pure functions of what is to run. No shell is involved."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

#: How names of tar archives end.
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz")


class Image(Enum):
    """What an image's name says of where it lies."""

    PATH = auto()  #: a file or directory that runs as it is
    ARCHIVE = auto()  #: a tar archive
    URI = auto()  #: ``docker://…`` and the like
    NAME = auto()  #: a name in the engine's own storage, or in a registry


@dataclass(frozen=True)
class Mount:
    """A file or directory of the host, as seen in the container."""

    host: str
    inside: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerRun:
    """One execution of a command in a container.

    Attributes
    ----------
    name
        Under which it can be ended, where the engine outlives its client.
    gpus
        None, ``nvidia`` or ``amd``.
    extra
        In the engine's own words, put before the image.
    """

    image: str
    command: tuple[str, ...]
    name: str
    mounts: tuple[Mount, ...]
    environment: tuple[tuple[str, str], ...]
    workdir: str
    gpus: str | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """A container engine.

    Attributes
    ----------
    program
        What is looked for on PATH.
    images
        What it can run.
    argv
        The command line, after the program.
    own_error
        Matches the line by which the engine says that it could not start the command.
    environment_prefix
        Put before the names of the container's variables in the client's environment; None: they are on the
        command line.
    outlives_client
        Whether the container goes on when the client is killed, so that it has to be ended by its name.
    read_only
        Whether it can mount read-only.
    """

    name: str
    program: str
    images: frozenset[Image]
    argv: Callable[[ContainerRun], list[str]]
    own_error: re.Pattern[str]
    environment_prefix: str | None = None
    outlives_client: bool = False
    read_only: bool = True


def image_kind(image: str) -> Image:
    """What an image's name says of where it lies; paths are absolute by now."""
    if image.startswith("/"):
        return Image.ARCHIVE if image.endswith(ARCHIVES) else Image.PATH
    return Image.URI if "://" in image else Image.NAME


def in_order(name: str, image: str) -> list[Engine]:
    """The engines to look for: the one that is named, or all that can run the image."""
    if name != "auto":
        return [ENGINES[name]]
    return [engine for engine in ENGINES.values() if image_kind(image) in engine.images]


def client_environment(engine: Engine, run: ContainerRun) -> dict[str, str]:
    """Variables that the engine's client needs beside the job's own."""
    prefix = engine.environment_prefix
    if prefix is None:
        return {}
    return {f"{prefix}{name}": value for name, value in run.environment}


_AMD_DEVICES = ["--device", "/dev/kfd", "--device", "/dev/dri"]


def _binds(flag: str, mounts: Sequence[Mount]) -> list[str]:
    words = []
    for mount in mounts:
        words += [flag, f"{mount.host}:{mount.inside}" + (":ro" if mount.read_only else "")]
    return words


def _docker(run: ContainerRun) -> list[str]:
    # The daemon runs as root: without --user the files of an attempt would be root's.
    gpus = {"nvidia": ["--gpus", "all"], "amd": _AMD_DEVICES}.get(run.gpus or "", [])
    user = ["--user", f"{os.getuid()}:{os.getgid()}"]
    image = run.image.removeprefix("docker://")
    return ["run", "--rm", "--name", run.name, *user, *_oci(run), *gpus, *run.extra, image, *run.command]


def _podman(run: ContainerRun) -> list[str]:
    gpus = {"nvidia": ["--device", "nvidia.com/gpu=all"], "amd": _AMD_DEVICES}.get(run.gpus or "", [])
    return ["run", "--rm", "--name", run.name, *_oci(run), *gpus, *run.extra, run.image, *run.command]


def _oci(run: ContainerRun) -> list[str]:
    variables = [word for name, value in run.environment for word in ("-e", f"{name}={value}")]
    return [*_binds("-v", run.mounts), "-w", run.workdir, *variables]


def _apptainer(run: ContainerRun) -> list[str]:
    # Variables go through the client's environment: --env splits its value at commas.
    gpus = {"nvidia": ["--nv"], "amd": ["--rocm"]}.get(run.gpus or "", [])
    image = f"docker://{run.image}" if image_kind(run.image) is Image.NAME else run.image
    binds = _binds("--bind", run.mounts)
    return ["exec", *binds, "--pwd", run.workdir, *gpus, *run.extra, image, *run.command]


def _charliecloud(run: ContainerRun) -> list[str]:
    # For NVIDIA's GPUs the image is prepared once by `ch-fromhost --nvidia`; the host's /dev is there anyway.
    binds = [f"--bind={mount.host}:{mount.inside}" for mount in run.mounts]
    variables = [f"--set-env={name}={_ch_run_value(value)}" for name, value in run.environment]
    options = [*binds, f"--cd={run.workdir}", "--env-no-expand", *variables, *run.extra]
    return [*options, run.image, "--", *run.command]


def _ch_run_value(value: str) -> str:
    # ch-run takes one pair of single quotes off a value.
    return f"'{value}'" if len(value) > 1 and value[0] == value[-1] == "'" else value


_EVERY, _REGISTRY = frozenset(Image), frozenset({Image.URI, Image.NAME, Image.ARCHIVE})
_OCI_ERROR = re.compile(r"Error: |docker: |podman: |Unable to find image |(See|Run) 'docker run --help'")
_FATAL = re.compile(r"\S*FATAL\S*:?\s")

#: In the order in which they are looked for.
ENGINES = {
    engine.name: engine
    for engine in (
        Engine("apptainer", "apptainer", _EVERY, _apptainer, _FATAL, "APPTAINERENV_"),
        Engine("singularity", "singularity", _EVERY, _apptainer, _FATAL, "SINGULARITYENV_"),
        Engine("podman", "podman", _REGISTRY, _podman, _OCI_ERROR, outlives_client=True),
        Engine(
            "charliecloud",
            "ch-run",
            _EVERY,
            _charliecloud,
            re.compile(r"ch-run\[\d+\]: error: "),
            read_only=False,
        ),
        Engine("docker", "docker", _REGISTRY, _docker, _OCI_ERROR, outlives_client=True),
    )
}
