"""``{name}`` in the arguments of scripts and container commands.

A name is replaced inside its element, which stays one argument whatever the value holds. ``{{name}}`` stands
for ``{name}`` itself. Braces around something that is no name, as in ``{"a": 1}``, are text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from axsched_hpc.core.errors import ObjectiveError, did_you_mean
from axsched_hpc.objectives.kinds import ContainerObjective, Objective, ScriptObjective

SCRIPT_NAMES = ("parameters", "metrics", "trial", "attempt", "workdir")
CONTAINER_NAMES = ("params_file", "output_file", "trial", "attempt", "workdir")

_BRACES = re.compile(r"\{\{([^{}]*)\}\}|\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")


def expand(arguments: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Arguments with their placeholders replaced; a name without a value stays as it is."""

    def replace(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped is not None:
            return f"{{{escaped}}}" if _is_name(escaped, values) else str(match[0])
        return values.get(name, str(match[0]))

    return [_BRACES.sub(replace, argument) for argument in arguments]


def check_placeholders(objective: Objective, parameter_names: Sequence[str]) -> None:
    """Check, before anything is submitted, that every placeholder has a value.

    Raises
    ------
    ObjectiveError
        A placeholder is unknown, or means both a parameter and a file.
    """
    match objective:
        case ScriptObjective():
            arguments, own, where = objective.args, SCRIPT_NAMES, "script_options['args']"
        case ContainerObjective():
            arguments, own, where = objective.command, CONTAINER_NAMES, "The container's command"
        case _:
            return
    if objective.templates:
        from axsched_hpc.objectives import decks  # with Jinja2, which most runs do without

        for template, _ in objective.templates:
            decks.check(Path(template), parameter_names, own)
    known = {*own, *parameter_names}
    for argument in arguments:
        for match in _BRACES.finditer(argument):
            escaped, name = match.groups()
            if escaped is not None or not _is_name(name, known):
                continue
            if name not in known:
                raise ObjectiveError(
                    f"{where} has the unknown placeholder {{{name}}} in "
                    f"{argument!r}.{did_you_mean(name, sorted(known))} Write {{{{{name}}}}} for the text "
                    f"{{{name}}} itself."
                )
            if name in own and name in parameter_names:
                raise ObjectiveError(
                    f"{where} has the placeholder {{{name}}}, which is the name of a parameter too. Rename "
                    "the parameter."
                )


def _is_name(text: str, known: Iterable[str]) -> bool:
    return text in known or _NAME.fullmatch(text) is not None
