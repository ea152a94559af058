"""Files that are written together: all of them, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from axsched_hpc.core.errors import ConfigError


def refuse(paths: Sequence[Path]) -> None:
    """Refuse to replace what is there.

    Raises
    ------
    ConfigError
        Something is.
    """
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there:
        are, them = ("is", "it") if len(there) == 1 else ("are", "them")
        raise ConfigError(
            f"{' and '.join(there)} {are} there already. Nothing was written. --force replaces {them}."
        )


def write(target: Path, texts: Mapping[str, str], *, force: bool) -> None:
    """Write all files, or none: what was there before is put back where one cannot be written or is wrong.

    Parameters
    ----------
    texts
        By name; the last one is a project file, which is checked when all are there.

    Raises
    ------
    ConfigError
        They cannot be written, or something is there already.
    """
    from axsched_hpc.io import atomic
    from axsched_hpc.project.reading import ProjectError, load

    paths = [target / name for name in texts]
    if not force:
        refuse(paths)
    umask = os.umask(0)
    os.umask(umask)
    made = [each for each in (target, *target.absolute().parents) if not each.exists()]
    before: dict[Path, tuple[bytes, int] | None] = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in paths:
            before[path] = (path.read_bytes(), path.stat().st_mode & 0o7777) if path.exists() else None
        for path, text in zip(paths, texts.values(), strict=True):
            runs = text.startswith("#!")
            atomic.write(path, text, mode=(0o777 if runs else 0o666) & ~umask)
        load(paths[-1])
    except BaseException as error:
        for path, old in before.items():
            if old is None:
                path.unlink(missing_ok=True)
            else:
                atomic.write(path, old[0], mode=old[1])
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()
        if isinstance(error, OSError):
            raise ConfigError(f"{target} cannot be written: {error.strerror or error}.") from None
        if isinstance(error, ProjectError):
            raise ConfigError(str(error).replace("nothing was started", "nothing was written")) from None
        raise
