"""What each trial of a project runs: the objective's own checks, and what they say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from axsched_hpc.core.errors import ConfigError, ObjectiveError
from axsched_hpc.objectives import checks, spec
from axsched_hpc.objectives.kinds import ContainerObjective, ScriptObjective
from axsched_hpc.objectives.placeholders import check_placeholders
from axsched_hpc.project.findings import Findings
from axsched_hpc.project.keys import kind_of_objective
from axsched_hpc.project.model import Function

T = TypeVar("T")

_WAY = ("objective",)


def objective(
    findings: Findings, data: Mapping[str, Any], parameters: Iterable[str]
) -> ScriptObjective | ContainerObjective | Function | None:
    """The objective, which is None where something is wrong with it.

    Relative paths are those of the current directory.
    """
    given = data.get("objective")
    if not isinstance(given, dict):
        return None
    kind = kind_of_objective(given)
    if kind is None:
        return None
    # What is wrong by itself was told; the rest is looked at without it.
    options = {key: each for key, each in given.items() if findings.good(*_WAY, key) and key != kind}
    if kind == "function":
        return _function(findings, given, options)
    known = spec.CONTAINER_OPTIONS if kind == "container" else spec.SCRIPT_OPTIONS
    options = {key: each for key, each in options.items() if key in known}
    values = _told(findings, lambda: spec.checked("objective", known, options))
    if values is not None:
        _told(findings, lambda: spec.check_files("objective", values))
    ready = findings.good(*_WAY, kind) and (kind != "container" or findings.good(*_WAY, "command"))
    whole = findings.good(*_WAY)
    _placeholders(findings, kind, given, values or {}, tuple(parameters))
    return _made(findings, kind, given, options, whole=whole) if ready else None


def _placeholders(
    findings: Findings, kind: str, given: Mapping[str, Any], values: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    """Note each placeholder without a value, also where there is no such script or image."""
    key = "args" if kind == "script" else "command"
    arguments: tuple[str, ...] = ()
    if key in given and findings.good(*_WAY, key):
        arguments = checks.command(key, given[key]) if key == "command" else values.get("args", ())
    for argument in arguments:
        one: ScriptObjective | ContainerObjective = ScriptObjective(script="", source="", args=(argument,))
        if kind == "container":
            one = ContainerObjective(image="", command=(argument,))
        _told(findings, partial(check_placeholders, one, names))
    if values.get("templates") and findings.good(*_WAY, "templates"):
        decks = ScriptObjective(script="", source="", templates=values["templates"])
        _told(findings, lambda: check_placeholders(decks, names))


def _made(
    findings: Findings, kind: str, given: Mapping[str, Any], options: dict[str, Any], *, whole: bool
) -> ScriptObjective | ContainerObjective | None:
    if kind == "container":
        image, command = given["container"], given["command"]
        chosen = options if whole else {key: each for key, each in options.items() if key == "engine"}
        return _told(findings, lambda: spec.container_objective(image, command, chosen))
    if kind == "script":
        script, chosen = given["script"], options
        if not whole:
            alone = ("interpreter", "in_place", "args")
            chosen = {key: each for key, each in options.items() if key in alone}
    else:
        script, *arguments = checks.command("objective.command", given["command"])
        chosen = {**(options if whole else {}), "args": arguments, "in_place": True}
    return _told(findings, lambda: spec.script_objective(script, chosen))


def _told(findings: Findings, action: Callable[[], T]) -> T | None:
    try:
        return action()
    except (ConfigError, ObjectiveError) as error:
        findings.take(_WAY, error)
        return None


def _function(findings: Findings, given: Mapping[str, Any], options: Mapping[str, Any]) -> Function | None:
    checkpointable, warning = options.get("checkpointable", False), options.get("warning")
    seconds = _told(findings, lambda: (spec.warning_of("objective.{}", checkpointable, warning),))
    if not findings.good(*_WAY, "function"):
        return None
    module, _, name = given["function"].partition(":")
    if not _is_there(module):
        findings.add(
            (*_WAY, "function"),
            f"objective.function names the module {module!r}, which is neither here ({Path.cwd()}) nor "
            "installed with axsched.",
        )
    return None if seconds is None else Function(module, name, checkpointable, warning)


def _is_there(module: str) -> bool:
    """Whether a module can be found, without importing anything of it."""
    first = module.partition(".")[0]
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.util.find_spec(first) is not None
    except (ImportError, ValueError):
        return False
    finally:
        sys.path.pop(0)
