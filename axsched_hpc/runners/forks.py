"""The driver's side of :mod:`axsched_hpc.forking`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from axsched_hpc import forking

#: Seconds for which the first workers wait for the process of which they are forked: starting some of them
#: by themselves meanwhile would take as long.
PATIENCE = 1.0


class Forks:
    """A process of which workers are forked, from its start until this object is gone.

    Parameters
    ----------
    python
        The interpreter.
    environment
        The workers' environment.

    Raises
    ------
    OSError
        It cannot be started, or the system has no such sockets (macOS).
    """

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        self._asked_for = (python, dict(environment), _directory())
        self._names: dict[str, str] = {}
        self._ready = False
        self._patience = PATIENCE
        self.works = True
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = subprocess.Popen(
                    forking.command(python, theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except OSError:
                self._channel.close()
                raise
        weakref.finalize(self, _end, self._channel, process)

    def suits(self, python: str, environment: Mapping[str, str]) -> bool:
        """Whether a worker with this environment, in the directory of now, would be the same if it were
        started by itself.
        """
        return self.works and self._asked_for == (python, environment, _directory())

    def start(
        self,
        command: Sequence[str],
        log: int,
        variables: Mapping[str, str] | None = None,
        cpus: Collection[int] = (),
    ) -> str | None:
        """Fork a worker; its name as a job, or None where it has to be started by itself.

        Parameters
        ----------
        command
            Its command line.
        log
            Its output, an open file.
        variables
            What it has besides the environment of all.
        cpus
            Those to which it is bound; none for no binding.

        Raises
        ------
        OSError
            There is no memory or number for one more process.
        """
        if not self._is_ready():
            return None
        answer = self._ask(
            {"start": list(command), "variables": dict(variables or {}), "cpus": sorted(cpus)}, log
        )
        if (number := answer.get("errno")) is not None:
            raise OSError(number, os.strerror(number))
        if (job := answer.get("job")) is None:
            return None
        self._names[job.partition(".")[0]] = job
        return str(job)

    def ended(self) -> dict[str, int]:
        """Exit codes by job of the workers that have ended since the last call, or minus the signal."""
        if not self._names:
            return {}
        codes = self._ask({}).get("ended", {})
        return {job: code for pid, code in codes.items() if (job := self._names.pop(pid, None)) is not None}

    def _is_ready(self) -> bool:
        if not self._ready and self.works and select.select([self._channel], [], [], self._patience)[0]:
            self._received()
            self._ready = True
        self._patience = 0.0
        return self._ready and self.works

    def _ask(self, request: Mapping[str, Any], *handles: int) -> dict[str, Any]:
        """The answer to a request; empty where there is nobody any more to answer it."""
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], handles)
        except OSError:  # it was killed, or the command line is too long for a message
            self.works = False
            return {}
        return self._received()

    def _received(self) -> dict[str, Any]:
        message = b""
        with contextlib.suppress(ConnectionError):
            message = self._channel.recv(forking.LONGEST)
        self.works = bool(message)
        return dict(json.loads(message)) if message else {}


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - compared, and nothing else
    except OSError:
        return None


def _end(channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Its workers go on without it."""
    channel.close()
    process.kill()
    process.wait()
