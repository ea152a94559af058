"""The files of ``slurm_templates``: installed with the package, and read from wherever it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePosixPath

from axsched_hpc.core.errors import ConfigError, did_you_mean

#: The folder of profiles, and what the name of one ends with.
PROFILES, SUFFIX = "profiles", ".yaml"

_FOLDER = files("axsched_hpc") / "slurm_templates"


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
    return (_FOLDER / str(where(name))).read_text(encoding="utf-8")


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
    found = _FOLDER / folder if folder else _FOLDER
    return sorted(entry.name for entry in found.iterdir())
