"""Programs that this process runs for its own ends: none outlives it, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

#: Seconds between SIGTERM and SIGKILL.
GRACE = 5.0

_LONGEST_NAP = 0.2

# Waits until this process closes its end of the pipe, by ending if by nothing else, and kills its own group,
# which is the program's.
_WATCH = "trap '' TERM INT HUP; read -r _; kill -s KILL 0"


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    output: IO[bytes],
    pause: Callable[[float], None],
) -> int:
    """Run a program to its end; its exit code, or minus the signal that killed it.

    Parameters
    ----------
    output
        Takes its standard output and error.
    pause
        Waits for some seconds, or raises what ends the waiting: then the program is ended with all that is in
        its group.

    Raises
    ------
    OSError
        It cannot be started.
    """
    child = subprocess.Popen(
        argv,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    watch = None
    try:
        watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH], stdin=subprocess.PIPE, cwd="/", process_group=child.pid
        )
        nap = 0.005
        # It is not reaped before all is over: its zombie keeps the group's number from others.
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            pause(nap)
            nap = min(1.5 * nap, _LONGEST_NAP)
    except BaseException:
        _signal(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                break
            time.sleep(0.05)
        raise
    finally:
        _signal(child.pid, signal.SIGKILL)
        child.wait()
        if watch is not None:
            watch.communicate()
    return child.returncode


def _signal(group: int, number: int) -> None:
    # macOS says EPERM of a group that has only zombies left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
