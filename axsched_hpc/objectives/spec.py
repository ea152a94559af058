"""Checks of what a user asks for: script and container options, before anything is installed or submitted."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ConfigError, ObjectiveError, did_you_mean
from axsched_hpc.io.parameters import FORMATS
from axsched_hpc.objectives.engines import ENGINES
from axsched_hpc.objectives.kinds import ContainerObjective, ScriptObjective
from axsched_hpc.objectives.placeholders import check_placeholders

__all__ = ["WARNING", "check_placeholders", "container_objective", "script_objective", "warning_of"]

#: Seconds before the end of its job's time at which a checkpointable objective is told to save.
WARNING = 120

#: The most that sbatch takes.
_LONGEST_WARNING = 65_535

#: Signals that can tell a program to save: those that it can handle, and that do not mean something else.
_WARNING_SIGNALS = ("USR1", "USR2", "TERM", "INT", "HUP")

_IMAGE_SUFFIXES = (".sif", ".simg", ".sqfs", ".squashfs", ".img")
_GPUS = {"nvidia": "nvidia", "all": "nvidia", "amd": "amd", "rocm": "amd"}


def script_objective(
    script_path: str | os.PathLike[str], options: Mapping[str, Any] | None = None
) -> ScriptObjective:
    """Check a script and its options.

    Raises
    ------
    ConfigError
        An option is unknown, of the wrong type or out of range.
    ObjectiveError
        The script, or a file to put beside it, is missing or cannot be run.
    """
    values = _checked("script_options", _SCRIPT_CHECKS, options)
    script = _absolute("script_path", script_path)
    path = Path(script)
    if not path.exists():
        raise ObjectiveError(
            f"The script {script} does not exist. Give its path from the current directory, or in full."
        )
    if not path.is_file():
        raise ObjectiveError(f"The script {script} is not a file.")
    if not os.access(path, os.R_OK):
        raise ObjectiveError(f"The script {script} cannot be read by this user.")
    if not (values.get("interpreter") or path.suffix in (".py", ".sh") or os.access(path, os.X_OK)):
        raise ObjectiveError(
            f"The script {script} is neither executable nor a .py or .sh file. Make it executable (chmod "
            "+x), or name the program that runs it in script_options['interpreter']."
        )
    names = {path.name}
    for extra in values.get("copy", ()):
        name = Path(extra).name
        if not Path(extra).exists():
            raise ObjectiveError(f"script_options['copy'] names {extra}, which does not exist.")
        if name in names:
            raise ConfigError(
                f"script_options['copy'] has two files of the name {name!r}; they would lie in one directory."
            )
        names.add(name)
    return ScriptObjective(script=path.name, source=script, **values)


def container_objective(
    image: str | os.PathLike[str], command: object, options: Mapping[str, Any] | None = None
) -> ContainerObjective:
    """Check a container image, command and options, as far as that can be known where the driver runs.

    Raises
    ------
    ConfigError
        An option is unknown, of the wrong type or out of range.
    ObjectiveError
        The image is a file or directory that is missing.
    """
    values = _checked("container_options", _CONTAINER_CHECKS, options)
    engine = values.get("engine", "auto")
    if engine == "charliecloud" and any(mode == "ro" for _, _, mode in values.get("volumes", ())):
        raise ConfigError(
            "container_options['volumes'] asks for a read-only volume, but charliecloud mounts all volumes "
            "read-write. Leave out ':ro', or name another engine."
        )
    return ContainerObjective(
        image=_image(image, engine), command=_command("container_command", command), **values
    )


def warning_of(what: str, checkpointable: object, warning: object = None) -> int | None:
    """When an objective is told to save: seconds before the end of its job's time, or None for never.

    Raises
    ------
    ConfigError
        A value is of the wrong type or out of range, or there is a time for nothing.
    """
    if not isinstance(checkpointable, bool):
        raise _wrong(what.format("checkpointable"), checkpointable, "True or False")
    if warning is None:
        return WARNING if checkpointable else None
    whole = isinstance(warning, int) and not isinstance(warning, bool)
    if not whole or not 1 <= warning <= _LONGEST_WARNING:  # type: ignore[operator]
        raise _wrong(
            what.format("warning"), warning, f"a whole number of seconds from 1 to {_LONGEST_WARNING}"
        )
    if not checkpointable:
        raise ConfigError(
            f"{what.format('warning')} is set, but the objective saves no checkpoints. Set "
            f"{what.format('checkpointable')} to True as well, or leave it out."
        )
    return warning  # type: ignore[return-value]


# ---------------------------------------------------------------- checks of single values

Check = Callable[[str, Any], Any]


def _checked(what: str, checks: Mapping[str, Check], options: object) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{what} takes a dict of options, not {type(options).__name__}.")
    values = {}
    for key, value in options.items():
        name = f"{what}[{key!r}]"
        check = checks.get(key)
        if check is None:
            raise ConfigError(f"Unknown key {key!r} in {what}.{did_you_mean(str(key), list(checks))}")
        if value is not None:
            values[key] = check(name, value)
    if "warning_signal" in values and not values.get("checkpointable"):
        raise ConfigError(
            f"{what}['warning_signal'] is set, but the objective saves no checkpoints. Set "
            f"{what}['checkpointable'] to True as well, or leave it out."
        )
    checkpointable = values.pop("checkpointable", False)
    values["warning"] = warning_of(f"{what}[{{!r}}]", checkpointable, values.get("warning"))
    return values


def _wrong(name: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(f"{name} is {value!r:.120} ({type(value).__name__}), but takes {wanted}.")


def _text(name: str, value: object, wanted: str) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise _wrong(name, value, wanted)
    return text


def _absolute(name: str, value: object) -> str:
    # normpath would be wrong here: it takes `link/..` for the directory of the link.
    return str(Path(_text(name, value, "a path")).expanduser().absolute())


def _seconds(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise _wrong(name, value, "a number of seconds above 0")
    return float(value)


def _word(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | os.PathLike):
        raise _wrong(name, value, "a text or a number")
    return _argument(name, os.fspath(value) if isinstance(value, os.PathLike) else str(value))


def _argument(name: str, text: str) -> str:
    if "\0" in text:
        raise _wrong(name, text, "a text without null characters")
    return text


def _words(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list with one element per argument, such as ['--rate', '{rate}']")
    return tuple(_word(f"{name}[{place}]", each) for place, each in enumerate(value))


def _command(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            words = tuple(shlex.split(_argument(name, value)))
        except ValueError as error:
            raise ConfigError(
                f"{name} {value!r} cannot be split into words ({error}). Give a list instead."
            ) from None
    else:
        words = _words(name, value)
    if not words or not words[0]:
        raise _wrong(name, value, "the program and its arguments, as a list or one text (no shell runs it)")
    return words


def _paths(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str | os.PathLike) or not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list of files and directories")
    return tuple(_absolute(f"{name}[{place}]", each) for place, each in enumerate(value))


def _environment(name: str, value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a dict of variables")
    for key in value:
        if not isinstance(key, str) or not re.fullmatch(r"[^=\0\s]+", key):
            raise ConfigError(f"{name} has the key {key!r}, which is no name of an environment variable.")
        if key.startswith("AXSCHED_"):
            raise ConfigError(
                f"{name} has the key {key!r}, but the names AXSCHED_… are set by axsched-hpc. Choose another."
            )
    return tuple((key, _word(f"{name}[{key!r}]", each)) for key, each in value.items())


def _as_given(name: str, value: object) -> object:
    # Two options that are checked together.
    return value


def _signal(name: str, value: object) -> Any:
    return _choice(*_WARNING_SIGNALS)(name, value.removeprefix("SIG") if isinstance(value, str) else value)


def _choice(*allowed: str) -> Check:
    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
            raise ConfigError(f"{name} is {value!r:.80}, but takes {', '.join(allowed)}.{hint}")
        return value

    return check


def _volumes(name: str, value: object) -> tuple[tuple[str, str, str], ...]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a dict from host paths to container paths, such as {'/data': '/data:ro'}")
    return tuple(_volume(name, host, target) for host, target in value.items())


def _volume(name: str, host: object, target: object) -> tuple[str, str, str]:
    path = _absolute(f"{name}: the host's path", host)
    inside, _, mode = _text(f"{name}[{host!r}]", target, "a path in the container").partition(":")
    if not inside.startswith("/") or mode not in ("", "ro", "rw"):
        wanted = "an absolute path in the container, with ':ro' or ':rw' after it if needed"
        raise _wrong(f"{name}[{host!r}]", target, wanted)
    if ":" in path:
        raise ConfigError(
            f"{name} has the host's path {path!r}; engines take the ':' in it for a separator. Use a link."
        )
    return path, inside, mode or "rw"


def _gpus(name: str, value: object) -> str | None:
    if isinstance(value, bool):
        return "nvidia" if value else None
    if not isinstance(value, str) or value not in _GPUS:
        raise _wrong(name, value, "True or 'nvidia' for NVIDIA's, 'amd' for AMD's, or False")
    return _GPUS[value]


def _inside(name: str, value: object) -> str:
    text = _text(name, value, "an absolute path in the container")
    if not text.startswith("/"):
        raise _wrong(name, value, "an absolute path in the container")
    return text


def _image(image: object, engine: str) -> str:
    text = _text("container_image", image, "an image's name or path")
    if text.startswith("-"):
        raise _wrong("container_image", text, "an image's name or path, which does not start with '-'")
    path = Path(text).expanduser()
    looks_like_path = text.startswith(("/", "./", "../", "~")) or path.suffix in _IMAGE_SUFFIXES
    # A bare name may be a directory here by chance; where only paths or an own storage count, it is meant.
    if not looks_like_path and not (engine in ("apptainer", "singularity", "charliecloud") and path.exists()):
        return text
    if not path.exists():
        raise ObjectiveError(
            f"The container image {path.absolute()} does not exist. Build it, or correct its path."
        )
    return str(path.absolute())


_CHECKPOINT_CHECKS: dict[str, Check] = {
    "checkpointable": _as_given,
    "warning": _as_given,
    "warning_signal": _signal,
}

_SCRIPT_CHECKS: dict[str, Check] = {
    "interpreter": _command,
    "args": _words,
    "environment": _environment,
    "timeout": _seconds,
    "working_directory": _absolute,
    "copy": _paths,
    "parameters_format": _choice(*FORMATS),
    **_CHECKPOINT_CHECKS,
}

_CONTAINER_CHECKS: dict[str, Check] = {
    "engine": _choice("auto", *ENGINES),
    "volumes": _volumes,
    "env_vars": _environment,
    "gpus": _gpus,
    "workdir": _inside,
    "extra_args": _words,
    "timeout": _seconds,
    **_CHECKPOINT_CHECKS,
}
