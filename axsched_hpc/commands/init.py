"""``axsched init``: a project file to begin with, and an objective that runs at once."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axsched_hpc.commands.arguments import examples
from axsched_hpc.commands.output import show
from axsched_hpc.commands.writing import refuse, write
from axsched_hpc.core.errors import ConfigError

if TYPE_CHECKING:
    from axsched_hpc.project.own_script import OwnScript
    from axsched_hpc.slurm.partitions import Partition

_FILE = "axsched.yaml"

_KINDS = {
    "function": "a Python function, in objective.py",
    "python": "a Python script, evaluate.py",
    "shell": "a shell script, evaluate.sh",
    "script": "a script or program of yours, which is there already",
    "container": "a shell script in a container",
}
_PROGRAMS = {
    "function": "objective.py",
    "python": "evaluate.py",
    "shell": "evaluate.sh",
    "container": "evaluate.sh",
}

_IMAGE = "docker://docker.io/library/python:3.12-slim"

_PARAMETERS = ("x=float:0:1", "y=float:0:1")

_HOW = """\
The parameters, one a line; an empty line ends. Without any: x and y from 0 to 1.
  rate=float:1e-4:0.1:log    layers=int:1:8    solver=choice:cg,gmres    momentum=bool    size=fixed:64"""

#: Seconds of walltime of a trial where nothing is said.
_WALLTIME = 600


@dataclass
class _Wanted:
    """What was asked for, by flags or by answers."""

    kind: str
    script: str | None
    image: str
    runner: str
    partition: str | None
    time_limit: str
    memory: str
    cpus: int
    parameters: dict[str, dict[str, Any]]
    metric: str
    goal: str
    trials: int


@click.command(
    short_help="Write a project file to begin with.",
    epilog=examples(
        "axsched init",
        "axsched init --kind shell -p rate=float:1e-4:0.1:log -p layers=int:1:8 --metric accuracy --maximize",
        "axsched init --script train.py --runner slurm --partition gpu --time 01:00:00 --memory 16G",
    ),
)
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path())
@click.option("--kind", type=click.Choice(list(_KINDS)), help="What a trial runs.  [default: function]")
@click.option("--script", metavar="PATH", help="A script of yours that a trial runs.")
@click.option(
    "--image", metavar="IMAGE", help=f"The container's image.  [default: {_IMAGE.rpartition('/')[2]}]"
)
@click.option("--runner", type=click.Choice(["local", "slurm"]), help="Where.  [default: local]")
@click.option("--partition", help="Of Slurm; default: the site's.")
@click.option("--time", "time_limit", metavar="TIME", help="Walltime of a trial.  [default: 00:10:00]")
@click.option("--memory", metavar="SIZE", help="Of a trial.  [default: 1G]")
@click.option("--cpus", type=click.IntRange(min=1), help="Of a trial.  [default: 1]")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    metavar="NAME=TYPE:...",
    multiple=True,
    help="float:0:1, float:1e-4:1:log, int:1:8, choice:a,b, bool, fixed:3, or as in the file: {type: ...}.",
)
@click.option("--metric", metavar="NAME", help="What a trial reports.  [default: loss]")
@click.option(
    "--minimize/--maximize", "minimize", default=None, help="Whether less is better.  [default: it is]"
)
@click.option("--trials", metavar="N", type=click.IntRange(min=1), help="How many.  [default: 8]")
@click.option("--schema", is_flag=True, help="Write the JSON Schema for editors, too.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: what no option says is as by default.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def init(directory: str, schema: bool, yes: bool, force: bool, **given: Any) -> None:
    """Write axsched.yaml into DIR (default: here), and beside it an example of what a trial runs.

    Both run at once, and are explained by their own comments. On a terminal it asks for what no option says;
    elsewhere that is as by default. Nothing is replaced without --force; all files are written or none.
    """
    target = Path(directory)
    # Before any question, since its answer would be lost.
    if not force:
        refuse([target / _FILE])
    asking = not yes and sys.stdin.isatty() and sys.stdout.isatty()
    wanted = _wanted(given, asking=asking)
    own = None
    if wanted.script is not None:
        from axsched_hpc.project.own_script import look

        own = look(Path(wanted.script))
    texts = _texts(wanted, own, target, schema=schema)
    write(target, texts, force=force)
    _tell(wanted, own, target, list(texts))


# ---------------------------------------------------------------- what is wanted


def _wanted(given: Mapping[str, Any], *, asking: bool) -> _Wanted:
    """By flags, and for the others by answers or by default."""
    from axsched_hpc.commands import asking as questions
    from axsched_hpc.project import typed

    def of(name: str, question: str, default: str, read: Callable[[str], Any]) -> Any:
        if given[name] is not None:
            return read(given[name])
        return questions.ask(question, default, read) if asking else read(default)

    kind = given["kind"] or ("script" if given["script"] is not None else None)
    if kind is None:
        kind = questions.choose("What does a trial run?", _KINDS, "function") if asking else "function"
    if given["script"] is not None and kind != "script":
        raise click.UsageError(
            f"--script names a script of yours, and --kind {kind} another thing. Leave one out."
        )
    if given["image"] is not None and kind != "container":
        raise click.UsageError("--image belongs to --kind container.")
    script = None
    if kind == "script":
        if given["script"] is None and not asking:
            raise click.UsageError("--kind script needs --script PATH.")
        script = of("script", "Its path", "", _script)
    image = of("image", "The image, by its path or name", _IMAGE, _text) if kind == "container" else ""
    runner = given["runner"]
    if runner is None:
        where = {"local": "this machine", "slurm": "jobs of Slurm"}
        runner = questions.choose("Where do trials run?", where, "local") if asking else "local"
    slurm = _slurm(given, of, asking=asking) if runner == "slurm" else _no_slurm(given)
    if given["parameters"] or not asking:
        parameters = [typed.parameter(each) for each in given["parameters"] or _PARAMETERS]
    else:
        parameters = questions.several(_HOW, typed.parameter) or [
            typed.parameter(each) for each in _PARAMETERS
        ]
    found: dict[str, dict[str, Any]] = {}
    for name, each in parameters:
        if name in found:
            raise ConfigError(f"The parameter {name!r} is there twice. Nothing was written.")
        found[name] = each
    metric = of("metric", "The metric that a trial reports", "loss", typed.metric)
    if given["minimize"] is not None or not asking:
        goal = "maximize" if given["minimize"] is False else "minimize"
    else:
        goal = questions.ask("Minimize or maximize it", "minimize", _goal)
    trials = of("trials", "How many trials", "8", _count)
    return _Wanted(kind, script, image, runner, *slurm, found, metric, goal, trials)


def _no_slurm(given: Mapping[str, Any]) -> tuple[str | None, str, str, int]:
    options = {"partition": "--partition", "time_limit": "--time", "memory": "--memory", "cpus": "--cpus"}
    for name, option in options.items():
        if given[name] is not None:
            raise click.UsageError(f"{option} belongs to --runner slurm.")
    return None, "", "", 1


def _slurm(
    given: Mapping[str, Any], of: Callable[..., Any], *, asking: bool
) -> tuple[str | None, str, str, int]:
    """Partition, walltime, memory and CPUs of a trial."""
    from axsched_hpc.commands import asking as questions
    from axsched_hpc.core.sizes import time_text
    from axsched_hpc.runners.slurm_checks import MEMORY, TIME, matching

    partitions = {each.name: each for each in _partitions()}
    name = given["partition"]
    if name is None and asking and partitions:
        default = next(iter(partitions))
        name = questions.choose("In which partition?", {n: _told(p) for n, p in partitions.items()}, default)
    elif name is None and asking:
        name = questions.ask("In which partition (empty: the site's default)", "", lambda text: text or None)
    if name is not None and partitions:
        for each in name.split(","):
            if each not in partitions:
                raise ConfigError(
                    f"There is no partition {each!r} here. sinfo lists {', '.join(partitions)}."
                )
    limit = partitions[name].limit if name in partitions else None
    walltime = time_text(min(_WALLTIME, limit) if limit else _WALLTIME)
    return (
        name,
        of(
            "time_limit",
            "Walltime of a trial",
            walltime,
            lambda text: matching("time_limit", text, TIME, _TIME),
        ),
        of("memory", "Memory of a trial", "1G", lambda text: matching("memory", text, MEMORY, _SIZE)),
        of("cpus", "CPUs of a trial", "1", _count),
    )


_TIME, _SIZE = "a time such as 01:00:00 or 2-00:00:00", "a size such as 4G or 500M"


def _partitions() -> list[Partition]:
    """What sinfo tells; nothing where it does not answer."""
    from axsched_hpc.core.errors import ClusterUnavailableError
    from axsched_hpc.slurm import partitions
    from axsched_hpc.slurm.run import run

    try:
        answer = run(partitions.COMMAND, timeout=10)
    except ClusterUnavailableError as error:
        show(f"{error} The file is written all the same.", err=True)
        return []
    if answer.code:
        show("sinfo does not answer, so no partitions are offered or checked.", err=True)
        return []
    return partitions.parse(answer.out)


def _told(partition: Partition) -> str:
    from axsched_hpc.core.sizes import time_text

    limit = f"up to {time_text(partition.limit)}" if partition.limit else "without a limit of time"
    nodes = f"{partition.nodes} nodes of {partition.cpus} CPUs, {partition.memory} MB"
    return f"{limit}, {nodes}{', the default' if partition.default else ''}"


# ---------------------------------------------------------------- single answers


def _text(text: str) -> str:
    if not text or "\0" in text:
        raise ConfigError("Something has to stand here.")
    return text


def _script(text: str) -> str:
    from axsched_hpc.project.own_script import look

    path = Path(_text(text)).expanduser()
    look(path)
    return str(path)


def _count(text: str | int) -> int:
    if isinstance(text, str) and (not text.isdecimal() or not text.isascii() or not int(text[:9])):
        raise ConfigError(f"{text!r} is no whole number, 1 or more.")
    return int(text)


def _goal(text: str) -> str:
    found = [each for each in ("minimize", "maximize") if text and each.startswith(text.lower())]
    if len(found) != 1:
        raise ConfigError(f"{text!r} is neither minimize nor maximize.")
    return found[0]


# ---------------------------------------------------------------- what is written


def _texts(wanted: _Wanted, own: OwnScript | None, target: Path, *, schema: bool) -> dict[str, str]:
    """The files by name; the project file comes last."""
    from axsched_hpc.project import example, sample, typed
    from axsched_hpc.project import schema as schemas

    understood = typed.understood(wanted.parameters)
    minimize = wanted.goal == "minimize"
    objective, options = _objective(wanted, own, target)
    runner: str | dict[str, Any] = "local"
    if wanted.runner == "slurm":
        runner = {"type": "slurm"}
        if wanted.partition is not None:
            runner["partition"] = wanted.partition
        runner |= {"time_limit": wanted.time_limit, "memory": wanted.memory, "cpus_per_task": wanted.cpus}
    texts = {}
    make = {
        "function": example.function,
        "python": example.python,
        "shell": example.shell,
        "container": example.shell,
    }.get(wanted.kind)
    if make is not None:
        texts[_PROGRAMS[wanted.kind]] = make(understood, wanted.metric, minimize=minimize)
    if schema:
        texts[schemas.NAME] = schemas.shipped()
    texts[_FILE] = sample.text(
        sample.Sample(
            name=target.absolute().resolve().name or "experiment",
            parameters=wanted.parameters,
            space=understood,
            metric=wanted.metric,
            minimize=minimize,
            objective=objective,
            options=options,
            runner=runner,
            parallel=min(2 if wanted.runner == "local" else 4, wanted.trials),
            trials=wanted.trials,
            schema=schema,
        )
    )
    return texts


def _objective(wanted: _Wanted, own: OwnScript | None, target: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of the objective, and those that are options."""
    saves = {"checkpointable": True}
    if wanted.kind == "function":
        return {"function": "objective:evaluate"}, saves
    extract = {wanted.metric: {"regex": f"^{wanted.metric} = (\\S+)"}}
    if wanted.kind == "container":
        image = wanted.image
        if Path(image).expanduser().exists():
            image = os.path.relpath(Path(image).expanduser().absolute(), target.absolute())
            image = image if image.startswith("../") else f"./{image}"
        program = _PROGRAMS["container"]
        return (
            {"container": image, "command": ["sh", program], "inputs": [program]},
            {"env_vars": {"OMP_NUM_THREADS": 1}, "timeout": 3600, **saves},
        )
    path = _PROGRAMS.get(wanted.kind, "")
    given: dict[str, Any] = {}
    if own is not None:
        path = os.path.relpath(own.path.absolute(), target.absolute())
        path = path if "/" in path else f"./{path}"
        if own.interpreter:
            given["interpreter"] = list(own.interpreter)
    args = [word for name in wanted.parameters for word in (f"--{name}", f"{{{name}}}")]
    options = {
        "args": args,
        "environment": {"OMP_NUM_THREADS": 1},
        "timeout": 3600,
        **({"extract": extract} if own is not None else {}),
        **saves,
    }
    return {"script": path, **given}, options


def _tell(wanted: _Wanted, own: OwnScript | None, target: Path, names: list[str]) -> None:
    """Say what there is now, and what comes next."""
    from axsched_hpc.project.own_script import advice

    show(f"Wrote {' and '.join(str(target / name) for name in names)}.")
    if own is not None:
        show(f"\n{own.path} is run by {own.runs}.")
        text = advice(own, list(wanted.parameters), wanted.metric)
        if text:
            show(text)
    show("\nNext:")
    if target.absolute() != Path.cwd():
        show(f"  cd {shlex.quote(str(target))}")
    job = " as a job" if wanted.runner == "slurm" else ""
    for command, what in (
        ("axsched try ", f"one trial{job}, and all that it did"),
        ("axsched run ", f"all {wanted.trials} trials"),
        ("axsched best", "what was found"),
    ):
        show(f"  {command}  # {what}")
