"""Versions of Python and packages, against the ranges that the installed package names."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from axsched_hpc._version import __version__
from axsched_hpc.doctor.finding import Finding, Level, joined

#: Distribution of this package, and those that a user would report with a fault.
OURS = "axsched-hpc"
SHOWN = ("ax-platform", "submitit", "filelock", "click")

# PEP 508: a name, extras, versions and, after a semicolon, when it is needed.
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][^,\s]*)")
# PEP 440, without the epoch, which nobody uses.
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)((?:a|b|rc|\.dev)\d*)?")


def installed(name: str) -> str | None:
    """The version of a distribution, without importing it; None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def installed_all() -> dict[str, str | None]:
    """The versions of this package and of all that it needs."""
    return {OURS: __version__, **{name: installed(name) for name in needed(_requirements())}}


def needed(requirements: Iterable[str]) -> dict[str, str]:
    """Version ranges by name of what is needed always, that is by no extra."""
    ranges = {}
    for requirement in requirements:
        found = _REQUIREMENT.fullmatch(requirement.strip())
        if found is not None and "extra" not in (found[3] or ""):
            ranges[found[1]] = found[2].strip()
    return ranges


def within(version: str, wanted: str) -> bool:
    """Whether a version is in a range such as ``>=1.3,<1.4``; what cannot be compared counts as inside."""
    have = _release(version)
    if have is None:
        return True
    for operator, bound in _CLAUSE.findall(wanted):
        other = _release(bound)
        if other is None:
            continue
        outside = {
            ">=": have < other,
            "<=": have > other,
            ">": have <= other,
            # PEP 440: a pre-release of the bound is not below it.
            "<": have >= other or have[0] == other[0],
            "==": have != other,
            "!=": have == other,
        }
        if outside[operator]:
            return False
    return True


def judge_python(version: str, executable: str, wanted: str) -> Finding:
    """Python against ``Requires-Python``."""
    if within(version, wanted):
        return Finding("python", Level.OK, f"{version}, {executable}")
    return Finding(
        "python",
        Level.PROBLEM,
        f"{version}, {executable}, but this package needs {wanted}.",
        "Make a virtual environment with a newer Python (on many sites after `module load python`) and "
        "install the package there.",
    )


def judge_packages(versions: Mapping[str, str | None], ranges: Mapping[str, str]) -> Finding:
    """Installed packages against the ranges that this one needs."""
    parts = [
        Finding(
            "",
            Level.OK,
            ", ".join(f"{name} {versions[name]}" for name in (OURS, *SHOWN) if versions.get(name)) + ".",
        )
    ]
    wrong = {
        name: version
        for name, version in versions.items()
        if name in ranges and (version is None or not within(version, ranges[name]))
    }
    for name, version in wrong.items():
        what = "is not installed" if version is None else f"{version} is not in the supported range"
        parts.append(Finding("", Level.PROBLEM, f"{name} {what} ({ranges[name] or 'any version'})."))
    if wrong:
        words = " ".join(f"'{name}{ranges[name]}'" for name in wrong)
        parts.append(Finding("", Level.OK, "", f"Install what fits: python -m pip install {words}"))
    if not ranges:
        parts.append(
            Finding(
                "",
                Level.NOTE,
                "The package runs from a directory and is not installed: its version ranges are not known.",
                "Install it: python -m pip install <that directory>",
            )
        )
    return joined("packages", parts)


def findings() -> list[Finding]:
    """Look at this Python and its packages."""
    try:
        wanted = metadata.metadata(OURS)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        wanted = ""
    return [
        judge_python(platform.python_version(), sys.executable, wanted),
        judge_packages(installed_all(), needed(_requirements())),
    ]


def _requirements() -> list[str]:
    try:
        return metadata.requires(OURS) or []
    except metadata.PackageNotFoundError:
        return []


def _release(version: str) -> tuple[tuple[int, ...], int] | None:
    """A key that compares: the numbers without zeros at the end, and -1 for a pre-release."""
    found = _RELEASE.match(version)
    if found is None:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), -1 if found[2] else 0
