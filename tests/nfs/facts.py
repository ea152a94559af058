"""What the design takes for granted of NFS. pytest runs these tests in the guest; test_guest.py starts it.

Each holds for both versions, or says for which.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from axsched_hpc.io import atomic, claim, progress
from axsched_hpc.io.layout import AttemptFiles
from tests.nfs import racer
from tests.nfs.hosts import Host, both
from tests.slurm.processes import poll

ROUNDS = 100
HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    for _ in sys.stdin:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            print("held", flush=True)
        except BlockingIOError:
            print("lost", flush=True)
"""


@pytest.fixture
def hosts(request: pytest.FixtureRequest) -> tuple[Host, Host]:
    """Alpha and beta, each with its path of one directory of this test."""
    alpha, beta = both()
    name = request.node.name
    (alpha.mount / name).mkdir()
    os.listdir(beta.mount)  # noqa: PTH208  (its client may remember that the name was missing)
    return Host(alpha.name, alpha.mount / name), Host(beta.name, beta.mount / name)


def hold(host: Host, name: str) -> subprocess.Popen[str]:
    """Start a process on a host that holds the flock of a file, and wait until it does."""
    holder = host.start(
        sys.executable, "-c", HOLD, host.mount / name, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert answer(holder) == "held"
    return holder


def ask(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def lock(host: Host, name: str, wait: float = 0) -> bool:
    """Whether a host gets the flock of a file within some seconds."""
    return host.run("flock", "--wait", str(wait), host.mount / name, "true").returncode == 0


def test_two_machines(hosts: tuple[Host, Host]) -> None:
    told = (
        "import os; print(os.uname().nodename, open('/proc/sys/kernel/random/boot_id').read(), os.getcwd())"
    )
    (name_a, boot_a, directory_a), (name_b, boot_b, directory_b) = (
        host.run(sys.executable, "-c", told).stdout.split() for host in hosts
    )
    assert (name_a, name_b) == ("alpha", "beta")
    assert boot_a != boot_b
    assert directory_a == directory_b == os.getcwd()  # noqa: PTH109


def test_each_host_has_its_own_cache_and_a_listing_defeats_it(hosts: tuple[Host, Host]) -> None:
    mine, theirs = (host.mount / "new" for host in hosts)
    assert not theirs.exists()
    mine.touch()
    assert not theirs.exists()
    assert atomic.listing(theirs.parent) == ["new"]
    assert theirs.exists()


def test_a_touch_is_seen_through_an_open_file(hosts: tuple[Host, Host]) -> None:
    mine, theirs = (host.mount / "heartbeat" for host in hosts)
    mine.write_text("x")
    with mine.open("r+") as file:
        for second in range(1, 21):
            os.utime(file.fileno(), (second, second))
            with theirs.open() as seen:
                assert os.fstat(seen.fileno()).st_mtime == second


def test_a_replaced_file_is_read_whole_and_fresh(hosts: tuple[Host, Host]) -> None:
    mine, theirs = (host.mount / "state.json" for host in hosts)
    for number in range(20):
        atomic.write(mine, f"{number}\n" * 1000)
        assert atomic.read_text(theirs) == f"{number}\n" * 1000


def test_what_an_objective_reports_reaches_a_driver_on_the_other_host(hosts: tuple[Host, Host]) -> None:
    mine, theirs = (host.mount / "progress.jsonl" for host in hosts)
    assert not theirs.exists()
    end, seen = 0, list[int]()
    for step in range(ROUNDS):
        # A look comes when half a line is there, and another one after it is whole and the file is closed.
        with mine.open("a") as file:
            file.write(f"{step} loss 0.5\n{step + 1000} lo")
            file.flush()
            os.fsync(file.fileno())
            assert atomic.listing(theirs.parent) == ["progress.jsonl"]
            chunk = progress.read(theirs, end)
            seen += [report.step for report in chunk.reports]
            assert seen[-1] == step
            file.write("ss 0.5\n")
        chunk = progress.read(theirs, chunk.end)
        seen += [report.step for report in chunk.reports]
        assert seen[-1] == step + 1000
        end = chunk.end
    assert seen == [number for step in range(ROUNDS) for number in (step, step + 1000)]


def test_a_flock_is_refused_to_the_other_host_until_its_holder_is_killed(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    holder = hold(alpha, "lock")
    assert not lock(beta, "lock")
    holder.kill()
    assert lock(beta, "lock", wait=10)
    holder.wait(10)


def test_a_frozen_host_keeps_its_flock(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    holder = hold(alpha, "lock")
    alpha.freeze()
    try:
        assert not lock(beta, "lock")
    finally:
        alpha.thaw()
    alpha.kill()
    holder.wait(10)
    assert lock(beta, "lock", wait=10)


def test_the_flock_of_a_host_that_lost_its_power_is_freed_by_nfs_4_alone(hosts: tuple[Host, Host]) -> None:
    # NFS 4 ends the lease of a silent client, here after 10 s. NFS 3 waits for the host to boot and say so
    # (`on-host alpha sm-notify -f` sends that).
    alpha, beta = hosts
    holder = hold(alpha, "lock")
    alpha.die()
    try:
        if os.environ["NFS_VERSION"] == "3":
            assert not lock(beta, "lock", wait=15)
            expected = "held"
        else:
            hold(beta, "lock")
            expected = "lost"
    finally:
        alpha.revive()
    # A holder that was only cut off learns of it by locking again.
    ask(holder, "still?")
    assert answer(holder) == expected
    alpha.kill()
    beta.kill()
    holder.wait(30)


@pytest.mark.parametrize("operation", sorted(racer.OPERATIONS))
def test_of_two_hosts_exactly_one_makes_a_name(operation: str, hosts: tuple[Host, Host]) -> None:
    racers = [
        host.start(
            *(sys.executable, "-m", "tests.nfs.racer", operation, host.mount),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for host in hosts
    ]
    assert [answer(one) for one in racers] == ["ready"] * 2
    won = [0, 0]
    for number in range(ROUNDS):
        # Neither is always the first to be started.
        for one in racers if number % 2 else reversed(racers):
            ask(one, str(number))
        made = [answer(one) == "True" for one in racers]
        assert made.count(True) == 1, f"round {number}: {made}"
        won[made.index(True)] += 1
        if operation == "take":
            held = claim.read(AttemptFiles(hosts[number % 2].mount / str(number)))
            assert held is not None
            assert held.host == hosts[made.index(True)].name
    for one in racers:
        one.communicate(timeout=10)
    # Else they did not meet.
    assert min(won) > 0, won


def test_a_full_disk_leaves_the_old_file_whole(hosts: tuple[Host, Host]) -> None:
    mine, theirs = (host.mount / "state.json" for host in hosts)
    atomic.write(mine, "old")
    ballast = mine.with_name("ballast")
    with pytest.raises(OSError) as full:
        fill(ballast)
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(OSError) as refused:
        atomic.write(mine, "new" * 10_000)
    assert refused.value.errno == errno.ENOSPC
    assert atomic.read_text(theirs) == "old"
    ballast.unlink()
    # The server gives the space back some moments after the name.
    assert poll(lambda: os.statvfs(mine.parent).f_bavail > 0, 20)
    atomic.write(mine, "new" * 10_000)
    assert atomic.read_text(theirs) == "new" * 10_000
    assert atomic.listing(mine.parent) == ["state.json"]


def fill(path: Path) -> None:
    """Write to a file until nothing more goes in."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)
            os.fsync(file.fileno())
