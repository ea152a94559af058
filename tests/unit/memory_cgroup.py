"""A real memory cgroup with a limit, where one can be made."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.slurm.fixtures import missing

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limited(mib: int) -> Iterator[Path]:
    """Make a cgroup whose processes have so much memory together. Where that cannot be done, skip the test,
    or fail it where container engines are required, which need cgroups too.
    """
    v1 = (_V1 / "memory.limit_in_bytes").exists()
    if not v1 and "memory" not in _text(_V2 / "cgroup.subtree_control").split():
        missing("no memory controller can be used here.", "AXSCHED_REQUIRE_CONTAINERS")
    place = (_V1 if v1 else _V2) / f"axsched-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        place.mkdir()
    except OSError as error:
        missing(f"no cgroup can be made here: {error}", "AXSCHED_REQUIRE_CONTAINERS")
    try:
        (place / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(mib * 2**20))
        with contextlib.suppress(OSError):  # without swap there is nothing to limit
            (place / ("memory.memsw.limit_in_bytes" if v1 else "memory.swap.max")).write_text(
                str(mib * 2**20 if v1 else 0)
            )
        yield place
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                place.rmdir()
                break
            time.sleep(0.05)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
