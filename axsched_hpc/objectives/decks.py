"""Input decks: Jinja2 templates, rendered into the working directory with the trial's parameters.

Strict: a name that nothing gives a value to is an error, before anything is submitted. A template can reach
neither files nor other templates. What stands outside of placeholders is kept as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc.core.errors import ObjectiveError, did_you_mean
from axsched_hpc.io.parameters import Value, as_text

if TYPE_CHECKING:
    from jinja2 import Environment

#: The name in a template of all parameters, for those whose names Jinja2 could not take.
ALL = "params"

# What a deck holds beside UTF-8, a name in Latin-1 for one, comes through unchanged.
_UNKNOWN_BYTES = "surrogateescape"


class DeckError(Exception):
    """A template that cannot be read or rendered; the message says where and why."""


def check(template: Path, parameter_names: Sequence[str], own: Iterable[str]) -> None:
    """Check, before anything is submitted, that a template can be rendered.

    Parameters
    ----------
    own
        Names beside the parameters' that will have a value.

    Raises
    ------
    ObjectiveError
        It is no template, or has a name without a value, or one with two meanings.
    """
    from jinja2 import TemplateError, meta, nodes

    own = {*own, ALL}
    try:
        text = _read(template)
        tree = _environment("\n").parse(text)
        _environment("\n").compile(text)
        used = meta.find_undeclared_variables(tree)
    except (DeckError, TemplateError) as error:
        raise ObjectiveError(_wrong(template, error)) from None
    if any(tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport))):
        raise ObjectiveError(
            f"The template {template} includes or extends another one. Each template stands for itself; put "
            "the text into it."
        )
    known = {*own, *parameter_names}
    keys = {
        item.arg.value
        for item in tree.find_all(nodes.Getitem)
        if isinstance(item.node, nodes.Name) and item.node.name == ALL and isinstance(item.arg, nodes.Const)
    }
    for name in sorted(used - known) + sorted(str(key) for key in keys - set(parameter_names)):
        where = _line_of(text, name)
        raise ObjectiveError(
            f"The template {template}{where} has the name {name!r}, which nothing gives a value "
            f"to.{did_you_mean(name, sorted(known))} For text in double braces write "
            "{% raw %}…{% endraw %} around it."
        )
    for name in sorted(used & own & set(parameter_names)):
        raise ObjectiveError(
            f"The template {template}{_line_of(text, name)} has the name {name!r}, which means "
            f"something of axsched-hpc's and is the name of a parameter too. Write {ALL}[{name!r}] for the "
            "parameter."
        )


def render(template: Path, parameters: Mapping[str, Value], own: Mapping[str, str]) -> bytes:
    """What becomes of a template.

    Parameters
    ----------
    own
        Names beside the parameters', with their values.

    Raises
    ------
    DeckError
        It cannot be rendered.
    OSError
        It cannot be read.
    """
    from jinja2 import TemplateError

    text = _read(template)
    newline = "\r\n" if "\r\n" in text else "\n"
    try:
        made = _environment(newline).from_string(text)
        rendered = made.render({**parameters, **own, ALL: dict(parameters)})
        return rendered.encode(errors=_UNKNOWN_BYTES)
    except TemplateError as error:
        raise DeckError(_wrong(template, error)) from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Expressions in a template compute: a division by a parameter that is 0, say.
        raise DeckError(
            f"The template {template} cannot be rendered: {type(error).__name__}: {error}."
        ) from None


def fortran(value: Any) -> str:
    """A value as Fortran's namelists have it: ``.true.``, ``1.0d-05``, ``'it''s'``.

    Source: Fortran 2018, 13.11.3 (namelist input); a ``d`` exponent keeps a constant in double precision in
    a source text as well.
    """
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot stand in a namelist")
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}d{exponent or '0'}"
    if isinstance(value, int):
        return str(value)
    return "'" + as_text(value).replace("'", "''") + "'"


def _read(template: Path) -> str:
    text = template.read_bytes().decode(errors=_UNKNOWN_BYTES)
    if "\0" in text:
        raise DeckError("it holds a null character, so that it is no text")
    return text


@functools.cache
def _environment(newline: str) -> Environment:
    from jinja2 import StrictUndefined, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def shown(value: Any) -> Any:
        # As in arguments: booleans as in JSON, None as nothing.
        return value if isinstance(value, Undefined) or not isinstance(value, bool | None) else as_text(value)

    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=shown, newline_sequence=newline
    )
    made.filters["fortran"] = fortran
    return made


def _wrong(template: Path, error: Exception) -> str:
    line = getattr(error, "lineno", None)
    where = f", line {line}," if line is not None else ""
    return (
        f"The template {template}{where} cannot be rendered: {str(error).rstrip('.')}. Placeholders are "
        "{{ name }}, comments {# … #}; for text that looks like them write {% raw %}…{% endraw %} around it."
    )


def _line_of(text: str, name: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if name in line:
            return f", line {number},"
    return ""
