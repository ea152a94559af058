"""Small programs to begin with: a made-up computation of one's own parameters, in place of a real one."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.io.parameters import VARIABLE, as_text, variables
from axsched_hpc.project.model import Parameter

#: Where between its bounds a parameter is best, by turns.
_BEST = (0.3, 0.7)


def function(space: Sequence[Parameter], metric: str, *, minimize: bool) -> str:
    """A module with a function ``evaluate``."""
    return _python(
        "What each trial evaluates. Put a computation of your own into evaluate().",
        [
            "def evaluate(parameters):",
            *(f"    {line}" for line in _python_body(space, metric)),
            f"    return {{{metric!r}: {_value(minimize)}}}".replace("'", '"'),
        ],
        space,
    )


def python(space: Sequence[Parameter], metric: str, *, minimize: bool) -> str:
    """A Python script."""
    return _python(
        "What each trial runs. Put a computation of your own between reading and writing.",
        [
            'with open(os.environ["AXSCHED_PARAMETERS_FILE"], encoding="utf-8") as file:',
            "    parameters = json.load(file)",
            "",
            *_python_body(space, metric),
            "",
            'with open(os.environ["AXSCHED_METRICS_FILE"], "w", encoding="utf-8") as file:',
            f'    json.dump({{"{metric}": {_value(minimize)}}}, file)',
        ],
        space,
        "json",
        "os",
    )


def shell(space: Sequence[Parameter], metric: str, *, minimize: bool) -> str:
    """A script for any POSIX shell with awk, also in a container.

    Raises
    ------
    ConfigError
        Two parameters would have the same variable.
    """
    names = _shell_names(space)
    value = _value(minimize)
    numbers = [each for each in _varied(space) if not _is_word(each)]
    lines = [
        "#!/bin/sh",
        "# What each trial runs. Put a computation of your own between reading and writing.",
        "set -eu",
        *(f"{names[each.name]}=${VARIABLE}{_variable(each.name)}" for each in _varied(space)),
        "",
        "# This is made up: the distance from a best point, which lies somewhere inside the ranges.",
        "distance=0",
    ]
    for each in _varied(space):
        if _is_word(each):
            best = shlex.quote(as_text(each.values[0]))
            lines.append(f'[ "${names[each.name]}" = {best} ] || distance=0.1')
    given = " ".join(f'-v {names[each.name]}="${names[each.name]}"' for each in numbers)
    lines += [
        f'value=$(awk -v distance="$distance" {given} \'BEGIN {{'.replace("  ", " "),
        # A small awk, such as that of busybox, has no powers.
        *(
            f"    d = {term}; distance += d * d"
            for term in _terms(numbers, lambda each: names[each.name], "log")
        ),
        f'    printf "%.6f", {value}',
        "}')",
        "",
        f'echo "{metric} = $value"',
        f'echo "{metric} $value" >"$AXSCHED_METRICS_FILE"',
    ]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- what they compute


def _value(minimize: bool) -> str:
    return "distance" if minimize else "1 - distance"


def _varied(space: Sequence[Parameter]) -> list[Parameter]:
    """The parameters that every trial has and that vary."""
    return [each for each in space if each.type != "fixed" and each.when is None]


def _is_word(each: Parameter) -> bool:
    return bool(each.values) and isinstance(each.values[0], str | bool)


def _terms(space: Sequence[Parameter], name: Callable[[Parameter], str], log: str) -> Iterator[str]:
    """How far each number is from the best one, in the syntax that Python and awk share."""
    for place, each in enumerate(space):
        share = _BEST[place % len(_BEST)]
        low, high = (min(each.values), max(each.values)) if each.values else (each.lower, each.upper)
        if each.log:
            best = _short(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
            yield f"{log}({name(each)} / {best}) / {_short(math.log(high / low))}"
        else:
            best = _short(low + share * (high - low))
            sign = f"+ {best[1:]}" if best.startswith("-") else f"- {best}"
            yield f"({name(each)} {sign}) / {_short(high - low)}"


def _short(number: float) -> str:
    return f"{number:.3g}"


def _python(title: str, lines: Sequence[str], space: Sequence[Parameter], *modules: str) -> str:
    needed = sorted({*modules, *(["math"] if any(each.log for each in _varied(space)) else [])})
    head = [f'"""{title}"""', ""]
    if needed:
        head += [*(f"import {name}" for name in needed), "", *([""] if not modules else [])]
    elif not modules:
        head.append("")
    return "\n".join([*head, *lines]) + "\n"


def _python_body(space: Sequence[Parameter], metric: str) -> list[str]:
    varied = _varied(space)
    numbers = [each for each in varied if not _is_word(each)]
    lines = [
        "# This is made up: the distance from a best point, which lies somewhere inside the ranges.",
        "distance = 0.0",
        *(
            f"distance += ({term}) ** 2"
            for term in _terms(numbers, lambda each: f"parameters[{_text(each.name)}]", "math.log")
        ),
    ]
    for each in varied:
        if _is_word(each):
            best = each.values[0]
            differs = (
                "" if best is False else f" != {_text(best)}" if isinstance(best, str) else " is not True"
            )
            lines.append(f"distance += 0.1 if parameters[{_text(each.name)}]{differs} else 0.0")
    return [*lines, 'print("distance =", distance)']


def _text(value: str) -> str:
    """A text as Python has it, in double quotes where that is easy to read."""
    return f'"{value}"' if re.fullmatch(r"[\w .-]*", value) else repr(value)


# ---------------------------------------------------------------- names in a shell


def _variable(name: str) -> str:
    """What of a variable's name says which parameter it has."""
    (found,) = variables({name: 0})
    return found.removeprefix(VARIABLE)


def _shell_names(space: Sequence[Parameter]) -> dict[str, str]:
    names: dict[str, str] = {}
    for each in _varied(space):
        # Not as it is: PATH and IFS mean something to a shell, and log and in to awk.
        name = f"p_{_variable(each.name)}"
        same = [other for other in names if names[other] == name]
        if same:
            raise ConfigError(
                f"The parameters {same[0]!r} and {each.name!r} would be one variable of a shell. Rename one "
                "of them, or choose a Python function or script."
            )
        names[each.name] = name
    return names
