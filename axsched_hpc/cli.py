"""The command ``axsched``: parses, calls, prints, and ends with an exit code. Only ``run`` imports Ax.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage or a wrong project file, 75 saved and
to be started again.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import click

from axsched_hpc._version import __version__
from axsched_hpc.commands.arguments import DIRECTORY as _DIRECTORY
from axsched_hpc.commands.arguments import JSON
from axsched_hpc.commands.clean import clean
from axsched_hpc.commands.doctor import doctor
from axsched_hpc.commands.export import export
from axsched_hpc.commands.init import init
from axsched_hpc.commands.logs import logs
from axsched_hpc.commands.looking import show, trials
from axsched_hpc.commands.output import confirm, show_json, width
from axsched_hpc.commands.output import show as _show
from axsched_hpc.commands.report import report
from axsched_hpc.commands.requests import (
    add,
    cancel,
    import_evaluations,
    pause,
    resume,
    retry,
    set_numbers,
    stop,
)
from axsched_hpc.commands.run import run
from axsched_hpc.commands.submit import submit
from axsched_hpc.commands.templates import templates
from axsched_hpc.commands.trying import try_
from axsched_hpc.commands.watch import watch
from axsched_hpc.core.errors import AxSchedError, ExperimentLockedError, StorageError
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.best import best_json, best_text
from axsched_hpc.reporting.reading import experiment_at, read_experiment
from axsched_hpc.reporting.records import status_record
from axsched_hpc.reporting.table import status_text

T = TypeVar("T")

_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="axsched")
def cli() -> None:
    """Bayesian optimisation with Ax on a batch cluster.

    DIR is an experiment's directory. Where it is not named it is ./outputs, or else the current directory or
    the nearest one above it that is one.
    """


@cli.command(short_help="Show where every trial stands.")
@_DIRECTORY
@JSON
def status(directory: str | None, as_json: bool) -> None:
    """Show where every trial of the experiment in DIR (default: outputs) stands."""
    reading = read_experiment(directory)
    if as_json:
        show_json(status_record(reading))
        return
    # Where the output is no terminal nothing is cut, so that it can be searched and kept.
    _show(status_text(reading, now=time.time(), width=width() or 10_000))


@cli.command(short_help="Show the best trial, or the Pareto front.")
@_DIRECTORY
@JSON
def best(directory: str | None, as_json: bool) -> None:
    """Show the best trial of the experiment in DIR (default: outputs), or its Pareto front.

    Says whether it satisfies the constraints; where no trial does, which one is nearest to it.
    """
    reading = read_experiment(directory)
    if as_json:
        show_json(best_json(reading))
    else:
        _show(best_text(reading))


@cli.command(short_help="Mend a journal that cannot be read.")
@_DIRECTORY
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
    _show(repair_text(layout, examined))
    if dry_run:
        return
    confirm("Write this as the new journal?", yes=yes)
    _, copy = _on_disk(layout, lambda: mending.repair(layout, say=click.echo))
    click.echo(f"Done. The old journal is kept in {copy}. Start the script again to go on.")


@cli.command(short_help="End the right to drive of a driver that is gone.")
@_DIRECTORY
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
    _show(holder_text(layout, who, now=time.time()))
    if who.alive() and not force:
        raise ExperimentLockedError(
            f"Process {who.pid} is alive on this machine: end it (kill {who.pid}; if that does not help, "
            f"kill -9 {who.pid}), and its jobs go on. To take the experiment from it all the same: --force."
        )
    confirm("Take the experiment from it?", yes=yes)
    _on_disk(layout, lambda: unlocking.unlock(layout, who))
    click.echo("Done. The next driver starts at once.")


cli.add_command(clean)
for _command in (stop, pause, resume, cancel, retry, set_numbers, add, import_evaluations):
    cli.add_command(_command)
cli.add_command(doctor)
cli.add_command(export)
cli.add_command(init)
cli.add_command(logs)
cli.add_command(report)
cli.add_command(run)
cli.add_command(show)
cli.add_command(submit)
cli.add_command(templates)
cli.add_command(trials)
cli.add_command(watch)
cli.add_command(try_)


def _on_disk(layout: Layout, action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        raise StorageError(
            f"{layout.root} cannot be read or written ({error.strerror or error}). Nothing was changed."
        ) from error


def main() -> None:
    """Entry point of the command."""
    # A long journal is a million objects, all of them alive until the end: nothing to collect.
    gc.disable()
    try:
        cli(prog_name="axsched")
    except AxSchedError as error:
        _show(f"axsched: {error}", err=True)
        sys.exit(1)
