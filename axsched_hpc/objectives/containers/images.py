"""Images that have to be fetched or converted before jobs can run them: what has to be done.

Some engines run a file or directory, which all nodes see: it is made once (a *product*). Others run what is
in a storage of each node's own: there an image gets a name of ours that tells its content, so that all trials
run the same one, and each node takes it from an archive. :mod:`.maker` does it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from pathlib import Path

from axsched_hpc.objectives.containers.engines import ARCHIVES, Engine, Image, image_kind

#: With it an engine that has a storage fetches nothing by itself, and says that it does not know an image.
NO_PULL = "--pull=never"

#: What such an engine then exits with; the command has not begun.
UNKNOWN_CODE = 125

Argv = tuple[str, ...]


class Need(Enum):
    """What has to be done before an engine can run an image."""

    NOTHING = auto()  #: it runs it as it is, or gets it by itself
    PRODUCT = auto()  #: a file or directory is made of it
    STORED = auto()  #: it is fetched, and each node's storage takes it
    LOADED = auto()  #: it is an archive, which each node's storage takes


class Archive(Enum):
    """What a tar archive holds."""

    DOCKER = auto()  #: layers, as ``docker save`` writes them
    OCI = auto()  #: layers, by the specification of the Open Container Initiative
    FLAT = auto()  #: a file system, as ``docker export`` writes it


class Unsuitable(Exception):
    """An engine cannot do anything with an image; the message says what can be done instead."""


# What apptainer can pull; other schemes, such as instance://, are for it alone.
_SCHEMES = ("docker", "oras", "library", "shub", "http", "https")

# Ways of skopeo's libraries to name an image, which engines know by themselves.
_TRANSPORTS = ("docker-archive", "docker-daemon", "oci-archive", "oci", "dir", "containers-storage")

# Patterns are compiled when they are needed, which most jobs never do.
_UNSAFE = "[^A-Za-z0-9._-]+"
# Docker calls layers and configurations by their digests.
_LAYER = r"[0-9a-f]{64}(\.tar|\.json|/|$)"
_UNKNOWN = r"(?i)(?:error|docker|podman): .*(?:image not known|no such image)"
_NO_SERVICE = "Cannot connect to the Docker daemon|trying to connect to the Docker daemon"
_LOADED = r"(?m)^Loaded image(?: ID|\(s\))?: (.+)$"
_DIGEST = r"(?m)^(?:sha256:)?([0-9a-f]{64})\s*$"


def need(engine: Engine, image: str, extra: Sequence[str] = ()) -> Need:
    """What has to be done before an engine can run an image.

    Parameters
    ----------
    extra
        The user's own options for the engine. One who says when an image is pulled wants the engine to do it.
    """
    kind, stored = image_kind(image), engine.name in ("podman", "docker")
    if kind is Image.PATH or image.partition(":")[0] in _TRANSPORTS:
        return Need.NOTHING
    if stored and any(word.partition("=")[0] == "--pull" for word in extra):
        return Need.NOTHING
    if kind is Image.ARCHIVE:
        return Need.LOADED if stored else Need.PRODUCT
    scheme = image.partition("://")[0] if kind is Image.URI else "docker"
    if stored:
        return Need.STORED if scheme == "docker" else Need.NOTHING
    return Need.PRODUCT if scheme in _SCHEMES else Need.NOTHING


def name(image: str) -> str:
    """An image's name in a registry."""
    return image.removeprefix("docker://")


def key(engine: Engine, image: str, machine: str, stamp: tuple[int, int] | None = None) -> str:
    """What is made of an image is called so. Each engine makes its own, on each kind of machine.

    Parameters
    ----------
    machine
        The kind of machine, as the kernel has it: registries give each the image that it can run.
    stamp
        An archive's size in bytes, and its time of change in nanoseconds.
    """
    text = json.dumps([engine.name, name(image), machine, stamp])
    short = name(image).rpartition("/")[2]
    for suffix in ARCHIVES:
        short = short.removesuffix(suffix)
    short = re.sub(_UNSAFE, "-", short)[:40].strip(".-")
    return f"{short or 'image'}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


# ---------------------------------------------------------------- products


def product(engine: Engine, key: str) -> str:
    """Name of the file or directory that is made of an image."""
    return key if engine.name == "charliecloud" else f"{key}.sif"


def archive_kind(members: Iterable[str]) -> Archive:
    """What a tar archive holds, by the names of its members; reads no more of them than it has to."""
    layers = Archive.FLAT
    for member in members:
        path = member.removeprefix("./").rstrip("/")
        if path == "manifest.json" or re.match(_LAYER, path):
            return Archive.DOCKER
        if path in ("oci-layout", "index.json") or path.partition("/")[0] == "blobs":
            # Of later versions, docker save writes what is an archive of both kinds.
            layers = Archive.OCI
        elif path not in ("", ".") and layers is Archive.FLAT:
            return layers
    return layers


