"""Parameters and metrics as a person types them in a line, with the checks of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.io import yaml_text
from axsched_hpc.project import keys, space
from axsched_hpc.project.findings import Findings
from axsched_hpc.project.goals import check_metric
from axsched_hpc.project.model import Parameter


def metric(text: str) -> str:
    """A name of a metric.

    Raises
    ------
    ConfigError
        It is none.
    """
    findings = _findings({})
    check_metric(findings, ("objectives", text), text)
    _raise(findings)
    return text


def parameter(text: str) -> tuple[str, dict[str, Any]]:
    """Name and keys of ``NAME=TYPE:...``.

    Raises
    ------
    ConfigError
        It cannot be a parameter; says why.
    """
    name, equals, rest = text.partition("=")
    name, rest = name.strip(), rest.strip()
    if not equals:
        raise ConfigError(f"{text!r} is not of the form NAME=TYPE:..., such as x=float:0:1.")
    if rest.startswith("{"):
        read = yaml_text.read(rest, strict=True)
        if read.problems:
            raise ConfigError(f"{name}: {'; '.join(what for _, what in read.problems)}")
        value = read.data
    else:
        value = _short_form(name, rest)
    data = {"parameters": {name: value}}
    findings = _findings(data)
    keys.PARAMETER.check(findings, ("parameters", name), value)
    if isinstance(value, dict) and "when" not in value:
        space.parameters(findings, data)
    _raise(findings)
    return name, value


def understood(parameters: Mapping[str, Mapping[str, Any]]) -> tuple[Parameter, ...]:
    """Parameters as they are understood together.

    Raises
    ------
    ConfigError
        What they say does not go together.
    """
    data = {"parameters": parameters}
    findings = _findings(data)
    found = space.parameters(findings, data)
    _raise(findings)
    return found


def _short_form(name: str, text: str) -> dict[str, Any]:
    """The keys of ``float:0:1:log``, ``int:1:8``, ``choice:a,b``, ``bool`` or ``fixed:3``."""
    kind, _, rest = text.partition(":")
    if kind == "bool" and not rest:
        return {"type": "bool"}
    if kind == "choice" and rest:
        return {"type": "choice", "values": _values(rest.split(","))}
    if kind == "fixed" and rest:
        return {"type": "fixed", "value": _value(rest)}
    if kind in ("float", "int"):
        words = rest.split(":")
        log = words[-1] == "log"
        bounds = words[:-1] if log else words
        if len(bounds) == 2:
            found = {"type": kind, **dict(zip(("lower", "upper"), map(_value, bounds), strict=True))}
            return {**found, "log": True} if log else found
    raise ConfigError(
        f"{name}: {text!r} is none of float:LOWER:UPPER, float:LOWER:UPPER:log, int:LOWER:UPPER, "
        "choice:A,B,C, bool, fixed:VALUE, and no mapping as in the file, such as "
        "{type: float, lower: 0, upper: 1}."
    )


def _value(word: str) -> Any:
    return _values([word])[0]


def _values(words: list[str]) -> list[Any]:
    """Numbers where all are numbers, truth values where all are, else texts."""

    words = [word.strip() for word in words]
    read = [yaml_text.read(word, strict=True).data for word in words]
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in read)
    return read if numbers or all(isinstance(each, bool) for each in read) else words


def _raise(findings: Findings) -> None:
    if findings.texts:
        raise ConfigError(" ".join(text.split(": ", 1)[1] for text in findings.texts))


def _findings(data: Any) -> Findings:
    return Findings("", yaml_text.Document(data))
