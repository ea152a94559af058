"""Two machines that share a directory make something once. tests/nfs/test_guest.py runs this."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.nfs.hosts import Host, both
from tests.unit.test_once import MAKER


@pytest.fixture
def hosts(request: pytest.FixtureRequest) -> tuple[Host, Host]:
    """Alpha and beta, each with its path of one directory of this test."""
    alpha, beta = both()
    name = request.node.name
    (alpha.mount / name).mkdir()
    os.listdir(beta.mount)  # noqa: PTH208  (its client may remember that the name was missing)
    return Host(alpha.name, alpha.mount / name), Host(beta.name, beta.mount / name)


def start(host: Host) -> subprocess.Popen[str]:
    return host.start(sys.executable, "-c", MAKER, host.mount, stdout=subprocess.PIPE)


def wait_for_maker(directory: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(name.startswith("making-") for name in os.listdir(directory)):  # noqa: PTH208
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_of_two_hosts_makes_it(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    makers = [start(host) for host in (alpha, beta, alpha, beta)]
    said = [maker.communicate(timeout=60)[0] for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 4
    assert len((alpha.mount / "makers").read_text().split()) == 1, said
    os.listdir(beta.mount)  # noqa: PTH208
    assert (beta.mount / "thing").read_text() == "made"
    assert not list(alpha.mount.glob(".*.tmp"))


def test_a_maker_that_is_killed_is_followed_by_the_other_host(hosts: tuple[Host, Host]) -> None:
    alpha, beta = hosts
    (alpha.mount / "hold").touch()
    first = start(alpha)
    wait_for_maker(alpha.mount)
    second = start(beta)
    assert second.stdout is not None
    assert "waiting for it" in second.stdout.readline()
    began = time.monotonic()
    alpha.kill()
    first.wait(30)
    (alpha.mount / "hold").unlink()
    second.communicate(timeout=60)
    sys.stdout.write(f"\nthe other host went on after {time.monotonic() - began:.1f} s\n")
    assert second.returncode == 0
    assert len((beta.mount / "makers").read_text().split()) == 1
    os.listdir(alpha.mount)  # noqa: PTH208
    assert (alpha.mount / "thing").read_text() == "made"
    assert not list(alpha.mount.glob(".*.tmp"))
