"""A worker on a disk that is full, at each thing that it writes: a small tmpfs that really fills."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.io import claim, document, outcome
from axsched_hpc.objectives import process
from axsched_hpc.objectives.spec import script_objective
from tests.storage.mounts import mounted
from tests.unit.worker_kit import Bench, bench, state, wait_for

WRITE_METRICS = 'echo \'{"loss": 0.25}\' > "$AXSCHED_METRICS_FILE"\n'


@dataclass
class Disk:
    """A small filesystem."""

    root: Path

    @property
    def filler(self) -> Path:
        return self.root / "filler"

    def fill(self) -> None:
        """Take all bytes."""
        handle = os.open(self.filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with contextlib.suppress(OSError):
            while os.write(handle, bytes(4096)):
                pass
        os.close(handle)
        with pytest.raises(OSError, match="No space left") as caught:
            (self.root / "more").write_text("x")
        assert caught.value.errno == errno.ENOSPC
        (self.root / "more").unlink()

    def take_all_inodes(self) -> None:
        """Take all files, but no bytes."""
        self.filler.mkdir()
        with contextlib.suppress(OSError):
            for number in range(10_000):
                (self.filler / str(number)).touch()
        with pytest.raises(OSError, match="No space left"):
            (self.root / "more").touch()

    def free(self) -> None:
        """Give it all back."""
        if self.filler.is_dir():
            for each in self.filler.iterdir():
                each.unlink()
            self.filler.rmdir()
        else:
            self.filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    with mounted(root, "-t", "tmpfs", "-o", "size=400k,nr_inodes=60,mode=700", "axsched-test"):
        yield Disk(root)


class Run:
    """A worker that stops at one of its fault points, and what it says."""

    def __init__(self, b: Bench, faults: Path, stop_at: str | None = None) -> None:
        faults.mkdir()
        if stop_at is not None:
            (faults / stop_at).write_text("stop")
        # What an earlier execution left: the log has a block, and room for a few lines in it.
        b.files.stderr.write_text("earlier\n")
        self.bench = b
        self.worker = b.start(AXSCHED_FAULTS=str(faults))
        self.said = ""
        if stop_at is not None:
            wait_for(lambda: state(self.worker.pid) == "T", f"the worker is at {stop_at}")

    def go_on(self) -> None:
        self.worker.send_signal(signal.SIGCONT)

    def wait_until_said(self, words: str) -> None:
        """Wait for words on the job's standard error, which is a pipe here."""
        assert self.worker.stderr is not None
        deadline = time.monotonic() + 20
        with selectors.DefaultSelector() as selector:
            selector.register(self.worker.stderr, selectors.EVENT_READ)
            while words not in self.said:
                assert selector.select(deadline - time.monotonic()), f"{words!r} not in {self.said!r}"
                self.said += os.read(self.worker.stderr.fileno(), 4096).decode()

    def wait_until_logged(self, words: str) -> None:
        """Wait for words in the attempt's log."""
        wait_for(lambda: words in self.bench.files.stderr.read_text(), words)

    def end(self) -> int:
        self.worker.communicate(timeout=60)
        return self.worker.returncode


def whole(b: Bench) -> None:
    """No file under a final name is torn, and none under a temporary one is left."""
    for path in (*b.files.root.iterdir(), *b.layout.inbox.iterdir()):
        assert not path.name.startswith("."), path
        if path.name in ("result.json", "00003-1.json", "claim.json"):
            document.read(path)


def published(b: Bench, log: Path) -> None:
    assert b.outcome().metrics == {"loss": (0.25, None)}
    assert log.read_text() == "ran\n"
    whole(b)


def script(tmp_path: Path, disk: Disk, **options: Any) -> tuple[Bench, Path]:
    path = tmp_path / "train.sh"
    path.write_text(f"echo ran >> '{tmp_path}/log'\n" + WRITE_METRICS)
    return bench(disk.root, script_objective(path, options)), tmp_path / "log"


def function(tmp_path: Path, disk: Disk, **options: Any) -> tuple[Bench, Path]:
    log = tmp_path / "log"

    def objective(parameters: dict[str, Any]) -> dict[str, Any]:
        with log.open("a") as file:
            file.write("ran\n")
        return {"loss": 0.25}

    return bench(disk.root, objective), log


KINDS = pytest.mark.parametrize("kind", [script, function])


@KINDS
def test_full_at_the_claim(tmp_path: Path, disk: Disk, kind: Any) -> None:
    b, log = kind(tmp_path, disk)
    run = Run(b, tmp_path / "faults", "worker.started")
    disk.fill()
    run.go_on()
    run.wait_until_said("trial 3, attempt 1 cannot be claimed yet: [Errno 28] No space left on device")
    whole(b)
    assert claim.read(b.files) is None
    disk.free()
    assert run.end() == 0
    published(b, log)


