"""The objective of the campaign, which logs what it does, and the log as the checker reads it.

The log lies outside the experiment directory. Each line is one write(2) with O_APPEND, so that the lines of
all processes of this machine stand in it in the order in which they were written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Parameters = dict[str, Any]


def logging_objective(log: str, shortest: float, longest: float) -> Callable[[Parameters], dict[str, float]]:
    """An objective of two parameters that takes some seconds, the longer the larger ``x`` is.

    It says when it begins, that it goes on (every few hundredths of a second) and, right before it returns,
    what it has computed.
    """

    def objective(parameters: Parameters) -> dict[str, float]:
        import json
        import os
        import time
        from pathlib import Path

        from axsched_hpc.io import claim, processes

        # The worker has sent its output to the attempt's own directory.
        _, trial, attempt, _ = Path("/proc/self/fd/1").readlink().as_posix().rsplit("/", 3)
        me = {
            "trial": int(trial),
            "attempt": int(attempt.removeprefix("attempt-")),
            "pid": os.getpid(),
            "start": processes.start_ticks(os.getpid()),
            "host": processes.hostname(),
            "job": claim.job_id(),
        }

        def say(what: str, **more: Any) -> None:
            line = json.dumps({"what": what, "time": time.time(), **me, **more}) + "\n"
            handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)

        end = time.monotonic() + shortest + (longest - shortest) * parameters["x"]
        say("begins", parameters=parameters)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
            say("goes on")
        value = (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.7) ** 2
        say("ends", value=value)
        return {"loss": value}

    return objective


@dataclass
class Execution:
    """One process's run of the objective, as its lines tell it.

    Attributes
    ----------
    first, last
        The numbers of its first and last line.
    began, ended
        Seconds since the epoch; ``ended`` is None where it never came to its end, and so is ``value``.
    """

    trial: int
    attempt: int
    pid: int
    start: int
    host: str
    job: str | None
    parameters: Parameters
    first: int
    last: int
    began: float
    ended: float | None = None
    value: float | None = None

    def __str__(self) -> str:
        return f"trial {self.trial}, attempt {self.attempt} (process {self.pid} on {self.host})"


@dataclass
class ExecutionLog:
    """The log, as far as it has been read."""

    path: Path
    executions: list[Execution] = field(default_factory=list)
    _lines: int = 0
    _offset: int = 0
    _by_process: dict[tuple[int, int, int, int], Execution] = field(default_factory=dict)

    def read(self) -> list[Execution]:
        """Take in what is new; all executions, in the order in which they began."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return self.executions
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._lines += 1
            self._take(json.loads(line))
        return self.executions

    def _take(self, said: dict[str, Any]) -> None:
        key = (said["trial"], said["attempt"], said["pid"], said["start"])
        if said["what"] == "begins":
            names = ("trial", "attempt", "pid", "start", "host", "job", "parameters")
            facts = {name: said[name] for name in names}
            found = Execution(**facts, first=self._lines, last=self._lines, began=said["time"])
            self._by_process[key] = found
            self.executions.append(found)
            return
        found = self._by_process[key]
        found.last = self._lines
        if said["what"] == "ends":
            found.ended, found.value = said["time"], said["value"]
