"""A host of tests/lease/race.py, and the racers that it forks.

Called as ``python -m tests.lease.racer HOST GO LEAVE REPORTS [without-locks]``, with the ends of pipes.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from axsched_hpc.core.errors import ExperimentLockedError, SupersededError
from axsched_hpc.core.events import AttemptStarted, DriverClosed, DriverOpened
from axsched_hpc.io import faults
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store import journal
from axsched_hpc.store.lease import Lease
from tests.lease import kit

#: Numbers that a winner appends; its fault is in the last of them.
NUMBERS = 3


@dataclass(frozen=True)
class Part:
    """What one racer is told.

    ``epoch`` is the last one before the race: who makes the next has the fate, and those that take over from
    him give the experiment back at once.
    """

    racer: int
    directory: str
    local: str
    takeover: float
    epoch: int
    fate: str
    place: str


@dataclass(frozen=True)
class Pipes:
    """Their ends, as a host has them.

    ``go`` lets the racers of a race go, all at once; ``leave`` the winner, when the others have been refused.
    """

    go: int
    leave: int
    reports: int


def race(part: Part, pipes: Pipes) -> None:
    """Try to take the experiment, work inside, and end as the part says."""

    layout = Layout.at(part.directory)

    def tell(what: str, **more: Any) -> None:
        line = {"what": what, "racer": part.racer, "time": time.monotonic(), **more}
        os.write(pipes.reports, json.dumps(line).encode() + b"\n")

    if part.place == "open.lease":
        # One directory for all: a point fires once, and so for the first who has taken it.
        _arm(part, "kill", f"{layout.root.name}-{part.epoch}")
    tell("ready")
    os.read(pipes.go, 1)
    tell("began")
    try:
        lease = Lease.take(layout, takeover=part.takeover, purpose="race")
    except ExperimentLockedError as error:
        tell("refused", host=error.host, pid=error.pid)
        return
    writer = lease.writer
    first = writer.epoch == part.epoch + 1
    tell("took", epoch=writer.epoch)
    with open(Path(part.local) / "inside", "a") as detector:  # noqa: PTH123
        try:
            kit.flock(detector, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("overlap")
        try:
            last = _work(part, lease, tell, fate=part.fate if first else "close", detector=detector.fileno())
        except SupersededError:
            tell("superseded")
            lease.release()
            return
        if first and part.fate == "close":
            os.read(pipes.leave, 1)
        writer.append([DriverClosed(time.time(), finished=True)])
        tell("closed", last=last)
    lease.release()


def _work(part: Part, lease: Lease, tell: Any, *, fate: str, detector: int) -> int:
    writer = lease.writer
    segments = journal.read(Layout.at(part.directory).journal, before=writer.epoch)
    numbers = [event.trial for event in journal.events(segments) if isinstance(event, AttemptStarted)]
    number = max(numbers, default=0)
    opened = DriverOpened(
        time.time(), FORMAT, os.uname().nodename, os.getpid(), "", previous=journal.sizes(segments)
    )
    writer.append([opened])
    for count in range(1, NUMBERS + 1):
        number += 1
        if count == NUMBERS and fate != "close":
            tell("ending")
            if fate == "stop":
                # From here on it is not inside any more, until it wakes up and is told so.
                kit.flock(detector, fcntl.LOCK_UN)
            if part.place:
                _arm(part, fate, str(part.racer))
            else:
                os.kill(os.getpid(), signal.SIGKILL if fate == "kill" else signal.SIGSTOP)
        writer.append([AttemptStarted(time.time(), number, 1, str(part.racer))])
        tell("promised", number=number)
    return number


def _arm(part: Part, action: str, name: str) -> None:
    directory = Path(part.local) / f"faults-{name}"
    directory.mkdir(exist_ok=True)
    (directory / part.place).write_text(action)
    faults.arm(directory)


# ---------------------------------------------------------------- a host


def serve(name: str, pipes: Pipes, *, without_locks: bool) -> None:
    """Fork racers as the standard input asks for them, and report what becomes of them."""
    kit.become(name)
    if without_locks:
        kit.lose_locks()
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    racers: dict[int, int] = {}
    asked = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ends(racers, pipes.reports)
        if 0 in ready:
            more = os.read(0, 65536)
            if not more:
                return
            *lines, asked = (asked + more).split(b"\n")
            for line in lines:
                what = json.loads(line)
                if "cont" in what:
                    os.kill(
                        next(pid for pid, racer in racers.items() if racer == what["cont"]), signal.SIGCONT
                    )
                    continue
                part = Part(**what)
                pid = os.fork()
                if pid == 0:
                    _end_with(part, pipes)
                racers[pid] = part.racer


def _end_with(part: Part, pipes: Pipes) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        race(part, pipes)
        code = 0
    finally:
        sys.excepthook(*sys.exc_info()) if code else None
        os._exit(code)


def _report_ends(racers: dict[int, int], reports: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        stopped = os.WIFSTOPPED(status)
        code = 0 if stopped else os.waitstatus_to_exitcode(status)
        line = {
            "what": "stopped" if stopped else "ended",
            "racer": racers[pid],
            "time": time.monotonic(),
            "code": code,
        }
        if not stopped:
            del racers[pid]
        os.write(reports, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    name, *ends = sys.argv[1:5]
    serve(name, Pipes(*map(int, ends)), without_locks="without-locks" in sys.argv[5:])
