"""``axsched init``: a project file to begin with, and an objective that runs at once."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axsched_hpc.commands.arguments import JSON, examples
from axsched_hpc.commands.output import show, show_json
from axsched_hpc.reporting.records import FORMAT

if TYPE_CHECKING:
    from axsched_hpc.commands.wanted import Wanted

_FILE = "axsched.yaml"
_PROGRAMS = {
    "function": "objective.py",
    "python": "evaluate.py",
    "shell": "evaluate.sh",
    "container": "evaluate.sh",
}


@click.command(
    epilog=examples(
        "axsched init",
        "axsched init --kind shell -p rate=float:1e-4:0.1:log -p n=int:1:8 --metric accuracy --maximize",
        "axsched init --script train.py --arguments --printed",
        "axsched init --runner slurm --partition gpu --time 01:00:00 --memory 16G",
    ),
)
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path())
@click.option(
    "--kind",
    type=click.Choice(["function", "python", "shell", "script", "container"]),
    help="What a trial runs.  [default: function]",
)
@click.option("--script", metavar="PATH", help="A script of yours that a trial runs.")
@click.option("--arguments", is_flag=True, default=None, help="It takes its parameters as --NAME VALUE.")
@click.option("--printed", is_flag=True, default=None, help="It prints its metric, as NAME = VALUE.")
@click.option("--image", help="The image of a container.")
@click.option("--runner", type=click.Choice(["local", "slurm"]), help="Where trials run.  [default: local]")
@click.option("--partition", help="Of a trial; default: the site's.")
@click.option("--time", "time_limit", metavar="TIME", help="Walltime of a trial.  [default: 00:10:00]")
@click.option("--memory", metavar="SIZE", help="Of a trial.  [default: 1G]")
@click.option("--cpus", metavar="N", help="Of a trial.  [default: 1]")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    metavar="NAME=TYPE:...",
    multiple=True,
    help="float:0:1, float:1e-4:1:log, int:1:8, choice:a,b, bool, fixed:3, or as in the file, {type: ...}.",
)
@click.option("--metric", metavar="NAME", help="What a trial reports.  [default: loss]")
@click.option("--minimize", "goal", flag_value="minimize", help="Less of it is better. This is the default.")
@click.option("--maximize", "goal", flag_value="maximize", help="More of it is better.")
@click.option("--trials", metavar="N", help="How many.  [default: 8]")
@click.option("--schema", is_flag=True, help="Write the file's JSON Schema as well, for editors.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@JSON
def init(directory: str, schema: bool, yes: bool, force: bool, as_json: bool, **given: Any) -> None:
    """Write axsched.yaml into DIR (default: here), and beside it an example of what a trial runs.

    Both run at once, and are explained by their own comments. On a terminal it asks for what no option says;
    elsewhere, and with --json, that is as by default. Nothing is replaced without --force; all files are
    written or none.
    """
    # Here, since every other command would pay for it.
    from axsched_hpc.commands import writing
    from axsched_hpc.commands.wanted import wanted

    target = Path(directory)
    if not force:
        # Before any question, since its answer would be lost.
        writing.refuse([target / _FILE])
    found = wanted(given, person=not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty())
    texts = _texts(found, target, schema=schema)
    writing.write(target, texts, force=force)
    if as_json:
        show_json(
            {
                "format": FORMAT,
                "files": [str(target / name) for name in texts],
                "advice": _advice(found),
                "next": [command for command, _ in _next(found, target)],
            }
        )
    else:
        _tell(found, target, list(texts))


def _texts(wanted: Wanted, target: Path, *, schema: bool) -> dict[str, str]:
    """The files by name; the project file comes last."""
    from axsched_hpc.project import example, sample, typed
    from axsched_hpc.project import schema as schemas

    space = typed.understood(wanted.parameters)
    texts = {}
    if wanted.own is None:
        make = {"function": example.function, "python": example.python}.get(wanted.kind, example.shell)
        texts[_PROGRAMS[wanted.kind]] = make(space, wanted.metric, minimize=wanted.minimize)
    if schema:
        texts[schemas.NAME] = schemas.shipped()
    objective, options = _objective(wanted, target)
    texts[_FILE] = sample.text(
        sample.Sample(
            name=target.resolve().name.encode(errors="replace").decode() or "experiment",
            parameters=wanted.parameters,
            space=space,
            metric=wanted.metric,
            minimize=wanted.minimize,
            objective=objective,
            options=options,
            runner=wanted.slurm or "local",
            parallel=min(4 if wanted.slurm else 2, wanted.trials),
            trials=wanted.trials,
            schema=schema,
        )
    )
    return texts


def _objective(wanted: Wanted, target: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of the objective, and others as options."""
    given: dict[str, Any]
    options: dict[str, Any] = {"timeout": 3600, "checkpointable": True}
    if wanted.kind == "function":
        return {"function": "objective:evaluate"}, {"checkpointable": True}
    if wanted.kind == "container":
        program, image = _PROGRAMS["container"], Path(wanted.image).expanduser()
        there = _from(target, image) if image.exists() else wanted.image
        given = {"container": there, "command": ["sh", program], "inputs": [program]}
        return given, {"env_vars": {"OMP_NUM_THREADS": 1}, **options}
    given = {}
    options = {"environment": {"OMP_NUM_THREADS": 1}, **options}
    args = [word for name in wanted.parameters for word in (f"--{name}", f"{{{name}}}")]
    (given if wanted.arguments else options)["args"] = args
    if wanted.own is None:
        return {"script": _PROGRAMS[wanted.kind], **given}, options
    (given if wanted.printed else options)["extract"] = {
        wanted.metric: {"regex": rf"^{wanted.metric}\s*[=:]\s*(\S+)"}
    }
    if wanted.own.interpreter:
        given["interpreter"] = list(wanted.own.interpreter)
    return {"script": _from(target, wanted.own.path), **given}, options


def _from(target: Path, path: Path) -> str:
    """A path as seen from a directory, which nothing takes for a program on PATH or an image's name."""
    found = os.path.relpath(path.absolute(), target.absolute())
    return found if found.startswith("../") else f"./{found}"


def _tell(wanted: Wanted, target: Path, names: list[str]) -> None:
    """Say what there is now, and what comes next."""
    show(f"Wrote {' and '.join(str(target / name) for name in names)}.")
    if wanted.own is not None:
        show(f"\n{wanted.own.path} is run by {wanted.own.runs}.")
    if (text := _advice(wanted)) is not None:
        show(text)
    show("\nNext:")
    for command, what in _next(wanted, target):
        show(f"  {command:12}  # {what}" if what else f"  {command}")


def _advice(wanted: Wanted) -> str | None:
    """What a script of the user's has still to be told, or None where it can run."""
    from axsched_hpc.project.own_script import advice

    if wanted.own is None:
        return None
    done = {"parameters": wanted.arguments, "metrics": wanted.printed}
    left = [what for what in wanted.own.lacks if not done[what]]
    return advice(wanted.own, left, list(wanted.parameters), wanted.metric) if left else None


def _next(wanted: Wanted, target: Path) -> list[tuple[str, str]]:
    """The next commands, and what each does."""
    there = [] if target.absolute() == Path.cwd() else [(f"cd {shlex.quote(str(target))}", "")]
    return [
        *there,
        ("axsched try", f"one trial{' as a job' if wanted.slurm else ''}, and all that it did"),
        ("axsched run", f"all {wanted.trials} trials"),
        ("axsched best", "what was found"),
    ]