def recipes(
    engine: Engine, image: str, archive: Archive | None, made: Path, scratch: Path
) -> tuple[tuple[Argv, ...], ...]:
    """How a product is made: command lines to run one after the other. There can be several such ways, of
    which the first that works is enough.

    Parameters
    ----------
    archive
        What it holds, where the image is an archive.
    made
        Where the product is to lie; nothing is there.
    scratch
        An empty directory.

    Raises
    ------
    Unsuitable
        The engine cannot make one of such an archive.
    """
    if archive is not None:
        return ((_from_archive(engine, image, archive, made, scratch),),)
    if engine.name == "charliecloud":
        convert = _ch_convert("ch-image", name(image), made, scratch)
        # An image that was built or pulled by hand needs no registry.
        return ((convert,), (("ch-image", "pull", name(image)), convert))
    uri = image if "://" in image else f"docker://{image}"
    return (((engine.program, "pull", str(made), uri),),)


def programs(engine: Engine, image: str) -> set[str]:
    """The programs that are needed to make a product."""
    if engine.name != "charliecloud":
        return {engine.program}
    return {"ch-convert"} if image_kind(image) is Image.ARCHIVE else {"ch-convert", "ch-image"}


def _from_archive(engine: Engine, image: str, archive: Archive, made: Path, scratch: Path) -> Argv:
    if engine.name == "charliecloud":
        if archive is not Archive.FLAT:
            raise Unsuitable(
                "it holds the layers of an image, as `docker save` writes them, and charliecloud takes the "
                "archive of a file system only. Write that with `docker export` or `podman export`, or name "
                "another engine"
            )
        return _ch_convert("tar", image, made, scratch)
    if archive is Archive.FLAT:
        raise Unsuitable(
            f"it holds a file system, as `docker export` writes it, and {engine.name} takes the archive of "
            "an image only. Write that with `docker save` or `podman save`; or unpack it, and give the "
            "directory"
        )
    if ":" in image:
        raise Unsuitable(f"{engine.name} takes ':' in a path for the begin of a name. Call it otherwise")
    transport = "docker-archive" if archive is Archive.DOCKER else "oci-archive"
    return engine.program, "build", str(made), f"{transport}:{image}"


def _ch_convert(form: str, image: str, made: Path, scratch: Path) -> Argv:
    return "ch-convert", "-i", form, "-o", "dir", "--tmp", str(scratch), image, str(made)


# ---------------------------------------------------------------- engines with a storage


def reference(identity: str) -> str:
    """Our name of an image in an engine's storage.

    Parameters
    ----------
    identity
        The image's digest in that storage, or the key of an archive.
    """
    return f"localhost/axsched:{identity.removeprefix('sha256:').rpartition('-')[2][:48]}"


def identify(program: str, image: str) -> Argv:
    """Fails where the storage does not know the image, and prints its digest otherwise."""
    return program, "image", "inspect", "--format", "{{.Id}}", image


def digest(said: str) -> str | None:
    """The digest in the answer to :func:`identify`; warnings may be around it."""
    found = re.search(_DIGEST, said)
    return None if found is None else found[1]


def pull(program: str, image: str) -> Argv:
    """Fetch an image from its registry."""
    return program, "pull", name(image)


def tag(program: str, image: str, reference: str) -> Argv:
    """Give an image in the storage our name."""
    return program, "tag", image, reference


#: An archive is written and read by this name, in the working directory: podman takes no path with a colon.
ARCHIVE = "image.tar"


def save(program: str, reference: str) -> Argv:
    """Write an image from the storage to :data:`ARCHIVE`, which is not there yet."""
    return program, "save", "-o", ARCHIVE, reference


def load(program: str, archive: Archive, reference: str) -> Argv:
    """Take :data:`ARCHIVE` into the storage; a flat one gets our name at once."""
    if archive is Archive.FLAT:
        return program, "import", ARCHIVE, reference
    return program, "load", "-i", ARCHIVE


def loaded(said: str) -> list[str]:
    """The images that ``load`` says it has taken into the storage."""
    return [each.strip() for line in re.findall(_LOADED, said) for each in line.split(",")]


def unknown(code: int, lines: Sequence[str], reference: str) -> bool:
    """Whether an engine exited because its storage does not know an image: the command has not begun."""
    said = (line for line in lines[-5:] if re.match(_UNKNOWN, line))
    return code == UNKNOWN_CODE and any(reference in line for line in said)


def no_service(lines: Sequence[str]) -> bool:
    """Whether an engine says that the service which does its work cannot be reached from here."""
    return any(re.search(_NO_SERVICE, line) for line in lines)
