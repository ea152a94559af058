"""The round trip on a real NFS; what runs in the guest is in on_nfs.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.nfs.guest import VERSIONS, Guest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.nfs, pytest.mark.timeout(300)]


@pytest.mark.parametrize("version", VERSIONS)
def test_in_the_guest(version: str) -> None:
    pytest_in_guest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-s"]
    only_v3 = "tests/doctor/on_nfs.py::test_locks_that_hold_on_one_machine_only"
    here = [] if version == "3" else [f"--deselect={only_v3}"]
    done = Guest(version, timeout=280).capture(
        [*pytest_in_guest, *here, Path(__file__).with_name("on_nfs.py")],
        directory=ROOT,
        environment=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " skipped" not in done.stdout
