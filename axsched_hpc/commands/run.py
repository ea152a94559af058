"""``axsched run``: an experiment that stands in a file, without a script."""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from axsched_hpc.commands.arguments import JSON, examples
from axsched_hpc.commands.output import confirm, show, show_json
from axsched_hpc.core.errors import ObjectiveError, plural
from axsched_hpc.core.sizes import time_text
from axsched_hpc.io import requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.records import FORMAT

if TYPE_CHECKING:
    from axsched_hpc.core.ledger import Ledger
    from axsched_hpc.project.model import Project
    from axsched_hpc.scheduler.scheduler import AxScheduler

log = logging.getLogger("axsched_hpc")

#: The file where none is named.
DEFAULT_FILE = "axsched.yaml"

#: The most trials that a dry run shows: each costs Ax some time.
_SHOWN = 5


@click.command(
    epilog=examples("axsched run", "axsched run --dry-run", "axsched run spring.yaml --json > best.json"),
)
@click.argument("file", metavar="[FILE]", default=DEFAULT_FILE, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Show the first trials and their job, and run nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on with a changed objective.")
@click.option("--schema", is_flag=True, help="Print the file's JSON Schema, for editors.")
@JSON
def run(file: str, dry_run: bool, yes: bool, schema: bool, as_json: bool) -> None:
    """Run the experiment that FILE (default: axsched.yaml) describes, up to its budget.

    The file is checked as a whole before anything starts. Run it again after a stop, or with a larger budget,
    to go on. With --json its end is what axsched best --json prints, and all else goes to standard error.
    The exit code is 2 where the file is wrong, and 75 where a job's time was nearly over.
    """
    # Here, since every other command would pay for it.
    from axsched_hpc.project import schema as schemas
    from axsched_hpc.project.reading import ProjectError, load

    if schema:
        click.echo(schemas.shipped(), nl=False)
        return
    path = Path(file)
    try:
        project = load(path)
        os.chdir(path.absolute().parent)
        function = _function(project, file)
    except ProjectError as error:
        show(str(error), err=True)
        sys.exit(2)
    # What Ax's parts warn each other of is nothing that a file could change.
    warnings.filterwarnings("ignore", module=r"(ax|botorch|gpytorch|linear_operator|torch)\.")
    with in_words_of_the_file(_command_line(file)):
        if dry_run:
            planned = _planned(project)
            if as_json:
                show_json(planned)
            else:
                _show(project, planned)
        else:
            _run(project, function, file, yes=yes, as_json=as_json)


# ---------------------------------------------------------------- running


def _run(
    project: Project, function: Callable[..., Any] | None, file: str, *, yes: bool, as_json: bool
) -> None:
    layout = Layout.at(project.config["job_output_dir"])
    before = _so_far(layout)
    spent = _spent(project, before)
    # What is under way is collected in any case, and requests are answered.
    if spent is not None and before is not None and not (before.active or any(requests.waiting(layout))):
        click.echo(f"{layout.root} {spent}\n", err=as_json)
        _print_best(layout, as_json=as_json)
        return
    if before is not None and spent is None and not yes:
        _ask_about_objective(project, function, layout, before, file, ask=not as_json)
    left = None
    if project.seconds is not None:
        left = max(0.0, project.seconds - (0.0 if before is None else before.worked))
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    rounds = bool(project.config.get("synchronous", True))
    with _scheduler(project) as scheduler:
        scheduler._again = f"start `{_command_line(file)}` again"
        scheduler._set_objective(objective_of(project, function))
        scheduler.run_to(project.trials, timeout=left, synchronous=rounds)
    click.echo(err=as_json)
    after = _so_far(layout)
    if after is not None and not _has_all(project, after) and (spent := _spent(project, after)):
        click.echo(f"{layout.root} {spent}\n", err=as_json)
    _print_best(layout, as_json=as_json)


def _spent(project: Project, ledger: Ledger | None) -> str | None:
    """Which part of the budget is spent, as the rest of a sentence; None where some of both is left."""
    if ledger is None:
        return None
    if _has_all(project, ledger):
        trials = plural(ledger.changes.total(project.trials), "trial")
        return f"has its {trials} already. Raise budget.trials to go on."
    if project.seconds is not None and ledger.worked >= project.seconds:
        return (
            f"has run for {time_text(ledger.worked)}, and budget.time is {time_text(project.seconds)}. "
            "Raise budget.time to go on."
        )
    return None


def _has_all(project: Project, ledger: Ledger) -> bool:
    return not ledger.waiting and ledger.own >= ledger.changes.total(project.trials)


def _ask_about_objective(
    project: Project,
    function: Callable[..., Any] | None,
    layout: Layout,
    before: Ledger,
    file: str,
    *,
    ask: bool,
) -> None:
    """Ask before going on with another objective than that of earlier trials.

    Raises
    ------
    ObjectiveError
        It is another one, and there is nobody to ask.
    click.Abort
        The answer is no.
    """
    from axsched_hpc.objectives import install

    if "changed_objective" in project.config:
        return
    changed = install.changed(layout, before, install.planned(objective_of(project, function)))
    if changed is None:
        return
    count = f"the {plural(len(before.trials), 'trial')} so far"
    if not (ask and sys.stdin.isatty()):
        raise ObjectiveError(
            f"{changed}. Nothing was started. To go on with the new one, where {count} count as they are: "
            f"`{_command_line(file)} --yes`. Else take the change back, or name another directory in the "
            "file."
        )
    show(f"{changed}.")
    confirm(f"Go on with the new one, where {count} count as they are?", yes=False)


def _command_line(file: str) -> str:
    return shlex.join(["axsched", "run", *([] if file == DEFAULT_FILE else [file])])


def _scheduler(project: Project) -> AxScheduler:
    from axsched_hpc.project.place import made

    runner = made(project.where)
    log.info("Loading Ax.")
    with _quiet():
        from axsched_hpc.ax_bridge.building import client_of, stopping_of
        from axsched_hpc.scheduler.scheduler import AxScheduler

        client, stopping = client_of(project), stopping_of(project)
    return AxScheduler(client, runner, {**project.config, **stopping})


def objective_of(project: Project, function: Callable[..., Any] | None) -> Any:
    """What each trial runs, as drivers take it; of a Python function, the function."""
    from axsched_hpc.objectives.install import Checkpointed
    from axsched_hpc.objectives.spec import warning_of
    from axsched_hpc.project.model import Function

    objective = project.objective
    if not isinstance(objective, Function):
        return objective
    assert function is not None
    seconds = warning_of("objective.{}", objective.checkpointable, objective.warning)
    return function if seconds is None else Checkpointed(function, seconds)


def _function(project: Project, file: str) -> Callable[..., Any] | None:
    """The function that is the objective, imported from the current directory or from what is installed.

    Raises
    ------
    ProjectError
        There is none of that name, or its module fails.
    """
    from axsched_hpc.project.model import Function
    from axsched_hpc.project.reading import ProjectError

    objective = project.objective
    if not isinstance(objective, Function):
        return None
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(objective.module), objective.name, None)
    except Exception as error:
        what = f"the module {objective.module!r} cannot be imported: {type(error).__name__}: {error}"
        raise ProjectError([f"{file}: objective.function: {what}."]) from error
    if not callable(function):
        what = f"the module {objective.module!r} has no function {objective.name!r}"
        raise ProjectError([f"{file}: objective.function: {what}."])
    return cast("Callable[..., Any]", function)


