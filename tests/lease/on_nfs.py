"""The lease on two machines that share a directory. pytest runs these in the guest (tests/nfs)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ExperimentLockedError, SupersededError
from axsched_hpc.core.events import DriverClosed, LeaseTaken
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store import journal
from axsched_hpc.store.lease import Lease
from axsched_hpc.store.writer import JournalWriter
from tests.lease import kit, race, saves
from tests.nfs.hosts import Host, both

TAKEOVER = 6.0


@pytest.fixture
def hosts(request: pytest.FixtureRequest) -> tuple[Host, Host]:
    """Alpha and beta, each with its path of one directory of this test."""
    alpha, beta = both()
    name = request.node.name.replace("[", "-").replace("]", "")
    (alpha.mount / name / "journal").mkdir(parents=True)
    os.listdir(beta.mount)  # noqa: PTH208  (its client may remember that the name was missing)
    return Host(alpha.name, alpha.mount / name), Host(beta.name, beta.mount / name)


def hold(host: Host) -> subprocess.Popen[str]:
    """Hold an experiment on a host."""
    holder = host.start(
        *(sys.executable, "-c", kit.HOLD, host.mount, "-", str(TAKEOVER), "locks"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def give_back(lease: Lease) -> None:
    lease.writer.append([DriverClosed(time.time())])
    lease.release()


@pytest.mark.parametrize("fate", ["die", "freeze", "kill"])
def test_what_a_host_held_is_taken_over_when_it_is_gone(hosts: tuple[Host, Host], fate: str) -> None:
    alpha, beta = hosts
    here = Layout.at(beta.mount)
    holder = hold(alpha)
    with pytest.raises(ExperimentLockedError, match=r"is driven by process \d+ on alpha"):
        Lease.take(here, takeover=TAKEOVER)
    getattr(alpha, fate)()
    began = time.monotonic()
    lease = Lease.take(here, takeover=TAKEOVER)
    told = f"\n{fate}: taken over after {time.monotonic() - began:.1f} s"
    assert lease.writer.epoch == 2
    give_back(lease)
    began = time.monotonic()
    lease = Lease.take(here, takeover=TAKEOVER)
    sys.stdout.write(f"{told}, taken once more after {time.monotonic() - began:.1f} s\n")
    assert lease.writer.epoch == 3
    size = (here.journal / "00001.jsonl").stat().st_size
    if fate == "kill":
        holder.wait(30)
    else:
        alpha.revive() if fate == "die" else alpha.thaw()
        _, _ = holder.communicate("\n", timeout=60)
        assert holder.returncode == 1
        assert (here.journal / "00001.jsonl").stat().st_size == size
    lease.writer.check()
    give_back(lease)
    assert [segment.epoch for segment in journal.read(here.journal)] == [1, 2, 3]


def test_a_driver_that_looks_just_before_the_link_sees_the_later_segment(
    hosts: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tick of the server's clock holds the new file, this look and the link: to NFS 3 its listing is fresh.
    alpha, beta = hosts
    link = os.link

    def taken(epoch: int) -> LeaseTaken:
        return LeaseTaken(1.0, FORMAT, "host", epoch, None, None, "ada", 60.0)

    for number in range(30):
        (mine := alpha.mount / str(number)).mkdir()
        old = JournalWriter(mine, 1, taken(1))
        os.listdir(beta.mount)  # noqa: PTH208

        def look_and_link(source: Path, target: Path, old: JournalWriter = old) -> None:
            old.check()
            link(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "link", look_and_link)
            JournalWriter(beta.mount / str(number), 2, taken(2)).close()
        with pytest.raises(SupersededError):
            old.check()
        old.close()


#: A driver's side of two requests, without Ax.
ANSWER = """
import sys, time
from axsched_hpc.core.answers import Place, Refused, answer, answered
from axsched_hpc.core.events import DriverClosed
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import atomic, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.store.lease import Lease

layout, ledger = Layout.at(sys.argv[1]), Ledger()
lease = Lease.take(layout, takeover=60.0)
print("held", flush=True)
for _ in range(2):
    while not (found := list(requests.waiting(layout))):
        time.sleep(0.2)
    (id, change), = found
    try:
        event = answer(id, change, ledger, Place(1, None, 5, 4), time.time())
    except Refused as error:
        event = answered(id, change, time.time(), str(error), taken=False)
    lease.writer.append([event])
    ledger.apply(event)
    requests.path_of(layout, id).unlink()
lease.writer.append([DriverClosed(time.time())])
lease.release()
"""


def test_a_request_from_another_host_is_answered(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    driver = alpha.start(sys.executable, "-c", ANSWER, alpha.mount, stdout=subprocess.PIPE)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "held\n"

    def axsched(*words: str) -> subprocess.CompletedProcess[str]:
        return beta.run(sys.executable, "-m", "axsched_hpc", *words, str(beta.mount), "--wait", "60")

    began = time.monotonic()
    paused = axsched("pause")
    assert (paused.returncode, paused.stdout) == (0, "paused: nothing new is submitted\n"), paused.stderr
    budget = axsched("set", "--trials", "9")
    assert (budget.returncode, budget.stdout) == (0, "the budget is 9 trials now (instead of 5)\n")
    sys.stdout.write(f"\ntwo requests were answered in {time.monotonic() - began:.1f} s\n")
    assert driver.wait(30) == 0
    changes = journal.replay(journal.read(beta.mount / "journal")).changes
    assert changes.paused is not None
    assert changes.paused.by.endswith("@beta")
    assert changes.total(5) == 9


@pytest.mark.parametrize("racers", ["2", "3"])
def test_nobody_is_inside_with_another(hosts: tuple[Host, Host], racers: str) -> None:
    directories = [str(host.mount) for host in hosts]
    assert race.main(["--races", "6", "--racers", racers, "--takeover", "3", *directories]) == 0


def test_saving_and_loading_at_once(hosts: tuple[Host, Host]) -> None:
    directories = [host.mount / "saved" for host in hosts]
    directories[0].mkdir()
    os.listdir(hosts[1].mount)  # noqa: PTH208
    assert saves.main(["--rounds", "10", *map(str, directories)]) == 0
