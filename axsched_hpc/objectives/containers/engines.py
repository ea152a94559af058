"""The container engines: their command lines, as pure functions of what is to run. No shell is involved.

The options are those of the engines' own pages: docker-run, podman-run(1), ``apptainer exec``, ``singularity
exec`` and ch-run(1). A comment says with which version an option came, where clusters have older ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from axsched_hpc.core.shares import GPU_VARIABLES, THREAD_VARIABLES
from axsched_hpc.objectives.containers.mounts import Mount, with_bind, with_ch_bind, with_mount

__all__ = [
    "ENGINES",
    "ContainerRun",
    "Engine",
    "Image",
    "Mount",
    "client_environment",
    "forwarded",
    "image_kind",
]

#: What the job tells its programs, and docker and podman would keep from them: their share of the node, as
#: Slurm and packed jobs set it. A container gets it whether or not its engine passes the environment on.
FORWARDED = (
    *GPU_VARIABLES,
    "HIP_VISIBLE_DEVICES",
    *THREAD_VARIABLES,
    "AXSCHED_CPUS",
    "AXSCHED_MEMORY_MB",
)

#: How names of tar archives end.
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz")


class Image(Enum):
    """What an image's name says of where it lies."""

    PATH = auto()  #: a file or directory that runs as it is
    ARCHIVE = auto()  #: a tar archive
    URI = auto()  #: ``docker://…`` and the like
    NAME = auto()  #: a name in the engine's own storage, or in a registry


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
    network
        ``host`` or ``none``; None: as the engine does by default.
    user
        ``auto``, ``self``, ``root`` or ``image``.
    uid, gid, groups
        Of the calling user.
    directory
        Whether the image is a directory.
    own_environment
        Whether the image has a file of variables that its engine reads only when told to.
    """

    image: str
    command: tuple[str, ...]
    name: str
    mounts: tuple[Mount, ...]
    environment: tuple[tuple[str, str], ...]
    workdir: str
    gpus: str | None = None
    extra: tuple[str, ...] = ()
    network: str | None = None
    user: str = "auto"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    directory: bool = False
    own_environment: bool = False


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
    environment_prefixes
        Put before the names of the container's variables in the client's environment; none: they are on the
        command line.
    outlives_client
        Whether the container goes on when the client is killed, so that it has to be ended by its name.
    """

    name: str
    program: str
    images: frozenset[Image]
    argv: Callable[[ContainerRun], list[str]]
    environment_prefixes: tuple[str, ...] = ()
    outlives_client: bool = False


def image_kind(image: str) -> Image:
    """What an image's name says of where it lies; paths are absolute by now."""
    if image.startswith("/"):
        return Image.ARCHIVE if image.endswith(ARCHIVES) else Image.PATH
    return Image.URI if "://" in image else Image.NAME


def client_environment(engine: Engine, run: ContainerRun) -> dict[str, str]:
    """Variables that the engine's client needs beside the job's own."""
    return {
        f"{prefix}{name}": value for prefix in engine.environment_prefixes for name, value in run.environment
    }


def forwarded(environment: Mapping[str, str]) -> dict[str, str]:
    """What a container gets of the job's environment in any case."""
    return {name: environment[name] for name in FORWARDED if name in environment}


# ---------------------------------------------------------------- docker and podman

_AMD_DEVICES = ["--device", "/dev/kfd", "--device", "/dev/dri"]


def _docker(run: ContainerRun) -> list[str]:
    gpus = {"nvidia": ["--gpus", "all"], "amd": _AMD_DEVICES}.get(run.gpus or "", [])
    user = [] if run.user == "image" else _as_caller(run)
    return [*_oci(run), *user, *gpus, *run.extra, run.image.removeprefix("docker://"), *run.command]


def _as_caller(run: ContainerRun) -> list[str]:
    # The daemon runs as root: without --user the files of an attempt would be root's. A project's directories
    # are often open to a group alone.
    groups = [word for group in run.groups if group != run.gid for word in ("--group-add", str(group))]
    return ["--user", f"{run.uid}:{run.gid}", *groups]


def _podman(run: ContainerRun) -> list[str]:
    # Devices by their CDI names are known since podman 4.1.
    gpus = {"nvidia": ["--device", "nvidia.com/gpu=all"], "amd": _AMD_DEVICES}.get(run.gpus or "", [])
    # Trials side by side share the directory: each has what it writes in it for itself (":O", podman 4.0).
    image = ["--rootfs", f"{run.image}:O"] if run.directory else [run.image]
    return [*_oci(run), *_podman_user(run), *gpus, *run.extra, *image, *run.command]


