"""The commands that look at an experiment: ``axsched status``, ``best``, ``trials`` and ``show``."""

from __future__ import annotations

import time

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, TRIAL, States, Words, examples
from axsched_hpc.commands.output import show as echo
from axsched_hpc.commands.output import show_json, width
from axsched_hpc.core.states import WORDS
from axsched_hpc.reporting.reading import read_experiment, trial_of

#: Trials without a result, which no person wanted so.
_FAILED = ("failed", "abandoned")


@click.command(epilog=examples("axsched status", "axsched status outputs/bowl --json"))
@DIRECTORY
@JSON
def status(directory: str | None, as_json: bool) -> None:
    """Show where every trial of the experiment in DIR (default: outputs) stands."""
    from axsched_hpc.reporting.records import status_record
    from axsched_hpc.reporting.table import status_text

    reading = read_experiment(directory)
    if as_json:
        show_json(status_record(reading))
        return
    # Where the output is no terminal nothing is cut, so that it can be searched and kept.
    echo(status_text(reading, now=time.time(), width=width() or 10_000))


@click.command(epilog=examples("axsched best", "axsched best --json | jq .best"))
@DIRECTORY
@JSON
def best(directory: str | None, as_json: bool) -> None:
    """Show the best trial of the experiment in DIR (default: outputs), or its Pareto front.

    Says whether it satisfies the constraints; where no trial does, which one is nearest to it.
    """
    from axsched_hpc.reporting.best import best_json, best_text

    reading = read_experiment(directory)
    if as_json:
        show_json(best_json(reading))
    else:
        echo(best_text(reading))


@click.command(
    epilog=examples(
        "axsched trials --failed",
        "axsched trials --state completed --sort loss | head -4",
        "axsched trials --sort -ran --columns trial,ran,node,job",
    ),
)
@DIRECTORY
@click.option("--state", "states", metavar="STATE,...", type=States(), help="Only trials in these states.")
@click.option("--failed", is_flag=True, help="Only trials that failed or were given up.")
@click.option(
    "--sort",
    metavar="COLUMN,...",
    type=Words(),
    default=(),
    help="Sort by these columns; -COLUMN for falling values.",
)
@click.option(
    "--columns",
    "names",
    metavar="COLUMN,...",
    type=Words(),
    help="Show these columns, in this order.",
)
@JSON
def trials(
    directory: str | None,
    states: tuple[str, ...] | None,
    failed: bool,
    sort: tuple[str, ...],
    names: tuple[str, ...] | None,
    as_json: bool,
) -> None:
    """List the trials of the experiment in DIR (default: outputs), one a line.

    On a terminal the table fits its width; elsewhere nothing is cut, numbers have all their digits, and there
    are tabs between the columns.
    """
    from axsched_hpc.reporting import trials as listing
    from axsched_hpc.reporting.records import trials_record

    if as_json and names is not None:
        raise click.UsageError("--columns is for the table; --json has everything.")
    reading = read_experiment(directory)
    columns = listing.columns(reading, now=time.time())
    shown = listing.usual(columns) if names is None else listing.named(columns, names)
    wanted = {*(states or ()), *(_FAILED if failed else ())}
    found = listing.chosen(reading, columns, wanted, sort)
    room = width()
    if as_json:
        show_json(trials_record(reading, found))
    elif not found:
        which = f"in state {' or '.join(each for each in WORDS if each in wanted)}" if wanted else "yet"
        echo(f"{reading.layout.root}: no trial {which}.", err=True)
    elif room is None:
        echo("\n".join(listing.lines_in_full(found, shown)))
    else:
        echo("\n".join(listing.fitted(found, shown, room, all_of=names is not None)))


@click.command(
    epilog=examples("axsched show 7", "axsched show 7 outputs/bowl", "axsched show 7 --json"),
)
@TRIAL
@DIRECTORY
@JSON
def show(trial: int, directory: str | None, as_json: bool) -> None:
    """Show all about TRIAL of the experiment in DIR (default: outputs).

    Its parameters, metrics and curve; of each attempt its job, node and times, why it failed and what to do,
    what it asked for and used, the last lines of its stderr, and where its files are.
    """
    from axsched_hpc.reporting import show as detail
    from axsched_hpc.reporting.evidence import look

    reading = read_experiment(directory)
    found = trial_of(reading, trial)
    evidence = {each.number: look(reading.layout.attempt(trial, each.number)) for each in found.attempts}
    if as_json:
        show_json(detail.show_record(reading, found, evidence))
        return
    echo(detail.show_text(reading, found, evidence, now=time.time(), width=width()))
