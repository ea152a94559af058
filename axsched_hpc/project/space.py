"""The parameters of a project file: what their keys say together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from axsched_hpc.core import linear
from axsched_hpc.core.errors import did_you_mean
from axsched_hpc.project.findings import Findings, shown, way_text
from axsched_hpc.project.model import Parameter

_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_IN_FORMULA = re.compile(r"[A-Za-z_]\w*")

#: As Ax does for the range and the step.
_NEAR = 1e-8


def parameters(findings: Findings, data: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters, as far as they are right by themselves."""
    given = data.get("parameters")
    if not isinstance(given, dict):
        return ()
    found = []
    for name, value in given.items():
        way = ("parameters", name)
        if not _NAME.fullmatch(name):
            findings.add(way, f"{name!r} is no name for a parameter: letters, digits and _ . - make one.")
        elif findings.good(*way):
            found.append(_parameter(findings, name, value))
    for each in found:
        if each.when is not None and findings.good("parameters", each.name):
            _check_when(findings, each, found, given)
    return tuple(found)


def _parameter(findings: Findings, name: str, value: Mapping[str, Any]) -> Parameter:
    kind = value["type"]
    when = next(iter(value["when"].items()), None) if "when" in value else None
    if len(value.get("when", "1")) != 1:
        findings.wrong(("parameters", name, "when"), value["when"], "one parameter with one value")
    if kind in ("float", "int"):
        return _range(findings, name, value, when)
    if kind == "choice":
        return _choice(findings, name, value, when)
    values = (False, True) if kind == "bool" else (value["value"],)
    return Parameter(name, kind, values=values, ordered=True, when=when)


def _range(findings: Findings, name: str, value: Mapping[str, Any], when: Any) -> Parameter:
    way = ("parameters", name)
    lower, upper, step, log = value["lower"], value["upper"], value.get("step"), value.get("log", False)
    where = way_text(way)
    if lower >= upper:
        findings.add(
            (*way, "upper"),
            f"{where}.upper is {upper}; a number above lower, which is {lower}, is wanted. For one value: "
            f"{{type: fixed, value: {lower}}}.",
        )
    elif log and lower <= 0:
        findings.add((*way, "log"), f"{where}.log is true, and lower is {lower}; a log scale begins above 0.")
    elif step is not None:
        if log:
            findings.add((*way, "step"), f"{where} has a step and a log scale, which do not go together.")
        rest = math.fmod(upper - lower, step)
        if min(rest, abs(step - rest)) > _NEAR * max(1.0, step):
            findings.add(
                (*way, "step"),
                f"{where}.step is {step}; from {lower}, steps of it do not end at {upper}, as they have to.",
            )
    return Parameter(name, value["type"], lower=lower, upper=upper, log=log, step=step, when=when)


def _choice(findings: Findings, name: str, value: Mapping[str, Any], when: Any) -> Parameter:
    way = ("parameters", name, "values")
    values = value["values"]
    kinds = {type_of(each) for each in values}
    if len(kinds) > 1:
        findings.add(
            way,
            f"{way_text(way)} mixes {' and '.join(sorted(kinds))}; values of one kind are wanted. Put texts "
            "that look like something else into quotes.",
        )
    seen: list[Any] = []
    for place, each in enumerate(values):
        if any(same(each, other) for other in seen):
            findings.add((*way, place), f"{way_text(way)} has {shown(each)} twice.")
        seen.append(each)
    numbers = kinds == {"numbers"}
    if numbers and any(isinstance(each, float) for each in values):
        values = [float(each) for each in values]
    return Parameter(
        name,
        "choice",
        values=tuple(values),
        ordered=value.get("ordered", numbers or len(values) == 2),
        when=when,
    )


def type_of(value: Any) -> str:
    """What a value is, in a word."""
    if isinstance(value, bool):
        return "true or false"
    return "texts" if isinstance(value, str) else "numbers"


def _check_when(
    findings: Findings, each: Parameter, found: Iterable[Parameter], given: Mapping[str, Any]
) -> None:
    assert each.when is not None
    parent, value = each.when
    way = ("parameters", each.name, "when")
    known = {other.name: other for other in found}
    if parent not in given or parent == each.name:
        others = [name for name in given if name != each.name]
        findings.unknown((*way, parent), others)
        return
    if parent not in known:
        return
    above, seen = known[parent], {each.name}
    while above.when is not None and above.name not in seen:
        seen.add(above.name)
        above = known.get(above.when[0], above)
        if above.name in seen:
            findings.add(way, f"{way_text(way)} leads in a circle back to {each.name!r}.")
            return
    allowed = known[parent].values
    if not allowed:
        findings.add(
            way, f"{way_text(way)} names {parent!r}, which is a range; a choice, bool or fixed is wanted."
        )
    elif not any(same(value, one) for one in allowed):
        takes = " or ".join(shown(one) for one in allowed)
        findings.wrong((*way, parent), value, takes)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


# ---------------------------------------------------------------- what is said of several