def _so_far(layout: Layout) -> Ledger | None:
    """What the journal says, where there is one."""
    from axsched_hpc.store import journal

    if not layout.journal.is_dir() or not journal.epochs(layout.journal):
        return None
    return journal.replay(journal.read(layout.journal))


def _print_best(layout: Layout, *, as_json: bool) -> None:
    from axsched_hpc.reporting.best import best_json, best_text
    from axsched_hpc.reporting.reading import read_experiment

    reading = read_experiment(layout.root)
    if as_json:
        show_json(best_json(reading))
    else:
        show(best_text(reading))


@contextmanager
def in_words_of_the_file(again: str) -> Iterator[None]:
    """What is said to people who write scripts, to those who write files; ``again`` is the command that goes
    on.
    """
    from axsched_hpc.project.wording import Words

    with Words(again).spoken(log):
        try:
            yield
        except KeyboardInterrupt:
            # It has been told of already; the exit code is the shell's.
            sys.exit(128 + signal.SIGINT)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines by which Ax tells of its own settings."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# ---------------------------------------------------------------- a dry run


def _planned(project: Project) -> dict[str, Any]:
    """What a run would do, as the object that ``--json`` prints."""
    from axsched_hpc.project.place import made

    layout = Layout.at(project.config["job_output_dir"])
    ledger = _so_far(layout)
    runner = made(project.where)
    left = max(0, project.trials - (ledger.own if ledger is not None else 0))
    at_once = min(left, runner.max_parallel)
    points, changes = _points(project, layout, min(at_once, _SHOWN), ledger) if at_once else ([], ())
    first = points[0][0] if points else 0
    return {
        "format": FORMAT,
        "directory": str(layout.root),
        "begun": ledger is not None,
        "changes": list(changes),
        "left": left,
        "max_parallel": runner.max_parallel,
        "worked": None if ledger is None else ledger.worked,
        "trials": [{"trial": trial, "parameters": point} for trial, point in points],
        "command": _command(project, points[0][1] if points else {}),
        "script": _script(project, runner, layout, range(first, first + max(1, at_once))),
    }


