"""The files of ``slurm_templates``: installed with the package, and read from wherever it is."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from axsched_hpc.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The folder of profiles, and what the name of one ends with.
PROFILES, SUFFIX = "profiles", ".yaml"


def profile_names() -> list[str]:
    """The names of the built-in profiles."""
    return [name.removesuffix(SUFFIX) for name in _listed(PROFILES) if name.endswith(SUFFIX)]


def names() -> list[str]:
    """The names of all templates: profiles by their own, batch scripts by those of their files."""
    scripts = [name for name in _listed("") if name.endswith((".sbatch", ".sh"))]
    return [*scripts, *profile_names()]


def read(name: str) -> str:
    """The text of a template.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    known = names()
    if name not in known:
        raise ConfigError(f"There is no template {name!r}.{did_you_mean(name, known)}")
    return (_folder() / str(where(name))).read_text(encoding="utf-8")


def where(name: str) -> PurePosixPath:
    """Where a template lies in the folder."""
    return PurePosixPath(PROFILES, f"{name}{SUFFIX}") if name in profile_names() else PurePosixPath(name)


def summary(text: str) -> str:
    """What a template is, from the first sentence of its first comment."""
    for line in text.splitlines():
        if line.startswith("# "):
            return line.removeprefix("# ").partition(". ")[0].rstrip(".")
    return ""


def _listed(folder: str) -> list[str]:
    found = _folder() / folder if folder else _folder()
    return sorted(entry.name for entry in found.iterdir())


@cache
def _folder() -> Traversable:
    # Imported here, since it takes 10 ms, which commands that need no template do without.
    from importlib.resources import files

    return files("axsched_hpc") / "slurm_templates"
