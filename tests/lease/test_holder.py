"""A holder that lives, ends, is killed or stopped, here and on another host, with locks and without."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from axsched_hpc.core.errors import ExperimentLockedError
from axsched_hpc.core.events import DriverClosed, LeaseTaken
from axsched_hpc.core.lease import STARTING, WATCHED_SHARE
from axsched_hpc.io import processes
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store.holder import TAKEOVER, holder
from axsched_hpc.store.lease import Lease
from axsched_hpc.store.writer import JournalWriter
from tests.lease.kit import end, flock, holding, is_stopped, needs_hosts, wait_until

HERE = processes.hostname()


def at_once(seconds: float) -> NoReturn:
    """A wait that must not be."""
    raise AssertionError("somebody is waited for")


class Clock:
    """A clock whose waits take no time; ``then`` happens at each of them."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.time = 0.0
        self._then = then

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self._then()

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "run")
    made.journal.mkdir(parents=True)
    return made


def refused(layout: Layout, **options: object) -> ExperimentLockedError:
    with pytest.raises(ExperimentLockedError) as caught:
        Lease.take(layout, takeover=3, **options)  # type: ignore[arg-type]
    return caught.value


def since(error: ExperimentLockedError) -> str:
    assert error.since is not None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(error.since))


# ---------------------------------------------------------------- on this machine


@pytest.mark.parametrize("locks", [True, False])
def test_a_holder_that_lives_is_named(layout: Layout, locks: bool) -> None:
    before = time.time()
    with holding(layout, locks=locks) as process:
        error = refused(layout, wait=at_once)
    assert (error.host, error.pid) == (HERE, process.pid)
    assert error.since is not None
    assert before <= error.since <= time.time()
    assert str(error) == (
        f"{layout.root} is driven by process {process.pid} on {HERE}, since {since(error)}. Wait for it to "
        f"end, or stop it (on {HERE}: kill {process.pid}) and start again; its jobs go on. If that cannot be "
        f"done: axsched unlock {layout.root}; or use another job_output_dir."
    )


@pytest.mark.parametrize("locks", [True, False])
def test_the_next_one_takes_at_once_what_a_killed_holder_leaves(layout: Layout, locks: bool) -> None:
    with holding(layout, locks=locks) as process:
        process.kill()
        process.wait(30)
    lease = Lease.take(layout, takeover=3, wait=at_once)
    assert lease.writer.epoch == 2
    lease.release()


def test_the_next_one_takes_at_once_what_was_given_back(layout: Layout) -> None:
    with holding(layout) as process:
        end(process)
    lease = Lease.take(layout, takeover=3, wait=at_once)
    assert lease.writer.epoch == 2
    lease.release()


def test_a_stopped_holder_is_not_taken_over_here(layout: Layout) -> None:
    with holding(layout) as process:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(process.pid), "stopped")
        error = refused(layout, wait=at_once)
        assert str(error) == (
            f"{layout.root} is driven by process {process.pid} on {HERE}, since {since(error)}. It is "
            f"stopped: let it go on (kill -CONT {process.pid}), or end it (kill -9 {process.pid}); its jobs "
            "go on; or use another job_output_dir."
        )


def test_another_one_in_the_same_process_is_told_so(layout: Layout) -> None:
    lease = Lease.take(layout, takeover=3, wait=at_once)
    error = refused(layout, wait=at_once)
    assert str(error) == (
        f"{layout.root} is driven by another AxScheduler in this very process, since {since(error)}. Go on "
        "with that one, or call its close() first; or use another job_output_dir."
    )
    lease.release()


def test_an_end_in_the_same_tick_of_the_clock_is_seen(layout: Layout) -> None:
    lease = Lease.take(layout, takeover=600, wait=at_once)
    known = holder(layout)
    assert known is not None
    assert not known.ended
    lease.writer.append([DriverClosed(1.0)])
    lease.release()
    os.utime(lease.writer.path, (known.seen, known.seen))
    later = holder(layout, known)
    assert later is not None
    assert (later.seen, later.ended) == (known.seen, True)


def test_a_holder_of_another_boot_is_watched_though_its_host_has_this_name(layout: Layout) -> None:
    # As after a restart of this machine, or from another one that is called so too.
    first = LeaseTaken(1.0, FORMAT, HERE, os.getpid(), processes.start_ticks(os.getpid()), "boot", "ada", 3.0)
    JournalWriter(layout.journal, 1, first).close()
    os.utime(layout.journal / "00001.jsonl", (1, 1))
    clock = Clock()
    Lease.take(layout, takeover=3, wait=clock.wait, monotonic=clock.monotonic).release()
    assert clock.time >= WATCHED_SHARE * 3