def _show(project: Project, planned: dict[str, Any]) -> None:
    click.echo(
        f"{planned['directory']}: {planned['left']} of {plural(project.trials, 'trial')} to run, "
        f"up to {planned['max_parallel']} at a time ({project.where.type})."
    )
    if project.seconds is not None and planned["begun"]:
        click.echo(f"It has run for {time_text(planned['worked'])} of {time_text(project.seconds)}.")
    if planned["changes"]:
        show(f"The experiment is changed: {'; '.join(planned['changes'])}.")
    if planned["trials"]:
        click.echo("\nThe next trials:" if planned["begun"] else "\nThe first trials:")
    for each in planned["trials"]:
        values = ", ".join(f"{name} = {value!r}" for name, value in each["parameters"].items())
        click.echo(f"  {each['trial']}: {values}")
    click.echo(f"\nA trial runs:\n  {planned['command']}")
    if planned["script"] is not None:
        click.echo(f"\nThe batch script of such trials:\n\n{planned['script'].rstrip()}")


def _points(
    project: Project, layout: Layout, number: int, ledger: Ledger | None
) -> tuple[list[tuple[int, dict[str, Any]]], Sequence[str]]:
    """The next points, asked of a copy of the experiment, and in what this is changed."""
    changes: Sequence[str] = ()
    with _quiet():
        from axsched_hpc.ax_bridge.bridge import AxBridge
        from axsched_hpc.ax_bridge.building import client_of
        from axsched_hpc.loop.opening import reconciled
        from axsched_hpc.store import journal

        bridge = AxBridge.from_input(client_of(project))
        if ledger is not None:
            change = reconciled(layout, bridge, ledger)
            if change is not None:
                changes = change.changes
            events = journal.events(journal.read(layout.journal))
            bridge.replay([*events, *([] if change is None else [change])])
        found = []
        if ledger is None and project.baseline is not None:
            found.append(bridge.attach(project.baseline, time=time.time()))
        found += bridge.ask(number - len(found), time=time.time()).candidates
    return [(each.trial, each.parameters) for each in found], changes


def _command(project: Project, point: dict[str, Any]) -> str:
    from axsched_hpc.io.parameters import as_text
    from axsched_hpc.objectives.kinds import ContainerObjective, ScriptObjective
    from axsched_hpc.objectives.placeholders import expand
    from axsched_hpc.objectives.script import argv_of

    objective = project.objective
    values = {name: as_text(value) for name, value in point.items()}
    if isinstance(objective, ScriptObjective):
        return shlex.join(argv_of(objective, Path(objective.source), values))
    if isinstance(objective, ContainerObjective):
        return f"{shlex.join(expand(objective.command, values))}\n  in the container {objective.image}"
    return f"{objective.module}:{objective.name}({point})"


def _script(project: Project, runner: Any, layout: Layout, trials: range) -> str | None:
    from axsched_hpc.runners.base import Batch, BatchAttempt

    token = "axs-dry-run"
    attempts = tuple(BatchAttempt(trial, 1, layout.attempt(trial, 1).root) for trial in trials)
    batch = Batch(
        token, layout.manifest(token), attempts, layout.batch(token), warning=project.objective.warning
    )
    script: str | None = runner.script(batch)
    return script
