"""Shares of a node: which CPUs and which GPUs one of several attempts has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")

#: Variables by which programs know their GPUs: CUDA, ROCm, Level Zero and OpenCL, as Slurm sets them.
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "GPU_DEVICE_ORDINAL")

#: Variables by which libraries know how many threads to start.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def split(items: Sequence[Item], parts: int) -> list[tuple[Item, ...]]:
    """Divide items into neighbouring parts of equal size, the first ones larger by one where that does not
    come out even. Where there are fewer items than parts, several parts have the same one; of none, all
    parts are empty.
    """
    if 0 < len(items) < parts:
        return [(items[number * len(items) // parts],) for number in range(parts)]
    size, more = divmod(len(items), parts)
    starts = [number * size + min(number, more) for number in range(parts + 1)]
    return [tuple(items[start:end]) for start, end in pairwise(starts)]


def split_cpus(
    cpus: Iterable[int], siblings: Mapping[int, Sequence[int]], parts: int
) -> list[frozenset[int]]:
    """Divide CPUs so that two parts share a core only where there are fewer cores than parts.

    Parameters
    ----------
    siblings
        The CPUs (hardware threads) of each CPU's core, itself included; a CPU that is left out is a core.
    """
    allowed = sorted(cpus)
    cores: dict[tuple[int, ...], list[int]] = {}
    for cpu in allowed:
        cores.setdefault(tuple(sorted(siblings.get(cpu, (cpu,)))), []).append(cpu)
    if len(cores) >= parts:
        return [
            frozenset(cpu for core in part for cpu in core) for part in split(list(cores.values()), parts)
        ]
    by_core = [cpu for core in cores.values() for cpu in core]
    return [frozenset(part) for part in split(by_core, parts)]


def split_devices(environment: Mapping[str, str], parts: int) -> list[dict[str, str]]:
    """The variables that tell each part its GPUs: those that the environment has, each with its share."""
    shares: list[dict[str, str]] = [{} for _ in range(parts)]
    for name in GPU_VARIABLES:
        devices = [device.strip() for device in environment.get(name, "").split(",") if device.strip()]
        if not devices:
            continue
        for share, mine in zip(shares, split(devices, parts), strict=True):
            share[name] = ",".join(mine)
    return shares


@dataclass(frozen=True)
class Share:
    """What one of several attempts has of a node.

    Attributes
    ----------
    cpus
        The CPUs to which it is bound; empty for no binding.
    variables
        What tells its programs so.
    """

    cpus: frozenset[int]
    variables: dict[str, str]


def shares(
    environment: Mapping[str, str],
    cpus: Iterable[int],
    siblings: Mapping[int, Sequence[int]],
    parts: int,
    *,
    granted: int | None = None,
    memory_mb: int | None = None,
) -> list[Share]:
    """Divide what a job has on its node.

    Parameters
    ----------
    cpus, siblings
        The CPUs that the job may use, and which of them are one core.
    granted
        The number of CPUs that Slurm gave to the job: fewer than it may use where the site does not bind
        jobs.
    memory_mb
        MiB that it has; None where that is not known.
    """
    bound = split_cpus(cpus, siblings, parts)
    gpus = split_devices(environment, parts)
    found = []
    for mine, variables in zip(bound, gpus, strict=True):
        number = max(1, min(len(mine) or 1, granted // parts if granted else len(mine)))
        for name in THREAD_VARIABLES:
            if name not in environment:
                variables[name] = str(number)
        variables["AXSCHED_CPUS"] = str(number)
        if memory_mb is not None:
            variables["AXSCHED_MEMORY_MB"] = str(memory_mb // parts)
        for name in ("SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK"):
            if name in environment:
                variables[name] = str(number)
        found.append(Share(mine, variables))
    return found
