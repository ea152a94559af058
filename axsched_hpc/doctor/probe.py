"""What the doctor's job runs on the node: ``python -m axsched_hpc.doctor.probe FOLDER [INDEX]``.

It speaks with the doctor through files in FOLDER, by the same means as worker and driver: it lists the
directory, and publishes whole files. It ends when it is told to, when the folder is gone, or when it has
heard nothing for a while.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axsched_hpc.doctor import mounts, versions
from axsched_hpc.io import atomic, document, processes
from axsched_hpc.runners.submitit_runner import usable_cores

#: Seconds after which a probe that hears nothing ends, and that one answer may take.
PATIENCE = 60.0

#: Files of the doctor, in order: made before the job is submitted; a lock that it holds; a name that it has
#: taken; questions; kill your lock's holder; end.
BEFORE, LOCK, CLAIM, PING, KILL, END = "before", "lock", "claim", "ping-", "kill", "end"

#: Files of the probe: what it found at once; answers; a lock that its child holds; that child is dead; what
#: takes longer to find.
NODE, PONG, NODE_LOCK, KILLED, ENGINES = "node", "pong-", "node-lock", "killed", "engines"

#: Seconds of waiting after which a directory is changed, so that this machine reads it anew.
NUDGE = 3.0

_ENGINES = ("apptainer", "singularity", "podman", "docker", "ch-run")

_HOLD = (
    "import fcntl, os, sys, time; h = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600); fcntl.flock(h, "
    "fcntl.LOCK_EX); print('held', flush=True); time.sleep(float(sys.argv[2]))"
)


def main(arguments: list[str]) -> int:
    """Run the probe; its exit code."""
    folder, started = Path(arguments[0]), time.time()
    if not folder.is_dir():
        sys.stderr.write(f"The directory {folder} is not seen on {processes.hostname()}.\n")
        return 1
    seen = appears(folder, BEFORE, PATIENCE) is not None
    late = time.time() - started
    report = _facts(folder, started) | {
        "seen": seen,
        "seen_after": late,
        "file_clock": file_clock(folder),
        "lock": try_lock(folder / LOCK),
        "claimed": _claimed(folder / CLAIM),
    }
    with holding(folder / NODE_LOCK) as holder:
        report["holds"] = holder is not None
        publish(folder, NODE, report)
        _answer(folder, holder)
    return 0


def publish(folder: Path, name: str, fields: dict[str, Any]) -> None:
    """Write one message whole."""
    atomic.write(folder / name, document.encode(fields))


def read(folder: Path, name: str) -> dict[str, Any]:
    """Read one message."""
    return document.read(folder / name)


def appears(folder: Path, name: str, patience: float) -> int | None:
    """Wait for a name by listing its directory, which also makes it visible; how often the directory had to
    be nudged, or None where the name did not appear.
    """
    waiting, deadline = Waiting(folder), time.monotonic() + patience
    while name not in atomic.listing(folder):
        if time.monotonic() > deadline:
            return None
        waiting.pause()
    return waiting.nudges


def file_clock(folder: Path) -> float:
    """Seconds by which the clock of the filesystem is ahead of this machine's."""
    path = folder / f".clock.{os.getpid()}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, atomic.FILE_MODE)
    try:
        before = time.time()
        os.utime(handle)
        after = time.time()
        return os.fstat(handle).st_mtime - (before + after) / 2
    finally:
        os.close(handle)
        path.unlink()


class Waiting:
    """Pauses between two looks at a directory, and changes it now and then.

    An NFS 3 client goes on showing a listing from its memory while the directory's time of change stays the
    same. A file that appears in the same tick of the server's clock as the change before is missed for as
    long as nothing else changes there (measured); a change by this machine makes it look anew.
    """

    def __init__(self, folder: Path) -> None:
        self.nudges = 0
        self._folder = folder
        self._pause, self._due = 0.02, time.monotonic() + NUDGE

    def pause(self) -> None:
        """Wait a little, longer each time."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + NUDGE
            self.nudges += 1
            path = self._folder / f".nudge.{os.getpid()}"
            with contextlib.suppress(OSError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT, atomic.FILE_MODE))
                path.unlink()
        time.sleep(self._pause)
        self._pause = min(1.3 * self._pause, 0.25)


def try_lock(path: Path) -> str:
    """Take a lock that should be held by another: "refused", "granted", or why there are no locks."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, atomic.FILE_MODE)
    except OSError as error:
        return error.strerror or str(error)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "refused"
    except OSError as error:
        return error.strerror or str(error)
    else:
        return "granted"
    finally:
        os.close(handle)


@contextlib.contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str] | None]:
    """A process that holds a lock, which ends with the block; None where there are no locks."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), str(4 * PATIENCE)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process if process.stdout.readline() == "held\n" else None
        finally:
            process.kill()


def _answer(folder: Path, holder: subprocess.Popen[str] | None) -> None:
    done: set[str] = set()
    waiting, deadline = Waiting(folder), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        names = atomic.listing(folder)
        now = time.time()
        if not names or END in names:
            return
        new = [name for name in names if name.startswith((PING, KILL)) and name not in done]
        for name in new:
            done.add(name)
            if name.startswith(PING):
                answer = {"seen": now, "sent": time.time(), "nudges": waiting.nudges}
                publish(folder, PONG + name.removeprefix(PING), answer)
                continue
            if holder is not None:
                holder.send_signal(signal.SIGKILL)
                holder.wait()
                publish(folder, KILLED, {})
            # Last, since some engines take their time, and the answers are timed.
            publish(folder, ENGINES, _engines())
        if new:
            waiting, deadline = Waiting(folder), time.monotonic() + PATIENCE
        waiting.pause()


def _claimed(path: Path) -> str:
    """Take a name that the doctor has taken: "refused", "granted", or the error."""
    try:
        return "granted" if atomic.create(path, "node\n") else "refused"
    except OSError as error:
        return error.strerror or str(error)


def _facts(folder: Path, started: float) -> dict[str, Any]:
    mask = os.umask(0o077)
    os.umask(mask)
    mount = mounts.of(folder)
    scratch = tempfile.gettempdir()
    return {
        "started": started,
        "host": processes.hostname(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "boot": processes.boot_id(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "package": str(Path(__file__).parents[1]),
        "versions": versions.installed_all(),
        "uid": os.geteuid(),
        "umask": mask,
        "mount": [mount.kind, sorted(mount.options)] if mount is not None else None,
        "tmpdir": os.environ.get("TMPDIR", ""),
        "scratch": scratch,
        "scratch_free": shutil.disk_usage(scratch).free,
        "cores": usable_cores(),
        "granted": os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or "",
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _engines() -> dict[str, Any]:
    return {name: version for name in _ENGINES if (version := _version(name)) is not None}


def _version(program: str) -> str | None:
    """What an engine says of its version; empty where it does not; None where there is none."""
    if shutil.which(program) is None:
        return None
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if done.returncode != 0:
        return ""
    # ch-run says it on standard error.
    return next(iter((done.stdout or done.stderr).splitlines()), "").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
