"""The commands of `tests/slurm/cluster`: up, down, status, env."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.slurm.accounts import set_up
from tests.slurm.layout import (
    CPUS,
    CPUS_VARIABLE,
    DIRECTORY_VARIABLE,
    GPUS,
    NODES,
    PORT_VARIABLE,
    ClusterLayout,
    Site,
    gres_conf,
    slurm_conf,
    slurmdbd_conf,
)
from tests.slurm.processes import ClusterError, Daemon, job_processes, kill, poll, running_daemons, stop
from tests.slurm.services import (
    command,
    controller,
    daemon_names,
    mariadbd,
    missing_packages,
    munged,
    node_daemon,
    run,
    slurmdbd,
)

_START_TIMEOUT = 30.0
_ROUNDS = 3


# -- up --------------------------------------------------------------------------------------------------


def up(site: Site) -> None:
    """Start what does not run, and wait until both clusters take jobs."""
    packages = missing_packages()
    if packages:
        raise ClusterError(
            f"the test Slurm needs Debian packages that are not installed: {' '.join(packages)}. "
            "Install them: apt-get install -y slurm-wlm slurmdbd munge mariadb-server"
        )
    with _locked(site):
        if not _configuration_is_current(site):
            _stop_all(site)
        _write_configuration(site)
        # A daemon may still die of what `up` is repairing, for instance a node that met the moment
        # without munge.
        for _ in range(_ROUNDS):
            _bring_up(site)
            lost = [name for name in daemon_names(site) if name not in running_daemons(site.directory)]
            if not lost:
                return
        raise ClusterError(
            f"these daemons started and ended again: {', '.join(lost)}. "
            f"Their logs are in {site.directory}/*/log."
        )


def _bring_up(site: Site) -> None:
    acct, noacct = site.clusters
    _ensure(site, munged(site), lambda: _accepts(site.munge_socket))
    _prepare_database(site)
    _ensure(site, mariadbd(site))
    # While the database starts, the cluster that does not need it does too.
    _start_cluster(site, noacct)
    _await(mariadbd(site), lambda: _accepts(site.database_socket))
    _ensure(site, slurmdbd(site, acct), lambda: _accepts(site.dbd_port), port=site.dbd_port)
    set_up(acct)
    _start_cluster(site, acct)
    for cluster in site.clusters:
        _await_nodes(cluster)
    _await_registration(acct)


def _ensure(
    site: Site, daemon: Daemon, ready: Callable[[], bool] | None = None, port: int | None = None
) -> None:
    if daemon.name not in running_daemons(site.directory):
        if port is not None and _accepts(port):
            raise ClusterError(
                f"port {port}, which {daemon.name} needs, is taken by another program. "
                f"Set {PORT_VARIABLE} to the first of 40 free ports (now {site.port}) and try again."
            )
        daemon.start(site.directory)
    if ready is not None:
        _await(daemon, ready)


def _await(daemon: Daemon, ready: Callable[[], bool]) -> None:
    if not poll(ready, _START_TIMEOUT):
        raise ClusterError(
            f"{daemon.name} does not answer after {_START_TIMEOUT:.0f} s. "
            f"The end of its log, {daemon.log}:\n{daemon.last_words()}"
        )


def _accepts(address: Path | int) -> bool:
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(str(address) if isinstance(address, Path) else ("127.0.0.1", address)) == 0


def _start_cluster(site: Site, cluster: ClusterLayout) -> None:
    _ensure(site, controller(cluster), port=cluster.port)
    for node in NODES:
        _ensure(site, node_daemon(cluster, node), port=cluster.node_port(node))


def _prepare_database(site: Site) -> None:
    data = site.database / "data"
    if data.exists():
        return
    # Made beside its place and then renamed, so that an interrupted installation is not taken for a database.
    unfinished = site.database / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    result = run(
        [
            command("mariadb-install-db"),
            "--no-defaults",
            "--user=mysql",
            f"--datadir={unfinished}",
            f"--tmpdir={site.database}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ],
        timeout=60,
    )
    if result.returncode != 0:
        raise ClusterError(
            f"mariadb-install-db failed with exit code {result.returncode}:\n{result.stderr.strip()}"
        )
    unfinished.rename(data)


def node_states(cluster: ClusterLayout) -> dict[str, str]:
    """Ask the controller for the state of each node; empty if it does not answer."""
    result = run(["sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %T"], cluster.conf)
    return dict(line.split() for line in result.stdout.splitlines()) if result.returncode == 0 else {}


def is_up(state: str) -> bool:
    # A trailing `*` marks a node that does not respond; `-` and `planned` one that a waiting job will have.
    return state.removesuffix("-") in {"idle", "mixed", "allocated", "completing", "planned"}


def _await_nodes(cluster: ClusterLayout) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        states = node_states(cluster)
        if len(states) == len(NODES) and all(map(is_up, states.values())):
            return
        # A node that Slurm has taken out of service, for instance because a job could not be killed,
        # stays out until told.
        for node in (name for name, state in states.items() if state.startswith(("drain", "down"))):
            run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], cluster.conf)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the nodes of cluster {cluster.name} are not all up after {_START_TIMEOUT:.0f} s: "
                f"{states or 'no answer'}. The end of the controller's log, "
                f"{controller(cluster).log}:\n{controller(cluster).last_words()}"
            )
        time.sleep(0.1)


def _await_registration(cluster: ClusterLayout) -> None:
    # Until slurmdbd knows the controller's address, what sacct says of a job may be late.
    def registered() -> bool:
        result = run(["sacctmgr", "-nP", "show", "cluster", cluster.name, "format=controlport"], cluster.conf)
        return result.stdout.strip() == str(cluster.port)

    if not poll(registered, _START_TIMEOUT):
        raise ClusterError(
            f"cluster {cluster.name} does not register with slurmdbd; "
            f"look at its log, {cluster.log_directory}/slurmdbd.log."
        )


def _configuration(site: Site) -> dict[Path, str]:
    texts = {cluster.conf: slurm_conf(site, cluster) for cluster in site.clusters}
    texts |= {cluster.gres_conf: gres_conf(cluster) for cluster in site.clusters}
    acct = site.clusters[0]
    return texts | {acct.directory / "slurmdbd.conf": slurmdbd_conf(site, acct)}


def _configuration_is_current(site: Site) -> bool:
    return all(path.exists() and path.read_text() == text for path, text in _configuration(site).items())


def _write_configuration(site: Site) -> None:
    site.directory.chmod(0o755)
    for directory, user, mode in ((site.munge, "munge", 0o755), (site.database, "mysql", 0o700)):
        directory.mkdir(exist_ok=True)
        shutil.chown(directory, user, user)
        directory.chmod(mode)
    key = site.munge / "munge.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        shutil.chown(key, "munge", "munge")
    for cluster in site.clusters:
        for directory in (cluster.log_directory, cluster.directory / "state", *map(cluster.spool, NODES)):
            directory.mkdir(parents=True, exist_ok=True)
        for device in cluster.gpus:
            device.parent.mkdir(exist_ok=True)
            # Slurm wants a device where gres.conf names a file, and this one is on every machine.
            if not device.is_symlink():
                device.unlink(missing_ok=True)
                device.symlink_to("/dev/null")
    for path, text in _configuration(site).items():
        path.touch(mode=0o600 if path.name == "slurmdbd.conf" else 0o644)
        path.write_text(text)


@contextmanager
def _locked(site: Site) -> Iterator[None]:
    # Two test processes may find the cluster missing at the same time; the second one waits and finds it up.
    site.directory.mkdir(parents=True, exist_ok=True)
    with site.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def await_others(site: Site) -> None:
    """Wait until no other process is at `up` or `down`."""
    if site.lock.exists():
        with site.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)


# -- down ------------------------------------------------------------------------------------------------


def down(site: Site) -> None:
    """Cancel all jobs and stop all that `up` started, however much of it still runs; files stay."""
    if site.directory.exists():
        with _locked(site):
            _stop_all(site)


def _stop_all(site: Site) -> None:
    running = running_daemons(site.directory)
    for cluster in site.clusters:
        if f"{cluster.name}/slurmctld" in running:
            # Otherwise the jobs would come back at the next `up`.
            jobs = run(["squeue", "--noheader", "--format=%A"], cluster.conf).stdout.split()
            if jobs:
                run(["scancel", *sorted(set(jobs))], cluster.conf)
    poll(lambda: not job_processes(site.directory), 2.0)
    # Nodes first, so that no controller can start another job; the database late, because others write to
    # it at their end.
    for parts in ([*NODES], ["slurmctld"], ["slurmdbd"], ["mariadbd"], ["munged"]):
        if parts == ["slurmctld"]:
            kill(job_processes(site.directory))
        stop(pid for name, pid in running.items() if name.rpartition("/")[2] in parts)


# -- status and env --------------------------------------------------------------------------------------


def status(site: Site) -> bool:
    """Print a table of daemons and nodes; return whether all is up."""
    running = running_daemons(site.directory)
    names = daemon_names(site)
    rows = [(name, f"running, pid {running[name]}" if name in running else "NOT RUNNING") for name in names]
    healthy = all(name in running for name in names)
    for cluster in site.clusters:
        states = node_states(cluster) if f"{cluster.name}/slurmctld" in running else {}
        healthy = healthy and len(states) == len(NODES) and all(map(is_up, states.values()))
        summary = " ".join(f"{node}={state}" for node, state in states.items()) or "no answer"
        rows += [(f"{cluster.name} nodes", summary), (f"{cluster.name} configuration", str(cluster.conf))]
    width = max(len(name) for name, _ in rows)
    _say(*(f"{name:<{width}}  {value}" for name, value in rows))
    _say("All is up." if healthy else "Not all is up; `tests/slurm/cluster up` repairs it.")
    return healthy


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tests/slurm/cluster",
        description="A real Slurm on this machine: two clusters, `acct` with accounting and `noacct` "
        f"without, each with {len(NODES)} nodes of {CPUS} CPUs and {GPUS} GPUs (which are only names), "
        "and the partitions main, short (1 minute), and high, whose jobs preempt those of low (requeued), of "
        "grace (requeued after some seconds) and of scavenge (cancelled). The QOS and accounts of `acct` are "
        "in tests/slurm/accounts.py.",
        epilog=f'Use it: eval "$(tests/slurm/cluster env acct)"; sinfo. State lies in ${DIRECTORY_VARIABLE} '
        f"(now {Site.from_environment().directory}); ports count from ${PORT_VARIABLE} "
        f"(now {Site.from_environment().port}). ${CPUS_VARIABLE}: the CPUs of a node (now {CPUS}).",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run yet; also repairs")
    commands.add_parser("down", help="cancel all jobs and stop everything that up started")
    commands.add_parser("status", help="show daemons and nodes; exit code 0 only if all is up")
    env = commands.add_parser("env", help="print the shell line that selects a cluster")
    env.add_argument("cluster", nargs="?", choices=["acct", "noacct"], default="acct")
    arguments = parser.parse_args(argv)
    site = Site.from_environment()

    if arguments.command == "env":
        _say(*(f"export SLURM_CONF='{c.conf}'" for c in site.clusters if c.name == arguments.cluster))
        return 0
    if os.geteuid() != 0:
        sys.stderr.write(
            f"cluster {arguments.command}: this needs root, because slurmd starts jobs as other users. "
            "Run it with sudo, or use a Slurm of your own: tests find it through sbatch on PATH.\n"
        )
        return 2
    try:
        if arguments.command == "status":
            return 0 if status(site) else 1
        start = time.monotonic()
        if arguments.command == "up":
            up(site)
            _say(f"Both clusters are up after {time.monotonic() - start:.1f} s, in {site.directory}.")
        else:
            down(site)
            _say(f"Down after {time.monotonic() - start:.1f} s.")
    except ClusterError as error:
        sys.stderr.write(f"cluster {arguments.command}: {error}\n")
        return 1
    return 0
