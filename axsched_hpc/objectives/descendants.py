"""All processes that this one has started, and those that they have started, wherever they went.

A program can leave its process group and its session, and its parent (setsid, nohup, a daemon's double
fork). A worker adopts such orphans: they become its children, are found below it in /proc, and end with it.
That takes Linux (PR_SET_CHILD_SUBREAPER, prctl(2)); elsewhere only the process group is known.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from axsched_hpc.io import processes
from axsched_hpc.io.processes import Row

#: From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36

#: Seconds after which a process that does not end by SIGKILL is left: it waits for a disk or a server.
UNKILLABLE = 5.0

_LONGEST_NAP = 0.05

_adopts = False
_spared: set[int] = set()


class Process(NamedTuple):
    """A process, told from a later one with the same number by its start."""

    pid: int
    start: int
    group: int


def adopt() -> None:
    """From here on this process adopts its descendants' orphans, where the system can do that."""
    global _adopts
    try:
        import ctypes  # 2 ms, and most of this package does without

        _adopts = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (ImportError, OSError, AttributeError):
        _adopts = False


def adopted() -> bool:
    """Whether it does."""
    return _adopts


def spare(pid: int) -> None:
    """Leave a child of this process, and what it starts, alone."""
    _spared.add(pid)


def below(table: Mapping[int, Row], root: int, spared: frozenset[int] = frozenset()) -> list[Process]:
    """The living descendants of a process; those of which nothing is known are left out with theirs."""
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row.parent, []).append(pid)
    found, waiting = [], [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid in spared:
                continue
            waiting.append(pid)
            if not table[pid].ended:
                found.append(Process(pid, table[pid].start, table[pid].group))
    return found


def living() -> list[Process]:
    """The living descendants of this process, but those that are spared."""
    return below(processes.table(), os.getpid(), frozenset(_spared))


def reap(but: int | None = None) -> bool:
    """Take note of the children that have ended, up to one that somebody waits for; whether there are more.

    A process that adopts orphans and has no child has no descendant.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if ended is None or ended.si_pid == but:
            return True
        os.waitpid(ended.si_pid, 0)


def tell(number: signal.Signals, *, outside: int) -> None:
    """Signal the descendants that are not in a process group."""
    for process in living():
        if process.group != outside:
            send(process, number)


def is_tracker(pid: int) -> bool:
    """Whether a process is Python's tracker of shared memory: it removes what others have left there, ignores
    SIGTERM, and ends with the last of them.
    """
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end(
    patience: float = 0.0, *, ask: bool = False, leave: Callable[[int], bool] = lambda _: False
) -> list[int]:
    """Kill all descendants, and take note of their ends.

    Parameters
    ----------
    patience
        Seconds in which they may end by themselves.
    ask
        Whether they get SIGTERM before.
    leave
        Which of them end by themselves, soon after this process.

    Returns
    -------
    list of int
        Those that cannot be killed: they belong to another user, or hang in the kernel.
    """
    kill_at = time.monotonic() + patience
    nap = 0.001
    told: set[Process] = set()
    beyond: set[Process] = set()
    while reap():
        left = [each for each in living() if not leave(each.pid)]
        now = time.monotonic()
        if ask:
            for each in set(left) - told:
                send(each, signal.SIGTERM)
            told.update(left)
        if now >= kill_at + UNKILLABLE or beyond.issuperset(left):
            return [each.pid for each in left]
        if now >= kill_at:
            # Again and again, since they may start others until they are dead.
            beyond.update(each for each in left if not send(each, signal.SIGKILL))
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)
    return []


def send(process: Process, number: signal.Signals) -> bool:
    """Signal a process, and no other that got its number meanwhile; whether this user may."""
    try:
        with contextlib.ExitStack() as stack:
            handle = None
            # Python may know of it where the kernel does not (before Linux 5.3).
            with contextlib.suppress(AttributeError, OSError):
                handle = os.pidfd_open(process.pid)
                stack.callback(os.close, handle)
            if processes.start_ticks(process.pid) != process.start:
                return True
            if handle is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True
