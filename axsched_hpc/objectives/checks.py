"""Checks of single values of a user's options.

Each takes the option's full name and its value, and returns what is kept of it, or raises a ConfigError that
says what is wrong and what the option takes.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from axsched_hpc.core.errors import ConfigError, did_you_mean, wrong_value

Check = Callable[[str, Any], Any]

#: Signals that can tell a program to save: those that it can handle, and that do not mean something else.
WARNING_SIGNALS = ("USR1", "USR2", "TERM", "INT", "HUP")

_GPUS = {"nvidia": "nvidia", "all": "nvidia", "amd": "amd", "rocm": "amd"}
_TEMPLATE_SUFFIXES = (".j2", ".jinja", ".jinja2")


def a_text(name: str, value: object, wanted: str) -> str:
    """A text that is not empty."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise wrong_value(name, value, wanted)
    return text


def absolute(name: str, value: object) -> str:
    """A path, made absolute."""
    # normpath would be wrong here: it takes `link/..` for the directory of the link.
    return str(Path(a_text(name, value, "a path")).expanduser().absolute())


def seconds(name: str, value: Any) -> float:
    """Seconds above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise wrong_value(name, value, "a number of seconds above 0")
    return float(value)


def word(name: str, value: object) -> str:
    """One argument."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
        raise wrong_value(name, value, "a text or a number")
    return argument(name, os.fspath(value) if isinstance(value, os.PathLike) else str(value))


def argument(name: str, text: str) -> str:
    """A text that can be an argument."""
    if "\0" in text:
        raise wrong_value(name, text, "a text without null characters")
    return text


def words(name: str, value: object) -> tuple[str, ...]:
    """A list of arguments."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise wrong_value(name, value, "a list with one element per argument, such as ['--rate', '{rate}']")
    return tuple(word(f"{name}[{place}]", each) for place, each in enumerate(value))


def command(name: str, value: object) -> tuple[str, ...]:
    """A program and its arguments."""
    if isinstance(value, str):
        try:
            split = tuple(shlex.split(argument(name, value)))
        except ValueError as error:
            raise ConfigError(
                f"{name} {value!r} cannot be split into words ({error}). Give a list instead."
            ) from None
    else:
        split = words(name, value)
    if not split or not split[0]:
        raise wrong_value(
            name, value, "the program and its arguments, as a list or one text (no shell runs it)"
        )
    return split


def paths(name: str, value: object) -> tuple[str, ...]:
    """A list of paths, made absolute."""
    if isinstance(value, str | os.PathLike) or not isinstance(value, list | tuple):
        raise wrong_value(name, value, "a list of files and directories")
    return tuple(absolute(f"{name}[{place}]", each) for place, each in enumerate(value))


def environment(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """Variables of an environment."""
    if not isinstance(value, Mapping):
        raise wrong_value(name, value, "a dict of variables")
    for key in value:
        if not isinstance(key, str) or not re.fullmatch(r"[^=\0\s]+", key):
            raise ConfigError(f"{name} has the key {key!r}, which is no name of an environment variable.")
        if key.startswith("AXSCHED_"):
            raise ConfigError(
                f"{name} has the key {key!r}, but the names AXSCHED_… are set by axsched-hpc. Choose another."
            )
    return tuple((key, word(f"{name}[{key!r}]", each)) for key, each in value.items())


def as_given(name: str, value: object) -> object:
    """Two options that are checked together."""
    return value


def signal(name: str, value: object) -> Any:
    """A signal that tells a program to save."""
    return Choice(WARNING_SIGNALS)(name, value.removeprefix("SIG") if isinstance(value, str) else value)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    allowed: tuple[str, ...]

    def __call__(self, name: str, value: object) -> str:
        """The word."""
        if not isinstance(value, str) or value not in self.allowed:
            hint = did_you_mean(value, self.allowed) if isinstance(value, str) else ""
            words = ", ".join(self.allowed)
            raise wrong_value(
                name, value, f"one of {words}", f"{name} is {value!r:.80}, but takes {words}.{hint}"
            )
        return value


def volumes(name: str, value: object) -> tuple[tuple[str, str, str], ...]:
    """What a container sees of the host's files."""
    if not isinstance(value, Mapping):
        raise wrong_value(
            name, value, "a dict from host paths to container paths, such as {'/data': '/data:ro'}"
        )
    return tuple(volume(name, host, target) for host, target in value.items())


def volume(name: str, host: object, target: object) -> tuple[str, str, str]:
    """One volume: the host's path, the container's, and the mode."""
    path = absolute(f"{name}: the host's path", host)
    inside, _, mode = a_text(f"{name}[{host!r}]", target, "a path in the container").partition(":")
    if not inside.startswith("/") or mode not in ("", "ro", "rw"):
        wanted = "an absolute path in the container, with ':ro' or ':rw' after it if needed"
        raise wrong_value(f"{name}[{host!r}]", target, wanted)
    return path, inside, mode or "rw"


def gpus(name: str, value: object) -> str | None:
    """Whose GPUs."""
    if isinstance(value, bool):
        return "nvidia" if value else None
    if not isinstance(value, str) or value not in _GPUS:
        raise wrong_value(name, value, "True or 'nvidia' for NVIDIA's, 'amd' for AMD's, or False")
    return _GPUS[value]


def inside(name: str, value: object) -> str:
    """An absolute path in a container."""
    text = a_text(name, value, "an absolute path in the container")
    if not text.startswith("/"):
        raise wrong_value(name, value, "an absolute path in the container")
    return text


def yes_or_no(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise wrong_value(name, value, "True or False")
    return value


def megabytes(name: str, value: object) -> int:
    """A whole number of megabytes; 0 is for no limit."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise wrong_value(name, value, "a whole number of megabytes, or 0 for no limit")
    return value


def templates(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """Templates, and what is made of them in the working directory."""
    if isinstance(value, Mapping):
        pairs = [(name, source, target) for source, target in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(f"{name}[{place}]", each, None) for place, each in enumerate(value)]
    else:
        raise wrong_value(name, value, "a list of files, or a dict {file: its name in the working directory}")
    found: dict[str, str] = {}
    for where, source, target in pairs:
        path = absolute(where, source)
        made = _below(f"{name}[{source!r}]", target) if target is not None else _without_ending(Path(path))
        if made in found:
            raise ConfigError(f"{name} makes {made!r} twice, of {found[made]} and of {path}.")
        found[made] = path
    return tuple((source, made) for made, source in found.items())


def _without_ending(path: Path) -> str:
    return path.stem if path.suffix in _TEMPLATE_SUFFIXES else path.name


def _below(name: str, value: object) -> str:
    text = a_text(name, value, "a path below the working directory")
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise wrong_value(name, value, "a path below the working directory")
    return str(path)


def patterns(name: str, value: object) -> tuple[str, ...]:
    """Patterns of files below the working directory."""
    if not isinstance(value, list | tuple):
        raise wrong_value(name, value, "a list of files or patterns, such as ['*.log', 'fields/*.h5']")
    return tuple(_below(f"{name}[{place}]", each) for place, each in enumerate(value))
