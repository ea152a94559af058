"""The scheduler's options: known names, types and ranges, checked as a whole before anything happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from axsched_hpc.core import sizes
from axsched_hpc.core.errors import ConfigError, did_you_mean, wrong_value
from axsched_hpc.core.policy import FailureLimit, Growth, RetryPolicy


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
    changed_objective : {"go_on", "refuse"}
        What to do where another objective is set than that of earlier trials: go on with it and say so, or
        refuse.
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
        Repetitions of a failed attempt, by class: infrastructure 3, resource 0, objective 0; how often a
        trial may go on from a checkpoint: continuation 100; and ``out_of_memory`` and ``timeout``, which
        repeat with more: ``{"attempts": 2, "memory_factor": 2, "memory_max": "64G"}``,
        ``{"attempts": 1, "time_factor": 1.5, "time_max": "24:00:00"}``.
    prefetch : int
        Trials that are generated ahead in an asynchronous run, while all slots are busy, so that a slot that
        gets free does not wait for Ax's model. Each is chosen without the results that come before it runs.
    seed : int or None
        Seed of the generation strategy, where the Ax client has none.
    save_interval : float
        Seconds between two snapshots, at the least; they also take at most a twentieth of the run time.
    on_timeout : {"cancel", "leave"}
        What to do with running attempts when the time of a call is over.
    lost_after : float
        Seconds for which no query may know a job before its attempt counts as lost.
    stuck_after : float
        Seconds for which a job may wait for a reason that does not pass by itself before that is reported.
    takeover_after : float
        Seconds without a sign of life of this driver after which one on another machine may take over.
    early_stopping : bool, None or a strategy of Ax
        Whether unpromising trials are stopped by their curves: None as the client does it, True by its
        strategy or else Ax's default, False not at all.
    global_stopping : False, None or a strategy of Ax
        Whether the whole run ends before its budget is spent: None as an AxClient does it, False never.
    arms_per_trial : int
        With more than one, points are generated as Ax's batch trials of so many arms, each of which is run
        as a trial is. For an ``Experiment``.
    permissions : {"private", "group"}
        Who may read the experiment directory: its owner only, or his group as well. Nobody else can write.
    """

    monitoring_interval: float = 10
    job_output_dir: str = "./outputs"
    synchronous: bool = True
    cleanup_after_completion: bool = True
    changed_objective: str = "go_on"
    resume: str = "auto"
    poll_interval: float = 1.0
    max_failures: int | None = None
    failure_rate: float = 0.5
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    prefetch: int = 0
    seed: int | None = None
    save_interval: float = 60.0
    on_timeout: str = "cancel"
    lost_after: float = 120.0
    stuck_after: float = 600.0
    takeover_after: float = 60.0
    early_stopping: Any = None
    global_stopping: Any = None
    arms_per_trial: int = 1
    permissions: str = "private"

    @property
    def of_ax(self) -> dict[str, Any]:
        """The options that only Ax understands."""
        names = ("arms_per_trial", "early_stopping", "global_stopping")
        return {name: getattr(self, name) for name in names}

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
            check = CHECKS.get(key)
            if check is None:
                raise ConfigError(f"Unknown config key {key!r}.{did_you_mean(str(key), known)}")
            values[key] = check(f"config[{key!r}]", value)
        return cls(**values)


Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Seconds:
    """Checks a number of seconds."""

    least: float = 0

    def __call__(self, name: str, value: Any) -> float:
        """The seconds, or a ConfigError that names the option."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < self.least:
            least = f"at least {self.least:g}" if self.least else "0 or more"
            raise wrong_value(name, value, f"a number of seconds, {least}")
        return value  # type: ignore[no-any-return]


def boolean(name: str, value: Any) -> bool:
    """A truth value, or a ConfigError that names the option."""
    if not isinstance(value, bool):
        raise wrong_value(name, value, "True or False")
    return value


@dataclass(frozen=True)
class OneOf:
    """Checks one of some words."""

    allowed: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> str:
        """The word, or a ConfigError that names the option."""
        if not isinstance(value, str) or value not in self.allowed:
            raise wrong_value(name, value, " or ".join(repr(word) for word in self.allowed))
        return value


def path_text(name: str, value: Any, wanted: str = "the path of a directory") -> str:
    """A path as text, or a ConfigError that names the option."""
    text = value.__fspath__() if hasattr(value, "__fspath__") else value
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise wrong_value(name, value, wanted)
    return text


def whole_number(name: str, value: Any, least: int = 0) -> int:
    """A whole number of at least ``least``, or a ConfigError that names the option."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise wrong_value(name, value, f"a whole number, {least} or more")
    return value


