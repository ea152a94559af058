"""An experiment directory with one batch, and its worker as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axsched_hpc.io import atomic, manifest, outcome
from axsched_hpc.io.layout import AttemptFiles, Layout
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.kinds import Objective
from axsched_hpc.objectives.spec import script_objective

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "axs-test-1"


@dataclass(frozen=True)
class Bench:
    """A batch of one attempt: trial 3, attempt 1."""

    layout: Layout
    manifest: Path

    @property
    def files(self) -> AttemptFiles:
        return self.layout.attempt(3, 1)

    def environment(self, **extra: str) -> dict[str, str]:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "AXSCHED_"))
        }
        return {**clean, "PYTHONPATH": str(REPOSITORY), **extra}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "axsched_hpc.worker", str(self.manifest), *(arguments or ("0",))],
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit code and what stood on the job's own standard error."""
        worker = self.start(*arguments, **environment)
        _, stderr = worker.communicate(timeout=60)
        return worker.returncode, stderr

    def outcome(self) -> Outcome:
        """What the worker published; the notice says the same as the result."""
        found = outcome.read(self.files.result)
        assert outcome.read(self.layout.notice(3, 1)) == found
        return found

    def failure(self, **environment: str) -> Any:
        """The failure of an attempt that has to fail."""
        code, stderr = self.run(**environment)
        found = self.outcome()
        assert (code, stderr) == (1, "")
        assert found.metrics is None and found.failure is not None
        assert found.failure.message in self.files.stderr.read_text()
        return found.failure


def bench(
    root: Path,
    objective: Objective | Callable[..., Any],
    parameters: Mapping[str, Any] | None = None,
) -> Bench:
    layout = Layout.at(root / "out puts")
    name = install(layout, objective)
    atomic.make_directory(layout.attempt(3, 1).root)
    atomic.make_directory(layout.inbox)
    atomic.write_json(layout.parameters(3), {"x": 0.5, "n": 3} if parameters is None else dict(parameters))
    path = manifest.write(layout, Manifest(TOKEN, layout.root, name, ((3, 1),)))
    return Bench(layout, path)


def script_bench(
    root: Path,
    text: str,
    options: Mapping[str, Any] | None = None,
    *,
    name: str = "train.sh",
    parameters: Mapping[str, Any] | None = None,
    mode: int = 0o644,
) -> Bench:
    path = root / name
    path.write_text(text)
    path.chmod(mode)
    return bench(root, script_objective(path, options), parameters)


def unsealed(text: str) -> dict[str, Any]:
    """A document's members as format 1 has them, without a checksum, so that a test may change them."""
    members: dict[str, Any] = json.loads(text)
    del members["crc"]
    return members | {"format": 1}


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def state(pid: int) -> str:
    """A process's state as the kernel shows it: R, S, T for stopped, Z, ...; empty where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return ""
    return text.rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


#: A variable by which a test knows all that one objective has started.
MARKER = "TEST_OBJECTIVE"


def started_with(value: str) -> list[int]:
    """The living processes that have this value in a variable or on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                texts = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if any(value.encode() in text for text in texts):
                found.append(int(entry.name))
    return found
