"""Whether a user's own point fits the search space, said in the words of the search space."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from ax.core.parameter import (
    ChoiceParameter,
    DerivedParameter,
    FixedParameter,
    Parameter,
    ParameterType,
    RangeParameter,
)
from ax.core.parameter_constraint import ParameterConstraint
from ax.core.search_space import SearchSpace

from axsched_hpc.core.errors import ParameterError, did_you_mean
from axsched_hpc.io.table import number

MISFIT = "These parameters do not fit the search space: "

_TYPE_NAMES = {
    ParameterType.INT: "an int",
    ParameterType.FLOAT: "a float",
    ParameterType.BOOL: "a bool",
    ParameterType.STRING: "a string",
}


def validated(space: SearchSpace, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check a point, and bring it into the form in which Ax suggests points.

    Ints become floats for float parameters, whole floats ints for int parameters, and fixed and derived
    parameters may be left out.

    Raises
    ------
    ParameterError
        Something does not fit; the message names every such parameter, its value and what is allowed.
    """
    if not isinstance(parameters, Mapping):
        raise ParameterError(
            f"Parameters are a mapping from name to value, not {type(parameters).__name__}: "
            f'such as {{"{next(iter(space.parameters), "x")}": ...}}.'
        )
    active = _active(space, parameters)
    problems = [f"parameter {name!r} {_misplaced(space, name)}" for name in parameters if name not in active]
    point: dict[str, Any] = {}
    for name in active:
        parameter = space.parameters[name]
        if isinstance(parameter, DerivedParameter):
            continue
        try:
            _take(parameter, parameters, point)
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}")
    if not problems:
        problems = _derived(space, parameters, point) or _relations(space, point)
    if problems:
        raise ParameterError(MISFIT + "; ".join(p.rstrip(".") for p in problems) + ".")
    return point


def of_text(space: SearchSpace, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Cells of a text file as values of the parameters' types. A text that is none stays one, for
    :func:`validated` to refuse.
    """
    return {
        name: _of_text(space.parameters[name], cell) if isinstance(cell, str) else cell
        for name, cell in cells.items()
    }


def _of_text(parameter: Parameter, text: str) -> Any:
    kind = parameter.parameter_type
    if kind is ParameterType.STRING:
        return text
    if kind is ParameterType.BOOL:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    try:
        # As an int first: a float has no more than 53 bits.
        return int(text) if kind is ParameterType.INT and text.isdecimal() else number(text)
    except ValueError:
        return text


def allowed(parameter: Parameter) -> str:
    """What a parameter takes, in words: ``a float in 0.001..0.1``."""
    if isinstance(parameter, RangeParameter):
        return f"{_TYPE_NAMES[parameter.parameter_type]} in {parameter.lower}..{parameter.upper}"
    if isinstance(parameter, ChoiceParameter):
        return f"one of {', '.join(repr(value) for value in parameter.values)}"
    if isinstance(parameter, FixedParameter):
        return f"{parameter.value!r}, to which it is fixed"
    if isinstance(parameter, DerivedParameter):
        return f"the value of {parameter.expression_str}"
    return _TYPE_NAMES[parameter.parameter_type]


def constraint_text(constraint: ParameterConstraint) -> str:
    """A linear constraint as a formula: ``x + 2.0*y <= 3.0``."""
    terms = [
        name if weight == 1 else f"{weight:g}*{name}"
        for name, weight in sorted(constraint.constraint_dict.items())
    ]
    sign = "==" if constraint.is_equality else "<="
    return f"{' + '.join(terms)} {sign} {constraint.bound:g}"


def _active(space: SearchSpace, given: Mapping[str, Any]) -> list[str]:
    """The parameters that a point has: all, or in a hierarchical space those of its branches."""
    if not space.is_hierarchical:
        return list(space.parameters)
    active, waiting = [], list(space.top_level_parameters)
    while waiting:
        name = waiting.pop(0)
        active.append(name)
        parameter = space.parameters[name]
        if parameter.is_hierarchical:
            value = parameter.value if isinstance(parameter, FixedParameter) else given.get(name)
            waiting += next((names for key, names in parameter.dependents.items() if key == value), [])
    return active


def _misplaced(space: SearchSpace, name: object) -> str:
    if name in space.parameters:
        return "does not belong to this branch of the search space"
    return f"is not in the search space.{did_you_mean(str(name), list(space.parameters))}"


def _take(parameter: Parameter, given: Mapping[str, Any], point: dict[str, Any]) -> None:
    name = parameter.name
    if name not in given:
        if isinstance(parameter, FixedParameter):
            point[name] = parameter.value
        elif parameter.backfill_value is None:
            raise ValueError(f"is missing; it takes {allowed(parameter)}")
        return
    value = _typed(given[name], parameter)
    if isinstance(parameter, RangeParameter):
        fits = parameter.lower <= value <= parameter.upper
    elif isinstance(parameter, ChoiceParameter):
        fits = value in parameter.values
    else:
        fits = not isinstance(parameter, FixedParameter) or value == parameter.value
    if not fits:
        raise ValueError(f"is {value!r}; it takes {allowed(parameter)}")
    point[name] = value


def _typed(value: Any, parameter: Parameter) -> Any:
    # type(value).__name__ tells NumPy's booleans, which Python's do not include.
    boolean = isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    kind = parameter.parameter_type
    if kind is ParameterType.BOOL and boolean:
        return bool(value)
    if kind is ParameterType.STRING and isinstance(value, str):
        return str(value)
    if not boolean and isinstance(value, Real):
        if kind is ParameterType.FLOAT:
            return float(value)
        if kind is ParameterType.INT and (isinstance(value, Integral) or float(value).is_integer()):
            return int(float(value)) if not isinstance(value, Integral) else int(value)
    raise ValueError(f"is {value!r} ({type(value).__name__}); it takes {allowed(parameter)}")


def _derived(space: SearchSpace, given: Mapping[str, Any], point: dict[str, Any]) -> list[str]:
    problems = []
    for name, parameter in space.parameters.items():
        if not isinstance(parameter, DerivedParameter):
            continue
        point[name] = parameter.compute(point)
        if name in given and not parameter.validate(given[name], parameters=point):
            problems.append(
                f"parameter {name!r} is {given[name]!r}; it is derived, and {parameter.expression_str} "
                f"is {point[name]!r}"
            )
    return problems


def _relations(space: SearchSpace, point: dict[str, Any]) -> list[str]:
    numbers = {name: value for name, value in point.items() if space.parameters[name].is_numeric}
    problems = []
    for constraint in space.parameter_constraints:
        # In a hierarchical space a constrained parameter may be absent.
        if set(constraint.constraint_dict) <= set(numbers) and not constraint.check(numbers):
            total = sum(float(numbers[name]) * weight for name, weight in constraint.constraint_dict.items())
            problems.append(
                f"the constraint {constraint_text(constraint)} is violated (its left side is {total:g})"
            )
    if problems:
        return problems
    try:
        space.check_membership(point, raise_error=True)
    except (ValueError, RuntimeError) as error:
        # Nothing is known to be left; Ax has the last word.
        return [str(error)]
    return []
