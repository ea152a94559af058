"""Where the trials of a project run: the runner's own checks, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.project.findings import Findings, values_of
from axsched_hpc.project.keys import kind_of_runner
from axsched_hpc.project.model import Where
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.runners.local_runner import LocalRunner
from axsched_hpc.runners.slurm_runner import SlurmRunner
from axsched_hpc.runners.submitit_runner import SubmititRunner
from axsched_hpc.slurm import profile as profiles

_WAY = ("runner",)


def where(findings: Findings, data: Mapping[str, Any]) -> Where | None:
    """Where trials run; None where something is wrong with it."""
    given = data.get("runner", "local")
    values = {"type": given} if isinstance(given, str) else given
    kind = kind_of_runner(values) if isinstance(values, dict) else None
    if kind is None or not findings.good("parallel", "max_parallel"):
        return None
    arguments = {key: each for key, each in values.items() if key not in ("type", "profile")}
    most = values_of(data, "parallel", "max_parallel")
    if most is not None:
        arguments["max_parallel"] = most
    elif kind == "submitit":
        findings.add(_WAY, "a runner of type submitit needs parallel.max_parallel, the trials at a time.")
    profile = values.get("profile")
    if profile is not None and findings.good(*_WAY, "profile"):
        try:
            profiles.load(profile)
        except ConfigError as error:
            findings.add((*_WAY, "profile"), str(error))
    if not findings.good(*_WAY):
        return None
    found = Where(kind, arguments, profile)
    # Whether there is an allocation is a matter of when it is run, and not of the file.
    if arguments.get("mode") != "steps":
        try:
            made(found)
        except ConfigError as error:
            findings.take(_WAY, error)
    return found


def made(place: Where) -> BaseRunner:
    """The runner.

    Raises
    ------
    AxSchedError
        It cannot be made here.
    """
    arguments = dict(place.arguments)
    if place.type == "local":
        return LocalRunner(**arguments)
    if place.type == "submitit":
        return SubmititRunner(**arguments)
    return SlurmRunner.from_profile(place.profile, **arguments)
