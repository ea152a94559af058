"""`axsched unlock`: the experiment is taken from a holder who may be alive all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import UnixFileLock

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import ExperimentLockedError, SupersededError
from axsched_hpc.core.events import CallEnded, DriverClosed, LeaseTaken
from axsched_hpc.io import atomic, processes
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store import journal
from axsched_hpc.store import unlock as unlocking
from axsched_hpc.store.holder import holder as store_holder
from axsched_hpc.store.lease import Lease
from axsched_hpc.store.writer import JournalWriter

ROOT = Path(__file__).resolve().parents[2]

#: A driver as the lease sees it: holds, and writes when it is told to.
HOLDER = """
import sys
from axsched_hpc.core.errors import SupersededError
from axsched_hpc.core.events import CallEnded
from axsched_hpc.io.layout import Layout
from axsched_hpc.store.lease import Lease
lease = Lease.take(Layout.at(sys.argv[1]), takeover=60.0)
print("held", flush=True)
for line in sys.stdin:
    try:
        lease.writer.append([CallEnded(1.0, 1, line)])
        print("written", flush=True)
    except SupersededError as error:
        print(f"superseded by {error.pid}: {error}", flush=True)
lease.release()
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.at(tmp_path / "run")
    atomic.make_directory(layout.journal)
    return layout


@pytest.fixture
def holder(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(layout.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.communicate()


def unlock(layout: Layout, *options: str, input: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["unlock", str(layout.root), *options], input=input)


def tell(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()
    return process.stdout.readline()


def contents(layout: Layout) -> dict[str, bytes]:
    return {
        str(path.relative_to(layout.root)): path.read_bytes()
        for path in layout.root.rglob("*")
        if path.is_file()
    }


def test_a_stopped_driver_that_wakes_up_changes_nothing(
    layout: Layout, holder: subprocess.Popen[str]
) -> None:
    assert tell(holder, "before") == "written\n"
    holder.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
    refused = unlock(layout, "--yes")
    assert isinstance(refused.exception, ExperimentLockedError)
    assert f"kill -9 {holder.pid}" in str(refused.exception)
    assert f"is held by process {holder.pid} of " in refused.output
    assert "it is alive, and stopped" in refused.output
    with pytest.raises(ExperimentLockedError):
        Lease.take(layout, takeover=60.0)

    done = unlock(layout, "--yes", "--force")
    assert done.exit_code == 0
    assert done.output.endswith("Done. The next driver starts at once.\n")
    waited: list[float] = []
    lease = Lease.take(layout, takeover=60.0, wait=waited.append)
    assert waited == []
    lease.writer.append([CallEnded(2.0, 1, "new")])
    before = contents(layout)

    holder.send_signal(signal.SIGCONT)
    said = tell(holder, "after")
    assert said.startswith(
        f"superseded by {os.getpid()}: Process {os.getpid()} on {processes.hostname()} has"
    )
    holder.communicate()
    assert contents(layout) == before
    lease.writer.append([DriverClosed(3.0)])
    lease.release()
    first, second, third = journal.read(layout.journal)
    assert [type(event) for event in first.events] == [LeaseTaken, CallEnded]
    assert second.lease is not None
    assert second.lease.purpose == "unlock"
    assert [type(event) for event in second.events] == [LeaseTaken, DriverClosed]
    assert [type(event) for event in third.events] == [LeaseTaken, CallEnded, DriverClosed]


def test_the_lock_of_a_dead_machine_has_no_say_any_more(layout: Layout) -> None:
    # As on NFS v3: the lock is held for ever, by nobody of whom this machine knows.
    JournalWriter(layout.journal, 1, LeaseTaken(1.0, FORMAT, "gone", 7, 8, "boot", "ada", 60.0)).close()
    dead = UnixFileLock(layout.lock)
    dead.acquire()
    done = unlock(layout, "--yes")
    assert done.exit_code == 0
    assert "is held by process 7 of ada on gone, since 1970-01-01" in done.output
    assert "this machine cannot tell whether it is alive" in done.output
    assert layout.lock.stat().st_mode & 0o777 == 0o600
    waited: list[float] = []
    Lease.take(layout, takeover=60.0, wait=waited.append).release()
    assert waited == []
    dead.release()


def test_one_who_was_quicker_is_not_overrun(layout: Layout) -> None:
    JournalWriter(layout.journal, 1, LeaseTaken(1.0, FORMAT, "gone", 7, 8, "boot", "ada", 60.0)).close()
    who = store_holder(layout)
    assert who is not None
    JournalWriter(layout.journal, 2, LeaseTaken(1.0, FORMAT, "quick", 9, 8, "boot", "ada", 60.0)).close()
    before = contents(layout)
    with pytest.raises(SupersededError, match="Process 9 on quick"):
        unlocking.unlock(layout, who)
    assert contents(layout) == before


def test_it_asks_first(layout: Layout) -> None:
    JournalWriter(layout.journal, 1, LeaseTaken(1.0, FORMAT, "gone", 7, 8, "boot", "ada", 60.0)).close()
    before = contents(layout)
    silent = unlock(layout)
    assert (silent.exit_code, "Use --yes" in silent.output) == (2, True)
    assert contents(layout) == before


def test_where_nobody_holds_it_there_is_nothing_to_do(layout: Layout) -> None:
    assert unlock(layout, "--yes").output == f"Nobody holds {layout.root}; a driver can start at once.\n"
    lease = Lease.take(layout, takeover=60.0)
    lease.writer.append([DriverClosed(1.0)])
    lease.release()
    before = contents(layout)
    assert unlock(layout, "--yes").output == f"Nobody holds {layout.root}; a driver can start at once.\n"
    assert contents(layout) == before
