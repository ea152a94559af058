"""``axsched repair`` and ``axsched unlock``: what a person decides where an experiment is stuck."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, examples
from axsched_hpc.commands.output import confirm, show_json
from axsched_hpc.commands.output import show as echo
from axsched_hpc.core.errors import ExperimentLockedError, StorageError
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.reading import experiment_at

T = TypeVar("T")

_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(epilog=examples("axsched repair --dry-run", "axsched repair outputs/bowl --yes"))
@DIRECTORY
@_YES
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@JSON
def repair(directory: str | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Mend the journal of the experiment in DIR (default: outputs), where it is damaged.

    Drops the lines that cannot be read, line by line, and takes what they said from the files of the trials,
    as far as it stands there. A copy of the old journal is kept.
    """
    from axsched_hpc.reporting.mending import repair_record, repair_text
    from axsched_hpc.store import repair as mending

    _refuse_to_ask(as_json, yes or dry_run, "--yes to repair, or --dry-run to see")
    layout = experiment_at(directory)
    examined = mending.examine(layout)
    copy: Path | None = None
    if examined.error is None:
        if not as_json:
            click.echo(f"{layout.journal} reads well; there is nothing to repair.")
    else:
        if not as_json:
            echo(repair_text(layout, examined))
        if not dry_run:
            confirm("Write this as the new journal?", yes=yes)
            _, copy = _on_disk(
                layout, lambda: mending.repair(layout, say=lambda text: echo(text, err=as_json))
            )
            if not as_json:
                click.echo(f"Done. The old journal is kept in {copy}. Start the run again to go on.")
    if as_json:
        show_json(repair_record(layout, examined, copy))


@click.command(epilog=examples("axsched unlock", "axsched unlock outputs/bowl --yes"))
@DIRECTORY
@_YES
@click.option("--force", is_flag=True, help="Even if the driver is alive on this machine.")
@JSON
def unlock(directory: str | None, yes: bool, force: bool, as_json: bool) -> None:
    """Take the experiment in DIR (default: outputs) from its driver, so that another one can start at once.

    For what only a person can judge: a driver on a machine that cannot be reached, a process that cannot be
    ended, a lock that outlives its machine. A driver that is alive all the same notices before it writes
    again, and stops; its jobs go on under the next one.
    """
    from axsched_hpc.reporting.mending import holder_text, unlock_record
    from axsched_hpc.store import unlock as unlocking
    from axsched_hpc.store.holder import holder

    _refuse_to_ask(as_json, yes, "--yes to unlock")
    layout = experiment_at(directory)
    who = _on_disk(layout, lambda: holder(layout))
    if who is None or who.ended:
        if as_json:
            show_json(unlock_record(layout, None))
        else:
            click.echo(f"Nobody holds {layout.root}; a driver can start at once.")
        return
    if not as_json:
        echo(holder_text(layout, who, now=time.time()))
    if who.alive() and not force:
        raise ExperimentLockedError(
            f"Process {who.pid} is alive on this machine: end it (kill {who.pid}; if that does not help, "
            f"kill -9 {who.pid}), and its jobs go on. To take the experiment from it all the same: --force."
        )
    confirm("Take the experiment from it?", yes=yes)
    _on_disk(layout, lambda: unlocking.unlock(layout, who))
    if as_json:
        show_json(unlock_record(layout, who))
    else:
        click.echo("Done. The next driver starts at once.")


def _refuse_to_ask(as_json: bool, settled: bool, how: str) -> None:
    if as_json and not settled:
        raise click.UsageError(f"With --json nothing is asked. Use {how}.")


def _on_disk(layout: Layout, action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        raise StorageError(
            f"{layout.root} cannot be read or written ({error.strerror or error}). Nothing was changed."
        ) from error