def _podman_user(run: ContainerRun) -> list[str]:
    if run.user == "image":
        return []
    if run.user == "self" and run.uid:
        # Root's podman has no keep-id, and needs none.
        return ["--userns=keep-id", "--user", f"{run.uid}:{run.gid}"]
    # Root inside is the caller outside, whoever calls it and whatever ranges of ids the caller has; a user
    # that the image names would be another one outside, and could not write the attempt's files.
    return ["--user", "0:0"]


def _oci(run: ContainerRun) -> list[str]:
    network = [f"--network={run.network}"] if run.network else []
    variables = [word for name, value in run.environment for word in ("-e", f"{name}={value}")]
    return [
        *("run", "--rm", "--name", run.name),
        # The image's own entry point would get the command as arguments; with the other engines it has none.
        "--entrypoint=",
        # The output comes to the client; without this, all of it is written to the node's disk as well.
        "--log-driver=none",
        # Where SELinux is enforcing, a container may not touch files that were not relabelled for it; to
        # relabel a user's data is not ours to do.
        "--security-opt=label=disable",
        *with_mount(run.mounts),
        *("-w", run.workdir),
        *network,
        *variables,
    ]


# ---------------------------------------------------------------- apptainer and singularity

#: What a shell replaces within double quotes, and what ends them.
_EVALUATED = re.compile(r'[$`\\"]')


def _apptainer(run: ContainerRun) -> list[str]:
    # Variables go through the client's environment: --env splits its value at commas, and shows it to
    # everyone who lists processes. Values are evaluated as by a shell, unless told not to (Apptainer 1.1 and
    # SingularityCE 3.10): an older version refuses the option, which is better than another value.
    evaluated = any(_EVALUATED.search(value) for _, value in run.environment)
    gpus = {"nvidia": ["--nv"], "amd": ["--rocm"]}.get(run.gpus or "", [])
    image = f"docker://{run.image}" if image_kind(run.image) is Image.NAME else run.image
    return [
        "exec",
        *with_bind(run.mounts),
        # Apptainer 1.2 calls it --cwd, and takes --pwd as well.
        *("--pwd", run.workdir),
        # The host's network is the default; "none" is the one other network that every user may choose.
        *(["--net", "--network=none"] if run.network == "none" else []),
        *(["--fakeroot"] if run.user == "root" else []),
        *(["--no-eval"] if evaluated else []),
        *gpus,
        *run.extra,
        image,
        *run.command,
    ]


# ---------------------------------------------------------------- charliecloud


def _charliecloud(run: ContainerRun) -> list[str]:
    # For NVIDIA's GPUs the image is prepared once by `ch-fromhost --nvidia`; the host's /dev is there anyway.
    variables = [f"--set-env={name}={_ch_run_value(value)}" for name, value in run.environment]
    return [
        *with_ch_bind(run.mounts),
        f"--cd={run.workdir}",
        *(["--uid=0", "--gid=0"] if run.user == "root" else []),
        *(["--set-env"] if run.own_environment else []),
        "--env-no-expand",
        *variables,
        *run.extra,
        run.image,
        "--",
        *run.command,
    ]


def _ch_run_value(value: str) -> str:
    # ch-run takes one pair of single quotes off a value.
    return f"'{value}'" if len(value) > 1 and value[0] == value[-1] == "'" else value


# ---------------------------------------------------------------- the table

_EVERY, _REGISTRY = frozenset(Image), frozenset({Image.URI, Image.NAME, Image.ARCHIVE})

#: In the order in which they are looked for: first those that clusters are set up for, which run the image as
#: the user and within the job. Then podman, which needs more from a node (ranges of ids, a storage on a local
#: disk). Charliecloud needs nothing, but mounts nothing read-only and has no network of its own. Docker is
#: last: its containers are run by a daemon, outside of the job and what the job may use.
ENGINES = {
    engine.name: engine
    for engine in (
        Engine("apptainer", "apptainer", _EVERY, _apptainer, environment_prefixes=("APPTAINERENV_",)),
        Engine(
            "singularity",
            "singularity",
            _EVERY,
            _apptainer,
            # Where it is another name of apptainer, it warns of each variable that has the old prefix alone.
            environment_prefixes=("SINGULARITYENV_", "APPTAINERENV_"),
        ),
        Engine("podman", "podman", _EVERY, _podman, outlives_client=True),
        Engine("charliecloud", "ch-run", _EVERY, _charliecloud),
        Engine("docker", "docker", _REGISTRY, _docker, outlives_client=True),
    )
}
