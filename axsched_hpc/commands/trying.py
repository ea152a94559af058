"""``axsched try``: one trial of a project file, run as a job would run it, and all that it did."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axsched_hpc.commands import run as running
from axsched_hpc.commands import tried
from axsched_hpc.commands.arguments import JSON, examples
from axsched_hpc.commands.output import show, show_json
from axsched_hpc.core.errors import AxSchedError, ConfigError
from axsched_hpc.core.states import TrialState
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.table import duration

if TYPE_CHECKING:
    from axsched_hpc.core.ledger import Ledger
    from axsched_hpc.core.machine import Attempt, Trial
    from axsched_hpc.loop.session import Session
    from axsched_hpc.project.model import Project, Where
    from axsched_hpc.runners.base import BaseRunner

#: Options that one trial has otherwise than a run: it is not repeated, and all of it is kept.
_CONFIG: dict[str, Any] = {
    "cleanup_after_completion": False,
    "max_failures": None,
    "resume": "never",
    "retries": {"infrastructure": 0, "resource": 0, "objective": 0},
    "stuck_after": 10.0,
}

#: The most seconds between two looks at the queue.
_INTERVAL = 5.0

#: Seconds between two looks at the logs.
_LOOK = 0.1

#: Seconds after which it is first said that a job still waits.
_REMIND = 20.0


def _assignments(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    found = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{each!r} is not of the form NAME=VALUE.", ctx, param)
        found[name] = value
    return found


@click.command(
    "try",
    epilog=examples("axsched try", "axsched try -p x=0.3 -p solver=cg", "axsched try --where local --keep"),
)
@click.argument("file", metavar="[FILE]", default="axsched.yaml", type=click.Path())
@click.option(
    "--where",
    type=click.Choice(["local", "slurm"]),
    help="Here, or as a job of Slurm; default: the file's runner.",
)
@click.option(
    "-p",
    "--parameter",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_assignments,
    help="A parameter's value; default: the baseline, or the centre.",
)
@click.option("--keep", is_flag=True, help="Keep the trial's files, also where it completes.")
@JSON
def try_(file: str, where: str | None, given: dict[str, str], keep: bool, as_json: bool) -> None:
    """Run one trial of the experiment that FILE (default: axsched.yaml) describes.

    It runs as in axsched run, with the same job, command and files, but without Ax, once, and in a directory
    of its own beside the experiment's, which is not touched. That directory is removed where all went well.
    The exit code is 1 where the trial fails or does not report what FILE needs, and 2 where FILE is wrong.
    """
    from axsched_hpc.project import point
    from axsched_hpc.project.reading import ProjectError, load
    from axsched_hpc.project.wording import Words

    path = Path(file)
    try:
        project = load(path)
        os.chdir(path.absolute().parent)
        function = running._function(project, file)
    except ProjectError as error:
        show(str(error).replace("axsched run FILE", "axsched try FILE"), err=True)
        sys.exit(2)
    # What submitit's parts warn of is nothing that a file could change.
    warnings.filterwarnings("ignore", module=r"submitit\.")
    project = replace(project, where=_where(project.where, where))
    chosen = point.choose(project, given)
    with _directory(Layout.at(project.config["job_output_dir"])) as (layout, remove):
        attempt = _Attempt(project, layout, quiet=as_json)
        attempt.say(f"One trial of {file}, {_place(project.where)}, in {layout.root}")
        attempt.say(
            tried.entries(
                "Parameters (others: -p NAME=VALUE)", {name: repr(value) for name, value in chosen.items()}
            )
        )
        try:
            with Words(f"axsched try{_named(file)}").spoken(logging.getLogger("axsched_hpc")):
                trial = attempt.run(chosen, function)
        except (KeyboardInterrupt, SystemExit) as stop:
            remove()
            show("\nCancelled, with its job. Nothing is left of it.", err=True)
            sys.exit(stop.code if isinstance(stop, SystemExit) else 130)
        problems = tried.problems(project, layout, trial)
        good = trial.state is TrialState.COMPLETED and not problems
        if as_json:
            show_json({**tried.record(layout, trial), "problems": problems, "kept": not good or keep})
        else:
            tried.tell(project, layout, trial, problems)
        if good and not keep:
            remove()
            attempt.say(
                "\nIt works; its files are removed (--keep keeps them). Next: axsched run" + _named(file)
            )
            return
    attempt.say(f"\nIts files are kept in {layout.root}; remove them when you are done.")
    if not good:
        sys.exit(1)


def _named(file: str) -> str:
    return "" if file == "axsched.yaml" else f" {shlex.quote(file)}"


def _where(place: Where, wanted: str | None) -> Where:
    """Where the trial runs."""
    from axsched_hpc.project.model import Where

    if wanted is None or place.type == wanted:
        return place
    return Where(wanted, {})


def _place(place: Where) -> str:
    partition = place.arguments.get("partition")
    return {"local": "on this machine", "slurm": "as a job of Slurm"}.get(
        place.type, f"as a job of {place.type}"
    ) + (f" (partition {partition})" if partition else "")


@contextlib.contextmanager
def _directory(beside: Layout) -> Iterator[tuple[Layout, Callable[[], None]]]:
    """A new directory beside the experiment's, and what removes it; where nothing has begun it is removed."""
    from axsched_hpc.io import atomic

    parent, number = beside.root.parent, 1
    made = [each for each in (parent, *parent.parents) if not each.is_dir()]

    def remove() -> None:
        # A job that is just ending may still write a line of its own log.
        for _ in range(3):
            shutil.rmtree(root, ignore_errors=True)
            if not root.exists():
                break
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()

    try:
        atomic.make_directory(parent)
        while True:
            root = beside.root.with_name(f"{beside.root.name}-try-{number}")
            try:
                root.mkdir(mode=0o700)
                break
            except FileExistsError:
                number += 1
    except OSError as error:
        raise ConfigError(
            f"{parent} cannot be written ({error.strerror or error}), and the trial needs a directory there, "
            "beside the experiment's. Nothing was started."
        ) from None
    layout = Layout.at(root)
    try:
        yield layout, remove
    except AxSchedError:
        if layout.attempt(0, 1).root.exists():
            show(f"Its files are kept in {layout.root}.", err=True)
        else:
            remove()
        raise


