"""``axsched doctor``: whether a site is ready. The checks are loaded when they run: the other commands start
as quickly as ever.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType, TracebackType

import click

from axsched_hpc.commands.arguments import examples

#: Columns of a text that goes to no terminal, and the most on one: longer lines are hard to read.
_WIDTH = 100


@click.command(
    epilog=examples(
        "axsched doctor", "axsched doctor --partition gpu /scratch/me", "axsched doctor --no-job --json"
    ),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@click.option("--profile", metavar="NAME|PATH", help="The site's settings, as trials will have them.")
@click.option("--partition", metavar="NAME", help="The partition to check; default: the site's.")
@click.option("--account", metavar="NAME", help="The account to check; default: yours.")
@click.option("--no-job", is_flag=True, help="Submit no job.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    default=120.0,
    help="How long to wait for the job to start; default: 120.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def doctor(
    directory: str | None,
    profile: str | None,
    partition: str | None,
    account: str | None,
    no_job: bool,
    wait: float,
    as_json: bool,
) -> None:
    """Check whether experiments run well here, with DIR (default: outputs, or the current directory) as the
    place where they live.

    Looks at this machine, at Slurm, at the directory, and at one small job that goes to a compute node and
    back; says what to change. Nothing is left behind. The exit code is 1 where a problem was found.
    """
    from axsched_hpc.doctor.examine import examine
    from axsched_hpc.doctor.finding import Group, found_problem, group_text, summary
    from axsched_hpc.doctor.finding import as_json as to_json
    from axsched_hpc.doctor.wanted import Wanted

    place = Path(directory) if directory is not None else Path("outputs")
    if directory is None and not place.is_dir():
        place = Path()
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns) if sys.stdout.isatty() else _WIDTH
    wanted = Wanted.of(profile, partition, account)
    options = {"--profile": profile, "--partition": partition, "--account": account}
    named = next((name for name, value in options.items() if value is not None), "")
    groups: list[Group] = []
    # What is ended by the batch system or a closed terminal cancels its job, too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with _Progress() as progress:
        for group in examine(
            place.expanduser().absolute(),
            wanted,
            named=named,
            job=not no_job,
            wait=wait,
            say=progress.say,
        ):
            groups.append(group)
            progress.clear()
            if not as_json:
                _echo(f"{group_text(group, width)}\n")
    _echo(json.dumps(to_json(groups), indent=1) if as_json else summary(groups))
    sys.exit(1 if found_problem(groups) else 0)


class _Progress:
    """One line on the terminal that tells what is waited for; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._shown = ""

    def __enter__(self) -> _Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def say(self, text: str) -> None:
        """Show a text in the place of the last one."""
        if self._on and text != self._shown:
            line = text[: max(10, shutil.get_terminal_size().columns - 4)]
            sys.stderr.write(f"\r\x1b[K{line} ...")
            sys.stderr.flush()
            self._shown = text

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = ""


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _echo(text: str) -> None:
    click.echo(text.encode(errors="backslashreplace").decode())
