"""A small disk that can be filled, a runner that counts, and a check of all that a run has left."""

from __future__ import annotations

import errno
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from axsched_hpc import AxScheduler, LocalRunner
from axsched_hpc.core.events import ObjectiveSet
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import faults
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.session import Session
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners.base import BaseRunner, Batch
from axsched_hpc.store import journal
from tests.e2e.kit import client

PAGE = os.sysconf("SC_PAGE_SIZE")


class Disk:
    """A tmpfs; full, it has neither a page nor an inode left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"
        self.full = False

    def fill(self) -> None:
        """Leave no space."""
        self._ballast.mkdir()
        with (self._ballast / "pages").open("wb", buffering=0) as file:
            _until_full(lambda: file.write(b"\0" * PAGE))
        names = iter(range(1_000_000))
        _until_full(lambda: (self._ballast / str(next(names))).touch())
        self.full = True

    def free(self) -> None:
        """Give the space back."""
        self.full = False
        for path in self._ballast.iterdir():
            path.unlink()
        self._ballast.rmdir()


def _until_full(write: Callable[[], object]) -> None:
    while True:
        try:
            write()
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return


class CountingRunner(LocalRunner):
    """Counts the jobs that were started, and those of them that were while the disk was in trouble."""

    def __init__(self, slots: int, trouble: Callable[[], bool] = lambda: False) -> None:
        super().__init__(max_parallel=slots)
        self._trouble = trouble
        self.started = 0
        self.started_in_trouble = 0

    def submit(self, batch: Batch) -> Mapping[int, str]:
        jobs = super().submit(batch)
        self.started += len(jobs)
        self.started_in_trouble += len(jobs) * self._trouble()
        return jobs


#: How the driver says that a file cannot be written.
_WAITING = ("cannot be written", "could not be written")


class Warnings(logging.Handler):
    """Keeps the driver's messages, and lets something happen at the n-th that says that it waits."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.then: Callable[[], object] | None = None
        self.count = 2

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.lines.append(text)
        if self.then is None or not any(words in text for words in _WAITING):
            return
        self.count -= 1
        if self.count == 0:
            then, self.then = self.then, None
            then()

    def told(self, *words: str) -> list[str]:
        """The messages that have all these words."""
        return [line for line in self.lines if all(word in line for word in words)]


class Points:
    """Lets something happen in this process when it comes to a fault point."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, Callable[[], None]]] = {}
        self.fired: list[str] = []

    def at(self, point: str, happen: Callable[[], None], arrival: int = 1) -> None:
        assert point in faults.POINTS
        self._waiting[point] = (arrival, happen)

    def forget(self, point: str) -> None:
        """What was to happen has happened in a child of this process."""
        del self._waiting[point]

    def reach(self, point: str, directory: Path) -> None:
        arrival, happen = self._waiting.get(point, (0, None))
        if happen is None:
            return
        if arrival > 1:
            self._waiting[point] = (arrival - 1, happen)
            return
        del self._waiting[point]
        self.fired.append(point)
        happen()


def raising(number: int) -> Callable[[], None]:
    """An error of the filesystem, to happen at a point."""

    def happen() -> None:
        raise OSError(number, os.strerror(number))

    return happen


def scheduler(root: Path, runner: BaseRunner, trials: int, **options: Any) -> AxScheduler:
    """A scheduler over a new client, with an objective that logs its executions beside the disk."""
    made = AxScheduler(
        client(initial=trials),
        runner,
        {"job_output_dir": root, "poll_interval": 0.05, "synchronous": False, **options},
    )
    made.set_objective_function(objective(root.parent.parent / "executions.log"))
    return made


def objective(log: Path, *, kill: Path | None = None) -> Callable[[dict[str, Any]], dict[str, float]]:
    """A bowl that logs each execution; ``kill``: the first execution makes that file and is killed."""
    where, mark = str(log), str(kill) if kill is not None else None

    def bowl(parameters: dict[str, Any]) -> dict[str, float]:
        import os
        import signal
        from pathlib import Path

        if mark is not None:
            try:
                Path(mark).touch(exist_ok=False)  # of executions at one moment, one makes it
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        with Path(where).open("a") as file:
            file.write(f"{parameters['x']!r} {parameters['y']!r}\n")
        return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}

    return bowl


def align(session: Session) -> None:
    """Let the journal end just before a page does, by a record that means nothing: the next needs space."""
    known = session.ledger.objective
    assert known is not None

    def note(text: str) -> int:
        session.record(ObjectiveSet(session.clock.now(), known.objective, known.what + text))
        return session._lease.writer.path.stat().st_size

    before = note("")
    size = note("")
    note(" " * ((-size - (size - before) - 16) % PAGE))


def check_whole(root: Path, trials: int, *, attempts: int | None = 1) -> None:
    """All trials are completed once, with their values, and no file is torn."""
    ledger = read_experiment(root).ledger
    assert sorted(ledger.trials) == list(range(trials))
    assert {t.state for t in ledger.trials.values()} == {TrialState.COMPLETED}
    for trial in ledger.trials.values():
        value = (trial.parameters["x"] - 0.3) ** 2 + (trial.parameters["y"] - 0.7) ** 2
        assert trial.metrics == {"loss": (value, None)}
        if attempts is not None:
            assert len(trial.attempts) == attempts
    executed = (root.parent.parent / "executions.log").read_text().splitlines()
    assert sorted(executed) == sorted(
        f"{t.parameters['x']!r} {t.parameters['y']!r}" for t in ledger.trials.values()
    )
    check_files(root)


def check_files(root: Path) -> None:
    """Every file with a final name is whole, and no temporary one is left."""
    for path in root.rglob("*.json"):
        json.loads(path.read_text())
    assert not [path for path in root.rglob(".*.tmp")]
    segments = journal.read(Layout.at(root).journal)
    assert not any(segment.torn for segment in segments)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def forked(act: Callable[[], object], output: Path) -> int:
    """Do something in a child of this process, which has Ax already; its messages go to a file."""
    pid = os.fork()
    if pid != 0:
        return pid
    code = 1
    try:
        # The threads with which the parent computes are not in the child, which would wait for them for ever.
        import torch

        torch.set_num_threads(1)
        with output.open("a", buffering=1) as file:
            logging.getLogger("axsched_hpc").addHandler(logging.StreamHandler(file))
            try:
                act()
                code = 0
            except SystemExit as error:
                code = int(error.code or 0)
            except BaseException:  # whatever it is, it must not run on as a second pytest
                file.write(traceback.format_exc())
    finally:
        os._exit(code)


def stopped(pid: int) -> bool:
    """Wait for a child to stop or end; whether it has stopped."""
    return os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])


def ended(pid: int) -> int:
    """Wait for the end of a child; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
