"""Files that appear whole, on local disks and on NFS.

A file is written under a temporary name in the same directory, synced, renamed, and its directory synced: a
reader sees the old content or the new one, never a part. Temporary names start with a dot, and readers skip
those.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axsched_hpc.io import access
from axsched_hpc.io.faults import reach

#: Mode of files that are the owner's alone.
FILE_MODE = 0o600

_ESTALE_TRIES = 3

#: Seconds after which a temporary file's writer is gone for certain.
_STALE = 86_400.0

_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")


def write(path: Path, content: str | bytes, *, mode: int | None = None, sync: bool = True) -> None:
    """Replace a file's content as a whole, and return when it is on the disk.

    Parameters
    ----------
    mode
        The file's permissions; None for those that its directory passes on (see
        :mod:`axsched_hpc.io.access`).
    sync
        Whether to wait for the disk. Without it the file appears whole as well, on all hosts, but may be
        missing or empty after a power failure: for what can be made again from something else.

    Raises
    ------
    OSError
        It could not be written; the old content is still there, and no temporary file is left.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = _temporary(path)
    try:
        with _naming(path):
            _write_new(temporary, data, mode, sync=sync)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        sync_directory(path.parent)


def write_json(path: Path, value: Any, *, mode: int | None = None, sync: bool = True) -> None:
    """Replace a file by a JSON value; see :func:`write`."""
    write(path, json.dumps(value, allow_nan=False, indent=1) + "\n", mode=mode, sync=sync)


def create(path: Path, content: str, *, sync_name: bool = True) -> bool:
    """Make a file with its whole content, unless it exists: of several callers exactly one gets True, on NFS
    too.

    The content is written under a temporary name and linked to the final one: a reader never sees the file
    empty, and link(2) fails where the name exists. A lost answer from an NFS server is told from a refusal by
    the link count.

    Parameters
    ----------
    sync_name
        Whether to wait until the name is on the disk, as the content is. Without it a file that was made just
        before a power failure is there as a whole or not at all.
    """
    temporary = _temporary(path)
    try:
        with _naming(path):
            _write_new(temporary, content.encode(), None, sync=True)
        try:
            os.link(temporary, path)
        except FileExistsError:
            if temporary.stat().st_nlink != 2:
                return False
        if sync_name:
            sync_directory(path.parent)
        return True
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read_bytes(path: Path, start: int = 0) -> bytes:
    """Read a file that another host may have just replaced, from so many bytes on.

    Raises
    ------
    OSError
        It is not there, cannot be read, is a symbolic link or no regular file.
    """
    for attempt in range(_ESTALE_TRIES):
        try:
            with os.fdopen(access.open_read(path), "rb") as file:
                file.seek(start)
                return file.read()
        except OSError as error:
            # NFS: the file was replaced between the look-up of its name and the read.
            if error.errno != errno.ESTALE or attempt == _ESTALE_TRIES - 1:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def read_text(path: Path) -> str:
    """Read a text as :func:`read_bytes` does.

    Raises
    ------
    OSError
        As there.
    UnicodeDecodeError
        It is not UTF-8; the message names the file.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        error.reason += f", in {path}"
        raise


def listing(directory: Path) -> list[str]:
    """The names in a directory, sorted, without temporary ones; empty where it does not exist.

    Listing also makes names visible that an NFS client remembers as missing (19 to 26 s late without it,
    measured).
    """
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []


def make_directory(path: Path, *, mode: int | None = None) -> None:
    """Make a directory and its missing parents, with the given mode or the one that is passed on to them."""
    for missing in reversed(list(_missing(path))):
        wanted = access.directory_mode(missing.parent) if mode is None else mode
        try:
            missing.mkdir(mode=wanted)
        except FileExistsError:
            if not missing.is_dir():
                raise
            continue  # another process was quicker
        handle = os.open(missing, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            access.set_mode(handle, wanted)
        finally:
            os.close(handle)


def stale(directory: Path, *, older_than: float = _STALE) -> list[Path]:
    """The temporary files that killed processes left in a directory."""
    found, limit = [], time.time() - older_than
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _TEMPORARY.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < limit:
                    found.append(Path(entry.path))
    return found


def remove_stale(directory: Path) -> int:
    """Remove them; how many those were."""
    count = 0
    for path in stale(directory):
        with contextlib.suppress(OSError):
            path.unlink()
            count += 1
    return count


def sync_directory(path: Path) -> None:
    """Make a rename or link in a directory durable, where the filesystem can do that."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")


def _write_new(path: Path, data: bytes, mode: int | None, *, sync: bool) -> None:
    with os.fdopen(access.open_new(path, mode), "wb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    reach("file.written")


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error name the file that was to appear: write(2) names none, open(2) the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _missing(path: Path) -> Iterator[Path]:
    while not path.is_dir():
        yield path
        path = path.parent
