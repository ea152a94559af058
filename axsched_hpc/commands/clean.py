"""``axsched clean``: the working files of an experiment that are of no more use."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, examples
from axsched_hpc.commands.output import confirm, show, show_json
from axsched_hpc.core.errors import ExperimentLockedError, StorageError, plural
from axsched_hpc.reporting.reading import Reading, driven, read_experiment

if TYPE_CHECKING:
    from axsched_hpc.loop.cleaning import Asked, Piece

#: Of the object that is printed.
FORMAT = 1

_SHOWN = 5


@click.command(
    epilog=examples(
        "axsched clean --dry-run",
        "axsched clean --failed --work --yes",
        "axsched clean --images",
    ),
)
@DIRECTORY
@click.option("--failed", is_flag=True, help="Also what is left of failed and abandoned trials.")
@click.option("--work", is_flag=True, help="Also working directories, with what the objective left there.")
@click.option("--images", is_flag=True, help="Also prepared container images.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
def clean(
    directory: str | None, failed: bool, work: bool, images: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove the working files of the experiment in DIR (default: outputs) that are of no more use.

    These are the logs and checkpoints of completed and early stopped trials, what their batches were
    submitted with, and temporary files of killed processes. Parameters, metrics, curves, outcomes and the
    journal always stay, and so does, without --failed, all that failed trials have left. A driver does the
    same by itself as trials complete, unless it is told not to.
    """
    from axsched_hpc.loop.cleaning import Asked, remove

    if as_json and not (dry_run or yes):
        raise click.UsageError("With --json nothing is asked. Use --yes to remove, or --dry-run to see.")
    asked = Asked(failed, work, images)
    reading, found = _look(directory, asked)
    problems = []
    if not as_json:
        show(_text(reading, found))
    if found and not dry_run:
        confirm("Remove them?", yes=yes)
        # Some time may have passed, in which a driver was started.
        reading, found = _look(directory, asked)
        problems = remove(reading.layout, found, reading.ledger)
    if as_json:
        show_json(_record(reading, found, removed=not dry_run))
    elif found and not dry_run:
        click.echo("Done.")
    if problems:
        names = "; ".join(
            f"{path} ({getattr(error, 'strerror', None) or error})" for path, error in problems[:_SHOWN]
        )
        raise StorageError(f"{plural(len(problems), 'path')} could not be removed: {names}.")


def _look(directory: str | None, asked: Asked) -> tuple[Reading, list[Piece]]:
    from axsched_hpc.loop.cleaning import pieces

    reading = read_experiment(directory)
    _refuse_in_use(reading, asked)
    try:
        return reading, pieces(reading.layout, reading.ledger, asked)
    except OSError as error:
        raise StorageError(
            f"{error.filename or reading.layout.root} cannot be read ({error.strerror or error}). "
            "Nothing was removed."
        ) from error


def _refuse_in_use(reading: Reading, asked: Asked) -> None:
    """Refuse what somebody may need now: jobs their images, a driver what it may try again.

    Raises
    ------
    ExperimentLockedError
        It is asked for.
    """
    active = len(reading.ledger.active)
    if asked.images and active:
        raise ExperimentLockedError(
            f"{plural(active, 'attempt')} of {reading.layout.root} {'is' if active == 1 else 'are'} under "
            "way, and may run in the images. Nothing was removed. Wait for their end, or leave out --images."
        )
    if (asked.images or asked.failed) and driven(reading, now=time.time()):
        who = reading.holder
        raise ExperimentLockedError(
            f"A driver is at work in {reading.layout.root}"
            + (f" (process {who.pid} on {who.host})" if who is not None and who.host else "")
            + ". Nothing was removed. Wait for its end, or leave out --failed and --images: what "
            "completed trials have left can go at any time."
        )


def _text(reading: Reading, found: list[Piece]) -> str:
    from axsched_hpc.loop.cleaning import KINDS

    if not found:
        return f"{reading.layout.root}: there is nothing to remove."
    files, sizes = _counted(found)
    rows = [(kind, f"{files[kind]} files", _size(sizes[kind]), KINDS[kind]) for kind in KINDS if files[kind]]
    rows.append(("all", f"{files.total()} files", _size(sizes.total()), ""))
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    return "\n".join([f"{reading.layout.root}:", *lines])


def _record(reading: Reading, found: list[Piece], *, removed: bool) -> dict[str, Any]:
    files, sizes = _counted(found)
    return {
        "format": FORMAT,
        "directory": str(reading.layout.root),
        "removed": removed,
        "files": files.total(),
        "bytes": sizes.total(),
        "kinds": [{"kind": kind, "files": files[kind], "bytes": sizes[kind]} for kind in files],
    }


def _counted(found: list[Piece]) -> tuple[Counter[str], Counter[str]]:
    files, sizes = Counter[str](), Counter[str]()
    for piece in found:
        files[piece.kind] += piece.files
        sizes[piece.kind] += piece.size
    return files, sizes


def _size(number: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.0f} {units[0]}" if units[0] == "B" or number >= 100 else f"{number:.1f} {units[0]}"
