"""Shares of a node, what an allocation holds, and how attempts fill packs: pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axsched_hpc.core.plan import Demand, demand, whole_packs
from axsched_hpc.core.shares import shares, split, split_cpus, split_devices
from axsched_hpc.slurm import allocation
from axsched_hpc.slurm.allocation import Allocation, Need, NodeShare


@pytest.mark.parametrize(
    ("items", "parts", "expected"),
    [
        ("abcd", 4, ["a", "b", "c", "d"]),
        ("abcde", 2, ["abc", "de"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("ab", 4, ["a", "a", "b", "b"]),
        ("a", 3, ["a", "a", "a"]),
        ("", 2, ["", ""]),
    ],
)
def test_split(items: str, parts: int, expected: list[str]) -> None:
    assert ["".join(part) for part in split(items, parts)] == expected


@given(st.integers(1, 200), st.integers(1, 40))
def test_shares_of_cpus_are_equal_disjoint_and_use_all(cpus: int, parts: int) -> None:
    found = split_cpus(range(cpus), {}, parts)
    assert len(found) == parts and set.union(*map(set, found)) == set(range(cpus))
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1
    if cpus >= parts:
        assert sum(sizes) == cpus


def test_two_attempts_do_not_share_a_core_while_there_are_enough() -> None:
    siblings = {cpu: (cpu % 4, cpu % 4 + 4) for cpu in range(8)}
    assert split_cpus(range(8), siblings, 2) == [{0, 4, 1, 5}, {2, 6, 3, 7}]
    assert split_cpus(range(8), siblings, 4) == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    # More attempts than cores: the hardware threads are divided.
    assert split_cpus(range(8), siblings, 8) == [{0}, {4}, {1}, {5}, {2}, {6}, {3}, {7}]
    # A job that has only one thread of each core.
    assert split_cpus([0, 1], siblings, 2) == [{0}, {1}]


def test_devices_are_divided_whatever_they_are_called() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "ROCR_VISIBLE_DEVICES": "4, 5", "ZE_AFFINITY_MASK": ""}
    assert split_devices(environment, 2) == [
        {"CUDA_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "2,3", "ROCR_VISIBLE_DEVICES": "5"},
    ]
    uuids = {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}
    assert split_devices(uuids, 4)[1:3] == [
        {"CUDA_VISIBLE_DEVICES": "MIG-a"},
        {"CUDA_VISIBLE_DEVICES": "MIG-b"},
    ]
    assert split_devices({}, 2) == [{}, {}]


def test_programs_are_told_their_share_unless_the_user_has() -> None:
    environment = {"OMP_NUM_THREADS": "7", "SLURM_CPUS_PER_TASK": "8"}
    first, _ = shares(environment, range(8), {}, 2, granted=8, memory_mb=1000)
    assert first.cpus == {0, 1, 2, 3}
    assert "OMP_NUM_THREADS" not in first.variables
    assert first.variables["MKL_NUM_THREADS"] == "4"
    assert first.variables["SLURM_CPUS_PER_TASK"] == "4"
    assert (first.variables["AXSCHED_CPUS"], first.variables["AXSCHED_MEMORY_MB"]) == ("4", "500")
    # A site that does not bind jobs: the job has fewer CPUs than it may use.
    free, _ = shares({}, range(64), {}, 2, granted=8)
    assert (len(free.cpus), free.variables["OMP_NUM_THREADS"]) == (32, "4")
    # A system that cannot say what may be used.
    unbound, _ = shares({}, [], {}, 2)
    assert (unbound.cpus, unbound.variables["OMP_NUM_THREADS"]) == (frozenset(), "1")


# ---------------------------------------------------------------- demand


@pytest.mark.parametrize(
    ("slots", "active", "waiting", "remaining", "synchronous", "expected"),
    [
        (8, 0, 0, 100, False, Demand(0, 8)),
        (8, 7, 0, 100, False, Demand(0, 0)),  # one of a pack has ended: its place is not free yet
        (8, 4, 0, 100, False, Demand(0, 4)),
        (8, 3, 0, 100, False, Demand(0, 4)),
        (8, 3, 2, 100, False, Demand(0, 2)),  # retries come first, and are filled up
        (8, 4, 1, 0, False, Demand(1, 0)),  # nothing is left to fill it up with
        (8, 4, 0, 3, False, Demand(0, 3)),  # the end of the budget
        (16, 4, 0, 7, False, Demand(0, 7)),
        (8, 4, 0, 7, False, Demand(0, 4)),
        (6, 0, 0, 100, False, Demand(0, 4)),
        (6, 4, 0, 100, False, Demand(0, 0)),
        (3, 0, 0, 100, False, Demand(0, 3)),  # nothing else is under way
        (8, 5, 2, 100, True, Demand(2, 0)),  # a round's retries
        (8, 0, 0, 100, True, Demand(0, 8)),
        (0, 0, 5, 5, False, Demand(0, 0)),
    ],
)
def test_demand_for_packs_of_four(
    slots: int, active: int, waiting: int, remaining: int, synchronous: bool, expected: Demand
) -> None:
    got = demand(
        slots=slots, active=active, waiting=waiting, remaining=remaining, synchronous=synchronous, pack=4
    )
    assert got == expected


@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(),
    st.integers(1, 6),
)  # fmt: skip
def test_demand_never_oversubscribes_and_never_waits_for_ever(
    slots: int, active: int, waiting: int, remaining: int, synchronous: bool, pack: int
) -> None:
    got = demand(
        slots=slots, active=active, waiting=waiting, remaining=remaining, synchronous=synchronous, pack=pack
    )
    total = got.submit + got.ask
    assert 0 <= got.submit <= waiting and 0 <= got.ask <= remaining
    assert total <= max(0, slots - active)
    if active == 0 and slots and waiting + remaining:
        assert total > 0


@pytest.mark.parametrize(
    ("wanted", "allowed", "pack", "expected"),
    [(10, 10, 4, 10), (10, 7, 4, 4), (10, 2, 4, 4), (3, 1, 4, 3), (10, 3, 1, 3), (10, 9, 4, 8)],
)
def test_whole_packs(wanted: int, allowed: int, pack: int, expected: int) -> None:
    assert whole_packs(wanted, allowed, pack) == expected


# ---------------------------------------------------------------- allocations

#: `scontrol show job --details` of Slurm 22.05, shortened to the lines around those that are read.
_DETAILS = """\
   TRES=cpu=16,mem=4000M,node=2,billing=16
   Socks/Node=* NtasksPerN:B:S:C=1:0:*:* CoreSpec=*
   JOB_GRES=gpu:8
     Nodes=n[1-2] CPU_IDs=0-7 Mem=2000 GRES=gpu:4(IDX:0-3)
   MinCPUsNode=8 MinMemoryNode=2000M MinTmpDiskNode=0
