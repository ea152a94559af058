"""What an experiment needs of its filesystem, tried in a directory: see :mod:`axsched_hpc.io.atomic` and
:mod:`axsched_hpc.store.lease`.
"""

from __future__ import annotations

import os
import stat
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.doctor import probe
from axsched_hpc.doctor.finding import Finding, Level, joined
from axsched_hpc.doctor.machine import size_text
from axsched_hpc.io import access, atomic
from axsched_hpc.io.storage import is_storage_error

#: Times that each operation is timed.
_TIMES = 10

#: Bytes and files below which an experiment does not fit, and soon will not.
_NO_SPACE, _LITTLE_SPACE, _NO_FILES, _FEW_FILES = 50 * 2**20, 2**30, 500, 10_000

#: Seconds after which a lock of a killed process counts as not freed.
_FREED = 5.0


@dataclass(frozen=True)
class Space:
    """What is free for this user: bytes, and files where the filesystem counts them."""

    free: int
    files: int | None


@dataclass(frozen=True)
class Speed:
    """Seconds: to write, sync and rename a small file; to append a line and sync it; the slowest of all."""

    write: float
    append: float
    slowest: float


def unusable(error: OSError) -> Finding:
    """A directory in which nothing can be written now."""
    return Finding(
        "files",
        Level.PROBLEM,
        f"No file can be written here: {error.strerror or error}.",
        "Use a directory in which you may write, on a file system with free space.",
    )


def judge_space(space: Space) -> Finding:
    """Whether an experiment fits."""
    files = f" and {space.files:,} files" if space.files is not None else ""
    found = f"{size_text(space.free)}{files} free on the whole file system; a quota may leave you less."
    few = space.files if space.files is not None else _FEW_FILES
    level = Level.OK
    if space.free < _LITTLE_SPACE or few < _FEW_FILES:
        level = Level.WARNING
    if space.free < _NO_SPACE or few < _NO_FILES:
        level = Level.PROBLEM
    change = "Make room, or use another directory. A trial takes about ten small files besides its own."
    return Finding("space", level, found, "" if level is Level.OK else change)


def judge_speed(speed: Speed) -> Finding:
    """How long the disk takes to promise that something is written."""
    found = (
        f"{milliseconds(speed.write)} to write a file for good, {milliseconds(speed.append)} to add a "
        f"record; the slowest took {milliseconds(speed.slowest)}."
    )
    if speed.append < 0.1 and speed.write < 0.2:
        return Finding("speed", Level.OK, found)
    # A trial is about four records and ten files.
    each = 4 * speed.append + 10 * speed.write
    level = Level.WARNING if each > 30 else Level.NOTE
    return Finding(
        "speed",
        level,
        f"{found} A trial costs the driver and its job about {each:.0f} s of that.",
        "Use a faster file system, if trials take less than minutes.",
    )


def judge_locks(local: str, freed: float | None) -> Finding:
    """Locks between two processes of this machine.

    Parameters
    ----------
    local
        What became of taking a lock that another process held: see :func:`axsched_hpc.doctor.probe.try_lock`.
    freed
        Seconds after which it was free once its holder was killed; None: not while it was tried.
    """
    check = "locks here"
    alone = (
        "Start one driver per experiment at a time; the journal keeps two apart, at the price of one of them."
    )
    if local == "granted":
        return Finding(
            check, Level.WARNING, "flock is granted to two processes at a time: it protects nothing.", alone
        )
    if local != "refused":
        return Finding(check, Level.NOTE, f"The file system has no flock ({local}).", alone)
    if freed is None:
        return Finding(
            check,
            Level.WARNING,
            f"A lock whose holder was killed was still held after {_FREED:g} s.",
            "After a crash of the driver: axsched unlock DIR.",
        )
    return Finding(
        check,
        Level.OK,
        f"flock keeps two processes apart, and is free {after(freed)} its holder was killed.",
    )


def judge_clock(difference: float) -> Finding:
    """The filesystem's clock against this machine's: signs of life are compared by the former alone."""
    check = "file times"
    if abs(difference) <= 2:
        return Finding(check, Level.OK, "Those of the file system agree with the clock of this machine.")
    where = "ahead of" if difference > 0 else "behind"
    return Finding(
        check,
        Level.NOTE,
        f"Those of the file system are {abs(difference):.0f} s {where} the clock of this machine. Nothing "
        "depends on that; the ages that axsched status shows are wrong by as much.",
    )


def measure_space(directory: Path) -> Space:
    """Ask the filesystem."""
    have = os.statvfs(directory)
    # Filesystems without a fixed number of inodes, such as btrfs, say 0 of 0.
    return Space(have.f_bavail * have.f_frsize, have.f_favail if have.f_files else None)


