"""The journal: whole lines, fenced segments, damage that is named."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from axsched_hpc.core.errors import JournalError, SupersededError
from axsched_hpc.core.events import AttemptStarted, DriverClosed, DriverOpened, Event, LeaseTaken, TrialAdded
from axsched_hpc.io import faults
from axsched_hpc.io.flock import Flock
from axsched_hpc.io.layout import FORMAT
from axsched_hpc.store import journal, saving
from axsched_hpc.store.writer import JournalWriter


def taken(pid: int = 1, *, base: bool = False, format: int = FORMAT) -> LeaseTaken:
    return LeaseTaken(1.0, format, "host-a", pid, None, None, "ada", 60.0, base=base)


def opened(previous: dict[str, int] | None = None) -> DriverOpened:
    return DriverOpened(1.0, FORMAT, "host-a", 1, "digest", previous=previous or {})


def driver(directory: Path, epoch: int, previous: dict[str, int] | None = None) -> JournalWriter:
    writer = JournalWriter(directory, epoch, taken(epoch))
    writer.append([opened(previous)])
    return writer


def started(trial: int) -> AttemptStarted:
    return AttemptStarted(2.0, trial, 1, 'n"1\nü')


def contents(directory: Path) -> list[Event]:
    return list(journal.events(journal.read(directory)))


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    writer = driver(tmp_path, 1)
    writer.append([started(0), started(1)])
    writer.append([])
    writer.close()
    assert contents(tmp_path) == [taken(), opened(), started(0), started(1)]
    lines = (tmp_path / "00001.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4]
    assert (tmp_path / "00001.jsonl").stat().st_mode & 0o777 == 0o600


def test_events_are_written_once_where_the_look_for_a_later_driver_fails(tmp_path: Path) -> None:
    writer = driver(tmp_path, 1)
    armed = tmp_path / "faults"
    armed.mkdir()
    faults.arm(armed)
    try:
        (armed / "journal.after").write_text("EIO")
        with pytest.raises(OSError, match=r"fault at journal\.after"):
            writer.append([started(0)])
        writer.append([started(0)])
        writer.append([started(1)])
    finally:
        faults.arm(None)
    assert contents(tmp_path) == [taken(), opened(), started(0), started(1)]


def test_a_torn_end_is_dropped_with_the_group_it_belongs_to(tmp_path: Path) -> None:
    writer = driver(tmp_path, 1)
    path = tmp_path / "00001.jsonl"
    first = path.stat().st_size
    writer.append([started(0), started(1)])
    whole = path.read_bytes()
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        (segment,) = journal.read(tmp_path)
        assert segment.events == (taken(), opened())
        assert (segment.size, segment.torn) == (first, cut - first)
    path.write_bytes(whole)
    assert journal.read(tmp_path)[0].torn == 0


def test_damage_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    driver(tmp_path, 1).append([started(0), started(1)])
    path = tmp_path / "00001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for damage in (
        [*lines[:2], lines[2][:20] + b"\n", lines[3]],
        [*lines[:2], lines[2].replace(b'"trial": 0', b'"trial": 7'), lines[3]],
        [*lines[:2], lines[2].replace(b'"more": true, ', b""), lines[3]],
        [*lines[:2], b"\xff\xfe\n", lines[3]],
        [*lines[:2], lines[3], lines[2]],
        [*lines[:2], lines[3]],
        [*lines[:2], b"\n", lines[2]],
    ):
        path.write_bytes(b"".join(damage))
        with pytest.raises(
            JournalError, match=r"00001\.jsonl, line 3 is damaged.*`axsched repair .*` keep a copy"
        ) as caught:
            journal.read(tmp_path)
        assert (caught.value.file, caught.value.line) == (str(path), 3)


def test_a_superseded_driver_cannot_write(tmp_path: Path) -> None:
    old = driver(tmp_path, 1)
    size = (tmp_path / "00001.jsonl").stat().st_size
    driver(tmp_path, 2, {"00001.jsonl": size})
    with pytest.raises(SupersededError, match=r"Process 2 on host-a has taken .*00002\.jsonl") as caught:
        old.append([started(0)])
    assert (caught.value.host, caught.value.pid, caught.value.since) == ("host-a", 2, 1.0)
    with pytest.raises(SupersededError):
        JournalWriter(tmp_path, 2, taken())
    assert (tmp_path / "00001.jsonl").stat().st_size == size


def test_a_driver_that_is_superseded_while_it_writes_lets_nothing_follow(tmp_path: Path) -> None:
    old = driver(tmp_path, 1)
    checks = []
    check = old.check

    def checked() -> None:
        checks.append(1)
        if len(checks) == 2:
            JournalWriter(tmp_path, 2, taken(2))
        check()

    old.check = checked  # type: ignore[method-assign]
    with pytest.raises(SupersededError):
        old.append([started(0)])
    assert len(checks) == 2


def test_what_a_superseded_driver_wrote_all_the_same_does_not_count(tmp_path: Path) -> None:
    driver(tmp_path, 1).append([started(0)])
    path = tmp_path / "00001.jsonl"
    size = path.stat().st_size
    driver(tmp_path, 2, {"00001.jsonl": size})
    with path.open("a") as file:
        file.write(journal.encode_line(started(9), 1, 4) + "torn")
    assert contents(tmp_path) == [taken(), opened(), started(0), taken(2), opened({"00001.jsonl": size})]
    path.write_bytes(path.read_bytes()[: size - 5])
    with pytest.raises(JournalError, match="its end is lost"):
        journal.read(tmp_path)
    path.unlink()
    with pytest.raises(JournalError, match=r"00001\.jsonl is missing, but a later driver read"):
        journal.read(tmp_path)


def test_a_base_stands_for_all_that_was_before(tmp_path: Path) -> None:
    driver(tmp_path, 1).append([started(0)])
    (tmp_path / "00001.jsonl").write_text("rubbish\n")
    JournalWriter(tmp_path, 2, taken(2, base=True)).append([started(1)])
    assert contents(tmp_path) == [taken(2, base=True), started(1)]
    (tmp_path / "00001.jsonl").unlink()
    assert contents(tmp_path) == [taken(2, base=True), started(1)]


def test_a_segment_without_its_driver_s_reading_counts_with_its_size(tmp_path: Path) -> None:
    driver(tmp_path, 1)
    JournalWriter(tmp_path, 2, taken(2))
    sizes = {name: (tmp_path / name).stat().st_size for name in ("00001.jsonl", "00002.jsonl")}
    segments = journal.read(tmp_path, before=3)
    assert journal.sizes(segments) == sizes
    driver(tmp_path, 3, sizes)
    assert journal.sizes(journal.read(tmp_path)) == {"00003.jsonl": (tmp_path / "00003.jsonl").stat().st_size}


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    JournalWriter(tmp_path, 1, taken(format=FORMAT + 1))
    with pytest.raises(JournalError, match="Install a newer axsched_hpc"):
        journal.read(tmp_path)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = driver(tmp_path, 1)
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: _full(write, handle, data))
    with pytest.raises(OSError, match="No space left"):
        writer.append([started(0)])
    monkeypatch.undo()
    writer.append([started(0), DriverClosed(3.0)])
    assert contents(tmp_path) == [taken(), opened(), started(0), DriverClosed(3.0)]


def _full(write: object, handle: int, data: memoryview) -> int:
    if len(data) > 30:
        return int(write(handle, data[:30]))  # type: ignore[operator]
    raise OSError(28, "No space left on device")


def test_half_a_line_that_could_not_be_taken_back_is_taken_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = driver(tmp_path, 1)

    def refuse(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "ftruncate", refuse)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            writer.append([started(0)])
    monkeypatch.undo()
    writer.append([started(0)])
    assert contents(tmp_path) == [taken(), opened(), started(0)]


def test_a_saved_file_is_replaced_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    saving.save(path, "one")
    saving.save(path, "two")
    assert path.read_text() == saving.load(path) == "two"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".saved.json.lock", "saved.json"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_the_filesystem_has_no_locks_it_is_saved_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "saved.json"
    saving.save(path, "one")
    saving.save(path, "two")
    assert path.read_text() == saving.load(path) == "two"
    lock = Flock(tmp_path / "driver.lock")
    assert not lock.taken_by_another()
    assert not lock.held


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    saving.save(tmp_path / "saved.json", "one")
    monkeypatch.setattr(fcntl, "flock", refuse)
    for attempt in (
        lambda: saving.save(tmp_path / "saved.json", "two"),
        lambda: saving.load(tmp_path / "saved.json"),
        Flock(tmp_path / "driver.lock").taken_by_another,
    ):
        with pytest.raises(OSError, match="Input/output error"):
            attempt()
    assert (tmp_path / "saved.json").read_text() == "one"


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_without_what_only_ax_understands_the_experiment_is_the_same(version: int) -> None:
    directory = Path(__file__).parents[1] / "data" / f"format-{version}" / "journal"
    assert journal.replay(journal.read(directory, ax=False)) == journal.replay(journal.read(directory))


@pytest.mark.parametrize(
    ("added", "left_out"),
    [
        (TrialAdded(2.0, 0, "0_0", {"x": 0.5}, "ax", {"generator_run": {"place": 1, "ax": [None]}}), True),
        (TrialAdded(2.0, 0, '", "ax": ', {"x": ', "place": null}'}, "enqueued", {"key": "\\"}, 7), True),
        (TrialAdded(2.0, 0, "0_0", {"x": 0.5}, "ax", None), False),
        # Parameters of these names, an index, and an outcome are read.
        (TrialAdded(2.0, 0, "0_0", {"y": 1, "ax": 2, "place": None}, "ax", {"a": 1}), False),
        (TrialAdded(2.0, 0, "0_0", {"x": 0.5}, "candidate", {"index": 3}), False),
        (TrialAdded(2.0, 0, "0_0", {"x": 0.5}, "external", {"state": "completed"}), False),
    ],
)
def test_what_only_ax_understands_is_cut_out_of_its_line_and_nothing_else(
    added: TrialAdded, left_out: bool
) -> None:
    line = journal.encode_line(added, 1, 3, more=True).encode()[:-1]
    assert journal.parse_line(line).event == added
    read = journal.parse_line(line, ax=False)
    assert read == (1, 3, replace(added, ax=None) if left_out else added, True)
    with pytest.raises(ValueError, match="its checksum is wrong"):
        journal.parse_line(line.replace(b'"ax"', b'"bx"'), ax=False)
