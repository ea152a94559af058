"""Something that is made once by many processes: who makes it, who waits, and what is left."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import UnixFileLock

from axsched_hpc.objectives.containers import once as module
from axsched_hpc.objectives.containers.once import Failed, Waiting, once, remove_tree
from tests.unit.worker_kit import REPOSITORY, wait_for

#: Makes `thing` in a directory once, and writes who made it; holds on where there is a file `hold`.
MAKER = """
import os, sys, time
from pathlib import Path
from axsched_hpc.objectives.containers.once import Failed, Waiting, once

root = Path(sys.argv[1])

def make(place):
    (place / "half").write_text("made")
    (root / f"making-{os.getpid()}").touch()
    while (root / "hold").exists():
        time.sleep(0.02)
    if (root / "fail").exists():
        raise Failed("no space")
    with open(root / "makers", "a") as file:
        file.write(f"{os.getpid()}\\n")
    (place / "half").rename(root / "thing")

def say(text):
    print(text, flush=True)

try:
    once(root, "k", ready=(root / "thing").exists, make=make, waiting=Waiting(time.sleep, say), what="It")
except Failed as error:
    print(f"failed: {error}")
"""


def start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKER, str(root)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )


def left(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.endswith(".tmp")]


class Told:
    """What was said; no real waiting."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waited = 0.0

    def pause(self, seconds: float) -> None:
        self.waited += seconds

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.pause, self.said.append)


def test_of_many_at_once_one_makes_it(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(5)]
    assert [process.wait(30) for process in processes] == [0] * 5
    for process in processes:
        process.communicate()
    assert len((tmp_path / "makers").read_text().split()) == 1
    assert left(tmp_path) == []


def test_a_maker_that_is_killed_is_followed_at_once(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    first = start(tmp_path)
    wait_for(lambda: list(tmp_path.glob("making-*")), "it is being made")
    second = start(tmp_path)
    assert second.stdout is not None
    assert second.stdout.readline() == "It is being prepared by another process; waiting for it.\n"
    first.kill()
    first.communicate()
    (tmp_path / "hold").unlink()
    second.communicate(timeout=10)
    assert (tmp_path / "makers").read_text() == f"{second.pid}\n"
    assert (tmp_path / "thing").read_text() == "made"
    assert left(tmp_path) == []


def test_who_waited_for_a_failure_takes_it_and_who_comes_later_tries_again(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    (tmp_path / "fail").touch()
    first = start(tmp_path)
    wait_for(lambda: list(tmp_path.glob("making-*")), "it is being made")
    second = start(tmp_path)
    assert second.stdout is not None
    second.stdout.readline()
    (tmp_path / "hold").unlink()
    assert (first.communicate(timeout=10)[0], second.communicate(timeout=10)[0]) == (
        "failed: no space\n",
    ) * 2
    assert len(list(tmp_path.glob("making-*"))) == 1
    (tmp_path / "fail").unlink()
    third = start(tmp_path)
    assert third.communicate(timeout=10)[0] == ""
    assert len(list(tmp_path.glob("making-*"))) == 2
    assert not list(tmp_path.glob("*.failed"))


def test_without_locks_everybody_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(UnixFileLock, "acquire", refuse)
    made: list[Path] = []
    for _ in range(2):
        once(
            tmp_path / "cache", "k", ready=lambda: False, make=made.append, waiting=Told().waiting, what="It"
        )
    assert len(set(made)) == 2 and left(tmp_path / "cache") == []


def test_a_holder_without_a_sign_of_life_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = UnixFileLock(tmp_path / ".k.lock", fallback_to_soft=False)
    held.acquire()
    clock = [0.0]
    told = Told()

    def pause(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] < 100:  # the holder's machine dies then
            os.utime(tmp_path / ".k.lock", (clock[0], clock[0]))

    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    made: list[Path] = []
    once(
        tmp_path,
        "k",
        ready=lambda: False,
        make=made.append,
        waiting=Waiting(pause, told.said.append),
        what="It",
    )
    held.release()
    assert len(made) == 1
    assert 95 + module.SILENCE <= clock[0] < 105 + module.SILENCE
    assert "has shown no sign of life for 180 s" in told.said[-1]


def test_a_maker_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.02)
    lock = tmp_path / ".k.lock"

    def make(place: Path) -> None:
        for _ in range(2):
            os.utime(lock, (1, 1))
            wait_for(lambda: lock.stat().st_mtime > 1, "a sign of life", 5)

    once(tmp_path, "k", ready=lambda: False, make=make, waiting=Told().waiting, what="It")
    os.utime(lock, (1, 1))
    time.sleep(0.1)
    assert lock.stat().st_mtime == 1


def test_what_ends_the_waiting_ends_it(tmp_path: Path) -> None:
    def pause(seconds: float) -> None:
        raise KeyboardInterrupt

    with UnixFileLock(tmp_path / ".k.lock", fallback_to_soft=False), pytest.raises(KeyboardInterrupt):
        once(
            tmp_path,
            "k",
            ready=lambda: False,
            make=lambda _: None,
            waiting=Waiting(pause, lambda _: None),
            what="It",
        )


def test_an_error_leaves_nothing_half_made(tmp_path: Path) -> None:
    def make(place: Path) -> None:
        (place / "half").mkdir()
        raise Failed("no such image")

    with pytest.raises(Failed, match="no such image"):
        once(tmp_path, "k", ready=lambda: False, make=make, waiting=Told().waiting, what="It")
    assert left(tmp_path) == []


def test_a_tree_that_forbids_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inner = Path("tree/closed/inner")
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (inner / "link").symlink_to(".")
    child = os.fork()
    if not child:
        # Root may remove everything; what is below this directory is reached by a relative path.
        if os.geteuid() == 0:
            for path in (Path(), Path("tree"), Path("tree/closed"), inner):
                os.chown(path, 65534, 65534)
            os.setuid(65534)
        inner.chmod(0)
        inner.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
        remove_tree(Path("tree"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not Path("tree").exists()
