"""Whole drivers, each a process of its own host name, forked from one that has imported Ax."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axsched_hpc.core.states import TrialState
from axsched_hpc.io import claim, faults
from axsched_hpc.io.claim import Claimer
from axsched_hpc.io.layout import Layout, parse_notice_name
from axsched_hpc.reporting.reading import read_experiment
from tests.e2e.kit import bowl, client
from tests.lease import kit
from tests.slurm.processes import is_alive

#: Seconds without a sign of life after which another driver takes over.
TAKEOVER = 3.0


@dataclass
class Driver:
    """A driver that was started."""

    pid: int
    host: str
    log: Path
    root: Path

    def stopped(self) -> bool:
        assert is_alive(self.pid), f"it ended before it was stopped:\n{self.log.read_text()}"
        return kit.is_stopped(self.pid)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        kit.wait_until(lambda: not is_alive(self.pid), "killed")

    def ended(self) -> int:
        """Wait for the end; its exit code."""
        kit.wait_until(lambda: "\nexit " in self.log.read_text(), f"the end of the driver on {self.host}")
        return int(self.log.read_text().rpartition("\nexit ")[2])


class Forge:
    """Starts drivers of the experiment in ``folder / "run"``."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server
        self._drivers: list[Driver] = []

    def start(self, folder: Path, host: str, *, trials: int, fault: str = "", **options: Any) -> Driver:
        """Start a driver that runs so many trials; ``fault``: where to stop (a point, perhaps an arrival)."""
        if fault:
            armed = folder / f"faults-{host}"
            armed.mkdir()
            point, _, arrival = fault.partition(" ")
            (armed / point).write_text(f"stop {arrival or 1}")
        log = folder / f"{host}.log"
        log.touch()
        asked = {
            "folder": str(folder),
            "host": host,
            "trials": trials,
            "armed": bool(fault),
            "options": options,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        driver = Driver(int(self._server.stdout.readline()), host, log, folder / "run")
        self._drivers.append(driver)
        return driver

    def clear(self) -> None:
        """Leave no driver."""
        for driver in self._drivers:
            if "\nexit " not in driver.log.read_text() and is_alive(driver.pid):
                os.kill(driver.pid, signal.SIGKILL)


@contextmanager
def forge() -> Iterator[Forge]:
    """Import Ax once, in a process from which all drivers come."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.lease.driving"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=kit.ROOT,
        env=os.environ | {"PYTHONPATH": str(kit.ROOT), "OMP_NUM_THREADS": "1"},
    ) as server:
        made = Forge(server)
        try:
            yield made
        finally:
            made.clear()
            assert server.stdin is not None
            server.stdin.close()


def is_whole(folder: Path, trials: int) -> None:
    """Each trial has run once, and has its value; what has not run was withdrawn."""
    ledger = read_experiment(folder / "run").ledger
    layout = Layout.at(folder / "run")
    assert sorted(ledger.trials) == list(range(trials))
    for number, trial in ledger.trials.items():
        assert trial.state is TrialState.COMPLETED
        assert trial.metrics == {"loss": (bowl(trial.parameters)["loss"], None)}
        assert trial.failures() == ()
        claims = [claim.read(layout.attempt(number, attempt.number)) for attempt in trial.attempts]
        assert [one.by for one in claims if one is not None].count(Claimer.WORKER) == 1
    points = [f"{t.parameters['x']!r} {t.parameters['y']!r}" for t in ledger.trials.values()]
    assert sorted(executions(folder)) == sorted(points)
    # What is announced after its end was seen otherwise stays until the next look into the inbox.
    for notice in layout.inbox.iterdir():
        number, attempt = parse_notice_name(notice.name) or (-1, -1)
        assert ledger.trials[number].attempts[-1].number == attempt


def executions(folder: Path) -> list[str]:
    """What the objective logged: one line per execution."""
    log = folder / "executions.log"
    return log.read_text().splitlines() if log.exists() else []


def _drive(folder: Path, trials: int, options: dict[str, Any]) -> None:
    from axsched_hpc import AxScheduler, LocalRunner

    log = str(folder / "executions.log")

    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        # Long enough to be seen while it runs, and not all as long.
        time.sleep(0.1 + 0.2 * parameters["x"])
        with open(log, "a") as file:  # noqa: PTH123
            file.write(f"{parameters['x']!r} {parameters['y']!r}\n")
        return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2}

    scheduler = AxScheduler(
        client(initial=trials),
        LocalRunner(max_parallel=2),
        {
            "job_output_dir": str(Layout.at(folder / "run").root),
            "poll_interval": 0.1,
            "synchronous": False,
            "cleanup_after_completion": True,
            "save_interval": 0,
            "takeover_after": TAKEOVER,
            **options,
        },
    )
    scheduler.set_objective_function(objective)
    scheduler.run_optimization(max_trials=trials)


def _serve() -> None:
    import ax.api.client  # noqa: F401

    import axsched_hpc.scheduler.scheduler  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        asked = json.loads(line)
        folder = Path(asked["folder"])
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            log = os.open(folder / f"{asked['host']}.log", os.O_WRONLY | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            kit.become(asked["host"])
            code = 0
            try:
                if asked["armed"]:
                    faults.arm(folder / f"faults-{asked['host']}")
                _drive(folder, asked["trials"], asked["options"])
            except BaseException:
                traceback.print_exc()
                code = 1
            atexit._run_exitfuncs()
            os.write(2, f"\nexit {code}\n".encode())
            os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
