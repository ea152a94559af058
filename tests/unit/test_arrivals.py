"""What is told of a directory into which files come."""

from __future__ import annotations

import select
import threading
import time
from pathlib import Path

import pytest

from axsched_hpc.io import arrivals, atomic
from axsched_hpc.io.arrivals import RELIST, Arrivals, is_local
from axsched_hpc.loop.clock import SystemClock


class Time:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    place = tmp_path / "inbox"
    place.mkdir()
    return place


@pytest.fixture
def watched(inbox: Path, clock: Time) -> Arrivals:
    """A directory that has been listed, and had nothing."""
    found = Arrivals(inbox, clock)
    assert found.expected()
    found.listed(0)
    if found.handle is None:
        pytest.skip("the kernel does not tell of this directory")
    return found


def test_nothing_is_expected_until_something_comes(watched: Arrivals, inbox: Path) -> None:
    assert not watched.expected()
    atomic.write(inbox / "00001-1.json", "{}")
    assert watched.expected()
    # Until it has been listed: a listing that failed is made again.
    assert watched.expected()
    watched.listed(0)
    assert not watched.expected()


def test_a_link_is_told_of(watched: Arrivals, inbox: Path) -> None:
    assert atomic.create(inbox / "request.json", "{}")
    assert watched.expected()


def test_a_file_that_is_being_written_is_not(watched: Arrivals, inbox: Path) -> None:
    (inbox / ".request.json.1.tmp").touch()
    assert not watched.expected()


def test_what_was_left_there_is_expected(watched: Arrivals) -> None:
    watched.listed(1)
    assert watched.expected()


def test_it_is_listed_now_and_then(watched: Arrivals, clock: Time) -> None:
    clock.now = RELIST - 1
    assert not watched.expected()
    clock.now = RELIST
    assert watched.expected()
    watched.listed(0)
    assert not watched.expected()


def test_another_directory_in_its_place(watched: Arrivals, inbox: Path) -> None:
    inbox.rmdir()
    inbox.mkdir()
    assert watched.expected()
    watched.listed(0)
    # The kernel tells of the one that is gone.
    assert watched.handle is None
    assert watched.expected()


def test_more_than_the_kernel_keeps(watched: Arrivals, inbox: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip("it would take too many files")
    # Names differ, since equal events in a row are one.
    for number in range(limit + 10):
        (inbox / str(number)).touch()
    assert watched.expected()
    assert watched.handle is None


def test_elsewhere_a_directory_is_always_listed(
    inbox: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "_LOCAL", frozenset())
    found = Arrivals(inbox, clock)
    assert found.handle is None
    found.listed(0)
    assert found.expected()


def test_what_is_local() -> None:
    assert not is_local(Path("/proc"))
    assert not is_local(Path("/nowhere"))


def test_handles_are_closed(inbox: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        Arrivals(inbox)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_it_ends_a_wait_once(watched: Arrivals, inbox: Path) -> None:
    clock = SystemClock()
    clock.listen(watched)
    writer = threading.Timer(0.1, lambda: atomic.write(inbox / "a", ""))
    begun = time.monotonic()
    writer.start()
    clock.wait(30)
    assert time.monotonic() - begun < 20
    assert (inbox / "a").exists()
    writer.join()
    # What it was told of does not end the next one, before anybody has listed the directory.
    assert watched.handle is not None
    assert select.select([watched.handle], [], [], 0)[0] == []
    assert watched.expected()