def duration(name: str, value: Any) -> float:
    """A number of seconds, 0 or more, or a ConfigError that names the option."""
    return float(Seconds()(name, value))


def at_least_one(name: str, value: Any) -> int:
    return whole_number(name, value, 1)


def optional_whole_number(name: str, value: Any) -> int | None:
    return None if value is None else whole_number(name, value)


def share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise wrong_value(name, value, "a number from 0 to 1")
    return value


def anything(name: str, value: Any) -> Any:
    # Ax alone can tell whether it is one of its strategies.
    return value


def retries(name: str, value: Any) -> RetryPolicy:
    if isinstance(value, RetryPolicy):
        return value
    if not isinstance(value, Mapping):
        raise wrong_value(name, value, 'a dict such as {"infrastructure": 3, "resource": 0, "objective": 0}')
    known = [f.name for f in fields(RetryPolicy)]
    rules: dict[str, Any] = {}
    for key, each in value.items():
        if key not in known:
            raise ConfigError(f"Unknown class of failures {key!r} in {name}.{did_you_mean(str(key), known)}")
        where = f"{name}[{key!r}]"
        rules[key] = _growth(where, key, each) if key in _GROWTH else whole_number(where, each)
    return RetryPolicy(**rules)


def _growth(name: str, kind: str, value: Any) -> Growth | None:
    what, example, most, size = _GROWTH[kind]
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise wrong_value(name, value, f"a dict such as {example}")
    known = ("attempts", f"{what}_factor", f"{what}_max")
    for key in value:
        if key not in known:
            raise ConfigError(f"Unknown key {key!r} in {name}.{did_you_mean(str(key), known)}")
    factor = value.get(known[1], 2.0)
    number = isinstance(factor, int | float) and not isinstance(factor, bool)
    if not number or not math.isfinite(factor) or not 1 < factor <= 100:
        raise wrong_value(f"{name}[{known[1]!r}]", factor, "a number above 1, and 100 at the most")
    bound = value.get(known[2])
    amount = None if bound is None or not isinstance(bound, str | int) else size(bound)
    if bound is not None and (amount is None or isinstance(bound, bool)):
        raise wrong_value(f"{name}[{known[2]!r}]", bound, most)
    return Growth(whole_number(f"{name}['attempts']", value.get("attempts", 1)), float(factor), amount)


_GROWTH: dict[str, tuple[str, str, str, Callable[[str | int], int | None]]] = {
    "out_of_memory": (
        "memory",
        '{"attempts": 2, "memory_factor": 2, "memory_max": "64G"}',
        "a size such as '64G'",
        sizes.memory_mb,
    ),
    "timeout": (
        "time",
        '{"attempts": 1, "time_factor": 1.5, "time_max": "24:00:00"}',
        "a time such as '24:00:00' or '2-00:00:00', or minutes",
        sizes.time_s,
    ),
}

CHECKS: dict[str, Check] = {
    "monitoring_interval": Seconds(0.1),
    "job_output_dir": path_text,
    "synchronous": boolean,
    "cleanup_after_completion": boolean,
    "changed_objective": OneOf(("go_on", "refuse")),
    "resume": OneOf(("auto", "never", "must")),
    "poll_interval": Seconds(0.01),
    "max_failures": optional_whole_number,
    "failure_rate": share,
    "retries": retries,
    "prefetch": whole_number,
    "seed": optional_whole_number,
    "save_interval": Seconds(),
    "on_timeout": OneOf(("cancel", "leave")),
    "lost_after": Seconds(1),
    "stuck_after": Seconds(),
    "takeover_after": Seconds(3),
    "early_stopping": anything,
    "global_stopping": anything,
    "arms_per_trial": at_least_one,
    "permissions": OneOf(("private", "group")),
}
