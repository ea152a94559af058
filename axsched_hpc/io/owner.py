"""Whose a file is, on filesystems that may show users under other numbers."""

from __future__ import annotations

import os
from pathlib import Path


def user() -> str:
    """The name of this process's user."""
    import getpass  # it loads the terminal's module, which a job can do without

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without this user in its passwd
        return str(os.geteuid())


def is_mine(path: Path, *, beside: Path | None = None) -> bool:
    """Whether a file belongs to the user of this process.

    On NFS with ``root_squash`` or a broken mapping of users a process's own files appear under another number
    than its own. So a file with another number than this process's is compared with one that this process
    makes there at that moment.

    Parameters
    ----------
    path
        The file or directory; a symbolic link counts itself.
    beside
        A directory of the same filesystem that this process may write to; None: the file's own.

    Raises
    ------
    OSError
        One of them cannot be looked at, or no file be made.
    """
    owner = path.lstat().st_uid
    return owner == os.geteuid() or owner == _uid_of_a_new_file(beside or path.parent)


def _uid_of_a_new_file(directory: Path) -> int:
    probe = directory / f".owner.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        return os.fstat(handle).st_uid
    finally:
        os.close(handle)
        probe.unlink()
