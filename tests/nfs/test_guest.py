"""The test NFS boots, runs what it is given, and NFS does in it what the design takes for granted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nfs.guest import VERSIONS, Guest, NfsError, state_directory
from tests.slurm.processes import poll

pytestmark = [pytest.mark.nfs, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(__file__).with_name("run")


#: What runs in a guest, in this order: the first wants the export empty, the last fills it.
IN_THE_GUEST = ("doctor/on_nfs.py", "lease/on_nfs.py", "containers/on_nfs.py", "nfs/facts.py")
#: What runs with NFS 3 only: NFS 4 has no locks of one machine, and lists no directory late.
ONLY_3 = ("doctor/on_nfs.py::test_locks_that_hold_on_one_machine_only", "containers/on_nfs.py")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", VERSIONS)
def test_in_the_guest(version: str) -> None:
    pytest_in_guest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-s"]
    left_out = [] if version == "3" else [f"--deselect=tests/{name}" for name in ONLY_3]
    # Booting it and importing all costs more than most of the tests, so that one guest runs them all.
    done = Guest(version, timeout=880, size="64M").capture(
        [*pytest_in_guest, *left_out, *(ROOT / "tests" / name for name in IN_THE_GUEST)],
        directory=ROOT,
        environment=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " skipped" not in done.stdout


def test_the_command_passes_on_what_its_command_does(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    script = 'echo "$PWD|$1|$WORD"; echo seen >&2; echo x >"$NFS_A/f"; cat "$NFS_B/f"; exit 7'
    done = subprocess.run(
        [COMMAND, "--version", "4.2", "--timeout", "60", "bash", "-c", script, "-", "it's $1"],
        cwd=tmp_path / "a b",
        env=os.environ | {"WORD": 'a "word"\nand more'},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 7
    assert done.stdout == f'{tmp_path}/a b|it\'s $1|a "word"\nand more\nx\n'
    assert done.stderr == "seen\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_output_comes_at_once_and_nothing_is_left_of_a_killed_guest(number: signal.Signals) -> None:
    with subprocess.Popen(
        [COMMAND, "bash", "-c", 'echo "$NFS_RUN"; sleep infinity'], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        run = Path(running.stdout.readline().strip())
        assert run.parent == state_directory()
        running.send_signal(number)
        assert running.wait(20) == (-9 if number == signal.SIGKILL else 128 + 15)
    assert poll(lambda: not run.exists() and not processes_of(run), 20)


def test_a_command_that_does_not_end_is_told_from_one_that_fails() -> None:
    with pytest.raises(NfsError, match=r"(?s)switched off after 3 s.*-- boot.log --"):
        Guest(timeout=3).capture(["sleep", "infinity"])


def test_a_guest_that_does_not_come_up_shows_its_log() -> None:
    with pytest.raises(NfsError, match=r"(?s)did not come up.*-- boot.log --.*'server' failed"):
        Guest(size="nonsense").capture(["true"])


def processes_of(run: Path) -> list[Path]:
    """The processes of a guest."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [process] if str(run).encode() in process.read_bytes() else []
    return found
