"""Scripts that import Ax, each in a process of its own that begins with Ax imported: forked by a zygote.

For all else the process is what ``python SCRIPT ARGUMENTS`` would be: its arguments, environment, folder,
signals and exit code. What is to be shown of a start itself takes :mod:`subprocess`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Script:
    """A script at work, with what :class:`subprocess.Popen` has for its users.

    Attributes
    ----------
    output, errors
        The files that it writes; one file where they are not kept apart.
    returncode
        Its exit code, negative for a signal; None while it runs or nobody has looked.
    """

    def __init__(self, pid: int, zygote: _Zygote, output: Path, errors: Path) -> None:
        self.pid = pid
        self.output = output
        self.errors = errors
        self.returncode: int | None = None
        self._zygote = zygote

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None:
            self.returncode = self._zygote.ended(self.pid)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            # It may have ended since; its number is not given away before the zygote has told of it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 120.0) -> tuple[str, str]:
        """Wait for its end; what it said on stdout and on stderr."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(str(self.output), timeout, self.output.read_bytes())
            self._zygote.wait(left)
        return self.output.read_text(), self.errors.read_text()

    def line(self, beginning: str, timeout: float = 60.0) -> str:
        """Wait for a line on stdout that begins like this."""
        deadline = time.monotonic() + timeout
        while True:
            ended = self.poll() is not None
            for line in self.output.read_text().splitlines(keepends=True):
                if line.startswith(beginning) and line.endswith("\n"):
                    return line
            assert not ended, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)


def _start_zygote(listener: socket.socket) -> None:
    # By its path, not as a module: its main module is the script's then.
    subprocess.Popen(
        [sys.executable, str(ROOT / "tests/zygote.py"), str(listener.fileno())],
        pass_fds=[listener.fileno()],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


class _Zygote:
    """The other end of :func:`tests.zygote.serve`; its end for this process
    ends with it."""

    def __init__(self) -> None:
        # All processes of a test run share one, which the first of them starts.
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        name = f"\0axsched-zygote-{run}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            try:
                listener.bind(name)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                listener.listen()
                _start_zygote(listener)
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        while True:
            try:
                self._connection.connect(name)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)  # it is bound and does not listen yet
        self._ended: dict[int, int] = {}

    def start(self, request: Mapping[str, object], output: int, errors: int) -> int:
        socket.send_fds(self._connection, [json.dumps(request).encode()], [output, errors])
        while True:
            answer = self._receive()
            if isinstance(answer, int):
                return answer

    def ended(self, pid: int) -> int | None:
        self.wait(0)
        return self._ended.get(pid)

    def wait(self, seconds: float) -> None:
        """Wait for so long at the most for the end of any script."""
        self._connection.settimeout(seconds)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            self._receive()
        self._connection.settimeout(None)

    def _receive(self) -> object:
        message = self._connection.recv(1 << 16)
        assert message, "the zygote has ended"
        answer = json.loads(message)
        if isinstance(answer, list):
            self._ended[answer[0]] = answer[1]
        return answer


_zygote = functools.cache(_Zygote)


def start(
    script: Path,
    arguments: Sequence[object] = (),
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    apart: bool = False,
) -> Script:
    """Start a script in a folder, which finds the package; its output goes to files there.

    Parameters
    ----------
    environment
        What it has beyond this process's own.
    apart
        Whether stderr has a file of its own.
    """
    number = len(list(folder.glob("output-*")))
    output = folder / f"output-{number}.log"
    errors = folder / f"errors-{number}.log" if apart else output
    request = {
        "argv": [str(script), *map(str, arguments)],
        "folder": str(folder),
        "environment": {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    }
    with output.open("ab", buffering=0) as out, errors.open("ab", buffering=0) as err:
        pid = _zygote().start(request, out.fileno(), err.fileno())
    return Script(pid, _zygote(), output, errors)


def run(
    script: Path, arguments: Sequence[object] = (), *, folder: Path, timeout: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, like :func:`subprocess.run`."""
    started = start(script, arguments, folder=folder, apart=True)
    try:
        output, errors = started.communicate(timeout)
    finally:
        started.kill()
    assert started.returncode is not None
    argv = [str(script), *map(str, arguments)]
    return subprocess.CompletedProcess(argv, started.returncode, output, errors)
