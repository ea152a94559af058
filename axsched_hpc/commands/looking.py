"""``axsched trials`` and ``axsched show``: a table of the trials, and all about one of them."""

from __future__ import annotations

import time

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, TRIAL, States, Words, examples
from axsched_hpc.commands.output import show as echo
from axsched_hpc.commands.output import show_json, width
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment, trial_of

#: Trials without a result, by whoever's fault.
_FAILED = (TrialState.FAILED, TrialState.ABANDONED)


@click.command(
    short_help="List the trials: parameters, metrics, reasons.",
    epilog=examples(
        "axsched trials --failed",
        "axsched trials --state completed --sort loss | head -4",
        "axsched trials --sort -ran --columns trial,ran,node,job",
    ),
)
@DIRECTORY
@click.option("--state", "states", metavar="STATE,...", type=States(), help="Only trials in these states.")
@click.option("--failed", is_flag=True, help="Only trials that failed or were abandoned.")
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
    states: tuple[TrialState, ...] | None,
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
        which = f"in state {' or '.join(each for each in TrialState if each in wanted)}" if wanted else "yet"
        echo(f"{reading.layout.root}: no trial {which}.", err=True)
    elif room is None:
        echo("\n".join(listing.lines_in_full(found, shown)))
    else:
        echo("\n".join(listing.fitted(found, shown, room, all_of=names is not None)))


@click.command(
    short_help="Show all about one trial: attempts, reasons, files.",
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
