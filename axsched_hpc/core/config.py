"""The scheduler's options: known names, types and ranges, checked as a whole before anything happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from axsched_hpc.core.errors import ConfigError, did_you_mean
from axsched_hpc.core.policy import FailureLimit, RetryPolicy

#: Documented options that belong to later versions: named apart from misspelt ones.
_NOT_YET = {"prefetch"}


@dataclass(frozen=True)
class SchedulerConfig:
    """Options of :class:`axsched_hpc.AxScheduler`, with their defaults.

    Attributes
    ----------
    monitoring_interval : float
        Seconds between two queries of the cluster's scheduler.
    job_output_dir : str
        The experiment directory.
    synchronous : bool
        Whether trials run in rounds of ``max_parallel``, or a freed slot is filled at once.
    cleanup_after_completion : bool
        Whether the working files of completed trials are removed. Parameters, metrics and all of failed
        trials always stay.
    resume : {"auto", "never", "must"}
        What to do with what lies in the directory: go on if it is the same experiment; refuse; refuse where
        nothing lies there.
    poll_interval : float
        Seconds between two looks into the inbox, where finished trials announce themselves.
    max_failures : int or None
        Stop when more trials than this have failed.
    failure_rate : float
        Stop when more than this share of trials has failed, once five have ended.
    retries : RetryPolicy
        Repetitions of a failed attempt, by class: infrastructure 3, resource 0, objective 0.
    seed : int or None
        Seed of the generation strategy, where the Ax client has none.
    save_interval : float
        Seconds between two snapshots, at the least; they also take at most a twentieth of the run time.
    on_timeout : {"cancel", "leave"}
        What to do with running attempts when the time of a call is over.
    lost_after : float
        Seconds for which no query may know a job before its attempt counts as lost.
    takeover_after : float
        Seconds without a sign of life of this driver after which one on another machine may take over.
    permissions : {"private", "group"}
        Who may read the experiment directory: its owner only, or his group as well. Nobody else can write.
    """

    monitoring_interval: float = 10
    job_output_dir: str = "./outputs"
    synchronous: bool = True
    cleanup_after_completion: bool = True
    resume: str = "auto"
    poll_interval: float = 1.0
    max_failures: int | None = None
    failure_rate: float = 0.5
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    seed: int | None = None
    save_interval: float = 60.0
    on_timeout: str = "cancel"
    lost_after: float = 120.0
    takeover_after: float = 60.0
    permissions: str = "private"

    @property
    def failure_limit(self) -> FailureLimit:
        """When the objective counts as broken."""
        return FailureLimit(self.max_failures, self.failure_rate)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any] | None) -> SchedulerConfig:
        """Check options and fill in the defaults.

        Raises
        ------
        ConfigError
            A key is unknown (the nearest known one is named), or a value has the wrong type or is out of
            range.
        """
        if options is None:
            return cls()
        if not isinstance(options, Mapping):
            raise ConfigError(f"config takes a dict of options, not {type(options).__name__}.")
        known = [f.name for f in fields(cls)]
        values = {}
        for key, value in options.items():
            if key in _NOT_YET:
                raise ConfigError(f"config[{key!r}] is not available in this version; leave it out.")
            check = _CHECKS.get(key)
            if check is None:
                raise ConfigError(f"Unknown config key {key!r}.{did_you_mean(str(key), known)}")
            values[key] = check(f"config[{key!r}]", value)
        return cls(**values)


Check = Callable[[str, Any], Any]


def _wrong(name: str, value: Any, wanted: str) -> ConfigError:
    return ConfigError(f"{name} is {value!r} ({type(value).__name__}), but takes {wanted}.")


def _seconds(least: float, *, zero: bool = False) -> Check:
    wanted = f"a number of seconds, at least {least:g}" if not zero else "a number of seconds, 0 or more"

    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(name, value, wanted)
        if not math.isfinite(value) or value < (0 if zero else least):
            raise _wrong(name, value, wanted)
        return value

    return check


def boolean(name: str, value: Any) -> bool:
    """A truth value, or a ConfigError that names the option."""
    if not isinstance(value, bool):
        raise _wrong(name, value, "True or False")
    return value


def _choice(*allowed: str) -> Check:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _wrong(name, value, " or ".join(repr(word) for word in allowed))
        return value

    return check


def path_text(name: str, value: Any, wanted: str = "the path of a directory") -> str:
    """A path as text, or a ConfigError that names the option."""
    text = value.__fspath__() if hasattr(value, "__fspath__") else value
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise _wrong(name, value, wanted)
    return text


def whole_number(name: str, value: Any, least: int = 0) -> int:
    """A whole number of at least ``least``, or a ConfigError that names the option."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(name, value, f"a whole number, {least} or more")
    return value


def duration(name: str, value: Any) -> float:
    """A number of seconds, 0 or more, or a ConfigError that names the option."""
    return float(_seconds(0, zero=True)(name, value))


def _optional_whole(name: str, value: Any) -> int | None:
    return None if value is None else whole_number(name, value)


def _rate(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong(name, value, "a number from 0 to 1")
    return value


def _retries(name: str, value: Any) -> RetryPolicy:
    if isinstance(value, RetryPolicy):
        return value
    if not isinstance(value, Mapping):
        raise _wrong(name, value, 'a dict such as {"infrastructure": 3, "resource": 0, "objective": 0}')
    known = [f.name for f in fields(RetryPolicy)]
    for key in value:
        if key not in known:
            raise ConfigError(f"Unknown class of failures {key!r} in {name}.{did_you_mean(str(key), known)}")
    return RetryPolicy(**{key: whole_number(f"{name}[{key!r}]", number) for key, number in value.items()})


_CHECKS: dict[str, Check] = {
    "monitoring_interval": _seconds(0.1),
    "job_output_dir": path_text,
    "synchronous": boolean,
    "cleanup_after_completion": boolean,
    "resume": _choice("auto", "never", "must"),
    "poll_interval": _seconds(0.01),
    "max_failures": _optional_whole,
    "failure_rate": _rate,
    "retries": _retries,
    "seed": _optional_whole,
    "save_interval": _seconds(0, zero=True),
    "on_timeout": _choice("cancel", "leave"),
    "lost_after": _seconds(1),
    "takeover_after": _seconds(3),
    "permissions": _choice("private", "group"),
}
