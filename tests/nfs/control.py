"""The command `tests/nfs/run`."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from tests.nfs.guest import DIRECTORY_VARIABLE, VERSIONS, Guest, NfsError, state_directory

#: As timeout(1) and env(1) have it for a failure of their own.
_FAILED = 125


def main(argv: Sequence[str]) -> int:
    default = Guest()
    parser = argparse.ArgumentParser(
        prog="tests/nfs/run",
        description="Runs COMMAND in a small machine of its own whose hosts alpha and beta mount one NFS "
        "export, $NFS_A and $NFS_B, each with its own NFS client. This machine's files are there and can be "
        "changed; the export is empty and is gone afterwards.",
        epilog="In the guest: `on-host alpha COMMAND` runs a command on a host; `host-fate alpha FATE` "
        "freezes it, takes it off the network, kills its commands (`host-fate alpha help` lists all). From "
        "Python: tests.nfs.hosts. $NFS_EXPORT is what the server has. The exit code is COMMAND's, or "
        f"{_FAILED} with a message that starts with tests/nfs/run. State lies in ${DIRECTORY_VARIABLE} "
        f"(now {state_directory()}).",
    )
    parser.add_argument("--version", choices=VERSIONS, default=default.version, help="of NFS (%(default)s)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=default.timeout,
        metavar="SECONDS",
        help="then it is switched off (%(default)g)",
    )
    parser.add_argument("--size", type=_size, default=default.size, help="of the export (%(default)s)")
    parser.add_argument("--memory", type=_size, default=default.memory, help="of the machine (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    arguments = parser.parse_args(argv)
    if not arguments.command:
        parser.error("COMMAND is missing.")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    guest = Guest(arguments.version, arguments.timeout, arguments.size, arguments.memory)
    try:
        return guest.run(arguments.command, sys.stdout.buffer, sys.stderr.buffer)
    except NfsError as error:
        sys.stderr.write(f"tests/nfs/run: {error}\n")
        return _FAILED


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[KMG]", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no size like 64M or 2G.")
    return text


def _terminated(number: int, frame: object) -> NoReturn:
    # The guest is switched off on the way out.
    sys.exit(128 + number)
