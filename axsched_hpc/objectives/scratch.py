"""Working directories on a disk of the node, and what is copied back from them.

They lie in ``$TMPDIR/axsched-UID``, which is the user's alone. Each is locked by the process that works in
it: the kernel frees the lock whatever ends the process, so that the next one to come removes what was left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.io import access, atomic

#: Size and time of change, by which an input that a program has not touched is known.
Stamp = tuple[int, int]


@dataclass
class Scratch:
    """A directory on a disk of the node; closing it removes it."""

    directory: Path
    _lock: int

    def close(self) -> None:
        """Remove the directory and what is in it."""
        _remove(self.directory)
        os.close(self._lock)


def make(name: str) -> Scratch:
    """Make a directory of this process's own, and remove what ended processes of this user have left.

    Raises
    ------
    OSError
        The disk cannot be written, or the place belongs to somebody else.
    """
    # Not gettempdir, which takes another place where this one cannot be written, even the current directory.
    base = Path(os.environ.get("TMPDIR") or "/tmp") / f"axsched-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        base.mkdir(mode=0o700)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise OSError(
            f"{base} is not a directory of this user's alone. Remove it, or set TMPDIR to another place"
        )
    with _locked(base):
        _sweep(base)
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return Scratch(directory, lock)


def stamp(path: Path) -> Stamp:
    """What changes when a file is written."""
    found = path.lstat()
    return found.st_size, found.st_mtime_ns


def copy_back(
    source: Path,
    target: Path,
    patterns: Sequence[str] | None,
    unchanged: Mapping[str, Stamp],
    say: Callable[[str], None],
) -> None:
    """Copy results to the shared filesystem: ``target`` appears whole, or is what it was.

    Parameters
    ----------
    patterns
        What is copied, relative to ``source``; None: all.
    unchanged
        Inputs by their path below ``source``, which are left out where they are as they were.
    say
        Told what cannot be copied: pipes, sockets, devices, and patterns that match nothing.

    Raises
    ------
    OSError
        A file cannot be read or written.
    """
    made = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    mode = access.directory_mode(target.parent)
    try:
        atomic.make_directory(made)
        for path in _selected(source, patterns, say):
            relative = path.relative_to(source)
            if str(relative) in unchanged and stamp(path) == unchanged[str(relative)]:
                continue
            _copy(path, made / relative, source, mode, say)
        old = made.with_suffix(".old")
        # rename(2) takes the place of an empty directory only.
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        made.rename(target)
        atomic.sync_directory(target.parent)
        _remove(old)
    finally:
        _remove(made)


# ---------------------------------------------------------------- parts


def _selected(source: Path, patterns: Sequence[str] | None, say: Callable[[str], None]) -> Iterator[Path]:
    """All files that are to be copied, and directories that are empty."""
    chosen: dict[Path, None] = {}
    for pattern in patterns if patterns is not None else ("*",):
        found = sorted(source.glob(pattern))
        if not found and patterns is not None:
            say(f"nothing matches {pattern!r} of 'stage_out' in the working directory.")
        for path in found:
            chosen.update(dict.fromkeys(_files(path)))
    return iter(chosen)


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    entries = sorted(path.iterdir())
    if not entries:
        yield path
    for entry in entries:
        yield from _files(entry)


def _copy(path: Path, target: Path, source: Path, mode: int, say: Callable[[str], None]) -> None:
    atomic.make_directory(target.parent)
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode):
        atomic.make_directory(target)
    elif stat.S_ISLNK(found.st_mode) and not _leads_into(path, source):
        target.symlink_to(path.readlink())
    elif path.is_file():
        shutil.copyfile(path, target)
        runs = path.stat().st_mode & 0o100
        target.chmod(mode if runs else mode & 0o666)
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        with target.open("rb") as file:
            os.fsync(file.fileno())
    else:
        say(f"{path} is neither a file nor a directory, and is not copied back.")


def _leads_into(link: Path, source: Path) -> bool:
    """Whether a link would lead nowhere once the directory is gone: its file is copied in its place."""
    leads = link.readlink()
    return leads.is_absolute() and leads.is_relative_to(source)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(base: Path) -> None:
    """Remove directories whose process has ended; the base is locked, so that none is being made."""
    for entry in list(base.iterdir()):
        with contextlib.suppress(OSError):
            handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(entry)
            finally:
                os.close(handle)


def _remove(directory: Path) -> None:
    def make_writable(function: Callable[..., object], path: str, _: object) -> None:
        # A program may have taken its own directories' write permission.
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            function(path)

    if directory.is_dir():
        shutil.rmtree(directory, onerror=make_writable)
