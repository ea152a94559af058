"""Opening files of an experiment directory: with which permissions, and never through a symbolic link.

Nothing in an experiment directory may be written by others than its owner. Whether the group may read is said
once, by the mode of a directory: one of mode 0750 passes that on to all that is made in it, and below any
other directory everything is the owner's alone. So workers need no setting, and no umask changes it.

A symbolic link in an experiment directory is not followed: whoever could put one there would have the driver
read another's file, or a job write to it. The directory itself may be reached through links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

#: Mode of a directory by the value of the option ``permissions``; with 0666, that of the files in it.
DIRECTORY_MODES = {"private": 0o700, "group": 0o750}


def directory_mode(parent: Path) -> int:
    """The mode of what is made in a directory: of directories, and with 0666 of files."""
    shared = stat.S_IMODE(parent.stat().st_mode) & 0o777 == DIRECTORY_MODES["group"]
    return DIRECTORY_MODES["group" if shared else "private"]


def file_mode(parent: Path) -> int:
    """The mode of a file that is made in a directory."""
    return directory_mode(parent) & 0o666


def set_mode(handle: int, mode: int) -> None:
    """Give an open file or directory its mode, whatever the umask took from it."""
    now = stat.S_IMODE(os.fstat(handle).st_mode)
    if now & 0o777 != mode:
        # A set-group-id directory, by which a project's files get the project's group, stays one. A
        # filesystem without permissions of its own (vfat, some cifs mounts) refuses, and keeps what it has.
        with contextlib.suppress(PermissionError):
            os.fchmod(handle, mode | now & stat.S_ISGID)


def open_new(path: Path, mode: int | None = None) -> int:
    """Make a file and open it for writing.

    Raises
    ------
    FileExistsError
        There is something of that name.
    """
    mode = file_mode(path.parent) if mode is None else mode
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    set_mode(handle, mode)
    return handle


def open_append(path: Path, *, new: bool = False) -> int:
    """Open a log or journal for appending, and make it where it is not there.

    Parameters
    ----------
    new
        Fail with FileExistsError where it is there.

    Raises
    ------
    OSError
        It cannot be opened, or is a symbolic link.
    """
    mode = file_mode(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | (os.O_EXCL if new else 0)
    with _naming_links(path):
        handle = os.open(path, flags, mode)
    set_mode(handle, mode)
    return handle


def open_read(path: Path) -> int:
    """Open a regular file for reading.

    Raises
    ------
    OSError
        It cannot be opened, is a symbolic link, or no regular file.
    """
    with _naming_links(path):
        # Without O_NONBLOCK a named pipe would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind == stat.S_IFREG:
        return handle
    os.close(handle)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def require_inside(root: Path, *paths: Path) -> None:
    """Check that directories below an experiment directory lie there, and not behind a symbolic link.

    Raises
    ------
    OSError
        One leads elsewhere; it and the place are named.
    """
    for path in paths:
        place = str(root)
        for part in path.relative_to(root).parts:
            place = os.path.join(place, part)  # noqa: PTH118 - for each trial
            if not os.path.islink(place):  # noqa: PTH114
                continue
            # Unlike Path.resolve, this takes links that lead to themselves.
            found = os.path.realpath(path)
            raise OSError(
                errno.ELOOP,
                f"a symbolic link leads from it to {found}; links inside an experiment directory are not "
                "followed. Put a directory in its place",
                str(path),
            )


@contextlib.contextmanager
def _naming_links(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(
                errno.ELOOP,
                "it is a symbolic link, and links inside an experiment directory are not followed",
                str(path),
            ) from None
        raise
