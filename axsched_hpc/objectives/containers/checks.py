"""What has to be right on the node before a container can start there, and why it did not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import access, outcome
from axsched_hpc.objectives.containers import errors, limits
from axsched_hpc.objectives.containers.engines import ContainerRun, Engine, Image, image_kind
from axsched_hpc.objectives.containers.mounts import Mount, unmountable
from axsched_hpc.objectives.context import account, failed
from axsched_hpc.objectives.kinds import ContainerObjective

# How much is read of the beginning of what an engine says: its error comes before pages on its options.
_HEAD_BYTES = 8192


def find(container: ContainerObjective) -> tuple[Engine, str]:
    """The engine that is to run an objective on this node, and its program.

    Raises
    ------
    ObjectiveFailed
        There is none.
    """
    node = os.uname().nodename
    directory = image_kind(container.image) is Image.PATH and Path(container.image).is_dir()
    fit, unfit = limits.able(container, directory=directory)
    if not fit and container.engine != "auto":
        raise failed(FailureKind.CANNOT_RUN, str(unfit[0][1]))
    for engine in fit:
        if program := shutil.which(engine.program):
            return engine, program
    left_out = f" Other engines do not fit: {limits.reasons(unfit)}." if unfit else ""
    if not fit:
        message = f"No container engine can run image {container.image} as asked:"
        raise failed(FailureKind.CANNOT_RUN, f"{message} {limits.reasons(unfit)}.")
    programs = ", ".join(engine.program for engine in fit)
    if container.engine == "auto":
        found = f"none of {programs} is on PATH"
    else:
        found = f"the option engine is {container.engine!r}, and {programs} is not on PATH"
    message = (
        f"No container engine for image {container.image} on {node}: {found}.{left_out} Load the engine's "
        "module (modules of the runner's config), or name another engine."
    )
    raise failed(FailureKind.CANNOT_RUN, message)


def check(engine: Engine, run: ContainerRun) -> None:
    """Check the files that a container needs on this node.

    Raises
    ------
    ObjectiveFailed
        One is not there, or cannot be read or mounted.
    """
    if image_kind(run.image) is Image.PATH:
        _reach(run.image, f"The container image {run.image}", "Put it on a file system that the nodes share.")
    own, checkpoint, *volumes = run.mounts
    if reason := unmountable(engine.name, own.host):
        raise failed(
            FailureKind.CANNOT_RUN,
            f"{own.host} cannot be mounted in a container: {engine.name} takes {reason}. Choose an "
            "experiment directory without it, or name another engine.",
        )
    for mount in volumes:
        _reach(
            mount.host,
            f"The option volumes names {mount.host}, which",
            "Correct the path, or mount its file system on the nodes.",
        )
        if mount.inside.rstrip("/") in (own.inside, checkpoint.inside):
            raise failed(FailureKind.CANNOT_RUN, _in_the_way(engine, mount))


def _reach(path: str, what: str, absent: str) -> None:
    """Raise unless a file or directory can be read; `absent` says what to do where it is not there."""
    node = os.uname().nodename
    try:
        Path(path).stat()
    except PermissionError:
        problem = f"cannot be reached by {account()} on {node}: a directory above it may not be entered."
        remedy = "Change the permissions, or choose another place."
    except OSError:
        problem, remedy = f"is not there on {node}.", absent
    else:
        if os.access(path, os.R_OK | (os.X_OK if Path(path).is_dir() else 0)):
            return
        problem = f"cannot be read by {account()} on {node}."
        remedy = "Change its permissions, or choose another."
    raise failed(FailureKind.CANNOT_RUN, f"{what} {problem} {remedy}")


def _in_the_way(engine: Engine, mount: Mount) -> str:
    message = (
        f"container_options['volumes'] mounts {mount.host} at {mount.inside}, where the attempt's own "
        f"directory is with {engine.name}. Choose another place"
    )
    if engine.name == "charliecloud":
        return f"{message}, or make an empty directory /axsched in the image."
    return f"{message}."


def raise_not_started(
    engine: Engine, run: ContainerRun, container: ContainerObjective, code: int, stderr: Path, start: int
) -> None:
    """Raise where it was the engine that failed, and not the command that it ran.

    Parameters
    ----------
    code
        The exit code.
    start
        Where this execution's part of the log begins.

    Raises
    ------
    ObjectiveFailed
        The engine could not run the command.
    """
    tail = outcome.tail(stderr, start)
    said = errors.own_error(engine.name, code, [*_head(stderr, start), *tail])
    if said is None:
        return
    parts = [
        f"{engine.name} could not run {run.command[0]} in image {container.image} on {os.uname().nodename}. "
        f"It says: {' '.join(said.split()).rstrip('.')}.",
        errors.hint(said),
    ]
    if container.engine == "auto":
        parts.append(
            "It was the first engine on PATH that can run the image; container_options['engine'] chooses one."
        )
    message = " ".join(part for part in parts if part)
    raise failed(FailureKind.CANNOT_RUN, message, exit_code=code, tail=tail)


def _head(log: Path, start: int) -> list[str]:
    try:
        with os.fdopen(access.open_read(log), "rb") as file:
            file.seek(start)
            return file.read(_HEAD_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
