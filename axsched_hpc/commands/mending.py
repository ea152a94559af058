"""``axsched repair`` and ``axsched unlock``: what a person decides where an experiment is stuck."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import click

from axsched_hpc.commands.arguments import DIRECTORY
from axsched_hpc.commands.output import show as echo
from axsched_hpc.core.errors import ExperimentLockedError, StorageError
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import experiment_at

T = TypeVar("T")

_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command()
@DIRECTORY
@_YES
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
def repair(directory: str | None, yes: bool, dry_run: bool) -> None:
    """Mend the journal of the experiment in DIR (default: outputs), where it is damaged.

    Drops the lines that cannot be read, line by line, and takes what they said from the files of the trials,
    as far as it stands there. A copy of the old journal is kept.
    """
    from axsched_hpc.reporting.mending import repair_text
    from axsched_hpc.store import repair as mending

    layout = experiment_at(directory)
    examined = mending.examine(layout)
    if examined.error is None:
        click.echo(f"{layout.journal} reads well; there is nothing to repair.")
        return
    echo(repair_text(layout, examined))
    if dry_run:
        return
    _confirm("Write this as the new journal?", yes)
    _, copy = _on_disk(layout, lambda: mending.repair(layout, say=click.echo))
    click.echo(f"Done. The old journal is kept in {copy}. Start the run again to go on.")


@click.command()
@DIRECTORY
@_YES
@click.option("--force", is_flag=True, help="Even if the driver is alive on this machine.")
def unlock(directory: str | None, yes: bool, force: bool) -> None:
    """Take the experiment in DIR (default: outputs) from its driver, so that another one can start at once.

    For what only a person can judge: a driver on a machine that cannot be reached, a process that cannot be
    ended, a lock that outlives its machine. A driver that is alive all the same notices before it writes
    again, and stops; its jobs go on under the next one.
    """
    from axsched_hpc.reporting.mending import holder_text
    from axsched_hpc.store import unlock as unlocking
    from axsched_hpc.store.holder import holder

    layout = experiment_at(directory)
    who = _on_disk(layout, lambda: holder(layout))
    if who is None or who.ended:
        click.echo(f"Nobody holds {layout.root}; a driver can start at once.")
        return
    echo(holder_text(layout, who, now=time.time()))
    if who.alive() and not force:
        raise ExperimentLockedError(
            f"Process {who.pid} is alive on this machine: end it (kill {who.pid}; if that does not help, "
            f"kill -9 {who.pid}), and its jobs go on. To take the experiment from it all the same: --force."
        )
    _confirm("Take the experiment from it?", yes)
    _on_disk(layout, lambda: unlocking.unlock(layout, who))
    click.echo("Done. The next driver starts at once.")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Use --yes to go ahead without being asked.")
    click.confirm(question, abort=True)


def _on_disk(layout: Layout, action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        raise StorageError(
            f"{layout.root} cannot be read or written ({error.strerror or error}). Nothing was changed."
        ) from error
