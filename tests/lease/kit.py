"""What the tests of the lease share: hosts, holders, and the state of a directory."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.io.layout import Layout
from tests.slurm.processes import poll

ROOT = Path(__file__).resolve().parents[2]
_CLONE_NEWUTS = 0x04000000

#: The kernel's, whatever :func:`lose_locks` does to the module's.
flock = fcntl.flock

needs_hosts = pytest.mark.skipif(os.geteuid() != 0, reason="a second host name (a UTS namespace) needs root")


def become(host: str) -> None:
    """Give this process a host name of its own: to others it is on another machine.

    Raises
    ------
    OSError
        It needs root.
    """
    if host == os.uname().nodename:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUTS) != 0:
        raise OSError(ctypes.get_errno(), "a host name of its own needs root")
    socket.sethostname(host)


def lose_locks() -> None:
    """Let every flock of this process fail as on a file system whose lock service does not run."""

    def refuse(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = refuse


#: Arguments: directory, host or "-", seconds until a take-over, "locks" or not.
HOLD = """
import sys, time
from axsched_hpc.core.events import DriverClosed
from axsched_hpc.io.layout import Layout
from axsched_hpc.store.lease import Lease
from tests.lease import kit

directory, host, takeover, locks = sys.argv[1:]
if host != "-":
    kit.become(host)
if locks != "locks":
    kit.lose_locks()
lease = Lease.take(Layout.at(directory), takeover=float(takeover))
print("held", flush=True)
sys.stdin.readline()
lease.writer.append([DriverClosed(time.time())])
lease.release()
"""


@contextmanager
def holding(
    layout: Layout, *, host: str = "-", takeover: float = 3.0, locks: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """Hold an experiment in a process of its own, until it is told to :func:`end` or killed."""
    layout.journal.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.root), host, str(takeover), "locks" if locks else "none"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            assert (line := process.stdout.readline()) == "held\n", line + process.stdout.read()
            yield process
        finally:
            process.kill()


def end(holder: subprocess.Popen[str]) -> None:
    """Let a holder give the experiment back."""
    output, _ = holder.communicate("\n", timeout=30)
    assert holder.returncode == 0, output


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait for something, with a deadline."""
    assert poll(condition, seconds), f"not within {seconds:g} s: {what}"


#: Mode, time of change in ns, and the bytes of files, by name.
Tree = dict[str, tuple[int, int, bytes | None]]


def tree(root: Path) -> Tree:
    """All that is below a directory."""
    found: Tree = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        found[str(path.relative_to(root))] = (
            status.st_mode,
            status.st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
    return found
