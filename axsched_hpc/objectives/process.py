"""One child process with all its descendants: started in a process group of its own, and ended with them.

It stays in the worker's session, by which a local runner finds it when the worker itself was killed.

A child that outlives its time, or whose worker is told to end, gets SIGTERM, a grace period, and SIGKILL,
each with its whole process group, and with what has left that. What a program leaves running when it ends is
killed, since nobody waits for it any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from axsched_hpc.core.record import Record
from axsched_hpc.objectives import descendants, warning
from axsched_hpc.objectives.capture import Output
from axsched_hpc.objectives.context import Terminated

#: Seconds between SIGTERM and SIGKILL; below the 30 s that Slurm itself leaves by default (KillWait).
GRACE = 10.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_NAP = 0.05

# How long a failed child's worker waits for a SIGTERM of its own: the scheduler signals all processes of a
# job one after the other, and a child that obeyed first did not fail by itself.
_LATE_SIGNAL, _LATE_SIGNAL_AFTER_TERM = 0.1, 2.0


#: Seconds that a program has after its start to put a handler for the warning in place.
SETTLE = 5.0


class Ended(Record):
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
    leave: float | None = None,
    limit: int | None = None,
    remedy: str = "",
) -> Ended:
    """Run a program to its end, and that of all that it has started.

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
        first two are ignored afterwards. Only such a process looks for descendants outside of the group.
    grace
        Seconds between SIGTERM and SIGKILL.
    warn
        The signal that the child's group gets when the warning comes; None for a child that saves no
        checkpoints.
    on_kill
        Called after the group was ended before its time, for what is no descendant.
    leave
        Seconds for which descendants outside of the group are left alone once that has ended, since they end
        by themselves; None: they are told to end along with it.
    limit, remedy
        Bytes of each output that are kept, and the option that says so; None: all of it.

    Raises
    ------
    OSError
        The program cannot be started.
    Terminated
        The process got SIGTERM or SIGINT.
    """
    with (
        Output(stdout, limit, remedy) as out,
        Output(stderr, limit, remedy) as err,
        _Signals(signals) as gate,
    ):
        child = subprocess.Popen(
            argv,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out.target,
            stderr=err.target,
            process_group=0,
        )
        out.release()
        err.release()
        tree = _Tree(child, adopts=signals and descendants.adopted(), leave=leave)
        forward = _Forward(child.pid, warn)
        try:
            with gate.open(), warning.telling(forward if warn else warning.ignore, enabled=signals):
                in_time = tree.wait(timeout)
        except BaseException:
            forward.stop()
            tree.end(grace, on_kill)
            raise
        forward.stop()
        if in_time:
            tree.clear()
        else:
            tree.end(grace, on_kill)
        ended = Ended(child.returncode, timed_out=not in_time, warned=forward.done)
        if ended.code and in_time and signals:
            obeyed = ended.by(signal.SIGTERM) or ended.code == os.EX_TEMPFAIL
            with gate.open():
                time.sleep(_LATE_SIGNAL_AFTER_TERM if obeyed else _LATE_SIGNAL)
        return ended


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


class _Tree:
    """A child and its descendants."""

    def __init__(self, child: subprocess.Popen[bytes], *, adopts: bool, leave: float | None) -> None:
        self._child = child
        self._adopts = adopts
        self._leave = leave

    def wait(self, timeout: float | None) -> bool:
        """Wait for the child's end without reaping it: its zombie keeps the group's number from others."""
        if timeout is None:
            while not self._ended(0):
                pass
            return True
        deadline, nap = time.monotonic() + timeout, 0.001
        while not self._ended(os.WNOHANG):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(nap, left))
            nap = min(nap * 2, _LONGEST_NAP)
        return True

    def _ended(self, option: int) -> bool:
        options = os.WEXITED | os.WNOWAIT | option
        if not self._adopts:
            return os.waitid(os.P_PID, self._child.pid, options) is not None
        # Orphans end here as well, and would stay zombies until the child's end.
        found = os.waitid(os.P_ALL, 0, options)
        if found is None or found.si_pid == self._child.pid:
            return found is not None
        os.waitpid(found.si_pid, 0)
        return False

    def end(self, grace: float, on_kill: Callable[[], None]) -> None:
        """End all before their time."""
        _signal_group(self._child.pid, signal.SIGTERM)
        if self._adopts and self._leave is None:
            descendants.tell(signal.SIGTERM, outside=self._child.pid)
        deadline, nap = time.monotonic() + grace, _LONGEST_NAP / 2
        while runs := self._runs():
            if time.monotonic() >= deadline:
                break
            time.sleep(nap)
            nap = min(nap * 1.5, 4 * _LONGEST_NAP)
        if runs:
            _signal_group(self._child.pid, signal.SIGKILL)
        on_kill()
        self.clear()

    def clear(self) -> None:
        """Kill what is left."""
        if self._child.returncode is None:
            _signal_group(self._child.pid, signal.SIGKILL)
            self._child.wait()
        if self._adopts and (left := descendants.end(self._leave or 0.0)):
            warning.note(f"the objective has left processes that could not be killed: {left}.")

    def _runs(self) -> bool:
        # The leader may go at once, and its children need the time.
        if self._child.poll() is None:
            return True
        if not self._adopts:
            return _signal_group(self._child.pid, 0)
        if not descendants.reap():
            return False
        left = descendants.living()
        return any(self._leave is None or each.group == self._child.pid for each in left)


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
