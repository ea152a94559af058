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

#: Looks at /proc without a find after which nothing is left.
_LOOKS = 3

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
    """The living descendants of a process, without those that are spared, and theirs."""
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row.parent, []).append(pid)
    found, waiting = [], [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid in spared:
                continue
            waiting.append(pid)
            # A child that seems to have ended, and cannot be taken note of, has threads that go on.
            if not table[pid].ended or table[pid].parent == root:
                found.append(Process(pid, table[pid].start, table[pid].group))
    return found


def living() -> list[Process]:
    """The living descendants of this process, but those that are spared."""
    if _has_only(_spared):
        return []
    return below(processes.table(), os.getpid(), frozenset(_spared))


def _has_only(spared: set[int]) -> bool:
    """Whether this process is known to have no other children than these: much sooner than by all of /proc.

    It takes a kernel with CONFIG_PROC_CHILDREN, as those of distributions are.
    """
    try:
        tasks = list(Path("/proc/self/task").iterdir())
        found = {int(pid) for task in tasks for pid in (task / "children").read_bytes().split()}
    except OSError:
        return False
    return found <= spared


def reap() -> bool:
    """Take note of the children that have ended; whether there are more.

    A process that adopts orphans and has no child has no descendant.
    """
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


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
    nap, empty = 0.001, 0
    told: set[Process] = set()
    beyond: set[Process] = set()
    while reap():
        found = living()
        left = [each for each in found if not leave(each.pid)]
        # A look at /proc may miss a process that was started meanwhile by one that has ended. That there is
        # no child is certain; where one is spared, several looks have to do.
        empty = 0 if left or not (_spared or found) else empty + 1
        now = time.monotonic()
        if now >= kill_at + UNKILLABLE or empty == _LOOKS or (left and beyond.issuperset(left)):
            return [each.pid for each in left]
        if ask:
            for each in set(left) - told:
                send(each, signal.SIGTERM)
            told.update(left)
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
