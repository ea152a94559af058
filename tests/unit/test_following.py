"""A journal that is followed is known as one that is read whole, at the cost of what is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from axsched_hpc.core.errors import JournalError
from axsched_hpc.core.events import DriverOpened, Event, LeaseTaken
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import FORMAT
from axsched_hpc.store import journal
from axsched_hpc.store.following import Follower
from axsched_hpc.store.writer import JournalWriter
from tests.cli.conftest import PROBLEM, Story


class Told:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def __call__(self, event: Event, ledger: Ledger) -> None:
        self.kinds.append(event.kind)


def lease(time: float = 1.0) -> LeaseTaken:
    return LeaseTaken(time, FORMAT, "host", 1, 2, "boot", "ada", 60.0)


@pytest.fixture
def writer(tmp_path: Path) -> JournalWriter:
    atomic.make_directory(tmp_path / "journal")
    return JournalWriter(tmp_path / "journal", 1, lease())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is read."""
    found: list[int] = []
    before: Callable[..., bytes] = atomic.read_bytes

    def counted(path: Path, start: int = 0) -> bytes:
        data = before(path, start)
        found.append(len(data))
        return data

    monkeypatch.setattr(atomic, "read_bytes", counted)
    return found


def whole(directory: Path) -> Ledger:
    return journal.replay(journal.read(directory))


def test_only_what_is_new_is_read(writer: JournalWriter, reads: list[int]) -> None:
    story = Story().opened().added(*range(50)).submitted(*range(50))
    writer.append(story.events)
    follower = Follower(writer.directory, Told)
    follower.look()
    assert (follower.ledger, len(follower.listener.kinds)) == (whole(writer.directory), 54)
    reads.clear()
    before = writer.path.stat().st_size
    follower.look()
    assert reads == []
    writer.append(story.started(3).events[-1:])
    follower.look()
    assert reads == [writer.path.stat().st_size - before]
    assert follower.ledger == whole(writer.directory)
    assert follower.listener.kinds[53:] == ["batch_submitted", "attempt_started"]
    assert follower.holder is not None
    assert (follower.holder.pid, follower.holder.ended) == (1, False)


def test_half_a_group_is_read_when_it_is_whole(writer: JournalWriter) -> None:
    story = Story().opened().added(0, 1)
    lines = [
        journal.encode_line(event, 1, place, more=place < 4)
        for place, event in enumerate([lease(), *story.events], 1)
    ][1:]
    follower = Follower(writer.directory, Told)
    with writer.path.open("a") as file:
        for part in (lines[0], lines[1][:40], lines[1][40:], lines[2][:-1]):
            file.write(part)
            file.flush()
            follower.look()
            assert follower.listener.kinds == ["lease_taken"]
        file.write("\n")
    follower.look()
    assert list(follower.ledger.trials) == [0, 1]


def test_what_was_taken_back_is_forgotten(writer: JournalWriter) -> None:
    story = Story().opened().added(0)
    writer.append(story.events)
    size = writer.path.stat().st_size
    writer.append(story.added(1, 2).events[-2:])
    follower = Follower(writer.directory, Told)
    follower.look()
    with writer.path.open("r+b") as file:
        file.truncate(size)
    follower.look()
    assert list(follower.ledger.trials) == [0]


def test_a_later_driver_says_what_counts(writer: JournalWriter) -> None:
    story = Story().opened().added(0)
    writer.append(story.events)
    size = writer.path.stat().st_size
    follower = Follower(writer.directory, Told)
    follower.look()
    late = JournalWriter(writer.directory, 2, lease(story.tick()))
    follower.look()
    # The first driver has not noticed yet.
    with writer.path.open("a") as file:
        file.write(journal.encode_line(story.added(7).events[-1], 1, 4))
    opened = DriverOpened(story.tick(), FORMAT, "host", 1, "0" * 64, PROBLEM, {}, {"00001.jsonl": size})
    late.append([opened, story.added(1).events[-1]])
    follower.look()
    assert list(follower.ledger.trials) == [0, 1]
    late.append(story.added(2).events[-1:])
    follower.look()
    assert follower.ledger == whole(writer.directory)
    assert follower.holder is not None
    assert follower.holder.epoch == 2


def test_damage_and_loss_leave_what_was_known(writer: JournalWriter, tmp_path: Path) -> None:
    story = Story().opened().added(0)
    writer.append(story.events)
    follower = Follower(writer.directory, Told)
    follower.look()
    text = writer.path.read_text()
    writer.path.write_text(f"{text}damaged\n")
    with pytest.raises(JournalError, match="line 4 is damaged"):
        follower.look()
    assert list(follower.ledger.trials) == [0]
    writer.directory.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        follower.look()
    (tmp_path / "away").rename(writer.directory)
    writer.path.write_text(text + journal.encode_line(story.added(1).events[-1], 1, 4))
    follower.look()
    assert list(follower.ledger.trials) == [0, 1]
