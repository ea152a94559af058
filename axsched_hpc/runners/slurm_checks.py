"""Checks of what a user asks sbatch for, in the words of the runner's arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from axsched_hpc.core.config import whole_number
from axsched_hpc.core.errors import ConfigError, did_you_mean, wrong_value

# sbatch(1), --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].
TIME = re.compile(r"(\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2}|infinite|unlimited)", re.IGNORECASE)
# sbatch(1), --mem.
MEMORY = re.compile(r"\d+([KMGT]B?)?", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Options of sbatch that this package sets itself.
_OURS = frozenset(
    {"array", "clusters", "error", "job-name", "output", "parsable", "quiet", "test-only", "wait", "wrap"}
)

_CONFIG = ("modules", "setup", "environment", "sbatch_options", "max_array_size")


def checked_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entries of ``config``, checked, with the defaults of those that are left out."""
    values: dict[str, Any] = {
        "modules": [],
        "setup": [],
        "environment": {},
        "sbatch_options": {},
        "max_array_size": 1000,
    }
    if config is not None and not isinstance(config, Mapping):
        raise ConfigError(f"SlurmRunner(config=...) takes a dict of options, not {type(config).__name__}.")
    for key, value in (config or {}).items():
        check = CHECKS.get(key)
        if check is None:
            raise ConfigError(
                f"Unknown key {key!r} in SlurmRunner's config.{did_you_mean(str(key), _CONFIG)}"
            )
        values[key] = check(f"config[{key!r}]", value)
    return values


def _wrong(name: str, value: object, wanted: str) -> ConfigError:
    return wrong_value(name, value, wanted, f"{name} is {value!r}, but takes {wanted}.")


def lines(name: str, value: Any) -> list[str]:
    """A list of shell lines."""
    if (
        isinstance(value, str)
        or not isinstance(value, list | tuple)
        or not all(isinstance(v, str) for v in value)
    ):
        raise _wrong(name, value, "a list of strings")
    return list(value)


def environment(name: str, value: Any) -> dict[str, str]:
    """Variables, as texts."""
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a dict of variables")
    for variable, text in value.items():
        if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
            raise ConfigError(f"{name}: {variable!r} is no name of an environment variable.")
        if isinstance(text, bool) or not isinstance(text, str | int | float) or "\0" in str(text):
            raise ConfigError(f"{name}[{variable!r}] is {text!r}, but takes a string or a number.")
    return {variable: str(text) for variable, text in value.items()}


def sbatch_options(name: str, value: Any) -> dict[str, Any]:
    """Options of sbatch by their long names without dashes; those that are False or None are left out."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{name} is {value!r}, but takes a dict such as {{'qos': 'high', 'exclusive': True}}."
        )
    options: dict[str, Any] = {}
    for key, setting in value.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key.removeprefix("--")):
            raise ConfigError(f"{name}: {key!r} is no long name of an option of sbatch.")
        option = key.removeprefix("--").replace("_", "-")
        if option in _OURS:
            raise ConfigError(f"{name}[{key!r}]: this option is set by axsched_hpc itself; leave it out.")
        if setting is False or setting is None:
            continue
        if not isinstance(setting, str | int | float) or "\n" in str(setting):
            raise ConfigError(
                f"{name}[{key!r}] is {setting!r}, but takes one line of text, a number or True."
            )
        options[option] = setting
    return options


def array_size(name: str, value: Any) -> int:
    """The most tasks of one job array."""
    return whole_number(name, value, 1)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "modules": lines,
    "setup": lines,
    "environment": environment,
    "sbatch_options": sbatch_options,
    "max_array_size": array_size,
}


def word(name: str, value: Any) -> str:
    """A name, such as that of a partition."""
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise _wrong(name, value, "a name, or None for the site's default")
    return value


def matching(name: str, value: Any, pattern: re.Pattern[str], wanted: str) -> str:
    """A text or number that looks like what is wanted."""
    if isinstance(value, bool) or not isinstance(value, str | int) or not pattern.fullmatch(str(value)):
        raise _wrong(name, value, wanted)
    return str(value)
