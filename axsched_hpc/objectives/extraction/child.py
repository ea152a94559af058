"""Reads an array in a process of its own, which a library may crash without harm to the worker or the driver.

``python -m axsched_hpc.objectives.extraction.child REQUEST`` prints the answer; both are JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from axsched_hpc.objectives.extraction import arrays
from axsched_hpc.objectives.extraction.values import ExtractionError, Pair, shown


def read(kind: str, path: Path, address: str, sem: str | None, which: str | int) -> Pair | None:
    """As :func:`axsched_hpc.objectives.extraction.arrays.read`, in another process.

    Raises
    ------
    ExtractionError, OSError
        As there; or the process crashed.
    """
    request = json.dumps([kind, str(path), address, sem, which])
    # It finds what this process finds, and (-P) nothing else in its directory.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__, request],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = shown(done.stderr.strip().rpartition("\n")[2], 200)
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        raise ExtractionError(
            f"{path} cannot be read: the process that read it ended with {how}"
            + (f" ({said})" if said else ""),
            advice=arrays.DAMAGED,
        )
    # A library may have printed something of its own before.
    return _taken(json.loads(done.stdout.splitlines()[-1]))


def main(request: str) -> dict[str, Any]:
    """The answer to a request."""
    kind, path, address, sem, which = json.loads(request)
    try:
        return {"found": arrays.read(kind, Path(path), address, sem, which)}
    except ExtractionError as error:
        return {"refused": str(error), "advice": error.advice}
    except OSError as error:
        return {"errno": error.errno, "strerror": error.strerror or str(error), "path": path}


def _taken(answer: dict[str, Any]) -> Pair | None:
    if "refused" in answer:
        raise ExtractionError(answer["refused"], advice=answer["advice"])
    if "errno" in answer:
        raise OSError(answer["errno"], answer["strerror"], answer["path"])
    found = answer["found"]
    return None if found is None else (found[0], found[1])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])) + "\n")