class _Attempt:
    """One execution of the objective, and what is said of it on the way."""

    def __init__(self, project: Project, layout: Layout, *, quiet: bool) -> None:
        self._project = project
        self._layout = layout
        self._quiet = quiet
        self._runner: BaseRunner | None = None
        self._latest: Attempt | None = None
        self._queued = False

    def say(self, text: str) -> None:
        """Print, unless only the record is wanted."""
        if not self._quiet:
            show(text)

    def run(self, point: Mapping[str, Any], function: Callable[..., Any] | None) -> Trial:
        """Run it; the trial, which has ended."""
        from axsched_hpc.core.config import SchedulerConfig
        from axsched_hpc.project import goals
        from axsched_hpc.project.place import made
        from axsched_hpc.scheduler.leaving import close
        from axsched_hpc.scheduler.once import ARM, Once

        logging.basicConfig(
            format="axsched: %(message)s", level=logging.ERROR if self._quiet else logging.WARNING
        )
        interval = min(_INTERVAL, self._project.config.get("monitoring_interval", _INTERVAL))
        changed = {**_CONFIG, "job_output_dir": str(self._layout.root), "monitoring_interval": interval}
        config = SchedulerConfig.from_dict({**self._project.config, **changed})
        self._runner = made(self._project.where)
        problem = goals.problem(self._project, baseline=ARM)
        once = Once.begin(self._layout, problem, config, self._runner, self._watch)
        try:
            once.set_objective(running.objective_of(self._project, function))
            return once.run(point)
        finally:
            close(once.session)

    @contextlib.contextmanager
    def _watch(self, session: Session) -> Iterator[None]:
        """Tell what happens, and print what the objective writes, as it comes."""
        from axsched_hpc.core.best import Incumbent

        incumbent, ended = Incumbent(session.problem), threading.Event()

        def heard(event: Any, ledger: Ledger) -> None:
            self._heard(event, ledger, incumbent)

        if self._quiet:
            yield
            return
        session.listeners.append(heard)
        follower = threading.Thread(target=self._follow, args=(ended,), daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()

    def _heard(self, event: Any, ledger: Ledger, incumbent: Any) -> None:
        from axsched_hpc.core.events import AttemptFailed, AttemptSucceeded, BatchPlanned
        from axsched_hpc.reporting.changes import describe

        trial = ledger.trials.get(0)
        if trial is not None:
            self._latest, self._queued = trial.attempt, trial.state is TrialState.QUEUED
        if isinstance(event, BatchPlanned):
            self._announce(event.token, ledger)
        elif not isinstance(event, AttemptFailed | AttemptSucceeded):
            # How it ended is told below what it has written.
            text = describe(event, ledger, incumbent)
            if text is not None:
                self.say(f"axsched: {text}")

    def _announce(self, token: str, ledger: Ledger) -> None:
        """Show what is about to be submitted."""
        from axsched_hpc.loop.submission import batch_of

        assert ledger.objective is not None
        command, variables = tried.surroundings(
            self._layout, ledger.objective.objective, ledger.trials[0], token
        )
        self.say(f"\nIt runs:\n  {command}")
        if variables:
            self.say(tried.entries("With these variables", dict(sorted(variables.items()))))
        script = getattr(self._runner, "script", lambda _: None)(batch_of(ledger, self._layout, token))
        if script is not None:
            self.say(
                "\nAs this batch script:\n" + "\n".join(f"  {line}" for line in script.rstrip().split("\n"))
            )
        self.say("")

    def _follow(self, ended: threading.Event) -> None:
        """Print what the attempts write, and from time to time that there is nothing yet."""
        from axsched_hpc.commands.logs import Printer

        printer: Printer | None = None
        over, remind = False, _REMIND
        while not over:
            over, latest = ended.wait(_LOOK), self._latest
            if latest is not None and (printer is None or printer.attempt != latest.number):
                files = self._layout.attempt(0, latest.number)
                printer = Printer(files, (files.stdout.name, files.stderr.name), None, latest.number, printer)
            with contextlib.suppress(AxSchedError):
                if printer is not None and printer.look():
                    self._queued = False
            waited = time.time() - (latest.submitted or time.time()) if latest is not None else 0.0
            if latest is not None and self._queued and waited > remind:
                remind = 2 * waited
                self.say(f"axsched: job {latest.job} waits for {duration(waited)} now; Ctrl-C cancels it")
