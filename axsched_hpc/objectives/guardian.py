"""A small process that ends what a worker leaves behind when it is killed itself.

Nothing in a worker can do so after SIGKILL. What it has started lives on where nobody ends it: a container
whose client is not its parent (podman, docker), and processes in sessions of their own, on a cluster that
does not keep a job's processes in a cgroup. The guardian waits for the worker's end, in a session of its own,
and ends these, unless it was told before that all is done.

What belongs to a worker is known by a variable that its processes inherit, read from ``/proc/PID/environ``.

The guardian runs this file alone, without site-packages, to start fast: it imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

#: The variable that says below which workers a process was started; its value are words ``WORKER/SLURMJOB``.
MARK = "AXSCHED_WORKER"

#: What tells the guardian that nothing is left to do.
_DONE = b"."

#: Seconds between two looks for the worker, where nothing else tells of its end.
_LOOK = 5.0

#: Looks without a find after which nothing is left.
_LOOKS = 3

#: Seconds for which processes are killed until none is found, and for one command of an engine.
_PATIENCE, _COMMAND_SECONDS = 10.0, 20.0

# A client of the engine that was killed while it started a container may have started it after all.
_TIMES, _BETWEEN = 2, 1.0

# Podman's monitor of a container: it ends with it, and removes it.
_MONITOR = b"conmon"


class Guardian:
    """Watches over this process.

    Parameters
    ----------
    worker
        What :func:`mark` returned; empty: only the container is ended.
    container
        The engine's program and the container's name; empty where there is none.
    environment
        The engine's.
    """

    def __init__(
        self, worker: str, container: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ) -> None:
        self._argv = command(worker, os.getpid(), container)
        self._environment = dict(os.environ if environment is None else environment)
        self._environment.pop(MARK, None)
        self._pipe = -1

    def start(self) -> int:
        """Begin; returns the guardian's pid, or 0 where no process can be started."""
        import subprocess

        read, write = os.pipe()
        try:
            self._process = subprocess.Popen(
                self._argv,
                env=self._environment,
                cwd="/",
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            # The objective will not start either, and say why.
            os.close(write)
            return 0
        finally:
            os.close(read)
        self._pipe = write
        return self._process.pid

    def done(self) -> None:
        """Say that nothing is left to end."""
        if self._pipe < 0:
            return
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it
            os.write(self._pipe, _DONE)
        os.close(self._pipe)
        self._process.wait()


def command(worker: str, pid: int, container: tuple[str, ...]) -> list[str]:
    """The command line of a guardian: an isolated Python that loads nothing but what is here."""
    return [sys.executable, "-I", "-S", __file__, worker, str(pid), *container]


def needed(environment: dict[str, str] | os._Environ[str], cgroup: str) -> bool:
    """Whether this worker is in a Slurm job of which not all processes end with it.

    Parameters
    ----------
    cgroup
        The text of ``/proc/self/cgroup``. proctrack/cgroup names a job's cgroup ``job_1234``.
    """
    job = environment.get("SLURM_JOB_ID")
    return job is not None and f"/job_{job}" not in cgroup


def mark(environment: dict[str, str] | os._Environ[str], worker: str) -> str:
    """Mark what a process with this environment starts from here on as a worker's; returns the mark.

    Parameters
    ----------
    worker
        ``pid.start@host``. A worker below another one's is marked as both's.
    """
    word = f"{worker}/{environment.get('SLURM_JOB_ID', '')}"
    environment[MARK] = f"{environment[MARK]} {word}" if environment.get(MARK) else word
    return worker


def marked(environ: bytes, worker: str) -> bool:
    """Whether the process of which this is ``/proc/PID/environ`` was started below a worker.

    Not if it is in another Slurm job: sbatch passes variables on.
    """
    variables = dict(each.partition(b"=")[::2] for each in environ.split(b"\0"))
    word = f"{worker}/".encode() + variables.get(b"SLURM_JOB_ID", b"")
    return word in variables.get(MARK.encode(), b"").split(b" ")


def end_marked(worker: str, patience: float = 1.0) -> int:
    """Kill this user's processes on this machine that were started below a worker, which has ended itself.

    Parameters
    ----------
    patience
        Seconds for which that is repeated until none is found, several times: one look may miss a process
        that was started meanwhile by one that has ended.

    Returns
    -------
    int
        How many were killed.
    """
    deadline, killed, empty = time.monotonic() + patience, set[int](), 0
    while True:
        found = [pid for pid in _pids() if _is_marked(pid, worker) and _kill(pid, worker)]
        killed.update(found)
        empty = 0 if found else empty + 1
        if empty == _LOOKS or time.monotonic() >= deadline:
            return len(killed)
        time.sleep(0.01)


def _pids() -> list[int]:
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib takes longer to load than all of this
    except FileNotFoundError:
        return []
    return [int(name) for name in names if name.isdecimal() and int(name) != os.getpid()]


def _is_marked(pid: int, worker: str) -> bool:
    return marked(_read(pid, "environ"), worker) and _read(pid, "comm").strip() != _MONITOR


def _read(pid: int, name: str) -> bytes:
    # Of a zombie it is empty.
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 - as above
            return file.read()
    except OSError:
        return b""


def _kill(pid: int, worker: str) -> bool:
    import signal

    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):
        handle = -1  # before Linux 5.3
    try:
        if handle < 0:
            os.kill(pid, signal.SIGKILL)
        elif _is_marked(pid, worker):  # and no other process that has its number now
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


# ---------------------------------------------------------------- the guardian itself


def main(arguments: list[str]) -> int:
    """Wait for the worker's end, and end what it has left."""
    import signal

    # A job's processes are all told to end; the worker may take its time for that, and does it itself.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    worker, pid, *container = arguments
    if _wait(int(pid)):
        return 0
    if worker:
        end_marked(worker, _PATIENCE)
    if container:
        _end_container(*container)
    return 0


def _wait(parent: int) -> bool:
    """Wait for a word, or the end of the worker; whether all is done."""
    import select

    handles = [0]
    # A process that the worker forked may hold the pipe open. Kernels before Linux 5.3 have no pidfds.
    with contextlib.suppress(AttributeError, OSError):
        handles.append(os.pidfd_open(parent))
    while os.getppid() == parent:
        ready, _, _ = select.select(handles, [], [], _LOOK)
        if 0 in ready:
            return os.read(0, 1) == _DONE
    # It may have said so, and ended.
    return 0 in select.select([0], [], [], 0)[0] and os.read(0, 1) == _DONE


def _end_container(program: str, name: str) -> None:
    import subprocess

    for number in range(_TIMES):
        if number:
            time.sleep(_BETWEEN)
        for words in (["kill", name], ["rm", "--force", name]):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run([program, *words], check=False, timeout=_COMMAND_SECONDS, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
