"""The commands that change a run under way, from any host. They exit with 1 where the driver refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from axsched_hpc.commands.arguments import DIRECTORY, JSON, PointsAndDirectory, TrialsAndDirectory, examples
from axsched_hpc.core.errors import ParameterError, did_you_mean, plural
from axsched_hpc.core.evaluations import refusal
from axsched_hpc.core.states import RequestKind
from axsched_hpc.reporting.reading import (
    driven,
    experiment_at,
    parameter_names,
    read_experiment,
    trial_of,
)

Function = TypeVar("Function", bound=Callable[..., Any])

_WAIT = click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="The most for the driver's answer.",
)


def _answered(function: Function) -> Function:
    """The options of all these commands."""
    return _WAIT(JSON(function))


@click.command(
    epilog=examples("axsched stop", "axsched stop --cancel", "axsched stop outputs/bowl --wait 60"),
)
@DIRECTORY
@click.option("--cancel", is_flag=True, help="Cancel what is under way, too.")
@_answered
def stop(directory: str | None, cancel: bool, wait: float, as_json: bool) -> None:
    """End the run of the experiment in DIR (default: outputs) when what is under way has ended.

    Its driver submits nothing new from then on, saves, and ends in good order. Start it again to go on. Where
    no driver is at work there is nothing to stop, and no later run is stopped.
    """
    from axsched_hpc.commands import asking

    reading = read_experiment(directory)
    if reading.holder is None or not driven(reading, now=time.time()):
        asking.nothing_runs(reading, as_json=as_json)
        return
    driver = reading.ledger.driver
    run = driver.run if driver is not None else None
    wanted = asking.change(RequestKind.STOP, cancel=cancel, epoch=reading.holder.epoch, run=run)
    asking.ask(reading, [wanted], wait=wait, as_json=as_json)


@click.command(
    epilog=examples("axsched cancel 7", "axsched cancel 7 8 12 outputs/bowl"),
)
@click.argument("words", metavar="TRIAL... [DIR]", nargs=-1, required=True, type=TrialsAndDirectory())
@_answered
def cancel(words: Sequence[int | str], wait: float, as_json: bool) -> None:
    """Cancel TRIALs of the experiment in DIR (default: outputs), with their jobs. The run goes on.

    A cancelled trial is abandoned: Ax does not suggest its point again. axsched retry takes that back.
    """
    _ask_of_trials(RequestKind.CANCEL, words, wait=wait, as_json=as_json)


@click.command(
    epilog=examples("axsched retry 7", "axsched retry 7 8 --json"),
)
@click.argument("words", metavar="TRIAL... [DIR]", nargs=-1, required=True, type=TrialsAndDirectory())
@_answered
def retry(words: Sequence[int | str], wait: float, as_json: bool) -> None:
    """Give TRIALs of the experiment in DIR (default: outputs) that failed or were abandoned another attempt.

    The number of the trial stays; what its earlier attempts have left stays, too, with its checkpoint.
    """
    _ask_of_trials(RequestKind.RETRY, words, wait=wait, as_json=as_json)


def _ask_of_trials(kind: RequestKind, words: Sequence[int | str], *, wait: float, as_json: bool) -> None:
    from axsched_hpc.commands import asking

    numbers, directory = TrialsAndDirectory.apart(words)
    reading = read_experiment(directory)
    for number in numbers:
        trial_of(reading, number)
    asking.ask(reading, [asking.change(kind, trial=number) for number in numbers], wait=wait, as_json=as_json)


@click.command(
    epilog=examples("axsched pause", "axsched pause outputs/bowl"),
)
@DIRECTORY
@_answered
def pause(directory: str | None, wait: float, as_json: bool) -> None:
    """Let the experiment in DIR (default: outputs) submit nothing new, until axsched resume.

    What is under way goes on. A driver that is started again is still paused.
    """
    _ask(RequestKind.PAUSE, directory, wait=wait, as_json=as_json)


@click.command(epilog=examples("axsched resume"))
@DIRECTORY
@_answered
def resume(directory: str | None, wait: float, as_json: bool) -> None:
    """Let the experiment in DIR (default: outputs) go on after axsched pause."""
    _ask(RequestKind.RESUME, directory, wait=wait, as_json=as_json)


@click.command(
    "set",
    epilog=examples("axsched set --trials 40", "axsched set --max-parallel 16 outputs/bowl"),
)
@DIRECTORY
@click.option("--trials", metavar="N", type=click.IntRange(min=1), help="Trials of the experiment in all.")
@click.option("--max-parallel", metavar="N", type=click.IntRange(min=1), help="Attempts under way at a time.")
@_answered
def set_numbers(
    directory: str | None, trials: int | None, max_parallel: int | None, wait: float, as_json: bool
) -> None:
    """Change the budget of the experiment in DIR (default: outputs), or how many trials it runs at a time.

    The number holds until the script or file says another one than it does now. Trials that came with their
    results do not count. What is under way is not cancelled where a number is lowered.
    """
    if trials is None and max_parallel is None:
        raise click.UsageError("There is nothing to set: give --trials, --max-parallel, or both.")
    _ask(RequestKind.SET, directory, wait=wait, as_json=as_json, trials=trials, max_parallel=max_parallel)


@click.command(
    epilog=examples("axsched add x=0.5 kind=relu", "axsched add --from points.csv outputs/bowl"),
)
@click.argument("words", metavar="[NAME=VALUE]... [DIR]", nargs=-1, type=PointsAndDirectory())
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Points in a CSV or JSON file.",
)
@_answered
def add(words: Sequence[tuple[str, str] | str], file: str | None, wait: float, as_json: bool) -> None:
    """Let points be run before Ax is asked for any, in the experiment in DIR (default: outputs).

    One point by NAME=VALUE for each parameter; or those of FILE: CSV with a column for each parameter, or a
    JSON list of objects. They count towards the budget.
    """
    from axsched_hpc.commands import points

    given, directory = PointsAndDirectory.apart(words)
    if bool(given) == (file is not None):
        raise click.UsageError("Give the point's NAME=VALUE pairs, or its file with --from FILE.")
    layout = experiment_at(directory)
    named = points.read(Path(file)) if file is not None else [("the point", dict(given))]
    _refuse_unknown(named, parameter_names(layout))
    _ask(
        RequestKind.ADD,
        directory,
        wait=wait,
        as_json=as_json,
        points=tuple(point for _, point in named),
        places=tuple(place for place, _ in named),
        source=file,
    )


@click.command(
    "import",
    epilog=examples("axsched import measured.csv", "axsched import ../earlier/outputs"),
)
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True))
@DIRECTORY
@click.option("--skip-bad", is_flag=True, help="Take the good ones where some cannot be used.")
@_answered
def import_evaluations(
    source: str, directory: str | None, skip_bad: bool, wait: float, as_json: bool
) -> None:
    """Take the evaluations of SOURCE into the experiment in DIR (default: outputs), as completed trials.

    SOURCE is a CSV file, an Ax JSON, or the directory of an earlier experiment. One that is there already is
    not added again. They do not count towards the budget.
    """
    from axsched_hpc.commands import points

    path = Path(source).absolute()
    text = None
    if path.is_dir():
        experiment_at(path)
    else:
        text = points.text_of(path)
    _ask(
        RequestKind.IMPORT,
        directory,
        wait=wait,
        as_json=as_json,
        source=str(path) if text is None else source,
        text=text,
        skip_bad=skip_bad,
    )


def _ask(kind: RequestKind, directory: str | None, *, wait: float, as_json: bool, **fields: Any) -> None:
    from axsched_hpc.commands import asking

    asking.ask(read_experiment(directory), [asking.change(kind, **fields)], wait=wait, as_json=as_json)


def _refuse_unknown(points: Sequence[tuple[str, Mapping[str, Any]]], known: Sequence[str] | None) -> None:
    """Refuse names that no parameter has, where it is known which there are."""
    if known is None:
        return
    bad = [
        f"{place}: there is no parameter {name!r}.{did_you_mean(name, known)}"
        for place, point in points
        for name in point
        if name not in known
    ]
    if bad:
        raise ParameterError(refusal(plural(len(points), "point"), bad, "None was added."))
