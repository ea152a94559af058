"""The journal: whole lines, fenced segments, damage that is named."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ExperimentLockedError, JournalError
from axsched_hpc.core.events import AttemptStarted, DriverClosed, DriverOpened, Event
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.store import journal
from axsched_hpc.store.journal import JournalWriter, SupersededError
from axsched_hpc.store.lock import DriverLock, guarded_write


def opened(pid: int = 1, previous: dict[str, int] | None = None) -> DriverOpened:
    return DriverOpened(1.0, FORMAT, "host-a", pid, "digest", previous=previous or {})


def started(trial: int) -> AttemptStarted:
    return AttemptStarted(2.0, trial, 1, 'n"1\nü')


def contents(directory: Path) -> list[Event]:
    return list(journal.events(journal.read(directory)))


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, 1)
    writer.append([opened()])
    writer.append([started(0), started(1)])
    writer.append([])
    writer.close()
    assert contents(tmp_path) == [opened(), started(0), started(1)]
    lines = (tmp_path / "00001.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert (tmp_path / "00001.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_dropped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = JournalWriter(tmp_path, 1)
    writer.append([opened(), started(0)])
    path = tmp_path / "00001.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        with caplog.at_level(logging.WARNING, logger="axsched_hpc"):
            caplog.clear()
            assert contents(tmp_path) == [opened()]
        assert len(caplog.records) == (0 if cut == first else 1)


def test_damage_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, 1)
    writer.append([opened(), started(0), started(1)])
    path = tmp_path / "00001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for damage in (
        [lines[0], lines[1][:20] + b"\n", lines[2]],
        [lines[0], lines[1].replace(b'"trial": 0', b'"trial": 7'), lines[2]],
        [lines[0], b"\xff\xfe\n", lines[2]],
        [lines[0], lines[2], lines[1]],
        [lines[0], lines[2]],
        [lines[0], b"\n", lines[1]],
    ):
        path.write_bytes(b"".join(damage))
        with pytest.raises(JournalError, match=r"00001\.jsonl, line 2 is damaged") as caught:
            journal.read(tmp_path)
        assert (caught.value.file, caught.value.line) == (str(path), 2)


def test_a_superseded_driver_cannot_write(tmp_path: Path) -> None:
    old = JournalWriter(tmp_path, 1)
    old.append([opened()])
    JournalWriter(tmp_path, 2).append([opened(2, {"00001.jsonl": (tmp_path / "00001.jsonl").stat().st_size})])
    with pytest.raises(SupersededError, match=r"taken this experiment over .*00002\.jsonl"):
        old.append([started(0)])
    with pytest.raises(SupersededError):
        JournalWriter(tmp_path, 2)
    assert contents(tmp_path)[1] == opened(2, {"00001.jsonl": (tmp_path / "00001.jsonl").stat().st_size})


def test_what_a_superseded_driver_wrote_all_the_same_does_not_count(tmp_path: Path) -> None:
    old = JournalWriter(tmp_path, 1)
    old.append([opened(), started(0)])
    path = tmp_path / "00001.jsonl"
    size = path.stat().st_size
    new = JournalWriter(tmp_path, 2)
    new.append([opened(2, {"00001.jsonl": size})])
    with path.open("a") as file:
        file.write(journal.encode_line(started(9), 1, 3) + "torn")
    assert contents(tmp_path) == [opened(), started(0), opened(2, {"00001.jsonl": size})]
    path.write_bytes(path.read_bytes()[: size - 5])
    with pytest.raises(JournalError, match="its end is lost"):
        journal.read(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    event = DriverOpened(1.0, FORMAT + 1, "host", 1, "digest")
    (tmp_path / "00001.jsonl").write_text(journal.encode_line(event, 1, 1))
    with pytest.raises(JournalError, match="Install a newer axsched_hpc"):
        journal.read(tmp_path)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, 1)
    writer.append([opened()])
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: _full(write, handle, data))
    with pytest.raises(OSError, match="No space left"):
        writer.append([started(0)])
    monkeypatch.undo()
    writer.append([started(0), DriverClosed(3.0)])
    assert contents(tmp_path) == [opened(), started(0), DriverClosed(3.0)]


def _full(write: object, handle: int, data: memoryview) -> int:
    if len(data) > 30:
        return int(write(handle, data[:30]))  # type: ignore[operator]
    raise OSError(28, "No space left on device")


def test_one_driver_at_a_time_and_the_other_is_told_who(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path)
    layout.journal.mkdir()
    JournalWriter(layout.journal, 1).append([opened(4711)])
    code = (
        "import sys; from axsched_hpc.store.lock import DriverLock; from axsched_hpc.io.layout import Layout;"
        "lock = DriverLock(Layout.at(sys.argv[1])); lock.acquire();"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(
            ExperimentLockedError, match="driven by process 4711 on host-a, since 1970"
        ) as caught:
            DriverLock(layout).acquire()
        assert (caught.value.host, caught.value.pid, caught.value.since) == ("host-a", 4711, 1.0)
        holder.kill()
    lock = DriverLock(layout)
    lock.acquire()
    lock.release()


def test_a_guarded_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    guarded_write(path, "one")
    guarded_write(path, "two")
    assert path.read_text() == "two"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".saved.json.lock", "saved.json"]
