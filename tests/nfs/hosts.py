"""The two hosts, as a process in the guest of tests/nfs/run has them in its hands."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True)
class Host:
    """A machine of its own as far as NFS and this project can see.

    It has its own name, boot id, processes, network and NFS client; the files beside the export are common.

    Attributes
    ----------
    name : str
        `alpha` or `beta`.
    mount : Path
        Its mount of the export. A process anywhere that uses this path goes through this host's NFS client.
    """

    name: str
    mount: Path

    def start(
        self, *argv: str | Path, stdout: int | IO[Any] | None = None, stdin: int | IO[Any] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on the host; killing what is returned kills the command."""
        return subprocess.Popen(["on-host", self.name, *argv], stdout=stdout, stdin=stdin, text=True)

    def run(self, *argv: str | Path, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command on the host to its end."""
        return subprocess.run(
            ["on-host", self.name, *argv], capture_output=True, text=True, timeout=timeout, check=False
        )

    def freeze(self) -> None:
        """Stop all its processes; its kernel goes on and renews what it holds on the server."""
        self._fate("freeze")

    def thaw(self) -> None:
        """Let its processes go on."""
        self._fate("thaw")

    def unplug(self) -> None:
        """Take it off the network: the server hears nothing of it any more."""
        self._fate("unplug")

    def plug(self) -> None:
        """Put it on the network again."""
        self._fate("plug")

    def kill(self) -> None:
        """Kill all its commands, as if the batch system did."""
        self._fate("kill")

    def die(self) -> None:
        """Let it lose its power, as other machines see it: nothing of it runs, and no lock is given back."""
        self._fate("die")

    def revive(self) -> None:
        """Undo :meth:`die`: it goes on where it was, knowing nothing of the time between."""
        self._fate("revive")

    def _fate(self, fate: str) -> None:
        subprocess.run(["host-fate", self.name, fate], check=True)


def both() -> tuple[Host, Host]:
    """Alpha and beta, of the guest in which this process is."""
    return Host("alpha", Path(os.environ["NFS_A"])), Host("beta", Path(os.environ["NFS_B"]))
