"""One child process with all its descendants: started in a process group of its own, ended as a group.

It stays in the worker's session, by which a local runner finds it when the worker itself was killed.

A child that outlives its time, or whose worker is told to end, gets SIGTERM, a grace period, and SIGKILL,
each with its whole process group. What a program leaves running in its group when it ends is killed, since
nobody waits for it any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from axsched_hpc.io import access
from axsched_hpc.objectives import warning
from axsched_hpc.objectives.context import Terminated, insist

#: Seconds between SIGTERM and SIGKILL; below the 30 s that Slurm itself leaves by default (KillWait).
GRACE = 10.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_NAP = 0.05

# How long a failed child's worker waits for a SIGTERM of its own: the scheduler signals all processes of a
# job one after the other, and a child that obeyed first did not fail by itself.
_LATE_SIGNAL, _LATE_SIGNAL_AFTER_TERM = 0.1, 2.0


#: Seconds that a program has after its start to put a handler for the warning in place.
SETTLE = 5.0


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes
    ----------
    code
        Its exit code, or minus the signal that killed it.
    warned
        Whether it was told to save a checkpoint.
    """

    code: int
    timed_out: bool = False
    warned: bool = False

    def by(self, number: int) -> bool:
        """Whether a signal ended it; shells and containers report one as 128 + n."""
        return self.code in (-number, 128 + number)


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    stdout: Path,
    stderr: Path,
    timeout: float | None = None,
    signals: bool = True,
    grace: float = GRACE,
    warn: signal.Signals | None = None,
    on_kill: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a program to its end.

    Parameters
    ----------
    argv
        Program and arguments; no shell is involved.
    stdout, stderr
        Files that the output is appended to.
    timeout
        Seconds until the child is ended.
    signals
        Whether SIGTERM, SIGINT and the warning are handled here, which only the job's own process can do. The
        first two are ignored afterwards.
    grace
        Seconds between SIGTERM and SIGKILL.
    warn
        The signal that the child's group gets when the warning comes; None for a child that saves no
        checkpoints.
    on_kill
        Called after the group was ended before its time, for what is not in the group.

    Raises
    ------
    OSError
        The program cannot be started.
    Terminated
        The process got SIGTERM or SIGINT.
    """
    with _log(stdout) as out, _log(stderr) as err, _Signals(signals) as gate:
        child = subprocess.Popen(
            argv,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=0,
        )
        forward = _Forward(child.pid, warn)
        try:
            with gate.open(), warning.telling(forward if warn else warning.ignore, enabled=signals):
                in_time = _wait(child, timeout)
        except BaseException:
            forward.stop()
            _end(child, grace)
            on_kill()
            raise
        forward.stop()
        if in_time:
            _signal_group(child.pid, signal.SIGKILL)
            child.wait()
        else:
            _end(child, grace)
            on_kill()
        ended = Ended(child.returncode, timed_out=not in_time, warned=forward.done)
        if ended.code and in_time and signals:
            obeyed = ended.by(signal.SIGTERM) or ended.code == os.EX_TEMPFAIL
            with gate.open():
                time.sleep(_LATE_SIGNAL_AFTER_TERM if obeyed else _LATE_SIGNAL)
        return ended


def _log(path: Path) -> BinaryIO:
    return os.fdopen(insist(lambda: access.open_append(path), f"{path} cannot be opened"), "ab")


class _Signals:
    """Turns SIGTERM and SIGINT into :class:`Terminated`, where the gate is open: no child is lost."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._pending: int | None = None
        self._open = False

    def __enter__(self) -> _Signals:
        self._set(self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        # What is left to do is to publish the outcome, which a signal must not interrupt.
        self._set(signal.SIG_IGN)

    def _set(self, handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
        if self._enabled:
            for number in _SIGNALS:
                signal.signal(number, handler)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        self._open = True
        try:
            self._raise_pending()
            yield
        finally:
            self._open = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._pending = signum
        if self._open:
            self._raise_pending()

    def _raise_pending(self) -> None:
        if self._pending is not None:
            self._open = False
            raise Terminated(self._pending)


class _Forward:
    """Passes the warning on to a child's group, once its program has had the time to put a handler in place:
    else the signal would end it.
    """

    def __init__(self, group: int, number: signal.Signals | None) -> None:
        self._group = group
        self._number = number
        self._ready = time.monotonic() + SETTLE
        self._waits = False
        self.done = False

    def __call__(self) -> None:
        left = self._ready - time.monotonic()
        if left > 0:
            self._waits = True
            signal.signal(signal.SIGALRM, lambda *_: self())
            signal.setitimer(signal.ITIMER_REAL, left)
        elif self._number is not None:
            warning.note(f"the end of the job's time is near; the objective gets {self._number.name}.")
            self.done = _signal_group(self._group, self._number)

    def stop(self) -> None:
        """Pass nothing on any more: the group's number may be another's soon."""
        if self._waits:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _wait(child: subprocess.Popen[bytes], timeout: float | None) -> bool:
    """Wait for the child's end without reaping it: its zombie keeps the group's number from others."""
    if timeout is None:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        return True
    deadline, nap = time.monotonic() + timeout, 0.001
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(nap, left))
        nap = min(nap * 2, _LONGEST_NAP)
    return True


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    _signal_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    # The leader may go at once, and its children need the time: the group has ended when it has no member.
    while time.monotonic() < deadline and not (child.poll() is not None and not _signal_group(child.pid, 0)):
        time.sleep(_LONGEST_NAP / 2)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS says so of a group that has only zombies left; elsewhere a member has another user (sudo), and
        # is out of reach.
        return False
    return True
