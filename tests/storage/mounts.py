"""Filesystems that a test mounts for itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm.fixtures import missing


@contextmanager
def mounted(root: Path, *options: str) -> Iterator[None]:
    """Mount something at a directory. Where that may not be, skip the test; or fail it where the NFS is
    required, which needs the same.
    """
    if os.geteuid() != 0:
        missing("only root can mount a disk of its own.", "AXSCHED_REQUIRE_NFS")
    done = subprocess.run(["mount", *options, str(root)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"nothing can be mounted here: {done.stderr.strip()}", "AXSCHED_REQUIRE_NFS")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)
