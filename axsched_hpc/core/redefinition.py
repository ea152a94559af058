"""How one definition of an experiment differs from another, and whether earlier trials count under the new
one. Pure: definitions are compared by their fingerprints, which are JSON values.

A change is *sound* where every trial of before could be one of now: its point lies in the new search space,
and what it has measured is what is wanted. A wider range, a further choice, a looser parameter constraint are
sound. So is another bound of an outcome constraint, or a constraint on metrics that every trial has reported:
how good a trial is was measured, and is judged anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from axsched_hpc.core import linear

Fields = Mapping[str, Any]

#: What Ax derives from a choice's values where its user does not say.
_DERIVED = ("is_ordered", "sort_values")

#: As far as rounding matters: relative to the bound.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Difference:
    """One difference between two definitions.

    Attributes
    ----------
    subject
        What differs, such as ``parameter 'x'``.
    old, new
        What it is in each, in words; empty where its name says that, None where it is not there.
    sound
        Whether all trials of before count as they are under the new definition.
    """

    subject: str
    old: str | None
    new: str | None
    sound: bool = False

    def __str__(self) -> str:
        """As between a definition that is *there*, on record, and one that is *here*, passed in."""
        if self.new is None:
            return f"{self.subject} is there, not here"
        if self.old is None:
            return f"{self.subject} is here, not there"
        return f"{self.subject}: {self.old} there, {self.new} here"

    @property
    def change(self) -> str:
        """As what has changed with time."""
        if self.new is None:
            return f"{self.subject} is gone"
        if self.old is None:
            return f"{self.subject} is new"
        return f"{self.subject}: {self.old} before, {self.new} now"


def compare(old: Fields, new: Fields) -> list[Difference]:
    """The differences between two definitions; none for the same experiment.

    Parameters
    ----------
    old, new
        Their fingerprints: ``parameters`` (name -> fields), ``constraints``, ``objective`` and
        ``outcome_constraints`` (texts), ``status_quo`` (a point or None).
    """
    found = _parameters(old["parameters"], new["parameters"])
    found += _bounds(
        "parameter constraint",
        old["constraints"],
        new["constraints"],
        rebound=lambda sign, before, now: sign == "<=" and now >= before,
        added=lambda left: False,
    )
    found += [Difference(f"the objective '{text}'", "", None) for text in _without(old, new, "objective")]
    found += [Difference(f"the objective '{text}'", None, "") for text in _without(new, old, "objective")]
    reported = _names(old["outcome_constraints"]) | _names_of_objectives(old["objective"])
    found += _bounds(
        "outcome constraint",
        old["outcome_constraints"],
        new["outcome_constraints"],
        rebound=lambda sign, before, now: True,
        added=lambda left: bool(names := _names([left])) and names <= reported,
    )
    # One that was set later is in the journal.
    if old["status_quo"] not in (None, new["status_quo"]):
        found.append(Difference("the status quo", str(old["status_quo"]), str(new["status_quo"])))
    return found


def outside(definition: Fields, points: Mapping[int, Fields]) -> list[int]:
    """The trials whose points do not lie in a definition's ranges or break its parameter constraints.

    Parameters
    ----------
    points
        Parameters by the number of the trial.
    """
    parameters = definition["parameters"]
    limits = [limit for text in definition["constraints"] if (limit := _inequality(text)) is not None]
    return [
        number
        for number, point in sorted(points.items())
        if any(name in parameters and not _holds(parameters[name], value) for name, value in point.items())
        or not all(_meets(limit, point) for limit in limits)
    ]


# ---------------------------------------------------------------- parameters


def _parameters(old: Fields, new: Fields) -> list[Difference]:
    found = [Difference(f"parameter {name!r}", "", None) for name in sorted(set(old) - set(new))]
    found += [Difference(f"parameter {name!r}", None, "") for name in sorted(set(new) - set(old))]
    for name in sorted(set(old) & set(new)):
        found += _fields(f"parameter {name!r}", old[name], new[name])
    return found


def _fields(subject: str, old: Fields, new: Fields) -> list[Difference]:
    if old["kind"] != new["kind"] or old["parameter_type"] != new["parameter_type"]:
        # What was held fixed may be let go, where it was held within the new range.
        freed = (
            old["kind"] == "fixed"
            and old["parameter_type"] == new["parameter_type"]
            and not (old.get("dependents") or new.get("dependents"))
            and _holds(new, old["value"])
        )
        if freed:
            return [Difference(subject, f"fixed at {old['value']}", _range(new), sound=True)]
        before, now = (f"{each['kind']} of type {each['parameter_type']}" for each in (old, new))
        return [Difference(subject, before, now)]
    found = []
    compared = set(old) | set(new)
    if old["kind"] == "range" and _range(old) != _range(new):
        wider = new["lower"] <= old["lower"] and new["upper"] >= old["upper"]
        found.append(Difference(subject, _range(old), _values(new), sound=wider))
    compared -= {"lower", "upper"}
    if old["kind"] == "choice" and old["values"] != new["values"]:
        more = _more(old, new)
        found.append(Difference(subject, _range(old), _values(new), sound=more))
        compared -= {"values", *_DERIVED, *(["dependents"] if more else [])}
    for field in sorted(compared):
        if old.get(field) != new.get(field):
            word = field.replace("_", " ")
            found.append(Difference(subject, f"{word} {old.get(field)}", str(new.get(field))))
    return found


def _range(fields: Fields) -> str:
    return f"{'range' if fields['kind'] == 'range' else 'values'} {_values(fields)}"


def _values(fields: Fields) -> str:
    return f"{fields['lower']}..{fields['upper']}" if fields["kind"] == "range" else str(fields["values"])


def _more(old: Fields, new: Fields) -> bool:
    """Whether a choice has all its earlier values, in their order where that counts."""
    kept = [value for value in new["values"] if value in old["values"]]
    if not old["is_ordered"]:
        kept.sort(key=old["values"].index)
    # A further value may bring parameters with it; the earlier ones keep theirs. JSON has texts for names.
    names = [value if isinstance(value, str) else json.dumps(value) for value in old["values"]]
    before, now = (each.get("dependents") or {} for each in (old, new))
    return kept == old["values"] and all(now.get(name) == before.get(name) for name in names)


def _holds(fields: Fields, value: Any) -> bool:
    """Whether a parameter can have a value."""
    if fields["kind"] == "range":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and fields["lower"] <= value <= fields["upper"]
    return value in (fields["values"] if fields["kind"] == "choice" else [fields.get("value", value)])


# ---------------------------------------------------------------- constraints


def _bounds(
    word: str,
    old: Iterable[str],
    new: Iterable[str],
    *,
    rebound: Callable[[str, float, float], bool],
    added: Callable[[str], bool],
) -> list[Difference]:
    """The differences between two lists of constraints, such as ``a + 2*b <= 3``.

    Parameters
    ----------
    rebound
        Whether another bound is sound, by the sign and the two bounds.
    added
        Whether a constraint that is new is.
    """
    gone, more = sorted(set(old) - set(new)), sorted(set(new) - set(old))
    found = []
    for text in list(gone):
        left, sign, bound, rest = _split(text)
        like = [each for each in more if _split(each)[:2] + _split(each)[3:] == (left, sign, rest)]
        if like:
            gone.remove(text)
            more.remove(like[0])
            sound = rebound(sign, bound, _split(like[0])[2])
            found.append(Difference(f"the {word}", f"'{text}'", f"'{like[0]}'", sound))
    # One that falls away forbids nothing.
    found += [Difference(f"the {word} '{text}'", "", None, sound=True) for text in gone]
    found += [Difference(f"the {word} '{text}'", None, "", sound=added(text)) for text in more]
    return found


def _split(text: str) -> tuple[str, str, float, str]:
    """The left side of a constraint, its sign, its bound, and what stands behind that."""
    for sign in ("<=", ">=", "=="):
        left, there, right = text.partition(f" {sign} ")
        if there:
            number, _, rest = right.partition(" ")
            percent = number.endswith("%")
            return left, sign, float(number.removesuffix("%")), f"{'%' if percent else ''}{rest}"
    raise ValueError(f"{text!r} is no constraint")


def _inequality(text: str) -> linear.Inequality | None:
    left, sign, bound, _ = _split(text)
    try:
        return linear.Inequality(linear.parse(f"{left.replace('+ -', '- ')} <= 0").weights, sign, bound)
    except ValueError:
        return None


def _meets(limit: linear.Inequality, point: Fields) -> bool:
    total = 0.0
    for name, weight in limit.weights.items():
        value = point.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True  # that it is no number is another difference
        total += weight * value
    slack = _TOLERANCE * max(1.0, abs(limit.bound))
    return total <= limit.bound + slack if limit.op == "<=" else abs(total - limit.bound) <= slack


def _names(texts: Iterable[str]) -> set[str]:
    """The metrics in constraints; none where one is written in a way that is not understood."""
    found: set[str] = set()
    for text in texts:
        limit = _inequality(text)
        found |= set() if limit is None else set(limit.weights)
    return found


def _names_of_objectives(texts: Iterable[str]) -> set[str]:
    """The metrics in objectives, such as ``minimize loss`` or ``maximize 2*a + -1*b``."""
    found: set[str] = set()
    for text in texts:
        for term in text.partition(" ")[2].split(" + "):
            found.add(term.rpartition("*")[2])
    return found


def _without(old: Fields, new: Fields, part: str) -> list[str]:
    return sorted(set(old[part]) - set(new[part]))
