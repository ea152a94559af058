"""The ranges of setup.cfg and the pins of requirements/constraints.txt belong together."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.packaging.metadata import DISTRIBUTION, ROOT, pins, requirements_by_group

REQUIREMENTS = [
    pytest.param(requirement, id=f"{group}:{requirement.name}")
    for group, requirements in requirements_by_group().items()
    for requirement in requirements
    if requirement.name != DISTRIBUTION
]


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_the_range_admits_the_pin(requirement: Requirement) -> None:
    pin = pins().get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} is not pinned: run `make constraints`"
    assert requirement.specifier.contains(pin, prereleases=True)


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_every_requirement_states_a_minimum(requirement: Requirement) -> None:
    assert any(specifier.operator == ">=" for specifier in requirement.specifier)


def test_extras_refer_to_extras_that_exist() -> None:
    groups = requirements_by_group()
    inner = [r for requirements in groups.values() for r in requirements if r.name == DISTRIBUTION]
    assert inner, "dev includes the test extra by naming the package itself"
    assert all(extra in groups for requirement in inner for extra in requirement.extras)


def test_pins_admit_every_build_of_torch() -> None:
    assert pins()[canonicalize_name("torch")].local is None


def test_pinned_setuptools_can_build_the_package() -> None:
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    (requirement,) = map(Requirement, build_system["requires"])
    assert requirement.name == "setuptools"
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_pyproject_has_only_the_build_system_and_ruff() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(pyproject) == {"build-system", "tool"}
    assert set(pyproject["tool"]) == {"ruff"}


def test_old_enough_locks_are_excluded() -> None:
    """Before 3.30 filelock has no ``fallback_to_soft`` and turns a kernel lock into a file by itself."""
    (filelock,) = (r for r in requirements_by_group()["install_requires"] if r.name == "filelock")
    assert not filelock.specifier.contains(Version("3.29.7"))
