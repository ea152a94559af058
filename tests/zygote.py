"""A Python that has imported Ax, and forks for each script that it is to run; see :mod:`tests.scripts`.

Importing Ax takes five seconds of a processor, a fork milliseconds. Whoever forks must have one thread only.
One such Python serves all processes of a test run: for each that connects it forks one that forks its
scripts, and it ends when the last of these has ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from axsched_hpc.io import faults

#: What scripts need and takes long to import.
MODULES = (
    "ax.api.client",
    "ax.service.ax_client",
    "axsched_hpc.ax_plugin",
    "axsched_hpc.scheduler.scheduler",
)


def accept(listener: socket.socket) -> socket.socket:
    """Fork for each process that connects, until the last of them has ended; in the child, the connection."""
    children = set[int]()
    listener.settimeout(60.0)  # for the first, who has started this
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            if not children:
                os._exit(1)
        else:
            pid = os.fork()
            if pid == 0:
                listener.close()
                return connection
            connection.close()
            children.add(pid)
            listener.settimeout(1.0)
        while children:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            children.discard(ended)
            if not children:
                os._exit(0)


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each request until the other end is closed; in the child, return the request.

    A request is a packet of JSON with the descriptors of stdout and stderr; it is answered with a process id.
    When that process has ended, ``[process id, exit code]`` follows, the code as subprocess has it.
    """
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready = select.select([connection, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _report(connection)
        if connection not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
        if not message:
            os._exit(0)
        request: dict[str, Any] = json.loads(message)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, descriptor in enumerate(descriptors, start=1):
                os.dup2(descriptor, number)
            connection.close()
            for descriptor in (woken, wakes, *descriptors):
                os.close(descriptor)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(json.dumps(pid).encode())


def _report(connection: socket.socket) -> None:
    """Tell which children have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        connection.send(json.dumps([pid, os.waitstatus_to_exitcode(status)]).encode())


def prepare(request: dict[str, Any]) -> str:
    """Make the child what a Python that starts the script would be; the script's path."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if "AXSCHED_FAULTS" in os.environ:
        # The module looks for them when it is imported, which is over.
        faults.arm(os.environ["AXSCHED_FAULTS"])
    script: str = request["argv"][0]
    sys.argv = request["argv"]
    sys.path[0] = str(Path(script).parent)
    return script


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    # What was imported is not looked through by the children's collectors, which would copy its pages.
    gc.freeze()
    # An error or signal ends the child as it would end any Python.
    runpy.run_path(prepare(serve(accept(socket.socket(fileno=int(sys.argv[1]))))), run_name="__main__")
