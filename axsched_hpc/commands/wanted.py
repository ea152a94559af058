"""What ``axsched init`` is to write: by its options, and for the others by answers or by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axsched_hpc.commands import questions
from axsched_hpc.commands.output import show
from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError
from axsched_hpc.core.sizes import time_text
from axsched_hpc.project import typed
from axsched_hpc.project.own_script import look
from axsched_hpc.runners.slurm_checks import MEMORY, TIME, matching
from axsched_hpc.slurm import partitions as site
from axsched_hpc.slurm.run import run

if TYPE_CHECKING:
    from axsched_hpc.project.own_script import OwnScript

#: What a trial runs, by the word for it.
KINDS = {
    "function": "a Python function, in objective.py",
    "python": "a Python script, evaluate.py",
    "shell": "a shell script, evaluate.sh",
    "script": "a script or program of yours, which is there already",
    "container": "a shell script in a container",
}
RUNNERS = {"local": "this machine", "slurm": "jobs of Slurm"}

#: The image of a container where none is named.
IMAGE = "docker://docker.io/library/python:3.12-slim"

_PARAMETERS = ("x=float:0:1", "y=float:0:1")

_HOW = """\
The parameters, one a line; an empty line ends. Without any: x and y from 0 to 1.
  rate=float:1e-4:0.1:log    layers=int:1:8    solver=choice:cg,gmres    shuffle=bool    size=fixed:64"""

#: Seconds of walltime of a trial where nothing is said.
_WALLTIME = 600

#: Options that belong to one choice of another one.
_OF_SLURM = {"partition": "--partition", "time_limit": "--time", "memory": "--memory", "cpus": "--cpus"}
_OF_SCRIPT = {"script": "--script", "arguments": "--arguments", "printed": "--printed"}


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Attributes
    ----------
    own
        A script that is there already.
    arguments, printed
        Whether that takes its parameters as arguments, and prints its metric.
    """

    kind: str
    own: OwnScript | None
    arguments: bool
    printed: bool
    image: str
    slurm: dict[str, Any] | None
    parameters: dict[str, dict[str, Any]]
    metric: str
    minimize: bool
    trials: int


@dataclass(frozen=True)
class Asked:
    """Options, and a person who answers for those that are left out; without one it is as by default."""

    given: Mapping[str, Any]
    person: bool

    def of(self, option: str, question: str, default: str, read: Callable[[str], Any]) -> Any:
        """The value of an option, an answer, or a default."""
        if self.given[option] is not None:
            return read(str(self.given[option]))
        return questions.ask(question, default, read) if self.person else read(default)

    def choice(self, option: str, question: str, choices: Mapping[str, str]) -> str:
        """As that, for words of which the first is the default."""
        first = next(iter(choices))
        if self.given[option] is not None:
            return str(self.given[option])
        return questions.choose(question, choices, first) if self.person else first


def wanted(given: Mapping[str, Any], *, person: bool) -> Wanted:
    """What is to be written.

    Raises
    ------
    ConfigError
        An option cannot be right.
    click.UsageError
        Two options do not go together.
    """
    asked = Asked(given, person)
    kind = "script" if given["script"] is not None and given["kind"] is None else None
    kind = kind or asked.choice("kind", "What does a trial run?", KINDS)
    if kind != "script":
        _refuse(given, _OF_SCRIPT, "a script of yours, --kind script")
    if kind != "container":
        _refuse(given, {"image": "--image"}, "--kind container")
    own, arguments, printed = _script(asked) if kind == "script" else (None, False, False)
    image = asked.of("image", "The image, by its path or name", IMAGE, _text) if kind == "container" else ""
    slurm = None
    if asked.choice("runner", "Where do trials run?", RUNNERS) == "slurm":
        slurm = _slurm(asked)
    else:
        _refuse(given, _OF_SLURM, "--runner slurm")
    return Wanted(
        kind,
        own,
        arguments,
        printed,
        image,
        slurm,
        _parameters(asked),
        asked.of("metric", "The metric that a trial reports", "loss", typed.metric),
        asked.of("goal", "Minimize or maximize it", "minimize", _goal) == "minimize",
        asked.of("trials", "How many trials", "8", _count),
    )


def _refuse(given: Mapping[str, Any], options: Mapping[str, str], to: str) -> None:
    for name, option in options.items():
        if given[name] is not None:
            raise click.UsageError(f"{option} belongs to {to}. Leave it out, or choose that.")


