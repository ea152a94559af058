"""A virtual node dies, with all that runs on it, and comes back.

On a Slurm of the tests' own only: jobs of others would die with it.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from tests.slurm.control import is_up, node_states
from tests.slurm.layout import ClusterLayout, Site
from tests.slurm.processes import ClusterError, kill, node_processes, poll, running_daemons
from tests.slurm.services import node_daemon, run


def kill_node(site: Site, cluster: ClusterLayout, node: str, *, noticed: bool = False) -> None:
    """Kill slurmd, its step managers and the processes of all jobs on a node.

    Nobody is told anything. Slurm notices after about half a minute, when the node has not answered for long
    enough, or when it is back and does not know its jobs; with ``noticed`` at once.
    """
    daemon = running_daemons(site.directory)[f"{cluster.name}/{node}"]
    log = cluster.log_directory / f"{node}.log"
    # All stand still before the first one dies: else a step manager would report the death of its job.
    frozen = {daemon}
    os.kill(daemon, signal.SIGSTOP)
    while more := set(node_processes(cluster.conf, log, node)) - frozen:
        for pid in more:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        frozen |= more
    kill(frozen)
    if noticed:
        run(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=dead"], cluster.conf)


def return_node(site: Site, cluster: ClusterLayout, node: str) -> None:
    """Start slurmd on a node as after a reboot, and return when Slurm gives it jobs."""
    if f"{cluster.name}/{node}" not in running_daemons(site.directory):
        node_daemon(cluster, node).start(site.directory)

    def back() -> bool:
        state = node_states(cluster).get(node, "unknown")
        if state.startswith(("down", "drain")):
            # ReturnToService does not bring back a node that was set down by hand.
            run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], cluster.conf)
        return is_up(state)

    if not poll(back, 60.0, interval=0.2):
        raise ClusterError(
            f"node {node} of cluster {cluster.name} is {node_states(cluster)} 60 s after its return; "
            f"its log is {cluster.log_directory}/{node}.log."
        )
