"""The partitions of a site, for a person to choose from: one query, in which nothing is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from axsched_hpc.core.sizes import time_s

#: Name, with a star at the default one; whether it is up; longest time; nodes; their CPUs and megabytes.
COMMAND = ("sinfo", "--noheader", "--format=%P|%a|%l|%D|%c|%m")


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes
    ----------
    limit
        Seconds; None without one.
    cpus, memory
        Of its smallest node, in megabytes; as sinfo says it, with a ``+`` where others have more.
    """

    name: str
    default: bool
    limit: int | None
    nodes: int
    cpus: str
    memory: str


def parse(answer: str) -> list[Partition]:
    """The partitions that take jobs, the default one first; lines that are none are passed over."""
    found: dict[str, Partition] = {}
    for line in answer.splitlines():
        fields = line.strip().rsplit("|", 5)
        if len(fields) != 6 or fields[1] != "up" or not fields[3].isdecimal():
            continue
        name = fields[0].removesuffix("*")
        before = found.get(name)
        # Nodes of different sizes may have a line each.
        nodes = int(fields[3]) + (before.nodes if before else 0)
        found[name] = Partition(
            name,
            fields[0].endswith("*"),
            time_s(fields[2]),
            nodes,
            before.cpus if before else fields[4],
            before.memory if before else fields[5],
        )
    return sorted(found.values(), key=lambda each: not each.default)
