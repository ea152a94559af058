"""A point of a project's search space, chosen without Ax: its baseline or centre, or what is given."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from axsched_hpc.core import linear
from axsched_hpc.core.errors import ParameterError, did_you_mean
from axsched_hpc.io.parameters import as_text
from axsched_hpc.project.model import Parameter, Project
from axsched_hpc.project.space import allowed, fits, same

#: Points that are looked at, until one meets the constraints.
_DRAWS = 10_000


def choose(project: Project, given: Mapping[str, str]) -> dict[str, Any]:
    """The baseline, or else the centre of the search space or a point near by that meets the constraints.

    Parameters
    ----------
    given
        Values by name, as a person types them; they take the place of the others.

    Raises
    ------
    ParameterError
        There is no such parameter, or it does not take this value; or no point meets the constraints.
    """
    known = {each.name: each for each in project.parameters}
    own: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            raise ParameterError(f"There is no parameter {name!r}.{did_you_mean(name, list(known))}")
        own[name] = read(known[name], text)
    for point in _points(project, own):
        if missing := [name for name in own if name not in point]:
            parent, value = known[missing[0]].when or ("", None)
            raise ParameterError(
                f"The parameter {missing[0]!r} counts only with {parent} = {as_text(value)}; give that, too."
            )
        if all(_holds(linear.parse(text), point) for text in project.parameter_constraints):
            return point
    raise ParameterError(
        f"No point was found that meets {' and '.join(map(repr, project.parameter_constraints))}"
        f"{' with the given values' if own else ''}. Give one that does, by --parameter NAME=VALUE."
    )


def middle(space: Sequence[Parameter]) -> dict[str, Any]:
    """The centre of a search space."""
    return _point(space, {}, None)


def read(parameter: Parameter, text: str) -> Any:
    """The value that a text stands for.

    Raises
    ------
    ParameterError
        The parameter does not take it.
    """
    for value in (*parameter.values, *_numbers(parameter.type, text)):
        if as_text(value) == text or not parameter.values:
            if fits(parameter, value):
                return value
            break
    # A choice of numbers may be typed in another way: 1 for 1.0, 0.001 for 1e-3.
    for value in parameter.values if parameter.type != "bool" else ():
        if not isinstance(value, str | bool) and value in _numbers("float", text):
            return value
    raise ParameterError(f"{parameter.name} is {text!r}, but takes {allowed(parameter)}.")


def _numbers(kind: str, text: str) -> list[float]:
    try:
        number = json.loads(text, parse_constant=lambda _: None)
        if isinstance(number, str | bool | list | dict) or number is None:
            return []
        return [number if kind == "int" else float(number)]
    except (ValueError, OverflowError):
        return []


def _points(project: Project, own: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Points with these values: the baseline and the centre, and then others, the same ones each time."""
    if project.baseline is not None:
        yield _point(project.parameters, {**project.baseline, **own}, None)
    yield _point(project.parameters, own, None)
    if project.parameter_constraints:
        chance = random.Random(0)
        for _ in range(_DRAWS):
            yield _point(project.parameters, own, chance)


def _point(
    space: Sequence[Parameter], own: Mapping[str, Any], chance: random.Random | None
) -> dict[str, Any]:
    """A point with these values; the others by chance, or else in the middle."""
    known = {each.name: each for each in space}
    values: dict[str, Any] = {}

    def value(name: str) -> Any:
        if name not in values:
            each = known[name]
            values[name] = own[name] if name in own else _within(each, chance.random() if chance else 0.5)
        return values[name]

    def counts(each: Parameter) -> bool:
        if each.when is None:
            return True
        parent, wanted = each.when
        return counts(known[parent]) and same(value(parent), wanted)

    return {each.name: value(each.name) for each in space if counts(each)}


def _within(each: Parameter, share: float) -> Any:
    """The value that lies so far on the way from a parameter's lowest one to its highest."""
    if each.values:
        return each.values[max(0, math.ceil(share * len(each.values)) - 1)]
    if each.log:
        value = math.exp(math.log(each.lower) + share * (math.log(each.upper) - math.log(each.lower)))
    else:
        value = each.lower + share * (each.upper - each.lower)
    if each.step is not None:
        value = each.lower + round((value - each.lower) / each.step) * each.step
    if each.type == "int":
        return min(max(round(value), int(each.lower)), int(each.upper))
    # 0.1 + 0.3 * 2 is no number that a person would type.
    return min(max(float(f"{value:.12g}"), each.lower), each.upper)


def _holds(limit: linear.Inequality, point: Mapping[str, Any]) -> bool:
    if any(name not in point for name in limit.weights):
        return True
    total = sum(weight * point[name] for name, weight in limit.weights.items())
    return bool(total <= limit.bound if limit.op == "<=" else total >= limit.bound)