# ---------------------------------------------------------------- on another host


@needs_hosts
@pytest.mark.parametrize("locks", [True, False])
def test_a_holder_that_lives_elsewhere_is_named_after_its_next_sign(layout: Layout, locks: bool) -> None:
    said: list[str] = []
    with holding(layout, host="elsewhere", locks=locks) as process:
        error = refused(layout, say=said.append)
        assert (error.host, error.pid) == ("elsewhere", process.pid)
        assert str(error) == (
            f"{layout.root} is driven by process {process.pid} on elsewhere, since {since(error)}. Wait "
            f"for it to end, or stop it (on elsewhere: kill {process.pid}) and start again; its jobs go on. "
            f"If that cannot be done: axsched unlock {layout.root}; or use another job_output_dir."
        )
        assert said == [
            f"{layout.root} is held by process {process.pid} on elsewhere, of which this machine cannot tell "
            "whether it is alive. Watching it; where it shows no sign of life for 3 s this driver takes over."
        ]


@needs_hosts
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("locks", [True, False])
def test_a_holder_elsewhere_that_shows_no_sign_is_taken_over_after_its_time(
    layout: Layout, number: signal.Signals, locks: bool, record_property: Callable[[str, object], None]
) -> None:
    with holding(layout, host="elsewhere", locks=locks) as process:
        process.send_signal(number)
        wait_until(lambda: process.poll() is not None or is_stopped(process.pid), "no more signs")
        last_sign = (layout.journal / "00001.jsonl").stat().st_mtime
        began = time.monotonic()
        lease = Lease.take(layout, takeover=3)
        record_property("seconds until the take-over", time.monotonic() - began)
        assert lease.writer.epoch == 2
        assert lease.writer.path.stat().st_mtime - last_sign >= 3
        lease.release()


@needs_hosts
def test_a_holder_elsewhere_that_ends_while_it_is_watched_is_followed_at_once(layout: Layout) -> None:
    with holding(layout, host="elsewhere", takeover=600) as process:
        lease = Lease.take(layout, takeover=3, say=lambda text: end(process))
    assert lease.writer.epoch == 2
    lease.release()


# ---------------------------------------------------------------- what is left of machines that are gone


@pytest.fixture
def held_lock(layout: Layout) -> Iterator[None]:
    """The flock of ``driver.lock``, as that of an NFS 3 client which died stays for ever."""
    with layout.lock.open("w") as file:
        flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("held_lock")
def test_a_lock_without_a_segment_keeps_nobody_out(layout: Layout) -> None:
    clock = Clock()
    lease = Lease.take(layout, takeover=3, wait=clock.wait, monotonic=clock.monotonic)
    assert (lease.writer.epoch, clock.time) == (1, STARTING)
    lease.writer.append([DriverClosed(1.0)])
    lease.release()
    # Nor does it where the one before has ended in good order.
    lease = Lease.take(layout, takeover=3, wait=clock.wait, monotonic=clock.monotonic)
    assert (lease.writer.epoch, clock.time) == (2, 2 * STARTING)
    lease.release()


@needs_hosts
@pytest.mark.usefixtures("held_lock")
def test_the_lock_of_a_dead_machine_keeps_nobody_out(layout: Layout) -> None:
    with holding(layout, host="elsewhere", locks=False) as process:
        process.kill()
        process.wait(30)
    lease = Lease.take(layout, takeover=3)
    assert lease.writer.epoch == 2
    lease.release()


@pytest.mark.parametrize("content", ["", '{"epoch": 1, "seq": 1, "kind": "lea', "rubbish\n"])
def test_a_last_segment_that_cannot_be_read_is_watched(layout: Layout, content: str) -> None:
    path = layout.journal / "00001.jsonl"
    path.write_text(content)
    said: list[str] = []
    # Somebody shows signs of life in it.
    clock = Clock(path.touch)
    error = refused(layout, wait=clock.wait, monotonic=clock.monotonic, say=said.append)
    assert (error.host, error.pid, error.since) == (None, None, None)
    assert str(error) == (
        f"Another driver has just started on {layout.root}. Wait for it to end, "
        "or use another job_output_dir."
    )
    assert said == [
        f"{layout.root} is held by another process, of which this machine cannot tell whether it is alive. "
        "Watching it; where it shows no sign of life for 60 s this driver takes over."
    ]
    # Nobody does.
    os.utime(path, (1, 1))
    clock = Clock()
    lease = Lease.take(layout, takeover=3, wait=clock.wait, monotonic=clock.monotonic)
    assert lease.writer.epoch == 2
    assert clock.time == pytest.approx(WATCHED_SHARE * TAKEOVER, abs=0.5)
    lease.release()
