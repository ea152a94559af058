"""A Slurm of the tests' own, whose daemons can be stopped without disturbing anybody."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm.control import down, up
from tests.slurm.harness import Cluster
from tests.slurm.layout import ClusterLayout, Site
from tests.slurm.nodes import kill_node, return_node
from tests.slurm.processes import Daemon, is_alive, poll, running_daemons, stop
from tests.slurm.services import controller, slurmdbd

_PLACE, _NAME = Path("/var/tmp"), "axsched-outages-"
_PORTS = 40


class Outages:
    """Both clusters, and what becomes of their daemons."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def cluster(self, name: str) -> Cluster:
        layout = self._layout(name)
        return Cluster(layout.name, layout.conf, layout.accounting)

    def stop_controller(self, name: str) -> None:
        """End slurmctld in good order, as for an upgrade."""
        self._stop(controller(self._layout(name)))

    def start_controller(self, name: str) -> None:
        """Start slurmctld, and return when it answers."""
        self._start(controller(self._layout(name)))
        cluster = self.cluster(name)
        assert poll(lambda: "is UP" in cluster.run("scontrol", "ping").stdout, 30.0)

    def stop_database(self) -> None:
        """End slurmdbd."""
        self._stop(self._database())

    def start_database(self) -> None:
        """Start slurmdbd, and return when sacct is answered."""
        self._start(self._database())
        cluster = self.cluster("acct")
        assert poll(lambda: cluster.run("sacct", "-nX").returncode == 0, 30.0)

    def hang_database(self) -> None:
        """Let slurmdbd keep its connections and answer nothing."""
        os.kill(running_daemons(self.site.directory)["slurmdbd"], signal.SIGSTOP)

    def wake_database(self) -> None:
        """Let it go on."""
        os.kill(running_daemons(self.site.directory)["slurmdbd"], signal.SIGCONT)

    def kill_node(self, name: str, node: str, *, noticed: bool = True) -> None:
        """Let a node die with all that runs on it; Slurm notices at once, or after its own time-outs."""
        kill_node(self.site, self._layout(name), node, noticed=noticed)

    def return_node(self, name: str, node: str) -> None:
        """Bring a node back, and return when Slurm gives it jobs."""
        return_node(self.site, self._layout(name), node)

    def repair(self) -> None:
        """Bring back what a test has left stopped."""
        running = running_daemons(self.site.directory)
        if "slurmdbd" in running:
            self.wake_database()
        up(self.site)

    def _layout(self, name: str) -> ClusterLayout:
        return next(cluster for cluster in self.site.clusters if cluster.name == name)

    def _database(self) -> Daemon:
        return slurmdbd(self.site, self.site.clusters[0])

    def _stop(self, daemon: Daemon) -> None:
        stop([running_daemons(self.site.directory)[daemon.name]], patience=30.0)

    def _start(self, daemon: Daemon) -> None:
        daemon.start(self.site.directory)


@contextmanager
def outages() -> Iterator[Outages]:
    """Bring a private Slurm up, and down again at the end."""
    for left in _PLACE.glob(f"{_NAME}*"):
        owner = left.name.removeprefix(_NAME)
        if owner.isdecimal() and not is_alive(int(owner)):
            _remove(Site(left, 0))  # of tests that were killed
    site = Site(_PLACE / f"{_NAME}{os.getpid()}", _free_ports(), job_age=5)
    try:
        up(site)
        yield Outages(site)
    finally:
        _remove(site)


def _remove(site: Site) -> None:
    down(site)
    shutil.rmtree(site.directory, ignore_errors=True)


def _free_ports() -> int:
    # Below the range from which the kernel gives ports to clients.
    first = list(range(20_000, 32_000, _PORTS))
    random.SystemRandom().shuffle(first)
    return next(port for port in first if all(map(_is_free, range(port, port + _PORTS))))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
