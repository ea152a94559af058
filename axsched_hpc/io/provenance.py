"""Where a run comes from: the script, its git commit, the machine, the driver's job, its environment modules.

Nothing of it can hold a secret: no arguments, no variables but those named here, no addresses of remotes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Seconds that git may take: the index of a large repository on a slow filesystem can take longer.
GIT_TIMEOUT = 5.0

#: A driver that runs in a job finds its number here.
_JOB = "SLURM_JOB_ID"

#: What `module load` has loaded, with colons in between.
_MODULES = "LOADEDMODULES"


def of_driver(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the driver's process tells of itself, as JSON values; what is not known is left out."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    place = Path(script).absolute() if script else None
    found: dict[str, Any] = {
        "script": str(place) if place is not None else None,
        "repository": repository(place.parent if place is not None else Path.cwd()),
        "interpreter": sys.executable or None,
        "system": platform.platform(),
        "job": environment.get(_JOB) or None,
        "modules": [each for each in environment.get(_MODULES, "").split(":") if each],
    }
    return {key: value for key, value in found.items() if value}


def repository(directory: Path) -> dict[str, Any] | None:
    """The git commit that a directory is at, and whether tracked files differ from it (``dirty``).

    None where there is no repository, no commit, no git, or no answer in time. Files that git does not track
    do not count: results and caches are among them.
    """
    argv = ["git", "-C", str(directory), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        answer = subprocess.run(
            argv,
            # It only looks: an index that is out of date is not written.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit, dirty = None, False
    for line in answer.stdout.decode(errors="replace").splitlines():
        if line.startswith("# branch.oid "):
            commit = line.split()[-1]
        elif not line.startswith("#"):
            dirty = True
    if answer.returncode or commit is None or commit == "(initial)":
        return None
    return {"commit": commit, "dirty": dirty}
