"""Whether a process that a file names still runs.

It is known by its pid, its start time and the boot of its machine, so that a reused pid is told.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from axsched_hpc.io import atomic

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def hostname() -> str:
    """The name of this machine, as the kernel has it."""
    return os.uname().nodename


def boot_id() -> str | None:
    """What tells this boot of the machine from others; None where the system does not say (macOS)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None without such a process or /proc."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


def max_rss_mb() -> float:
    """The largest resident memory of this process or of one of its children that have ended, in MB (10^6
    bytes).
    """
    import resource

    own = _peak_kib()
    if own is None:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    # Kilobytes of 1024 bytes on Linux, bytes on macOS.
    return round(largest * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def _peak_kib() -> int | None:
    """This program's own peak; getrusage(2) has that of what the process was before exec(2) as well, which
    for a local worker is the driver, with all of Ax.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return None if found is None else int(found[1])


def alive(host: str, pid: int, start: int | None, boot: str | None) -> bool | None:
    """Whether a process still runs.

    Parameters
    ----------
    host, pid, start, boot
        Where it was started, and what :func:`start_ticks` and :func:`boot_id` said there.

    Returns
    -------
    bool or None
        None where this machine cannot know: the process is on another one. A zombie has ended.
    """
    if host != hostname():
        return None
    if start is None:
        return _exists(pid)
    if boot != boot_id():
        return False
    fields = _stat(pid)
    return fields is not None and int(fields[19]) == start and fields[0] not in ("Z", "X")


def stopped(pid: int) -> bool:
    """Whether a process of this machine is stopped, by SIGSTOP or Ctrl-Z: it is alive, and does nothing."""
    fields = _stat(pid)
    return fields is not None and fields[0] == "T"


def end_session(leader: int) -> int:
    """Kill what is left of a session whose leader has ended; how many processes that were.

    Its number cannot have been given away while it has members; a live process of that number leads another
    one.
    """
    if _exists(leader) and (fields := _stat(leader)) is not None and fields[0] not in ("Z", "X"):
        return 0
    count = 0
    for name in atomic.listing(Path("/proc")):
        if name.isdecimal() and (fields := _stat(int(name))) is not None and int(fields[3]) == leader:
            if fields[0] in ("Z", "X"):
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)
                count += 1
    return count


class Row(NamedTuple):
    """What is known of a process: its parent, process group, start in clock ticks since the boot, and whether
    it has ended, and only its parent has not taken note of that.
    """

    parent: int
    group: int
    start: int
    ended: bool


def table() -> dict[int, Row]:
    """All processes of this machine; none without /proc."""
    found = {}
    for name in atomic.listing(Path("/proc")):
        if name.isdecimal() and (fields := _stat(int(name))) is not None:
            found[int(name)] = Row(int(fields[1]), int(fields[2]), int(fields[19]), fields[0] in ("Z", "X"))
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold blanks and parentheses; the state
    # follows it.
    return text.rpartition(")")[2].split()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def usable_cpus() -> frozenset[int]:
    """The CPUs that this thread may use; none where the system does not say (macOS)."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:
        return frozenset()


def core_of(cpu: int) -> tuple[int, ...]:
    """The hardware threads of a CPU's core, itself included."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        ranges = [part.split("-") for part in path.read_text(encoding="ascii").strip().split(",")]
        return tuple(number for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1))
    except (OSError, ValueError):
        return (cpu,)


@contextlib.contextmanager
def bound(cpus: frozenset[int]) -> Iterator[None]:
    """Bind this thread to CPUs for a moment, and with it for good what it starts meanwhile; to none: leave it
    as it is.
    """
    before = usable_cpus()
    if not cpus or not before:
        yield
        return
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(pid: int) -> dict[str, str]:
    """The variables with which a process was started; none where that cannot be known."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def end_with_parent() -> Callable[[], None] | None:
    """What a child has to call before its program begins, so that it gets SIGTERM when this process ends,
    however it does; None where there is no such thing (macOS). For a process of one thread only.
    """
    import ctypes  # a worker needs none

    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        return None

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))

    return ask