"""
_MIXED = """\
   JOB_GRES=gpu:a100:3,gpu:v100:1
     Nodes=n1 CPU_IDs=0-3,8 Mem=0 GRES=gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:2)
     Nodes=rack2-n[07,09] CPU_IDs=5 Mem=500 GRES=
"""


def test_what_scontrol_says_of_an_allocation() -> None:
    assert allocation.from_details(_DETAILS) == (NodeShare("n1", 8, 2000, 4), NodeShare("n2", 8, 2000, 4))
    assert allocation.from_details(_MIXED) == (
        NodeShare("n1", 5, None, 3),
        NodeShare("rack2-n07", 1, 500),
        NodeShare("rack2-n09", 1, 500),
    )
    assert allocation.from_details("slurm_load_jobs error: Invalid job id specified") == ()


def test_what_the_environment_says_of_it() -> None:
    environment = {
        "SLURM_JOB_CPUS_PER_NODE": "8(x2),4",
        "SLURM_JOB_NODELIST": "n[1-2],m1",
        "SLURM_MEM_PER_CPU": "100",
    }
    assert allocation.from_environment(environment) == (
        NodeShare("n1", 8, 800), NodeShare("n2", 8, 800), NodeShare("m1", 4, 400),
    )  # fmt: skip
    assert allocation.from_environment({"SLURM_JOB_CPUS_PER_NODE": "4", "SLURM_MEM_PER_NODE": "0"}) == (
        NodeShare("node 0", 4),
    )
    assert allocation.from_environment({}) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8(x2),4", [8, 8, 4]), ("1", [1]), ("", []), ("8(x", []), ("eight", []), ("2,2(x3)", [2, 2, 2, 2])],
)
def test_cpus_per_node(text: str, expected: list[int]) -> None:
    assert allocation.per_node(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10,12],login", ["n08", "n09", "n10", "n12", "login"]),
        ("a-[1-2]-ib,b", ["a-1-ib", "a-2-ib", "b"]),
        ("", []),
        ("n[1-", []),
    ],
)
def test_names_of_nodes(text: str, expected: list[str]) -> None:
    assert allocation.hosts(text) == expected


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (Need(1), 12),
        (Need(3), 3),  # no attempt spans two nodes
        (Need(1, 500), 8),
        (Need(1, 500, 1), 2),
        (Need(1, None, 3), 0),
        (Need(9), 0),
        (Need(1, 0), 12),
    ],
)
def test_how_many_attempts_an_allocation_holds(need: Need, expected: int) -> None:
    held = Allocation("1", (NodeShare("a", 8, 2000, 2), NodeShare("b", 4, None)))
    assert held.holds(need) == expected


def test_a_driver_is_on_the_node_only_where_slurmd_says_so() -> None:
    one, two = Allocation("1", (NodeShare("a", 8),)), Allocation("1", (NodeShare("a", 8), NodeShare("b", 8)))
    assert allocation.here({"SLURMD_NODENAME": "a"}, one)
    assert not allocation.here({}, one), "salloc on a login node"
    assert not allocation.here({"SLURMD_NODENAME": "a"}, two)
