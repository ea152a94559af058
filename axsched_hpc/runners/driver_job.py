"""The driver's own job: its options, and its batch script, which is the template ``driver.sbatch`` with its
first two parts filled in. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from axsched_hpc.core.config import whole_number
from axsched_hpc.core.errors import ConfigError, did_you_mean
from axsched_hpc.core.sizes import memory_mb, time_s
from axsched_hpc.runners import slurm_checks

#: How the next driver comes.
AGAIN = ("requeue", "successor")

#: Slurm may warn so many seconds early (it looks at the time limits of jobs twice a minute).
EARLY = 60

#: Options of sbatch that the batch script relies on.
_OURS = frozenset(
    {"dependency", "no-requeue", "nodes", "ntasks", "open-mode", "requeue", "signal", "test-only"}
)
#: Options that have a key of their own.
_KEYS = {
    "account": "account",
    "cpus-per-task": "cpus_per_task",
    "mem": "memory",
    "partition": "partition",
    "time": "time_limit",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_PART = re.compile(r"^# --- \d\. .*\n", re.MULTILINE)


@dataclass(frozen=True)
class DriverJob:
    """Options of the driver's job: the section ``driver`` of a profile.

    Attributes
    ----------
    partition, account
        As for sbatch; None: the site's defaults.
    time_limit
        Of one driver; when it is over the next one takes over.
    memory, cpus_per_task
        Of the driver. Ax takes half a gigabyte, and more with thousands of trials.
    warning
        Seconds before the walltime at which the driver is told to save and to end.
    again
        ``"requeue"``: the job is requeued; ``"successor"``: another job is submitted beforehand, and waits
        for the end of this one.
    modules, setup, environment, sbatch_options
        As in SlurmRunner's ``config``; the variables are the driver's alone.
    """

    partition: str | None = None
    account: str | None = None
    time_limit: str | int = "12:00:00"
    memory: str | int = "4G"
    cpus_per_task: int = 1
    warning: int = 120
    again: str = "requeue"
    modules: Sequence[str] = ()
    setup: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    sbatch_options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> DriverJob:
        """Check options and fill in the defaults.

        Raises
        ------
        ConfigError
            A key is unknown, or a value has the wrong type or is out of range.
        """
        for key in options:
            if key not in _CHECKS:
                raise ConfigError(f"Unknown option {key!r} of driver.{did_you_mean(str(key), list(_CHECKS))}")
        job = cls(**{key: _CHECKS[key](f"driver.{key}", value) for key, value in options.items()})
        limit = time_s(job.time_limit)
        if limit is not None and limit < job.warning + EARLY:
            raise ConfigError(
                f"driver.time_limit is {job.time_limit} and driver.warning {job.warning} s. Slurm may warn "
                f"up to {EARLY} s early, so the driver could be stopped before it has begun: the time has "
                f"to be {job.warning + EARLY} s at the least, and better some hours."
            )
        return job


KEYS = tuple(each.name for each in fields(DriverJob))


def job_name(name: str) -> str:
    """A name that is taken as it is by sbatch, file names and lists of names.

    Raises
    ------
    ConfigError
        It is none.
    """
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise ConfigError(
            f"The job's name is {name!r:.120}, but takes letters, digits, dots, hyphens and underscores, 100 "
            "at the most."
        )
    return name


def options(job: DriverJob, *, name: str, log: str) -> list[str]:
    """The options of sbatch: of the command line, and of the script's header.

    Parameters
    ----------
    log
        Path of the log file, with sbatch's patterns such as ``%x``.
    """
    pairs: list[tuple[str, Any]] = [
        ("job-name", name),
        ("nodes", 1),
        ("ntasks", 1),
        ("cpus-per-task", job.cpus_per_task),
        ("mem", job.memory),
        ("time", job.time_limit),
        ("signal", f"B:USR1@{job.warning}"),
        ("output", log),
        ("open-mode", "append"),
        ("requeue" if job.again == "requeue" else "no-requeue", True),
        ("partition", job.partition),
        ("account", job.account),
        *job.sbatch_options.items(),
    ]
    if "mem-per-cpu" in job.sbatch_options:
        pairs = [pair for pair in pairs if pair[0] != "mem"]
    return [
        f"--{option}" if value is True else f"--{option}={value}"
        for option, value in pairs
        if value is not None and value is not False
    ]


def render(
    template: str,
    job: DriverJob,
    command: Sequence[str],
    *,
    name: str,
    log: str,
    exported: Mapping[str, str] | None = None,
) -> str:
    """The batch script of a driver.

    Parameters
    ----------
    template
        The text of ``driver.sbatch``.
    command
        What runs: words that no shell reads.
    exported
        Variables for the driver and, as all that it inherits, its trials.

    Raises
    ------
    ConfigError
        Something cannot stand in a header, which is one line.
    """
    head = "\n".join(f"#SBATCH {_header(option)}" for option in options(job, name=name, log=log))
    setup = [
        *(f"export {variable}={shlex.quote(value)}" for variable, value in (exported or {}).items()),
        *(f"module load {shlex.quote(module)} || exit 1" for module in job.modules),
        *job.setup,
    ]
    lines = "\n".join(setup) or ":"
    environment = " ".join(f"{each}={shlex.quote(value)}" for each, value in job.environment.items())
    what = (
        f"again={job.again}\n"
        f"setup() {{\n:\n{lines}\n}}\n"
        f"environment=({environment})\n"
        f"command=({' '.join(map(shlex.quote, command))})"
    )
    first, second, third = _PART.finditer(template)
    return (
        "#!/bin/bash\n# Made by `axsched submit` from its template driver.sbatch.\n\n"
        f"{first[0]}{head}\n\n{second[0]}{what}\n\n{template[third.start() :]}"
    )


def _header(option: str) -> str:
    key, equals, value = option.partition("=")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ConfigError(f"{key} of the driver's job is {value!r}, but takes one line of text.")
    if not equals or _PLAIN.fullmatch(value):
        return option
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{quoted}"'


def _time(name: str, value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or time_s(value) is None:
        raise ConfigError(
            f"{name} is {value!r}, but takes a time such as '12:00:00' or '2-00:00:00', or minutes."
        )
    return value


def _memory(name: str, value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or memory_mb(value) is None:
        raise ConfigError(f"{name} is {value!r}, but takes a size such as '4G' or '500M'.")
    return value


def _seconds(name: str, value: Any) -> int:
    # sbatch(1), --signal: an integer between 0 and 65535.
    seconds = whole_number(name, value, 10)
    if seconds > 65_535:
        raise ConfigError(f"{name} is {value}, but takes 65535 s at the most.")
    return seconds


def _again(name: str, value: Any) -> str:
    if value not in AGAIN:
        raise ConfigError(f"{name} is {value!r}, but takes {' or '.join(map(repr, AGAIN))}.")
    return str(value)


def _options(name: str, value: Any) -> dict[str, Any]:
    chosen = slurm_checks.sbatch_options(name, value)
    for option in chosen:
        if option in _KEYS:
            raise ConfigError(f"{name}[{option!r}]: use driver.{_KEYS[option]} instead.")
        if option in _OURS:
            raise ConfigError(f"{name}[{option!r}]: the driver's job relies on its own; leave it out.")
    return chosen


def _cpus(name: str, value: Any) -> int:
    return whole_number(name, value, 1)


def _site_word(name: str, value: Any) -> str | None:
    return None if value is None else slurm_checks.word(name, value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "partition": _site_word,
    "account": _site_word,
    "time_limit": _time,
    "memory": _memory,
    "cpus_per_task": _cpus,
    "warning": _seconds,
    "again": _again,
    "modules": slurm_checks.lines,
    "setup": slurm_checks.lines,
    "environment": slurm_checks.environment,
    "sbatch_options": _options,
}
