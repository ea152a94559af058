"""Partitions, as `scontrol show partition` and sinfo tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from axsched_hpc.core.errors import did_you_mean, plural
from axsched_hpc.core.request import Asked
from axsched_hpc.core.sizes import memory_text, time_s, time_text
from axsched_hpc.doctor.finding import Finding, Level, joined
from axsched_hpc.reporting.table import duration

#: Partitions that are listed one by one.
_LISTED = 12


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes
    ----------
    limit, default_time
        Seconds; None without a limit or default.
    nodes
        How many it has.
    memory_per_cpu, memory_per_node
        Megabytes that a job gets that does not say how much; None where that is all of the node.
    most_memory
        Megabytes that a job may have on a node; None without a limit.
    """

    name: str
    state: str
    default: bool
    limit: int | None
    default_time: int | None
    nodes: int
    memory_per_cpu: int | None
    memory_per_node: int | None
    most_memory: int | None


@dataclass(frozen=True)
class Nodes:
    """How many nodes of a partition run jobs, are idle, and are neither (down, drained)."""

    busy: int
    idle: int
    other: int


def parse(answer: str) -> list[Partition]:
    """The partitions of `scontrol show partition --oneliner`."""
    found = []
    for line in answer.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" not in fields:
            continue
        found.append(
            Partition(
                fields["PartitionName"],
                fields.get("State", "UP"),
                fields.get("Default") == "YES",
                time_s(fields.get("MaxTime", "")),
                time_s(fields.get("DefaultTime", "")),
                _number(fields, "TotalNodes") or 0,
                _number(fields, "DefMemPerCPU"),
                _number(fields, "DefMemPerNode"),
                _number(fields, "MaxMemPerNode"),
            )
        )
    return found


def parse_nodes(answer: str) -> dict[str, Nodes]:
    """Nodes by partition, from sinfo's format ``%R|%F``."""
    found = {}
    for line in answer.splitlines():
        name, _, counts = line.strip().rpartition("|")
        numbers = counts.split("/")
        if name and len(numbers) == 4 and all(n.isdecimal() for n in numbers[:3]):
            busy, idle, other = (int(n) for n in numbers[:3])
            found[name] = Nodes(busy, idle, other)
    return found


def chosen(partitions: Sequence[Partition], wanted: str | None) -> Partition | None:
    """The one that jobs go to: the wanted one, or the site's default; the first of several names."""
    if wanted is None:
        return next((p for p in partitions if p.default), None)
    return next((p for p in partitions if p.name in wanted.split(",")), None)


def judge(
    partitions: Sequence[Partition],
    nodes: Mapping[str, Nodes],
    wanted: str | None,
    asked: Asked,
    default_memory: str,
) -> list[Finding]:
    """The list of partitions, and whether the chosen one takes trials.

    Parameters
    ----------
    wanted
        The partition that the user named.
    asked
        Time and memory that a trial's job asks for.
    default_memory
        What a job gets by the configuration that does not say how much, in words; empty where it is not told.
    """
    shown = sorted(partitions, key=lambda p: (p is not chosen(partitions, wanted), not p.default))[:_LISTED]
    lines = [_line(p, nodes.get(p.name), default_memory) for p in shown]
    if len(partitions) > len(shown):
        lines.append(f"and {len(partitions) - len(shown)} more; `sinfo -s` lists them")
    listed = Finding(
        "partitions",
        Level.OK if partitions else Level.PROBLEM,
        "\n".join([f"{len(partitions)} in all:", *lines]),
    )
    return [listed, _judge_choice(partitions, nodes, wanted, asked)]


def _judge_choice(
    partitions: Sequence[Partition], nodes: Mapping[str, Nodes], wanted: str | None, asked: Asked
) -> Finding:
    check = "where trials go"
    one = chosen(partitions, wanted)
    if one is None and wanted is not None:
        return Finding(
            check,
            Level.PROBLEM,
            f"There is no partition {wanted!r}.{did_you_mean(wanted, [p.name for p in partitions])}",
            "axsched doctor --partition NAME, and SlurmRunner(partition=NAME).",
        )
    if one is None:
        return Finding(
            check,
            Level.WARNING,
            "The site has no default partition: jobs that name none are refused, unless the site chooses "
            "one.",
            "axsched doctor --partition NAME, and SlurmRunner(partition=NAME).",
        )
    name = f"Partition {one.name}"
    parts = [Finding("", Level.OK, f"{name}." if wanted else f"{name}, the default.")]
    if one.state != "UP":
        parts.append(
            Finding(
                "", Level.PROBLEM, f"It is {one.state}: no job starts in it.", "Choose another: `sinfo -s`."
            )
        )
    have = nodes.get(one.name)
    if have is not None and not have.busy and not have.idle:
        parts.append(
            Finding(
                "",
                Level.PROBLEM,
                "None of its nodes is up.",
                "Choose another, or wait: `sinfo -R` tells why nodes are down.",
            )
        )
    if one.limit is not None and one.limit < (asked.time_s or 0):
        parts.append(
            Finding(
                "",
                Level.PROBLEM,
                f"Trials ask for {duration(asked.time_s or 0)}, and its time limit is {duration(one.limit)}: "
                "Slurm refuses them, or lets them wait for ever.",
                f"SlurmRunner(time_limit='{time_text(one.limit)}') or less.",
            )
        )
    if one.most_memory is not None and one.most_memory < (asked.memory_mb or 0):
        parts.append(
            Finding(
                "",
                Level.PROBLEM,
                f"Trials ask for {memory_text(asked.memory_mb or 0)}, and a job may have "
                f"{memory_text(one.most_memory)} on a node.",
                f"SlurmRunner(memory='{one.most_memory}M') or less.",
            )
        )
    return joined(check, parts)


def _line(one: Partition, nodes: Nodes | None, default_memory: str) -> str:
    if one.memory_per_cpu is not None:
        memory = f"{memory_text(one.memory_per_cpu)} per core by default"
    elif one.memory_per_node is not None:
        memory = f"{memory_text(one.memory_per_node)} per node by default"
    else:
        memory = default_memory
    have = plural(one.nodes, "node")
    if nodes is not None:
        have += f" ({nodes.idle} idle" + (f", {nodes.other} down" if nodes.other else "") + ")"
    limit = f"at most {duration(one.limit)}" if one.limit is not None else "no time limit"
    words = [one.state.lower(), have, limit, *([memory] if memory else [])]
    return f"{one.name}{' (default)' if one.default else ''}: {', '.join(words)}"


def _number(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name, "")
    return int(text) if text.isdecimal() else None


def default_memory(settings: Mapping[str, str]) -> str:
    """What the configuration as a whole gives to a job that does not say how much memory."""
    for name, what in (("DefMemPerCPU", "core"), ("DefMemPerNode", "node")):
        count = _number(settings, name)
        if count is not None:
            return f"{memory_text(count)} per {what} by default"
    return ""
