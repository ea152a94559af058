"""The command ``axsched``: parses, calls, prints, and ends with an exit code. Never imports Ax.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage.
"""

from __future__ import annotations

import shutil
import sys
import time

import click

from axsched_hpc._version import __version__
from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.reporting.table import best_text, status_text

_DIRECTORY = click.argument("directory", metavar="[DIR]", default="outputs", type=click.Path())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="axsched")
def cli() -> None:
    """Bayesian optimisation with Ax on a batch cluster."""


@cli.command(short_help="Show where every trial stands.")
@_DIRECTORY
def status(directory: str) -> None:
    """Show where every trial of the experiment in DIR (default: outputs) stands."""
    # Where the output is no terminal nothing is cut, so that it can be searched and kept.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    click.echo(status_text(read_experiment(directory), now=time.time(), width=width))


@cli.command(short_help="Show the best trial, or the Pareto front.")
@_DIRECTORY
def best(directory: str) -> None:
    """Show the best trial of the experiment in DIR (default: outputs), or its Pareto front."""
    click.echo(best_text(read_experiment(directory)))


def main() -> None:
    """Entry point of the command."""
    try:
        cli(prog_name="axsched")
    except AxSchedError as error:
        click.echo(f"axsched: {error}", err=True)
        sys.exit(1)
