"""What submitit's parameters ask Slurm for, and the same with more. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from axsched_hpc.core.events import Request
from axsched_hpc.core.request import Asked
from axsched_hpc.core.sizes import memory_mb, time_s, time_text

#: Where submitit keeps the options of sbatch for which it has no name of its own.
ADDITIONAL = "slurm_additional_parameters"

#: Options by which sbatch is asked for memory, of which it takes one.
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")


def asked(parameters: Mapping[str, Any]) -> Asked:
    """What one attempt's job asks for, as far as it can be known."""
    options = parameters.get(ADDITIONAL) or {}
    limit = options.get("time", parameters.get("slurm_time"))
    seconds = time_s(limit) if limit is not None else None
    if seconds is None and limit is None and (minutes := parameters.get("timeout_min")) is not None:
        seconds = int(minutes) * 60
    return Asked(_memory(parameters, options), seconds)


def requesting(
    parameters: Mapping[str, Any], request: Request, *, warning: int | None = None
) -> dict[str, Any]:
    """The parameters with what a batch requests beyond them.

    Parameters
    ----------
    warning
        Seconds before the time limit at which the batch step gets SIGUSR1.
    """
    options = dict(parameters.get(ADDITIONAL) or {})
    if request.memory_mb is not None:
        key = _memory_option(options)
        whole = _memory(parameters, options)
        part = memory_mb(options[key]) if key in options else whole
        share = 1.0 if not whole or not part else part / whole
        options[key] = f"{math.ceil(request.memory_mb * share)}M"
    if request.time_s is not None:
        options["time"] = time_text(request.time_s)
    if request.exclude:
        mine = options.get("exclude", parameters.get("slurm_exclude"))
        options["exclude"] = ",".join([*([str(mine)] if mine else []), *request.exclude])
    if warning is not None and "signal" not in options:
        limit = asked({**parameters, ADDITIONAL: options}).time_s
        # Slurm would warn at once of an end that is nearer than that.
        lead = warning if limit is None else max(1, min(warning, limit // 2))
        # To the batch step alone, which is our worker: it passes it on. Under srun the worker is a step.
        step = "" if parameters.get("slurm_use_srun") else "B:"
        options["signal"] = f"{step}USR1@{lead}"
    return {**parameters, ADDITIONAL: options} if options else dict(parameters)


def _memory_option(options: Mapping[str, Any]) -> str:
    return next((name for name in _MEMORY if name in options), "mem")


def _memory(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> int | None:
    """MiB on one node."""
    name = _memory_option(options)
    size = memory_mb(options[name]) if name in options else None
    if name not in options:
        if (text := parameters.get("slurm_mem")) is not None:
            size = memory_mb(text)
        elif (gb := parameters.get("mem_gb")) is not None:
            size = math.ceil(float(gb) * 1024)
    if size is None or name == "mem":
        return size
    number = _cpus(parameters, options) if name == "mem-per-cpu" else _gpus(parameters, options)
    return None if number is None else size * number


def _cpus(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> int | None:
    each = options.get("cpus-per-task", parameters.get("cpus_per_task", 1))
    return _product(each, _tasks(parameters, options))


def _gpus(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> int | None:
    each = options.get("gpus-per-task", parameters.get("gpus_per_node"))
    return _product(each, _tasks(parameters, options) if "gpus-per-task" in options else 1)


def _tasks(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    return options.get("ntasks-per-node", parameters.get("tasks_per_node", options.get("ntasks", 1)))


def _product(*numbers: Any) -> int | None:
    try:
        return math.prod(int(number) for number in numbers)
    except (TypeError, ValueError):
        return None
