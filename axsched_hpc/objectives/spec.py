"""Checks of what a user asks for: script and container options, before anything is installed or submitted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import ConfigError, ObjectiveError, did_you_mean, wrong_value
from axsched_hpc.io.parameters import FORMATS
from axsched_hpc.objectives import checks
from axsched_hpc.objectives.containers import limits
from axsched_hpc.objectives.containers.engines import ARCHIVES, ENGINES
from axsched_hpc.objectives.extraction.options import extractions
from axsched_hpc.objectives.kinds import INTERPRETERS, LOGS, ContainerObjective, ScriptObjective
from axsched_hpc.objectives.placeholders import check_placeholders

__all__ = ["WARNING", "check_placeholders", "container_objective", "script_objective", "warning_of"]

#: Seconds before the end of its job's time at which a checkpointable objective is told to save.
WARNING = 120

#: The most that sbatch takes.
_LONGEST_WARNING = 65_535

_IMAGE_SUFFIXES = (".sif", ".simg", ".sqfs", ".squashfs", ".img")


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
    values = checked("script_options", SCRIPT_OPTIONS, options)
    check_files("script_options", values)
    text = checks.a_text("script_path", script_path, "a path, or the name of a program")
    if _is_program(text, values):
        return ScriptObjective(script=text, source=text, **(values | {"in_place": True}))
    script = checks.absolute("script_path", text)
    path = Path(script)
    if not path.exists():
        hint = (
            f" If {text} is a program that only the nodes have on PATH, set script_options['in_place'] to "
            "True."
            if "/" not in text and path.suffix not in INTERPRETERS
            else ""
        )
        raise ObjectiveError(
            f"The script {script} does not exist. Give its path from the current directory, or in full.{hint}"
        )
    if not path.is_file():
        raise ObjectiveError(f"The script {script} is not a file.")
    if not os.access(path, os.R_OK):
        raise ObjectiveError(f"The script {script} cannot be read by this user.")
    if not (values.get("interpreter") or path.suffix in INTERPRETERS or os.access(path, os.X_OK)):
        raise ObjectiveError(
            f"The script {script} is neither executable nor a file of a known kind "
            f"({', '.join(INTERPRETERS)}). Make it executable (chmod +x), or name the program that runs it "
            "in script_options['interpreter']."
        )
    names = {path.name}
    for extra in values.get("copy", ()):
        name = Path(extra).name
        if name in names:
            raise ConfigError(
                f"script_options['copy'] has two files of the name {name!r}; they would lie in one directory."
            )
        names.add(name)
    script = script if values.get("in_place") else path.name
    return ScriptObjective(script=script, source=str(path), **values)


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
    values = checked("container_options", CONTAINER_OPTIONS, options)
    check_files("container_options", values)
    container = ContainerObjective(
        image=_image(image, values.get("engine", "auto")),
        command=checks.command("container_command", command),
        **values,
    )
    fit, unfit = limits.able(container, directory=Path(container.image).is_dir())
    if not fit and container.engine != "auto":
        raise ConfigError(str(unfit[0][1]))
    if not fit:
        raise ConfigError(
            f"No container engine can do what container_options ask for: {limits.reasons(unfit)}."
        )
    return container


def warning_of(what: str, checkpointable: object, warning: object = None) -> int | None:
    """When an objective is told to save: seconds before the end of its job's time, or None for never.

    Raises
    ------
    ConfigError
        A value is of the wrong type or out of range, or there is a time for nothing.
    """
    if not isinstance(checkpointable, bool):
        raise wrong_value(what.format("checkpointable"), checkpointable, "True or False")
    if warning is None:
        return WARNING if checkpointable else None
    whole = isinstance(warning, int) and not isinstance(warning, bool)
    if not whole or not 1 <= warning <= _LONGEST_WARNING:  # type: ignore[operator]
        raise wrong_value(
            what.format("warning"), warning, f"a whole number of seconds from 1 to {_LONGEST_WARNING}"
        )
    if not checkpointable:
        raise ConfigError(
            f"{what.format('warning')} is set, but the objective saves no checkpoints. Set "
            f"{what.format('checkpointable')} to True as well, or leave it out."
        )
    return warning  # type: ignore[return-value]


# ---------------------------------------------------------------- single options


def _is_program(text: str, values: Mapping[str, Any]) -> bool:
    """Whether it is a program to be looked for on PATH, here or on the nodes, and no file of the user's."""
    if "/" in text or Path(text).exists():
        return False
    return bool(values.get("in_place")) or (
        Path(text).suffix not in INTERPRETERS and bool(shutil.which(text))
    )


