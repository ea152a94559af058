"""What a container engine cannot do of what is asked for. Pure: known before anything is submitted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from axsched_hpc.objectives.containers.engines import ENGINES, Engine, Image, image_kind
from axsched_hpc.objectives.containers.mounts import unmountable
from axsched_hpc.objectives.kinds import ContainerObjective

#: How the names of image files end that apptainer and singularity alone can run.
SIF = (".sif", ".simg", ".img")
#: How the names of squashfs archives end.
SQUASHFS = (".sqfs", ".squashfs", ".sfs")

_SHELL_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_APPTAINER = ("apptainer", "singularity")


@dataclass(frozen=True)
class Refusal:
    """Why an engine cannot run an objective.

    Attributes
    ----------
    asked
        The option and what it asks for; the beginning of a sentence.
    why
        What the engine does instead; its end.
    remedy
        What to do besides naming another engine; the beginning of a sentence, empty for nothing.
    """

    asked: str
    why: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"{self.remedy}, or name" if self.remedy else "Name"
        return f"{self.asked}, but {self.why}. {remedy} another engine."


def refusal(engine: Engine, container: ContainerObjective, *, directory: bool) -> Refusal | None:
    """The first thing that an engine cannot do for an objective; None where it can do all of it.

    Parameters
    ----------
    directory
        Whether the image is a directory.
    """
    return next(_refusals(engine, container, directory), None)


def able(
    container: ContainerObjective, *, directory: bool
) -> tuple[list[Engine], list[tuple[Engine, Refusal]]]:
    """The engines that can run an objective, in the order in which to look for them, and why not the others;
    of a named engine, that one alone.
    """
    asked = ENGINES.values() if container.engine == "auto" else [ENGINES[container.engine]]
    fit: list[Engine] = []
    unfit: list[tuple[Engine, Refusal]] = []
    for engine in asked:
        found = refusal(engine, container, directory=directory)
        if found is None:
            fit.append(engine)
        else:
            unfit.append((engine, found))
    # Podman runs a directory through an overlay, which not every node lets users make; charliecloud as it is.
    fit.sort(key=lambda engine: directory and engine.name == "podman")
    return fit, unfit


def reasons(unfit: Iterable[tuple[Engine, Refusal]]) -> str:
    """Why engines were left out, in words."""
    return "; ".join(found.why for _, found in unfit)


def _refusals(engine: Engine, container: ContainerObjective, directory: bool) -> Iterator[Refusal]:
    yield from _image(engine, container.image, directory)
    name = engine.name
    if container.network == "none" and name == "charliecloud":
        yield Refusal(
            "container_options['network'] is 'none'",
            "charliecloud has the host's network and no other",
            "Leave the option out",
        )
    yield from _user(name, container.user)
    for host, target, mode in container.volumes:
        where = f"container_options['volumes'] {{}} {host!r}"
        if mode == "ro" and name == "charliecloud":
            yield Refusal(
                f"container_options['volumes'] asks for {target} to be read-only",
                "charliecloud mounts all volumes read-write",
                "Leave out ':ro'",
            )
        for path in (host, target):
            if reason := unmountable(name, path):
                yield Refusal(where.format("names"), f"{name} takes {reason}", "Use a link without it")
    if name in _APPTAINER:
        yield from _variables(name, container)


def _image(engine: Engine, image: str, directory: bool) -> Iterator[Refusal]:
    what, name = f"The container image is {image}", engine.name
    kind = image_kind(image)
    if kind not in engine.images:
        yield Refusal(what, f"{name} runs names and tar archives, and no such file")
    elif kind is Image.URI and name not in _APPTAINER and not image.startswith("docker://"):
        yield Refusal(what, f"{name} fetches docker:// alone")
    elif kind is Image.PATH and directory:
        if name == "podman" and ":" in image:
            yield Refusal(what, "podman takes the ':' in a path for a separator", "Use a link without it")
    elif kind is Image.PATH and name == "podman" and image.endswith(SIF + SQUASHFS):
        yield Refusal(what, "podman runs names and directories, and no such file")
    elif kind is Image.PATH and name == "charliecloud" and image.endswith(SIF):
        yield Refusal(what, "charliecloud runs directories and squashfs archives, and no such file")


def _user(name: str, user: str) -> Iterator[Refusal]:
    asked = f"container_options['user'] is {user!r}"
    if user == "root" and name == "docker":
        yield Refusal(
            asked,
            "root in a container of docker is the machine's root, to whom an attempt's files would belong",
            "Leave the option out",
        )
    if user == "image" and name not in ("docker", "podman"):
        yield Refusal(asked, f"{name} runs all images as the user who calls it", "Leave the option out")


def _variables(engine: str, container: ContainerObjective) -> Iterator[Refusal]:
    for name, _ in container.env_vars:
        if not _SHELL_NAME.fullmatch(name):
            yield Refusal(
                f"container_options['env_vars'] has the name {name!r}",
                f"{engine} reads variables as a shell does, which takes letters, digits and '_' alone",
                "Choose another name",
            )
        if name == "HOME":
            yield Refusal(
                "container_options['env_vars'] sets HOME",
                f"{engine} sets it itself",
                "Give ['--home', '/path'] in container_options['extra_args']",
            )
