"""Start, find and stop the processes of the test Slurm.

Each daemon carries two variables in its environment, and is found by them in /proc. There are no pid
files to go stale, so what was started is recognised, and nothing else is, also after a `kill -9` or when
an earlier command was interrupted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SITE_MARK = "AXSCHED_TEST_SLURM_SITE"
_DAEMON_MARK = "AXSCHED_TEST_SLURM_DAEMON"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ClusterError(Exception):
    """The test Slurm cannot be brought up or down; the message says why and what to do."""


@dataclass(frozen=True)
class Daemon:
    """A daemon in the foreground form of its command, so that its process is the one that was started."""

    name: str
    argv: Sequence[str]
    log: Path
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, site: Path) -> None:
        # A session of its own and no inherited stream: it outlives this command and holds no pipe of it open.
        # A clean environment, because variables of a surrounding Slurm job would change what a daemon does.
        environment = {"PATH": _PATH, "LANG": "C.UTF-8", _SITE_MARK: str(site), _DAEMON_MARK: self.name}
        with self.log.open("ab") as log:
            subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment | dict(self.environment),
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                start_new_session=True,
            )

    def last_words(self, lines: int = 8) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _environment(process: Path) -> dict[str, str]:
    # A zombie has an empty environment, and so counts as gone.
    try:
        raw = (process / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in raw.decode(errors="replace").split("\0"))
    return {key: value for key, _, value in pairs}


def _all_processes() -> Iterable[tuple[int, Path]]:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            yield int(process.name), process


def running_daemons(site: Path) -> dict[str, int]:
    """Map the name of each daemon of this state directory that is alive to its process id."""
    found = {}
    for pid, process in _all_processes():
        environment = _environment(process)
        if environment.get(_SITE_MARK) == str(site) and not _is_step_manager(process):
            found[environment.get(_DAEMON_MARK, "")] = pid
    return found


def _is_step_manager(process: Path) -> bool:
    try:
        return (process / "exe").readlink().name.startswith("slurmstepd")
    except OSError:
        return False


def _holds_file_below(process: Path, directory: Path) -> bool:
    try:
        return any(entry.readlink().is_relative_to(directory) for entry in (process / "fd").iterdir())
    except OSError:
        return False


def job_processes(site: Path) -> list[int]:
    """List the processes of this site's jobs: Slurm's step managers, and what they started, orphans too."""
    found = []
    for pid, process in _all_processes():
        environment = _environment(process)
        of_site = environment.get(_SITE_MARK) == str(site)
        conf = Path(environment.get("SLURM_CONF", "/"))
        of_job = "SLURM_JOB_ID" in environment and conf.is_relative_to(site)
        if _is_step_manager(process):
            # It overwrites its own environment with its title; what it keeps open tells whose it is.
            if of_site or _holds_file_below(process, site):
                found.append(pid)
        elif of_job and not of_site and pid != os.getpid():
            found.append(pid)
    return found


def node_processes(conf: Path, log: Path, node: str) -> list[int]:
    """List the processes of the jobs on one virtual node: its step managers first, then what they started.

    Parameters
    ----------
    conf
        Configuration of the node's cluster.
    log
        The node's log, which its step managers hold open.
    """
    managers, others = [], []
    for pid, process in _all_processes():
        environment = _environment(process)
        of_job = environment.get("SLURMD_NODENAME") == node and environment.get("SLURM_CONF") == str(conf)
        if _is_step_manager(process):
            if _holds_file_below(process, log):
                managers.append(pid)
        elif of_job and pid != os.getpid():
            others.append(pid)
    return managers + others


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def stop(pids: Iterable[int], patience: float = 10.0) -> None:
    """Ask the processes to end, and after `patience` seconds kill them."""
    remaining = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    if not poll(lambda: not any(map(is_alive, remaining)), patience):
        kill(remaining)


def kill(pids: Iterable[int]) -> None:
    killed = [pid for pid in pids if _signal(pid, signal.SIGKILL)]
    if not poll(lambda: not any(map(is_alive, killed)), 10.0):
        alive = ", ".join(str(pid) for pid in killed if is_alive(pid))
        raise ClusterError(f"these processes do not end on SIGKILL: {alive}. Look at them with `ps`.")


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def poll(condition: Callable[[], bool], timeout: float, interval: float = 0.05) -> bool:
    """Wait until `condition` holds; return False if it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
