"""Images that are prepared once, on a real NFS; what runs in the guest is in on_nfs.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.nfs.guest import Guest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.nfs, pytest.mark.timeout(200)]


def test_in_the_guest() -> None:
    pytest_in_guest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-s"]
    done = Guest("3", timeout=180).capture(
        [*pytest_in_guest, Path(__file__).with_name("on_nfs.py")],
        directory=ROOT,
        environment=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
