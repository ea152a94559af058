"""What the allocation around this process holds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from axsched_hpc.core.sizes import memory_text

_COUNT = re.compile(r"(\d+)(?:\(x(\d+)\))?")
# One line for all nodes with the same CPUs: Nodes=n[1-2] CPU_IDs=0-7 Mem=2000 GRES=gpu:4(IDX:0-3)
_DETAIL = re.compile(r"^\s*Nodes=(\S+) CPU_IDs=(\S+) Mem=(\d+)(?: GRES=(\S*))?", re.MULTILINE)
_GPUS = re.compile(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)")
_PART = re.compile(r"([^\[\],]*)(?:\[([^\]]*)\])?([^\[\],]*)(?:,|$)")


@dataclass(frozen=True)
class NodeShare:
    """What an allocation holds of one node.

    Attributes
    ----------
    memory_mb
        None where Slurm does not count memory.
    """

    name: str
    cpus: int
    memory_mb: int | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Need:
    """What one attempt needs; ``memory_mb`` None for no bound."""

    cpus: int = 1
    memory_mb: int | None = None
    gpus: int = 0


@dataclass(frozen=True)
class Allocation:
    """An allocation of Slurm, as seen from inside."""

    job: str
    nodes: tuple[NodeShare, ...]

    def holds(self, need: Need) -> int:
        """How many attempts fit side by side, each on one node."""
        return sum(_fits(node, need) for node in self.nodes)

    @property
    def text(self) -> str:
        """What it holds, as people say it."""
        return "; ".join(
            f"{node.name}: {node.cpus} CPUs"
            + ("" if node.memory_mb is None else f", {memory_text(node.memory_mb)}")
            + (f", {node.gpus} GPUs" if node.gpus else "")
            for node in self.nodes
        )


def _fits(node: NodeShare, need: Need) -> int:
    number = node.cpus // need.cpus
    if node.memory_mb is not None and need.memory_mb:
        number = min(number, node.memory_mb // need.memory_mb)
    return min(number, node.gpus // need.gpus) if need.gpus else number


def current(environment: Mapping[str, str]) -> str | None:
    """The job id of the allocation around this process; None outside of one."""
    return environment.get("SLURM_JOB_ID") or None


def here(environment: Mapping[str, str], allocation: Allocation) -> bool:
    """Whether this process runs on the one node of the allocation: with salloc it can be on the login
    node.
    """
    return len(allocation.nodes) == 1 and bool(environment.get("SLURMD_NODENAME"))


def from_environment(environment: Mapping[str, str]) -> tuple[NodeShare, ...]:
    """The nodes as sbatch and salloc tell of them: without GPUs, which they do not name for every node."""
    counts = per_node(environment.get("SLURM_JOB_CPUS_PER_NODE", ""))
    names = hosts(environment.get("SLURM_JOB_NODELIST", ""))
    names += [f"node {number}" for number in range(len(names), len(counts))]
    node, cpu = environment.get("SLURM_MEM_PER_NODE", ""), environment.get("SLURM_MEM_PER_CPU", "")
    return tuple(
        NodeShare(
            name,
            cpus,
            (int(node) if node.isdecimal() else int(cpu) * cpus if cpu.isdecimal() else None) or None,
        )
        for name, cpus in zip(names, counts, strict=False)
    )


def from_details(text: str) -> tuple[NodeShare, ...]:
    """The nodes in the answer of ``scontrol show job --details``."""
    found = []
    for nodes, cpus, memory, gres in _DETAIL.findall(text):
        gpus = sum(int(number) for number in _GPUS.findall(gres))
        found += [NodeShare(name, len(numbers(cpus)), int(memory) or None, gpus) for name in hosts(nodes)]
    return tuple(found)


def per_node(text: str) -> list[int]:
    """The numbers of ``8(x2),4``: 8, 8, 4."""
    found = []
    for part in text.split(",") if text else []:
        match = _COUNT.fullmatch(part.strip())
        if match is None:
            return []
        found += [int(match[1])] * int(match[2] or 1)
    return found


def numbers(text: str) -> list[int]:
    """The numbers of ``0-2,5``; none where it is no such list."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return []
        found += range(int(first), int(last or first) + 1)
    return found


def hosts(text: str) -> list[str]:
    """The names of a list of nodes such as ``n[1-2,07],login``, as Slurm writes them."""
    found: list[str] = []
    place = 0
    while place < len(text):
        match = _PART.match(text, place)
        if match is None or match.end() == place:
            return found
        place = match.end()
        before, ranges, after = match[1], match[2], match[3]
        found += [before] if ranges is None else [f"{before}{each}{after}" for each in _padded(ranges)]
    return found


def _padded(ranges: str) -> Sequence[str]:
    found: list[str] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            continue
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last or first) + 1)]
    return found