def _parameters(asked: Asked) -> dict[str, dict[str, Any]]:
    """The parameters, which go together."""
    found: dict[str, dict[str, Any]] = {}

    def add(text: str) -> None:
        name, value = typed.parameter(text)
        if name in found:
            raise ConfigError(f"The parameter {name!r} is there already.")
        found[name] = value

    for each in asked.given["parameters"]:
        add(each)
    if not found and asked.person:
        questions.several(_HOW, add)
    for each in () if found else _PARAMETERS:
        add(each)
    return found


# ---------------------------------------------------------------- a script of the user's


def _script(asked: Asked) -> tuple[OwnScript, bool, bool]:
    """The script, and whether it takes its parameters as arguments, and prints its metric."""
    if asked.given["script"] is None and not asked.person:
        raise click.UsageError("--kind script needs --script PATH.")
    own: OwnScript = asked.of("script", "Its path", "", lambda text: look(Path(_text(text)).expanduser()))
    arguments, printed = asked.given["arguments"], asked.given["printed"]
    if arguments is None and asked.person and "parameters" in own.lacks:
        ways = {"arguments": "as --NAME VALUE", "environment": "from variables, or a file; you will add that"}
        arguments = questions.choose("How does it get its parameters?", ways, "arguments") == "arguments"
    if printed is None and asked.person and "metrics" in own.lacks:
        ways = {
            "printed": "it prints it, as NAME = VALUE",
            "file": "it writes it to a file; you will add that",
        }
        printed = questions.choose("How does it tell its metric?", ways, "printed") == "printed"
    return own, bool(arguments), bool(printed)


# ---------------------------------------------------------------- Slurm


def _slurm(asked: Asked) -> dict[str, Any]:
    """The keys of the runner."""
    offered = {each.name: each for each in _partitions()}
    name = asked.given["partition"]
    if name is None and asked.person:
        question = "In which partition?"
        if offered:
            name = questions.choose(question, {n: _told(p) for n, p in offered.items()}, next(iter(offered)))
        else:
            name = questions.ask(f"{question} Default: the site's", "", lambda text: text or None)
    for each in name.split(",") if name is not None and offered else ():
        if each not in offered:
            raise ConfigError(f"There is no partition {each!r}. sinfo lists {', '.join(offered)}.")
    limit = offered[name].limit if name in offered else None
    walltime = time_text(min(_WALLTIME, limit or _WALLTIME))

    def time(text: str) -> str:
        return matching("--time", text, TIME, "a time such as 01:00:00 or 2-00:00:00")

    def memory(text: str) -> str:
        return matching("--memory", text, MEMORY, "a size such as 4G or 500M")

    return {
        "type": "slurm",
        **({"partition": name} if name is not None else {}),
        "time_limit": asked.of("time_limit", "Walltime of a trial", walltime, time),
        "memory": asked.of("memory", "Memory of a trial", "1G", memory),
        "cpus_per_task": asked.of("cpus", "CPUs of a trial", "1", _count),
    }


def _partitions() -> list[site.Partition]:
    """What sinfo tells; nothing where it does not answer, which is said."""
    try:
        answer = run(site.COMMAND, timeout=10)
    except ClusterUnavailableError:
        pass
    else:
        if answer.code == 0:
            return site.parse(answer.out)
    show(
        "Slurm does not answer here: the file is written all the same, and its partition not checked.",
        err=True,
    )
    return []


def _told(partition: site.Partition) -> str:
    limit = f"up to {time_text(partition.limit)}" if partition.limit else "without a limit of time"
    nodes = f"{partition.nodes} nodes of {partition.cpus} CPUs, {partition.memory} MB"
    return f"{limit}, {nodes}{', the default' if partition.default else ''}"


# ---------------------------------------------------------------- single answers


def _text(text: str) -> str:
    if not text or "\0" in text:
        raise ConfigError("Something has to stand here.")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and int(text)):
        raise ConfigError(f"{text!r} is no whole number from 1 to 999999.")
    return int(text)


def _goal(text: str) -> str:
    found = [each for each in ("minimize", "maximize") if len(text) > 1 and each.startswith(text.lower())]
    if not found:
        raise ConfigError(f"{text!r} is neither minimize nor maximize.")
    return found[0]
