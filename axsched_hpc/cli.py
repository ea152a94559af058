"""The command ``axsched``: parses, calls, prints, and ends with an exit code. Only ``run`` imports Ax.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage or a wrong project file, 75 saved and
to be started again.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

import click

from axsched_hpc._version import __version__
from axsched_hpc.core.errors import AxSchedError

#: Each command: its place in axsched_hpc.commands, as module:attribute, and what `axsched --help` says of it.
COMMANDS = {
    "add": ("requests:add", "Add points to be run next."),
    "best": ("looking:best", "Show the best trial, or the Pareto front."),
    "cancel": ("requests:cancel", "Cancel trials: they end without a result."),
    "clean": ("clean:clean", "Remove working files that are of no more use."),
    "doctor": ("doctor:doctor", "Check a site: Slurm, the directory, a job's round trip."),
    "export": ("export:export", "Write the trials as CSV, JSON or Parquet."),
    "help": ("help:show_help", "Show the help of a command."),
    "import": ("requests:import_evaluations", "Take in evaluations that there are already."),
    "init": ("init:init", "Write a project file to begin with."),
    "logs": ("logs:logs", "Print what a trial has written, or follow it."),
    "pause": ("requests:pause", "Submit nothing new; what runs goes on."),
    "repair": ("mending:repair", "Mend a journal that cannot be read."),
    "report": ("report:report", "Write a report: figures and tables in one HTML file."),
    "resume": ("requests:resume", "Go on after a pause."),
    "retry": ("requests:retry", "Give failed or cancelled trials another attempt."),
    "run": ("run:run", "Run an experiment that stands in a file."),
    "set": ("requests:set_numbers", "Change the budget, or how many trials run at a time."),
    "show": ("looking:show", "Show all about one trial: attempts, reasons, files."),
    "status": ("looking:status", "Show where every trial stands."),
    "stop": ("requests:stop", "End the run, and keep all that it has."),
    "submit": ("submit:submit", "Run a script's driver as a job."),
    "templates": ("templates:templates", "Templates of batch scripts and profiles."),
    "trials": ("looking:trials", "List the trials: parameters, metrics, reasons."),
    "try": ("trying:try_", "Run one trial, and show everything it did."),
    "unlock": ("mending:unlock", "End the right to drive of a driver that is gone."),
    "watch": ("watch:watch", "Watch a run: best, slots, queue, failures, end."),
}


#: Commands that print what a journal tells, and change nothing.
_LOOKS = {"best", "logs", "show", "status", "trials"}

#: Why printing fails where the output is a file; others are not about printing.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}

#: What `run` needs and no look does: it may be missing where only looks are wanted.
_NEEDED = {"ax", "botorch", "cloudpickle", "filelock", "jinja2", "rich", "submitit", "sympy", "torch", "yaml"}


class _Later(click.Command):
    """A command whose module is imported when it is used: a look at an experiment loads no others."""

    def __init__(self, name: str, where: str, words: str) -> None:
        super().__init__(name, short_help=words)
        self._where = where

    def load(self) -> click.Command:
        """The command itself."""
        module, _, attribute = self._where.partition(":")
        command: click.Command = getattr(import_module(f"axsched_hpc.commands.{module}"), attribute)
        return command


class _Group(click.Group):
    """Lists its commands from the table, also to a shell that completes, and loads the one that is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, _Later) else command, rest


@click.group(
    cls=_Group,
    commands={name: _Later(name, *told) for name, told in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="axsched")
def cli() -> None:
    """Bayesian optimisation with Ax on a batch cluster.

    DIR is an experiment's directory. Where it is not named it is ./outputs, or else the current directory or
    the nearest one above it that is one.
    """


def main() -> None:
    """Entry point of the command."""
    try:
        cli(prog_name="axsched")
    except SystemExit as ended:
        if _LOOKS.intersection(sys.argv[1:2]) and isinstance(ended.code, int):
            # Nothing is left to do, all is printed: to free a million objects one by one would take a while.
            os._exit(ended.code)
        raise
    except AxSchedError as error:
        from axsched_hpc.commands.output import show

        show(f"axsched: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        click.echo(f"axsched: The output cannot be written ({error.strerror}).", err=True)
        # What it still holds cannot be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        click.echo(
            f"axsched: This command needs {error.name}, which is not installed in {sys.prefix}. "
            "Install axsched-hpc with all that it needs: pip install axsched-hpc",
            err=True,
        )
        sys.exit(1)