def _exists(name: str, path: str) -> None:
    if not Path(path).exists():
        raise ObjectiveError(f"{name} names {path}, which does not exist.")


def check_files(what: str, values: Mapping[str, Any]) -> None:
    """Check what is brought into the working directory: that it is there, and that nothing is there twice."""
    made: dict[str, str] = {}
    for source, target in values.get("templates", ()):
        _exists(f"{what}['templates']", source)
        if not Path(source).is_file():
            raise ObjectiveError(f"{what}['templates'] names {source}, which is not a file.")
        made[target.split("/")[0]] = f"{what}['templates'] ({source})"
    for extra in values.get("copy", ()):
        _exists(f"{what}['copy']", extra)
    for option in ("inputs", "link"):
        for source in values.get(option, ()):
            _exists(f"{what}['{option}']", source)
            name, where = Path(source).name, f"{what}['{option}'] ({source})"
            if name in made:
                raise ConfigError(f"{where} and {made[name]} both make {name!r} in the working directory.")
            made[name] = where
    if values.get("stage_out") is not None and not values.get("scratch"):
        raise ConfigError(
            f"{what}['stage_out'] says what is copied back from a disk of the node, but the working "
            f"directory is on none. Set {what}['scratch'] to True as well, or leave it out."
        )
    own = next((name for name in ("working_directory", "workdir") if values.get(name)), None)
    placed = next((name for name in ("templates", "inputs", "link", "scratch") if values.get(name)), None)
    if own and placed:
        raise ConfigError(
            f"{what}['{placed}'] belongs to the working directory that each attempt has of its own, and "
            f"{what}['{own}'] names one for all. Leave one of them out."
        )
    for wanted in values.get("extract", ()):
        if own and wanted.file not in LOGS:
            raise ConfigError(
                f"{what}['extract'] reads {wanted.metric!r} from {wanted.file} in the working directory, and "
                f"{what}['{own}'] names one for all trials, which would overwrite each other's. Leave the "
                "latter out, or write the metric to stdout."
            )


def checked(what: str, known: Mapping[str, checks.Check], options: object) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{what} takes a dict of options, not {type(options).__name__}.")
    values = {}
    for key, value in options.items():
        name = f"{what}[{key!r}]"
        check = known.get(key)
        if check is None:
            raise ConfigError(f"Unknown key {key!r} in {what}.{did_you_mean(str(key), list(known))}")
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


def _image(image: object, engine: str) -> str:
    text = checks.a_text("container_image", image, "an image's name or path")
    if text.startswith("-"):
        raise wrong_value("container_image", text, "an image's name or path, which does not start with '-'")
    path = Path(text).expanduser()
    looks_like_path = text.startswith(("/", "./", "../", "~")) or path.suffix in _IMAGE_SUFFIXES
    looks_like_path |= text.endswith(ARCHIVES) and ":" not in text
    # A bare name may be a directory here by chance; where only paths or an own storage count, it is meant.
    if not looks_like_path and not (engine in ("apptainer", "singularity", "charliecloud") and path.exists()):
        return text
    if not path.exists():
        raise ObjectiveError(
            f"The container image {path.absolute()} does not exist. Build it, or correct its path."
        )
    return str(path.absolute())


_CHECKPOINT_CHECKS: dict[str, checks.Check] = {
    "checkpointable": checks.as_given,
    "warning": checks.as_given,
    "warning_signal": checks.signal,
}

_FILE_CHECKS: dict[str, checks.Check] = {
    "templates": checks.templates,
    "inputs": checks.paths,
    "extract": extractions,
    "scratch": checks.yes_or_no,
    "stage_out": checks.patterns,
    "output_limit": checks.megabytes,
}

SCRIPT_OPTIONS: dict[str, checks.Check] = {
    "interpreter": checks.command,
    "args": checks.words,
    "environment": checks.environment,
    "timeout": checks.seconds,
    "working_directory": checks.absolute,
    "copy": checks.paths,
    "parameters_format": checks.Choice(FORMATS),
    "link": checks.paths,
    "in_place": checks.yes_or_no,
    **_FILE_CHECKS,
    **_CHECKPOINT_CHECKS,
}

CONTAINER_OPTIONS: dict[str, checks.Check] = {
    "engine": checks.Choice(("auto", *ENGINES)),
    "volumes": checks.volumes,
    "env_vars": checks.environment,
    "gpus": checks.gpus,
    "workdir": checks.inside,
    "extra_args": checks.words,
    "network": checks.Choice(("host", "none")),
    "user": checks.Choice(("auto", "self", "root", "image")),
    "image_cache": checks.absolute,
    "timeout": checks.seconds,
    **_FILE_CHECKS,
    **_CHECKPOINT_CHECKS,
}
