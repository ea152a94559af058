"""Processes that save to one file and load from it at once: each load is one whole version, the last wins.

    python -m tests.lease.saves [--rounds 25] DIRECTORY [DIRECTORY]

Four processes save and two load; with two directories, of one file system mounted twice, half use each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from axsched_hpc.store import saving
from tests.lease.kit import ROOT

SAVERS, LOADERS = 4, 2
NAME = "experiment.json"


def version(saver: int, number: int) -> str:
    """A version of the file, which tells whether it is whole; each of another length."""
    filler = str(saver) * (20_000 + 7_000 * saver + 131 * number)
    body = json.dumps({"saver": saver, "number": number, "filler": filler})
    return json.dumps({"body": body, "digest": hashlib.sha256(body.encode()).hexdigest()})


def opened(text: str) -> tuple[int, int]:
    """Who saved this version, and the how manieth of his it is.

    Raises
    ------
    ValueError
        It is not whole.
    """
    outer = json.loads(text)
    if hashlib.sha256(outer["body"].encode()).hexdigest() != outer["digest"]:
        raise ValueError("parts of two versions")
    body = json.loads(outer["body"])
    return body["saver"], body["number"]


def save(path: Path, saver: int, rounds: int) -> None:
    for number in range(rounds):
        saving.save(path, version(saver, number))


def load(path: Path, rounds: int) -> None:
    """Load until all savers have ended, which the standard input tells; no saver's versions go back."""
    newest = [0] * SAVERS
    loads = 0
    os.set_blocking(0, False)
    while True:
        try:
            ended = os.read(0, 1) == b""
        except BlockingIOError:
            ended = False
        saver, number = opened(saving.load(path))
        loads += 1
        if number < newest[saver]:
            raise ValueError(f"version {number} of saver {saver} after its version {newest[saver]}")
        newest[saver] = number
        if ended:
            break
    if number != rounds - 1:
        raise ValueError(f"the last version is {number} of saver {saver}, who saved {rounds}")
    sys.stdout.write(f"{loads}\n")


def run(paths: Sequence[Path], rounds: int) -> list[int]:
    """How many loads there were, by loader.

    Raises
    ------
    RuntimeError
        One of the processes has failed.
    """
    saving.save(paths[0], version(0, 0))
    os.listdir(paths[-1].parent)  # noqa: PTH208  (makes the name known to another mount)

    def start(what: str, number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.lease.saves", "--rounds", str(rounds)),
                *("--process", what, str(number), str(paths[number % len(paths)].parent)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    loaders = [start("load", number) for number in range(LOADERS)]
    savers = [start("save", number) for number in range(SAVERS)]
    counts = []
    for process in [*savers, *loaders]:
        output, error = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(error)
        counts += [int(line) for line in output.split()]
    left = sorted(path.name for path in paths[0].parent.iterdir())
    if left != [f".{NAME}.lock", NAME]:
        raise RuntimeError(f"left behind: {left}")
    # What one has saved the other loads, at once.
    for number in range(rounds):
        saving.save(paths[number % len(paths)], version(0, number))
        if opened(saving.load(paths[(number + 1) % len(paths)])) != (0, number):
            raise RuntimeError(f"version {number} is not seen at once")
    return counts


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.lease.saves", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--process", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIRECTORY")
    asked = parser.parse_args(arguments)
    paths = [directory / NAME for directory in asked.directories]
    if asked.process is None:
        counts = run(paths, asked.rounds)
        sys.stdout.write(
            f"{SAVERS} x {asked.rounds} saves, {sum(counts)} loads: each whole, the last one won\n"
        )
    elif asked.process[0] == "save":
        save(paths[0], int(asked.process[1]), asked.rounds)
    else:
        load(paths[0], asked.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