def findings(folder: Path) -> list[Finding]:
    """Try in an empty directory what drivers and workers do, and remove it all again.

    Raises
    ------
    OSError
        Files cannot be written there at all.
    """
    space = judge_space(measure_space(folder))
    found = [space, _files(folder)]
    if found[-1].level is not Level.PROBLEM:
        found += [judge_speed(_speed(folder)), _locks(folder), judge_clock(probe.file_clock(folder))]
    return found


def _files(folder: Path) -> Finding:
    """Whole files, names that only one can take, permissions."""
    parts = []
    for name, action, needed in (
        ("rename", _rename, "files would be seen half-written"),
        ("link(2)", _link, "two drivers or two workers could not be kept apart"),
        ("O_EXCL", _exclusive, "two drivers or two workers could not be kept apart"),
        ("append", _append, "the journal could not be written"),
    ):
        try:
            why = action(folder)
        except OSError as error:
            why = error.strerror or str(error)
            if is_storage_error(error):
                # The disk is full, or gone; what it can do is not known.
                return unusable(error)
        if why:
            parts.append(
                Finding(
                    "", Level.PROBLEM, f"{name} does not work ({why}): {needed}.", "Use another file system."
                )
            )
    if not parts:
        parts.append(
            Finding(
                "", Level.OK, "rename, link, exclusive creation and append work as experiments need them."
            )
        )
    parts += _permissions(folder)
    return joined("files", parts)


def _rename(folder: Path) -> str:
    path = folder / "renamed"
    for content in ("one", "two"):
        atomic.write(path, content)
        if atomic.read_text(path) != content or atomic.listing(folder) != ["renamed"]:
            return "a replaced file has its old content"
    path.unlink()
    return ""


def _link(folder: Path) -> str:
    path = folder / "linked"
    first, second = (atomic.create(path, content) for content in ("one", "two"))
    kept = atomic.read_text(path)
    path.unlink()
    return "" if (first, second, kept) == (True, False, "one") else "a name was taken twice"


def _exclusive(folder: Path) -> str:
    path = folder / "exclusive"
    os.close(access.open_new(path))
    try:
        os.close(access.open_new(path))
    except FileExistsError:
        return ""
    finally:
        path.unlink()
    return "a name was taken twice"


def _append(folder: Path) -> str:
    path = folder / "appended"
    for line in (b"one\n", b"two\n"):
        handle = access.open_append(path)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    content = atomic.read_bytes(path)
    path.unlink()
    return "" if content == b"one\ntwo\n" else "a line overwrote another"


def _permissions(folder: Path) -> list[Finding]:
    path = folder / "private"
    atomic.write(path, "", mode=atomic.FILE_MODE)
    status = path.stat()
    path.unlink()
    if status.st_uid != os.geteuid():
        return [
            Finding(
                "",
                Level.PROBLEM,
                f"A file made here belongs to user {status.st_uid}, and not to you ({os.geteuid()}): "
                "journals of another user are refused.",
                "Use a directory on a file system that keeps owners; root is often mapped to nobody on NFS.",
            )
        ]
    if stat.S_IMODE(status.st_mode) != atomic.FILE_MODE:
        return [
            Finding(
                "",
                Level.NOTE,
                f"Permissions do not hold here: a private file has mode {stat.S_IMODE(status.st_mode):04o}. "
                "Others may read your experiments.",
            )
        ]
    return []


def _speed(folder: Path) -> Speed:
    path = folder / "timed"
    writes = [_timed(lambda: atomic.write(path, "x" * 500)) for _ in range(_TIMES)]
    handle = access.open_append(path)
    try:
        appends = [_timed(lambda: _append_record(handle)) for _ in range(_TIMES)]
    finally:
        os.close(handle)
        path.unlink()
    return Speed(statistics.median(writes), statistics.median(appends), max(writes + appends))


def _locks(folder: Path) -> Finding:
    path = folder / "lock"
    try:
        with probe.holding(path) as holder:
            if holder is None:
                return judge_locks(_own_lock(path), None)
            local = probe.try_lock(path)
            holder.kill()
            holder.wait()
            freed = waited_for_lock(path, _FREED)
        return judge_locks(local, freed)
    finally:
        path.unlink(missing_ok=True)


def _own_lock(path: Path) -> str:
    # Why the other process could not take it is not known; this one is told the reason.
    answer = probe.try_lock(path)
    return answer if answer not in ("refused", "granted") else "it could not be taken"


def waited_for_lock(path: Path, patience: float) -> float | None:
    """Seconds until a lock was free; None where it was not in so many seconds."""
    began = time.monotonic()
    while probe.try_lock(path) != "granted":
        if time.monotonic() - began > patience:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def _append_record(handle: int) -> None:
    os.write(handle, b"x" * 300)
    os.fsync(handle)


def _timed(action: Callable[[], object]) -> float:
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def after(seconds: float) -> str:
    """How long after something, as part of a sentence."""
    return f"{milliseconds(seconds)} after" if seconds >= 0.001 else "as soon as"


def milliseconds(seconds: float) -> str:
    """Seconds as people read short times."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
