"""A process of which workers are forked: ``python -m axsched_hpc.forking CHANNEL``.

A worker that starts by itself spends most of its time and processor on starting Python and importing this
package. One that is forked here has both already, and begins within milliseconds. It imports nothing of the
objective's: each attempt loads that anew, as a worker that was started by itself does. All else is as there
too: a session and logs of its own, a command line that names the attempt, the driver's environment.

A request is one message on the channel, a socket that keeps messages apart, and is answered by one. It is
``{"start": [COMMAND...], "variables": {...}, "cpus": [...]}``, with the open log of the new process, and the
answer its name as a job; or ``{}``, and the answer the exit codes of the workers that have ended since the
last one. This process ends with the driver, when the channel does. Its workers go on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from axsched_hpc import worker
from axsched_hpc.io import claim
from axsched_hpc.objectives.leaving import leave

#: What a message may have at the most, in bytes, and how many exit codes; the others are in the next one.
LONGEST, MOST = 32_768, 1000

#: How many bytes of command line a worker's may have, to be shown as its own.
ROOM = 1024

LOADED = (
    "cloudpickle",
    "ctypes",
    "encodings.ascii",
    "pickle",
    "tempfile",
    "axsched_hpc.core.events",
    "axsched_hpc.core.typed",
    "axsched_hpc.objectives.descendants",
    "axsched_hpc.objectives.function",
    "axsched_hpc.objectives.guardian",
    "axsched_hpc.objectives.run",
    "axsched_hpc.objectives.script",
)


def command(python: str, channel: int) -> list[str]:
    """The command line of this process, with room for that of a worker."""
    return [python, "-u", "-m", "axsched_hpc.forking", str(channel), " " * ROOM]


def runs(words: Sequence[str]) -> bool:
    """Whether a command line is that of a worker, which can be forked instead of started."""
    return list(words[1:4]) == ["-u", "-m", "axsched_hpc.worker"]


def main(arguments: list[str]) -> int:
    """Answer requests until the channel ends; in a worker, run its attempt. Returns the exit code."""
    with socket.socket(fileno=int(arguments[0])) as channel:
        _show(sys.orig_argv[:-1])
        _load()
        # What is there now stays shared with the workers: collecting would copy it.
        gc.collect()
        gc.freeze()
        channel.send(b"{}")
        words = _serve(channel)
    if words is not None:
        sys.argv = words[words.index("-m") + 1 :]
        leave(worker.main(sys.argv[1:]))
    return 0


def _load() -> None:
    """Import what every worker does sooner or later."""
    for name in LOADED:
        importlib.import_module(name)


def _serve(channel: socket.socket) -> list[str] | None:
    """Answer requests; returns a worker's command line in that worker, and None at the end of the channel."""
    while True:
        message, handles, _, _ = socket.recv_fds(channel, LONGEST, 1)
        if not message:
            return None
        request = json.loads(message)
        words = request.get("start")
        if words is None:
            answer: dict[str, object] = {"ended": _ended()}
        else:
            # It is born with its command line and variables: a driver that looks for it finds them from the
            # first moment on.
            _show(words)
            _show_variables(request["variables"])
            try:
                pid = os.fork()
            except OSError as error:
                answer = {"errno": error.errno}
            else:
                if pid == 0:
                    _become(handles[0], request)
                    return list(words)
                answer = {"job": claim.process_name(pid)}
            _show(sys.orig_argv[:-1])
            os.close(handles[0])
        channel.send(json.dumps(answer).encode())


def _become(log: int, request: Mapping[str, Any]) -> None:
    os.setsid()
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.environ.update(request["variables"])
    if request["cpus"]:
        os.sched_setaffinity(0, request["cpus"])


def _ended() -> dict[str, int]:
    """Exit codes by pid of the workers that have ended, or minus the signal that ended them."""
    found: dict[str, int] = {}
    with contextlib.suppress(ChildProcessError):
        while len(found) < MOST and (each := os.waitpid(-1, os.WNOHANG))[0]:
            found[str(each[0])] = os.waitstatus_to_exitcode(each[1])
    return found


def _show(words: list[str]) -> None:
    """Let this process have another command line, for ps and for drivers that look for their workers: it is
    written over the one with which the process was started. Nothing depends on that it succeeds.
    """
    start, end, *_ = _regions()
    text = "\0".join(words).encode() + b"\0"
    if start and len(text) < end - start:
        _overwrite(start, text.ljust(end - start, b"\0"))


def _show_variables(variables: Mapping[str, str]) -> None:
    """Let this process show other values of those variables that it was started with, where they are as long:
    for drivers that look at their workers.
    """
    if not variables:
        return
    try:
        there = Path("/proc/self/environ").read_bytes()
    except OSError:
        return
    _, _, start, end = _regions()
    place = 0
    for word in there.split(b"\0"):
        name, _, value = word.partition(b"=")
        new = variables.get(os.fsdecode(name), "").encode()
        if len(new) == len(value) and start and start + place + len(word) < end:
            _overwrite(start + place, name + b"=" + new)
        place += len(word) + 1


def _regions() -> tuple[int, int, int, int]:
    """Where this process's command line starts and ends, and its variables; zeros where that is unknown."""
    try:
        text = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        arg_start, arg_end, env_start, env_end = map(int, text.split()[45:49])  # proc(5)
    except (OSError, ValueError):
        return 0, 0, 0, 0
    return arg_start, arg_end, env_start, env_end


def _overwrite(address: int, text: bytes) -> None:
    import ctypes

    ctypes.memmove(address, text, len(text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
