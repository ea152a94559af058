"""One of two racers: for each name on its standard input it tries to be the one that makes it, and says so.

Called as ``python -m tests.nfs.racer OPERATION DIRECTORY``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from axsched_hpc.io import atomic, claim
from axsched_hpc.io.claim import Claimer
from axsched_hpc.io.layout import AttemptFiles


def exclusive(directory: Path, name: str) -> bool:
    try:
        os.close(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def link(directory: Path, name: str) -> bool:
    return atomic.create(directory / name, f"{os.uname().nodename}\n")


def take(directory: Path, name: str) -> bool:
    files = AttemptFiles(directory / name)
    atomic.make_directory(files.root)
    return claim.take(files, claim.mine("token", Claimer.WORKER, environment={}))


OPERATIONS: dict[str, Callable[[Path, str], bool]] = {"exclusive": exclusive, "link": link, "take": take}


def main(operation: str, directory: str) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{OPERATIONS[operation](Path(directory), line.strip())}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
