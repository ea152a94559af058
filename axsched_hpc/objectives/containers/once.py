"""Something that one of many processes, on many machines, makes for all; the others wait for it.

The lock is flock(2) (filelock's ``UnixFileLock``), which the kernel frees when its holder dies. It only saves
work: what is made lies under a name of its maker's alone until it is complete, so that two makers, on a
filesystem without locks, do no harm. A maker shows signs of life, by the time of change of the lock file: one
on a machine that has died, whose lock can stay for ever on NFS v3, is not waited for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.io import atomic, processes
from axsched_hpc.io.flock import Flock

#: Seconds between two signs of life of a maker, and without one after which it is not waited for.
BEAT, SILENCE = 20.0, 180.0

#: The most seconds between two looks at what another one makes.
LONGEST_PAUSE = 2.0


class Failed(Exception):
    """It could not be made; the message says why, and what to do.

    Attributes
    ----------
    unusable
        Whether what would make it cannot be used on this machine at all.
    """

    def __init__(self, message: str, *, unusable: bool = False) -> None:
        super().__init__(message)
        self.unusable = unusable


@dataclass(frozen=True)
class Waiting:
    """How a process waits.

    Attributes
    ----------
    pause
        Waits for some seconds, or raises what ends the waiting.
    say
        Takes a message for people.
    """

    pause: Callable[[float], None]
    say: Callable[[str], None]


def once(
    directory: Path,
    key: str,
    *,
    ready: Callable[[], bool],
    make: Callable[[Path], None],
    waiting: Waiting,
    what: str,
) -> None:
    """Make something, unless it is there or another process makes it.

    Parameters
    ----------
    directory
        Where locks and half-made things lie; all who may make it see it.
    key
        Names what is made. What a process that was killed has left half-made under it is removed.
    ready
        Whether it is there.
    make
        Makes it; gets an empty directory, which is removed afterwards.
    what
        Names it in messages.

    Raises
    ------
    Failed
        It could not be made, by this process or by one that this one has waited for.
    OSError
        The directory cannot be used.
    """
    if ready():
        return
    atomic.make_directory(directory)
    failure = directory / f".{key}.failed"
    with contextlib.closing(_Guard(directory / f".{key}.lock")) as guard:
        before = _stamp(failure)
        waited = _wait(directory, guard, ready, waiting, what)
        atomic.listing(directory)  # an NFS client may remember that it was not there
        if ready():
            return
        if waited and _stamp(failure) not in (None, before):
            # Who has waited for a registry that does not answer need not ask it once more.
            raise Failed(atomic.read_text(failure).rstrip("\n"))
        with _Beats(guard), _temporary(directory, key) as place:
            _sweep(directory, key, place, certain=guard.held, pause=waiting.pause)
            try:
                make(place)
            except Failed as error:
                if ready():
                    return
                with contextlib.suppress(OSError):
                    atomic.write(failure, f"{error}\n")
                raise
        with contextlib.suppress(OSError):
            failure.unlink()


def _wait(directory: Path, guard: _Guard, ready: Callable[[], bool], waiting: Waiting, what: str) -> bool:
    """Wait until it is this process's turn, or it is made; whether that took any waiting."""
    delay, seen, quiet = 0.2, 0.0, 0.0
    waited = False
    while not guard.take():
        if not waited:
            waited = True
            waiting.say(f"{what} is being prepared by another process; waiting for it.")
        stirred = guard.last_beat()
        quiet, seen = (0.0 if stirred != seen else quiet), stirred
        if quiet > SILENCE:
            waiting.say(
                f"The process that prepares {what} has shown no sign of life for {SILENCE:g} s; going on "
                "without it."
            )
            return True
        # Many wait for one, and do not look all at once.
        began = time.monotonic()
        waiting.pause(delay * (0.75 + os.urandom(1)[0] / 510))
        quiet += min(time.monotonic() - began, 2 * LONGEST_PAUSE)
        delay = min(1.5 * delay, LONGEST_PAUSE)
        atomic.listing(directory)
        if ready():
            return True
    return waited


class _Guard:
    """The lock, and the signs of life of its holder."""

    def __init__(self, path: Path) -> None:
        # Made here, since filelock would make missing directories too, and try for ever where it may not.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, atomic.FILE_MODE))
        self._path = path
        self._lock = Flock(path)

    @property
    def held(self) -> bool:
        """Whether this process has it; not so where there are no locks."""
        return self._lock.held

    def take(self) -> bool:
        """Take it; whether nobody else has it."""
        return not self._lock.taken_by_another()

    def beat(self) -> None:
        """Show a sign of life."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def last_beat(self) -> float:
        """When its holder last did, by the filesystem's clock."""
        # By opening it: NFS answers a mere stat from its cache.
        handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return os.fstat(handle).st_mtime
        finally:
            os.close(handle)

    def close(self) -> None:
        """Give it back."""
        self._lock.release()


class _Beats(threading.Thread):
    """Shows signs of life while this process makes something. A stopped process shows none."""

    def __init__(self, guard: _Guard) -> None:
        super().__init__(name="axsched-once", daemon=True)
        self._guard = guard
        self._ended = threading.Event()

    def run(self) -> None:
        """Until the end."""
        while True:
            self._guard.beat()
            if self._ended.wait(BEAT):
                return

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(1.0)  # a filesystem that does not answer keeps it, and it alone


# ---------------------------------------------------------------- what is half-made


@contextlib.contextmanager
def _temporary(directory: Path, key: str) -> Iterator[Path]:
    pid = os.getpid()
    maker = f"{processes.hostname()}.{pid}-{processes.start_ticks(pid) or 0}"
    place = directory / f".{key}@{maker}.{os.urandom(4).hex()}.tmp"
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        remove_tree(place)


def _sweep(directory: Path, key: str, own: Path, *, certain: bool, pause: Callable[[float], None]) -> None:
    """Remove what makers that were killed have left.

    Parameters
    ----------
    certain
        Whether this process has the lock: no other maker is alive then.
    """
    now = own.stat().st_mtime
    for name in os.listdir(directory):  # noqa: PTH208 - hidden ones, by their names
        if name == own.name or not name.startswith(f".{key}@") or not name.endswith(".tmp"):
            continue
        place = directory / name
        with contextlib.suppress(OSError):
            if not certain and not _is_left(name, key, now - place.stat().st_mtime):
                continue
        # What the maker had started gets killed after it, and may still write for a moment.
        for _ in range(10):
            remove_tree(place)
            if not os.path.lexists(place):
                break
            pause(0.1)


def _is_left(name: str, key: str, age: float) -> bool:
    host, _, rest = name.removeprefix(f".{key}@").removesuffix(".tmp").rpartition(".")[0].rpartition(".")
    pid, _, start = rest.partition("-")
    if not pid.isdecimal() or not start.isdecimal():
        return age > 86_400
    alive = processes.alive(host, int(pid), int(start) or None, processes.boot_id())
    return age > 86_400 if alive is None else not alive


def remove_tree(directory: Path) -> None:
    """Remove a directory with all below it, also where an image's own modes forbid that; what cannot be
    removed is left.
    """
    if not os.path.lexists(directory):
        return

    def permit(call: Callable[..., object], path: str, _: object) -> None:
        with contextlib.suppress(OSError):
            for each in (Path(path).parent, Path(path)):
                if stat.S_ISDIR(each.lstat().st_mode):
                    each.chmod(0o700)
            if call is os.rmdir or call is os.unlink:
                call(path)
            else:
                shutil.rmtree(path, ignore_errors=True)

    shutil.rmtree(directory, onerror=permit)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
