"""A site's profile: the settings of its cluster, once, in a YAML file.

``runner`` holds the arguments of SlurmRunner by name, ``driver`` those of the driver's own job. What the
values mean is checked by whom they are for; here are the file, its place, and its keys.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ConfigError, did_you_mean
from axsched_hpc.io import yaml_text
from axsched_hpc.slurm import templates

#: Names the profile where nothing else does.
VARIABLE = "AXSCHED_PROFILE"

#: The profile of a user's directory that counts where none is named.
DEFAULT = "default"

_SECTIONS = ("runner", "driver")
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Profile:
    """What a profile says.

    Attributes
    ----------
    where
        The path of its file, or the name of a built-in one.
    runner, driver
        Its two sections.
    lines
        The line of each key, by its path such as ``("runner", "partition")``.
    """

    where: str
    runner: Mapping[str, Any] = field(default_factory=dict)
    driver: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def check(self, section: str, known: Sequence[str]) -> None:
        """Refuse keys of a section that are not known.

        Raises
        ------
        ConfigError
            Names the file, the line and the nearest known key.
        """
        for key in getattr(self, section):
            if key not in known:
                line = self.lines.get((section, str(key)))
                raise _wrong(
                    self.where, line, f"unknown key {str(key)!r} in {section}.{did_you_mean(str(key), known)}"
                )


def load(profile: str | os.PathLike[str] | None = None) -> Profile | None:
    """The profile of that name or path; without one that of AXSCHED_PROFILE; else the user's ``default``.

    Returns
    -------
    Profile or None
        None where no profile is named and the user has no default one.

    Raises
    ------
    ConfigError
        There is no such profile, it cannot be read, is no profile, or others can write it.
    """
    chosen = os.fspath(profile) if profile is not None else os.environ.get(VARIABLE, "")
    folder = user_directory()
    if not chosen:
        path = folder / f"{DEFAULT}{templates.SUFFIX}"
        return parse(_read(path, trusted=False), str(path)) if path.is_file() else None
    if is_path(chosen):
        path = Path(chosen).expanduser().absolute()
        return parse(_read(path, trusted=path.parent != folder), str(path))
    path = folder / f"{chosen}{templates.SUFFIX}"
    if path.is_file():
        return parse(_read(path, trusted=False), str(path))
    if chosen in templates.profile_names():
        return parse(templates.read(chosen), chosen)
    raise ConfigError(
        f"There is no profile {chosen!r}: neither {path} nor a built-in one."
        f"{did_you_mean(chosen, [*user_profiles(), *templates.profile_names()])} A path has a / in it, or "
        f"ends with {templates.SUFFIX}."
    )


def user_directory() -> Path:
    """``$XDG_CONFIG_HOME/axsched``, or ``~/.config/axsched``."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG base directory specification has relative ones ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "axsched"


def user_profiles() -> list[str]:
    """The names of the profiles in the user's directory."""
    try:
        found = [path.name for path in user_directory().iterdir()]
    except OSError:
        return []
    return sorted(name.removesuffix(templates.SUFFIX) for name in found if name.endswith(templates.SUFFIX))


def is_path(profile: str) -> bool:
    """Whether this is the path of a profile, and not the name of one."""
    return "/" in profile or profile.endswith((templates.SUFFIX, ".yml"))


def parse(text: str, where: str) -> Profile:
    """What a profile's text says.

    Raises
    ------
    ConfigError
        It is no YAML, or not of this form; names the line.
    """
    found = yaml_text.read(text)
    for line, what in found.problems:
        raise _wrong(where, line, what)
    data = found.data
    lines = {tuple(map(str, way)): line for way, line in found.lines.items()}
    if data is None:
        return Profile(where)
    if not isinstance(data, dict):
        raise _wrong(where, 1, f"a profile has the sections {' and '.join(_SECTIONS)}, and this is none.")
    for key, section in data.items():
        line = lines.get((str(key),))
        if key not in _SECTIONS:
            raise _wrong(where, line, f"unknown section {str(key)!r}.{did_you_mean(str(key), _SECTIONS)}")
        if section is not None and not isinstance(section, dict):
            raise _wrong(where, line, f"{key} takes keys with values, not {section!r:.80}.")
    return Profile(where, data.get("runner") or {}, data.get("driver") or {}, lines)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others put over them; where both have a dict, its entries one by one."""
    both = dict(base)
    for key, value in over.items():
        mine = both.get(key)
        both[key] = merged(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return both


def _read(path: Path, *, trusted: bool) -> str:
    """A profile's text. Its shell lines run as the user, so nobody else may have written them; what the user
    names by its path, such as a site's own or one shared by a group, is the user's choice, as a script's is.
    """
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise ConfigError(f"{path} is no regular file, so it is no profile.")
            others = stat.S_IWOTH if trusted else stat.S_IWOTH | stat.S_IWGRP
            mine = trusted or about.st_uid in (os.geteuid(), 0)
            if about.st_mode & others or not mine:
                raise ConfigError(
                    f"{path} can be written by others, and its lines would run as you. Look through it, "
                    f"then: chmod go-w {path}" + ("" if mine else f"; chown {os.geteuid()} {path}")
                )
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"The profile {path} cannot be read: {error.strerror or error}.") from None
    if len(raw) > _LARGEST:
        raise ConfigError(f"{path} is larger than a megabyte, so it is no profile.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}).") from None


def _wrong(where: str, line: int | None, what: str) -> ConfigError:
    place = f"{where}, line {line}" if line is not None else where
    return ConfigError(f"Profile {place}: {what}")
