"""Boot a machine with a real NFS in it, as a process of this one, and run a command there.

Test machines are seldom allowed to serve or mount NFS. A user-mode Linux is a program, and its kernel may do
both: it sees this machine's files, serves a tmpfs, and has two hosts, alpha and beta, that mount it,
each with an NFS client and caches of its own. What happens in it is in ``inside/``.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

DIRECTORY_VARIABLE = "AXSCHED_NFS_DIR"
DEFAULT_DIRECTORY = Path("/var/tmp/axsched-nfs")
VERSIONS = ("3", "4.2")
HOSTS = ("alpha", "beta")
INSIDE = Path(__file__).resolve().with_name("inside")
MODULES = Path("/usr/lib/uml/modules")
PACKAGES = {
    "linux.uml": "user-mode-linux",
    "mount.nfs": "nfs-common",
    "rpcbind": "rpcbind",
    "modprobe": "kmod",
    "ip": "iproute2",
}

# Daemons lie in sbin, which is not on every PATH.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_POLL_INTERVAL = 0.05
_GUARD = 'read -r line; kill -KILL "$1"; rm -rf "$2"; kill -KILL 0'
_LOG_LINES = 20


class NfsError(Exception):
    """The command was not run to its end, for a reason of the guest's; the message says which."""


@dataclass(frozen=True)
class Guest:
    """A machine to boot.

    Attributes
    ----------
    version : str
        Of NFS: one of `VERSIONS`.
    timeout : float
        Seconds after which the machine is switched off.
    size : str
        Size of the export, as tmpfs takes it (``64M``).
    memory : str
        Memory of the machine, which holds the export too (``2G``).
    """

    version: str = "4.2"
    timeout: float = 300.0
    size: str = "512M"
    memory: str = "2G"

    def run(
        self,
        argv: Sequence[str | Path],
        out: BinaryIO,
        err: BinaryIO,
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command in a fresh guest, and pass on what it writes as it comes.

        Parameters
        ----------
        directory, environment
            As the command finds them, if not those of this process. NFS_A and NFS_B are added, alpha's and
            beta's mount of the one export.

        Returns
        -------
        int
            The command's exit code.

        Raises
        ------
        NfsError
            The guest cannot be booted, did not come up, or was switched off at the timeout.
        """
        absent = obstacle()
        if absent:
            raise NfsError(absent)
        with _run_directory() as run:
            self._write(
                run, argv, directory or Path.cwd(), os.environ if environment is None else environment
            )
            with (
                (run / "stdout").open("rb") as stdout,
                (run / "stderr").open("rb") as stderr,
                self._machine(run) as machine,
            ):
                in_time = _pass_on(machine, [(stdout, out), (stderr, err)], time.monotonic() + self.timeout)
            return self._exit_code(run, in_time)

    def capture(
        self,
        argv: Sequence[str | Path],
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a fresh guest, and return its exit code and what it wrote; see :meth:`run`."""
        out, err = io.BytesIO(), io.BytesIO()
        code = self.run(argv, out, err, directory=directory, environment=environment)
        texts = (stream.getvalue().decode(errors="replace") for stream in (out, err))
        return subprocess.CompletedProcess([str(argument) for argument in argv], code, *texts)

    def _write(
        self, run: Path, argv: Sequence[str | Path], directory: Path, environment: Mapping[str, str]
    ) -> None:
        (run / "mnt").mkdir(mode=0o755)
        # Where modprobe looks below the directory that it is given.
        (run / "lib").mkdir()
        (run / "lib" / "modules").symlink_to(MODULES)
        own = {"NFS_RUN": str(run), "NFS_VERSION": self.version, "NFS_EXPORT": str(run / "mnt" / "export")}
        init = own | {"NFS_SIZE": self.size, "NFS_SERVER": str(server_programs())}
        command = {
            **environment,
            **own,
            "NFS_A": str(run / "mnt" / HOSTS[0]),
            "NFS_B": str(run / "mnt" / HOSTS[1]),
            "PATH": f"{INSIDE}:{environment.get('PATH', os.defpath)}:{_SBIN}",
        }
        _write_script(run / "init", f"exec {_with_environment(init, [INSIDE / 'init'])}")
        _write_script(
            run / "command",
            f"cd {shlex.quote(str(directory))} && exec {_with_environment(command, argv)}",
        )
        for stream in ("stdout", "stderr"):
            (run / stream).touch(mode=0o600)

    @contextmanager
    def _machine(self, run: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Start the guest; at the end of the block nothing is left of it."""
        argv = [
            _program("linux.uml") or "linux.uml",
            f"mem={self.memory}",
            "root=none",
            "rootfstype=hostfs",
            "rw",
            "quiet",
            "con=null",
            "con0=null",
            f"init={run / 'init'}",
        ]
        # Its memory is a file: best one that never reaches a disk.
        memory = Path("/dev/shm")
        fits = memory.is_dir() and shutil.disk_usage(memory).free >= _bytes(self.memory)
        environment = {"HOME": str(run), "PATH": os.defpath, "TMPDIR": str(memory if fits else run)}
        with (run / "console").open("wb") as console:
            machine = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                process_group=0,
            )
        # All processes of the guest are in this group; the guard ends them when this process is killed.
        guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(machine.pid), run],
            stdin=subprocess.PIPE,
            process_group=machine.pid,
        )
        try:
            yield machine
        finally:
            os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
            guard.communicate()

    def _exit_code(self, run: Path, in_time: bool) -> int:
        try:
            return int((run / "status").read_text())
        except FileNotFoundError:
            pass
        if not in_time:
            raise NfsError(
                f"the guest with NFS {self.version} was switched off after {self.timeout:g} s, before the "
                f"command ended.\n{_last_lines(run)}"
            )
        raise NfsError(
            f"the guest with NFS {self.version} did not come up, or broke down before the command ended.\n"
            f"{_last_lines(run)}"
        )


def obstacle() -> str | None:
    """Say why no guest can be booted here; None where one can."""
    if os.geteuid() != 0:
        return "only root can boot the machine with the NFS (tests/nfs/run)."
    packages = [package for program, package in PACKAGES.items() if _program(program) is None]
    if packages:
        names = ", ".join(packages)
        return f"the test NFS needs {names}; tests/install-system-packages installs them on Debian."
    if not (server_programs() / "usr/sbin/rpc.nfsd").exists():
        return (
            f"the programs of nfs-kernel-server are not in {server_programs()}; "
            "tests/install-system-packages unpacks them there on Debian."
        )
    return None


def state_directory() -> Path:
    """Where the server's programs are, and the guests have their directories."""
    return Path(os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY).absolute()


def server_programs() -> Path:
    """The unpacked nfs-kernel-server: installed, it would start a service on machines that can."""
    return state_directory() / "server"


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")


@contextmanager
def _run_directory() -> Iterator[Path]:
    run = Path(tempfile.mkdtemp(prefix="run.", dir=state_directory()))
    # Users other than root may reach the mounts, and nothing else.
    run.chmod(0o711)
    try:
        yield run
    finally:
        shutil.rmtree(run)


def _with_environment(environment: Mapping[str, str], argv: Sequence[str | Path]) -> str:
    settings = [f"{name}={value}" for name, value in environment.items()]
    return shlex.join(["env", "--ignore-environment", *settings, *map(str, argv)])


def _write_script(path: Path, line: str) -> None:
    # A caller's environment may hold secrets.
    path.touch(mode=0o700)
    path.write_text(f"#!/bin/bash\n{line}\n")


def _pass_on(
    machine: subprocess.Popen[bytes], streams: Sequence[tuple[BinaryIO, BinaryIO]], deadline: float
) -> bool:
    """Copy what arrives in the files until the machine is off; False if that is not before the deadline."""
    while True:
        off, late = machine.poll() is not None, time.monotonic() > deadline
        for source, sink in streams:
            if arrived := source.read():
                sink.write(arrived)
                sink.flush()
        if off or late:
            return off
        time.sleep(_POLL_INTERVAL)


def _last_lines(run: Path) -> str:
    parts = []
    for name in ("boot.log", "console"):
        try:
            lines = (run / name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        except FileNotFoundError:
            lines = []
        parts += [f"-- {name} --", *(lines or ["(empty)"])]
    return "\n".join(parts)


def _bytes(size: str) -> int:
    shift: int = {"K": 10, "M": 20, "G": 30}[size[-1]]
    return int(size[:-1]) << shift