def test_full_at_the_claim_for_too_long(tmp_path: Path, disk: Disk) -> None:
    b, log = script(tmp_path, disk)
    disk.fill()
    code = (
        "import sys; from axsched_hpc import worker; worker.PATIENCE = 0.3; "
        "sys.exit(worker.main(sys.argv[1:]))"
    )
    worker = subprocess.run(
        [sys.executable, "-c", code, str(b.manifest), "0"],
        env=b.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert worker.returncode == 2
    last = worker.stderr.splitlines()[-1]
    assert last.startswith("axsched worker: trial 3, attempt 1 cannot be claimed: [Errno 28]")
    disk.free()
    # Nothing is left of it: another job can take the attempt.
    assert b.run() == (0, "")
    published(b, log)


@KINDS
def test_full_when_the_logs_are_opened(tmp_path: Path, disk: Disk, kind: Any) -> None:
    b, log = kind(tmp_path, disk)
    run = Run(b, tmp_path / "faults", "worker.claimed")
    disk.take_all_inodes()
    run.go_on()
    run.wait_until_said("the logs of trial 3, attempt 1 cannot be opened yet: [Errno 28]")
    assert not log.exists()
    disk.free()
    assert run.end() == 0
    published(b, log)


def test_full_at_the_parameter_file(tmp_path: Path, disk: Disk) -> None:
    b, log = script(tmp_path, disk, parameters_format="env")
    run = Run(b, tmp_path / "faults", "worker.claimed")
    disk.fill()
    run.go_on()
    run.wait_until_logged("parameters.env cannot be written yet: [Errno 28]")
    assert not log.exists()
    disk.free()
    assert run.end() == 0
    published(b, log)


@KINDS
def test_full_at_the_metric_file_and_the_result(tmp_path: Path, disk: Disk, kind: Any) -> None:
    b, log = kind(tmp_path, disk)
    run = Run(b, tmp_path / "faults", "worker.ended")
    assert b.files.metrics.exists() == (kind is script)
    disk.fill()
    run.go_on()
    run.wait_until_logged("the outcome of trial 3, attempt 1 cannot be published yet: [Errno 28]")
    whole(b)
    assert not b.files.result.exists() and not b.layout.notice(3, 1).exists()
    disk.free()
    assert run.end() == 0
    published(b, log)
    assert b.files.metrics.read_text().replace("\n", "").replace(" ", "") == '{"loss":0.25}'


@KINDS
def test_full_at_the_notice(tmp_path: Path, disk: Disk, kind: Any) -> None:
    b, log = kind(tmp_path, disk)
    run = Run(b, tmp_path / "faults", "worker.result")
    disk.fill()
    run.go_on()
    run.wait_until_logged("cannot be published yet: [Errno 28]")
    whole(b)
    assert outcome.read(b.files.result).metrics == {"loss": (0.25, None)}
    assert not b.layout.notice(3, 1).exists()
    disk.free()
    assert run.end() == 0
    published(b, log)


@KINDS
def test_full_at_the_end(tmp_path: Path, disk: Disk, kind: Any) -> None:
    b, log = kind(tmp_path, disk)
    run = Run(b, tmp_path / "faults", "worker.announced")
    disk.fill()
    run.go_on()
    assert run.end() == 0
    published(b, log)


@KINDS
def test_told_to_end_while_the_disk_is_full(tmp_path: Path, disk: Disk, kind: Any) -> None:
    b, _ = kind(tmp_path, disk)
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults/worker.ended").write_text("stop")
    b.files.stderr.write_text("earlier\n")
    code = (
        "import sys; from axsched_hpc import worker; worker.LAST_TRY = 0.5; "
        "sys.exit(worker.main(sys.argv[1:]))"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, str(b.manifest), "0"],
        env=b.environment(AXSCHED_FAULTS=str(tmp_path / "faults")),
    )
    wait_for(lambda: state(worker.pid) == "T", "the objective has ended")
    disk.fill()
    worker.send_signal(signal.SIGCONT)
    wait_for(lambda: "cannot be published yet" in b.files.stderr.read_text(), "it waits")
    worker.terminate()
    assert worker.wait(timeout=30) == 3
    said = b.files.stderr.read_text()
    _, mark, rest = said.partition("was told to end by SIGTERM before its outcome could be published.")
    assert mark
    text = rest[rest.index("{") : rest.index("}\n", rest.index('"crc"')) + 2]
    found = outcome.decode(document.decode(text, source="the log"), source="the log")
    assert (found.trial, found.attempt, found.metrics) == (3, 1, {"loss": (0.25, None)})
    assert not b.files.result.exists()
    whole(b)


class TestLimitedOutput:
    """A program's output that is limited: it neither waits for the disk nor fails with it."""

    def run(self, disk: Disk, code: str) -> process.Ended:
        return process.run(
            [sys.executable, "-c", code],
            environment=dict(os.environ),
            directory=disk.root,
            stdout=disk.root / "out",
            stderr=disk.root / "err",
            signals=False,
            limit=1_000_000,
            remedy="script_options['output_limit']",
        )

    def test_what_was_kept_is_written_when_there_is_room(self, disk: Disk) -> None:
        (disk.root / "out").write_text("earlier\n")
        (disk.root / "err").touch()
        disk.fill()
        code = f"import os; os.write(1, b'x' * 9999 + b'\\n'); os.unlink({str(disk.filler)!r}); print('end')"
        assert self.run(disk, code).code == 0
        assert (disk.root / "out").read_text() == "earlier\n" + "x" * 9999 + "\nend\n"

    def test_a_disk_that_stays_full(self, disk: Disk) -> None:
        (disk.root / "out").write_text("earlier\n")
        (disk.root / "err").touch()
        disk.fill()
        code = "import os, sys\nfor _ in range(100): os.write(1, b'x' * 100_000)\nsys.exit(3)"
        assert self.run(disk, code).code == 3
        assert (disk.root / "out").read_text().startswith("earlier\nxxx")