def constraints(
    findings: Findings, data: Mapping[str, Any], space: Sequence[Parameter]
) -> tuple[tuple[str, linear.Inequality], ...]:
    """The inequalities of parameters, as they stand and as they are understood."""
    found = []
    known = {each.name: each for each in space}
    names = list(data["parameters"]) if isinstance(data.get("parameters"), dict) else []
    for way, text in texts(findings, data, "parameter_constraints"):
        inequality = formula(findings, way, text)
        if inequality is None:
            continue
        for name in inequality.weights:
            if name not in names:
                hint = did_you_mean(name, names)
                findings.add(way, f"{way_text(way)}, {text!r}, names {name!r}, which is no parameter.{hint}")
            elif name in known:
                _check_constrained(findings, way, text, known[name])
        if findings.good(*way):
            found.append((text, inequality))
    return tuple(found)


def _check_constrained(findings: Findings, way: Any, text: str, each: Parameter) -> None:
    why = ""
    if each.log:
        why = "has a log scale, and Ax's constraints are linear"
    elif each.type in ("bool", "fixed") or (each.values and isinstance(each.values[0], str)):
        why = "is no number that varies"
    elif each.type == "choice" and not each.ordered:
        why = "is a choice without an order; it takes ordered: true here"
    if why:
        findings.add(way, f"{way_text(way)}, {text!r}, names {each.name!r}, which {why}.")


def texts(findings: Findings, data: Mapping[str, Any], section: str) -> list[tuple[tuple[str, int], str]]:
    """The entries of a list of texts that are right by themselves, with their ways."""
    given = data.get(section)
    entries = enumerate(given) if isinstance(given, list) else ()
    return [((section, place), each) for place, each in entries if findings.good(section, place)]


def formula(findings: Findings, way: Any, text: str) -> linear.Inequality | None:
    """An inequality; None where it is none."""
    try:
        found = linear.parse(text)
    except ValueError as error:
        findings.add(way, f"{way_text(way)}, {text!r}, {error}.")
        return None
    for name in found.weights:
        check_name(findings, way, name)
    return found


def check_name(findings: Findings, way: Any, name: str) -> None:
    """Note a name that Ax does not take for a name in its formulas, which are SymPy's."""
    if not _IN_FORMULA.fullmatch(name):
        findings.add(way, f"{name!r} is no name for a metric: letters, digits and _ make one.")
    elif not _is_symbol(name):
        findings.add(
            way, f"{name!r} means something else in Ax's formulas; choose another name, such as {name}_."
        )


def _is_symbol(name: str) -> bool:
    # Slow to import, so only where there are names to look at. Ax imports it in any case.
    import sympy

    try:
        return isinstance(sympy.sympify(name), sympy.Symbol)
    except (sympy.SympifyError, TypeError, AttributeError):
        return False


def baseline(
    findings: Findings,
    data: Mapping[str, Any],
    space: Sequence[Parameter],
    limits: Sequence[tuple[str, linear.Inequality]],
) -> None:
    """Note what is wrong with the parameters of the first trial."""
    point = data.get("baseline")
    if not isinstance(point, dict):
        return
    given = data.get("parameters")
    names = list(given) if isinstance(given, dict) else []
    for name in point:
        if name not in names:
            findings.unknown(("baseline", name), names)
    known = {each.name: each for each in space}
    if len(known) < len(names):
        return
    missing = [name for name, each in known.items() if name not in point and _counts(each, point, known)]
    for name, value in point.items():
        each = known.get(name)
        if each is None or not findings.good("baseline", name):
            continue
        if not _counts(each, point, known) and each.type != "fixed":
            parent, wanted = each.when or ("", None)
            findings.add(
                ("baseline", name),
                f"baseline.{name} is given, but counts only with {parent}: {shown(wanted)}.",
            )
        elif not fits(each, value):
            findings.wrong(("baseline", name), value, allowed(each))
    if missing:
        findings.add(("baseline",), f"baseline lacks {', '.join(map(repr, missing))}.")
    if not findings.good("baseline"):
        return
    for text, limit in limits:
        if all(name in point for name in limit.weights):
            total = sum(weight * point[name] for name, weight in limit.weights.items())
            if (total > limit.bound) if limit.op == "<=" else (total < limit.bound):
                findings.add(("baseline",), f"baseline does not meet the constraint {text!r}.")


def _counts(each: Parameter, point: Mapping[str, Any], known: Mapping[str, Parameter]) -> bool:
    """Whether a point has a value for a parameter."""
    if each.type == "fixed":
        return False
    while each.when is not None:
        parent, value = each.when
        above = known.get(parent)
        if above is None:
            return True
        mine = above.values[0] if above.type == "fixed" else point.get(parent)
        if not same(mine, value):
            return False
        each = above
    return True


def fits(each: Parameter, value: Any) -> bool:
    """Whether a parameter takes a value."""
    if each.values:
        return any(same(value, one) for one in each.values)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (each.type == "int" and not isinstance(value, int)):
        return False
    if each.step is not None:
        rest = math.fmod(value - each.lower, each.step)
        if min(abs(rest), abs(each.step - rest)) > _NEAR * max(1.0, each.step):
            return False
    return bool(each.lower <= value <= each.upper)


def allowed(each: Parameter) -> str:
    """What a parameter takes, in words."""
    if each.values:
        return " or ".join(shown(one) for one in each.values)
    kind = "a whole number" if each.type == "int" else "a number"
    step = f" in steps of {each.step}" if each.step is not None else ""
    return f"{kind} from {each.lower} to {each.upper}{step}"
