"""Permissions, symbolic links and owners in an experiment directory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import access, atomic, claim, manifest, outcome, owner, parameters
from axsched_hpc.io.access import DIRECTORY_MODES
from axsched_hpc.io.layout import Layout
from axsched_hpc.objectives.install import install, load
from axsched_hpc.objectives.spec import script_objective
from tests.unit.worker_kit import REPOSITORY, Bench, bench, script_bench

WRITE_METRICS = 'echo \'{"loss": 0.25}\' > "$AXSCHED_METRICS_FILE"\n'

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of other users")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# ---------------------------------------------------------------- permissions


@pytest.fixture(params=[0, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def made(root: Path, permissions: str, text: str) -> Bench:
    """What a driver makes, with a batch of one attempt."""
    layout = Layout.at(root / "out puts")
    for path in (layout.root, layout.inbox, layout.trials, layout.submitit, layout.objective):
        atomic.make_directory(path, mode=DIRECTORY_MODES[permissions])
    (root / "run.sh").write_text(text)
    (root / "run.sh").chmod(0o755)
    (root / "inputs/deep").mkdir(parents=True)
    (root / "inputs/deep/deck.in").write_text("")
    options = {"copy": [root / "inputs"], "parameters_format": "env"}
    return bench(root, script_objective(root / "run.sh", options))


@pytest.mark.parametrize("permissions", ["private", "group"])
def test_everything_has_the_mode_that_was_asked_for(tmp_path: Path, umask: int, permissions: str) -> None:
    b = made(tmp_path, permissions, "#!/bin/sh\ntouch mine; mkdir deeper; echo > deeper/x\n" + WRITE_METRICS)
    assert b.run() == (0, "")
    walked = [b.layout.root, *b.layout.root.rglob("*")]
    assert {path.name for path in walked} > {
        *("claim.json", "result.json", "metrics.json", "parameters.json", "parameters.env", "stdout.log"),
        *("00003-1.json", "mine", "deeper", "run.sh", "deck.in", "objective.json", "axs-test-1.json"),
    }
    directory = DIRECTORY_MODES[permissions]
    wanted = {
        path: directory if path.is_dir() or path.name == "run.sh" else directory & 0o666 for path in walked
    }
    assert {path: oct(mode(path)) for path in walked} == {path: oct(bits) for path, bits in wanted.items()}


def test_all_writers_take_the_mode_of_the_directory(tmp_path: Path, umask: int) -> None:
    for permissions, bits in DIRECTORY_MODES.items():
        directory = tmp_path / permissions
        atomic.make_directory(directory / "a/b", mode=bits)
        atomic.make_directory(directory / "a/b/c")
        atomic.write(directory / "a/written", "x")
        assert atomic.create(directory / "a/created", "x")
        os.close(access.open_append(directory / "a/log"))
        os.close(access.open_append(directory / "a/new", new=True))
        with pytest.raises(FileExistsError):
            access.open_append(directory / "a/new", new=True)
        atomic.write(directory / "a/explicit", "x", mode=0o600)
        assert {mode(directory / name) for name in ("", "a", "a/b", "a/b/c")} == {bits}
        names = ("written", "created", "log", "new")
        assert {mode(directory / "a" / name) for name in names} == {bits & 0o666}
        assert mode(directory / "a/explicit") == 0o600


@pytest.mark.parametrize("bits", [0o755, 0o777, 0o775, 0o770, 0o700])
def test_below_a_directory_of_another_mode_everything_is_private(tmp_path: Path, bits: int) -> None:
    tmp_path.chmod(bits)
    atomic.write(tmp_path / "file", "x")
    atomic.make_directory(tmp_path / "directory")
    assert (mode(tmp_path / "file"), mode(tmp_path / "directory")) == (0o600, 0o700)


def test_a_set_group_id_directory_stays_one(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o2770)
    atomic.make_directory(tmp_path / "out/journal", mode=DIRECTORY_MODES["group"])
    assert [mode(tmp_path / name) for name in ("out", "out/journal")] == [0o2750, 0o2750]
    atomic.write(tmp_path / "out/journal/file", "x")
    assert mode(tmp_path / "out/journal/file") == 0o640


def test_a_file_in_the_way_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("")
    with pytest.raises(FileExistsError, match="inbox"):
        atomic.make_directory(tmp_path / "inbox")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="gone"):
        atomic.make_directory(tmp_path / "gone")


# ---------------------------------------------------------------- symbolic links


def linked(path: Path) -> Path:
    """Move a file aside and put a symbolic link to it in its place."""
    aside = path.with_name(f"aside-{path.name}")
    path.rename(aside)
    path.symlink_to(aside)
    return path


LINK = "links inside an experiment directory are not followed"


def test_no_reader_follows_a_link(tmp_path: Path) -> None:
    b = script_bench(tmp_path, WRITE_METRICS)
    assert b.run()[0] == 0
    readers: list[tuple[Path, Callable[[Path], Any]]] = [
        (b.files.result, outcome.read),
        (b.layout.notice(3, 1), outcome.read),
        (b.manifest, manifest.read),
        (b.files.claim, lambda _: claim.read(b.files)),
        (b.layout.parameters(3), parameters.read),
    ]
    for path, read in readers:
        read(path)
        linked(path)
        with pytest.raises(OSError, match=LINK) as caught:
            read(path)
        assert str(path) in str(caught.value)
    b.files.stderr.write_text("secret\n")
    assert outcome.tail(b.files.stderr) == ("secret",)
    assert outcome.tail(linked(b.files.stderr)) == ()


@pytest.mark.parametrize("name", ["stdout.log", "stderr.log"])
def test_no_log_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    b = script_bench(tmp_path, WRITE_METRICS)
    target = tmp_path / "precious"
    target.write_text("mine\n")
    (b.files.root / name).symlink_to(target)
    code, said = b.run()
    assert code == 2
    assert f"cannot be claimed: [Errno 40] it is a symbolic link, and {LINK}: '{b.files.root / name}'" in said
    assert target.read_text() == "mine\n"


def test_metrics_behind_a_link_do_not_count(tmp_path: Path) -> None:
    b = script_bench(
        tmp_path, f"echo 'loss 1' > '{tmp_path}/m'; ln -s '{tmp_path}/m' \"$AXSCHED_METRICS_FILE\"\n"
    )
    failure = b.failure()
    assert failure.kind is FailureKind.BAD_METRICS
    assert failure.message == f"{b.files.metrics} cannot be read: it is a symbolic link, and {LINK}."


@pytest.mark.parametrize("special", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, special: str) -> None:
    path = tmp_path / "00001-1.json"
    if special == "pipe":
        os.mkfifo(path)
    elif os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    else:
        pytest.skip("only root can make a device")
    with pytest.raises(OSError, match="it is not a regular file"):
        outcome.read(path)


def test_directories_must_not_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    real = tmp_path / "scratch"
    (real / "trials/00001").mkdir(parents=True)
    (tmp_path / "outputs").symlink_to(real)
    root = tmp_path / "outputs"
    # The directory itself may be reached through a link, and what is not there yet is no link.
    access.require_inside(root, root, root / "trials/00001", root / "inbox")
    (real / "trials/00002").symlink_to(outside)
    (real / "trials/00003").symlink_to("00001")
    for name, place in (("00002", outside), ("00003/attempt-1", real / "trials/00001/attempt-1")):
        with pytest.raises(OSError, match=f"a symbolic link leads from it to {place}; {LINK}") as caught:
            access.require_inside(root, root / "trials" / name)
        assert caught.value.filename == str(root / "trials" / name)


@pytest.mark.parametrize("which", ["trials", "00003", "attempt-1", "inbox"])
def test_a_worker_claims_nothing_behind_a_link(tmp_path: Path, which: str) -> None:
    b = script_bench(tmp_path, WRITE_METRICS)
    path = {
        "trials": b.layout.trials,
        "00003": b.layout.trial(3),
        "attempt-1": b.files.root,
        "inbox": b.layout.inbox,
    }[which]
    linked(path)
    code, said = b.run()
    assert code == 2
    assert "trial 3, attempt 1 cannot be claimed: [Errno 40] a symbolic link leads from it to" in said
    assert f"aside-{which}" in said
    assert not b.files.claim.exists()


@pytest.mark.parametrize("name", ["", "files", "objective.json", "files/run.sh", "files/inputs"])
def test_an_objective_behind_a_link_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.sh").write_text("true\n")
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/x").write_text("")
    layout = Layout.at(tmp_path / "out")
    installed = install(layout, script_objective(tmp_path / "run.sh", {"copy": [tmp_path / "inputs"]}))
    path = layout.objective / installed / name
    aside = tmp_path / "aside"
    path.rename(aside)
    path.symlink_to(aside)
    with pytest.raises(ObjectiveError) as caught:
        load(layout, installed)
    assert "symbolic link" in str(caught.value)
    assert str(path) in str(caught.value)


# ---------------------------------------------------------------- owners


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    atomic.write(tmp_path / "file", "x")
    assert owner.is_mine(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - the names with a dot too


@only_root
def test_a_file_of_another_user(tmp_path: Path) -> None:
    atomic.write(tmp_path / "file", "x")
    os.chown(tmp_path / "file", 65534, 65534)
    assert not owner.is_mine(tmp_path / "file")
    assert not owner.is_mine(tmp_path / "file", beside=tmp_path)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


# setfsuid(2) makes files appear under another user than geteuid(2) says, which is what a process on NFS with
# root_squash sees.
_SQUASHED = """
import ctypes, os, sys
from pathlib import Path
from axsched_hpc.io import owner
ctypes.CDLL(None).setfsuid(65534)
directory = Path(sys.argv[1])
(directory / "own").write_text("")
print(os.geteuid(), (directory / "own").stat().st_uid)
print(owner.is_mine(directory / "own"), owner.is_mine(directory / "own", beside=directory))
print(owner.is_mine(directory / "foreign"))
"""


@only_root
@pytest.mark.skipif(sys.platform != "linux", reason="setfsuid is Linux's")
def test_ones_own_file_under_another_number(tmp_path: Path) -> None:
    directory = Path("/tmp") / f"axsched-owner-{os.getpid()}-{time.monotonic_ns()}"  # where others may enter
    directory.mkdir(mode=0o777)
    try:
        directory.chmod(0o777)
        (directory / "foreign").write_text("")
        os.chown(directory / "foreign", 12345, 12345)
        ran = subprocess.run(
            [sys.executable, "-c", _SQUASHED, str(directory)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout.splitlines() == ["0 65534", "True True", "False"], ran.stderr
    finally:
        for each in directory.iterdir():
            each.unlink()
        directory.rmdir()


# ---------------------------------------------------------------- what killed processes left


def test_stale_temporary_files_are_removed(tmp_path: Path) -> None:
    names = {
        ".result.json.41.0123abcd.tmp": True,
        ".00003-1.json.41.0123abcd.tmp": True,
        ".result.json.lock": False,
        "result.json": False,
        ".result.json.0123abcd.tmp": False,
        "data.41.0123abcd.tmp": False,
    }
    for name in names:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    fresh = tmp_path / ".result.json.42.0123abcd.tmp"
    fresh.write_text("")
    (tmp_path / ".directory.42.0123abcd.tmp").mkdir()
    assert atomic.remove_stale(tmp_path) == sum(names.values())
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name for name, stale in names.items() if not stale} | {
        fresh.name,
        ".directory.42.0123abcd.tmp",
    }
    assert atomic.remove_stale(tmp_path / "missing") == 0
