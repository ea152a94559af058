"""What an objective is, as it stands in ``objective.json``: plain data, made once and read by every job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from axsched_hpc.core.record import Record
from axsched_hpc.io import document

#: What runs a script that is not executable, by the ending of its name; None: the worker's own Python.
INTERPRETERS = {".py": None, ".sh": "bash", ".R": "Rscript", ".r": "Rscript", ".jl": "julia", ".pl": "perl"}

#: What an extraction's ``file`` can name that is no file of the program's own.
LOGS = ("stdout", "stderr")


class FunctionObjective(Record):
    """A Python function, pickled.

    Attributes
    ----------
    pickle
        Name of the file that holds it.
    what
        ``module.qualname``, for people.
    sys_path
        Where the driver's Python looked for modules.
    code
        Digest of its bytecode; empty for a callable without any of its own.
    warning
        Seconds before the end of its job's time at which it is told to save a checkpoint; None for a function
        that does not.
    """

    pickle: str
    what: str
    sys_path: tuple[str, ...] = ()
    code: str = ""
    warning: int | None = None


class Extraction(Record):
    """Where a metric stands in what a program has written.

    Attributes
    ----------
    kind
        ``regex``, ``json``, ``csv``, ``hdf5``, ``netcdf`` or ``last_line``.
    address
        The pattern, the path, the column's name or number, or the variable; empty for the last line.
    file
        Relative to the working directory; or ``stdout`` or ``stderr``.
    which
        ``first``, ``last``, ``min``, ``max``, or an index, of the values that are found.
    sem
        The address of the standard error, where it has one of its own.
    separator
        Between the columns of a table; None: found out.
    """

    metric: str
    kind: str
    address: str | int = ""
    file: str = "stdout"
    which: str | int = "last"
    sem: str | int | None = None
    separator: str | None = None


class ProgramObjective(Record, kw_only=True):
    """What scripts and containers have in common: the files around a program.

    Attributes
    ----------
    templates
        (absolute path of the template, path in the working directory of what is made of it).
    inputs
        Absolute paths of what is copied into each working directory.
    extract
        Metrics that are read from what the program writes.
    scratch
        Whether the working directory is on a disk of the node, and copied back at the end.
    stage_out
        Patterns of what is copied back; None: all.
    output_limit
        The most that is kept of each of stdout and stderr, in megabytes; 0: all.
    """

    templates: tuple[tuple[str, str], ...] = ()
    inputs: tuple[str, ...] = ()
    extract: tuple[Extraction, ...] = ()
    scratch: bool = False
    stage_out: tuple[str, ...] | None = None
    output_limit: int = 64

    @property
    def output_bytes(self) -> int | None:
        """The most that is kept of each of stdout and stderr; None: all."""
        return self.output_limit * 1_000_000 or None


def template_name(place: int) -> str:
    """Name of the installed copy of a template."""
    return f"template-{place}"


def input_name(place: int) -> str:
    """Name of the installed copy of an input."""
    return f"input-{place}"


class ScriptObjective(ProgramObjective):
    """A program that reads a parameter file and writes a metric file.

    Attributes
    ----------
    script
        Name of the copy that runs; of a program that runs in place, what is looked for on the node.
    source
        The original's absolute path; of a program that is looked for on PATH, its name.
    interpreter
        Program and arguments put before the script; None: chosen on the node.
    environment
        Variables added to the job's.
    timeout
        Seconds.
    working_directory
        Absolute; None: the attempt's own.
    copy
        Absolute paths of what is copied beside the script.
    link
        Absolute paths of what the working directory has links to.
    in_place
        Whether the original itself runs.
    warning
        As of a function.
    warning_signal
        The signal by which its process group is told, such as ``USR1``.
    """

    script: str
    source: str
    interpreter: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    working_directory: str | None = None
    copy: tuple[str, ...] = ()
    parameters_format: str = "json"
    link: tuple[str, ...] = ()
    in_place: bool = False
    warning: int | None = None
    warning_signal: str = "USR1"


class ContainerObjective(ProgramObjective):
    """A command in a container image, which reads and writes the same files.

    Attributes
    ----------
    engine
        ``auto`` or an engine's name.
    volumes
        (path on the host, path in the container, ``rw`` or ``ro``).
    gpus
        None, ``nvidia`` or ``amd``.
    workdir
        In the container; None: the attempt's own.
    extra_args
        Put before the image, in the engine's own words.
    timeout
        Seconds.
    network
        ``host`` or ``none``; None: what the engine does by default.
    user
        Whom the program is inside: ``auto``, ``self``, ``root`` or ``image``.
    image_cache
        Absolute path of where images are kept that had to be fetched or converted; None: in the experiment
        directory.
    warning, warning_signal
        As of a script.
    """

    image: str
    command: tuple[str, ...]
    engine: str = "auto"
    volumes: tuple[tuple[str, str, str], ...] = ()
    env_vars: tuple[tuple[str, str], ...] = ()
    gpus: str | None = None
    workdir: str | None = None
    extra_args: tuple[str, ...] = ()
    timeout: float | None = None
    network: str | None = None
    user: str = "auto"
    image_cache: str | None = None
    warning: int | None = None
    warning_signal: str = "USR1"


Objective = FunctionObjective | ScriptObjective | ContainerObjective

_KINDS: dict[str, type[Objective]] = {
    "function": FunctionObjective,
    "script": ScriptObjective,
    "container": ContainerObjective,
}


def kind(objective: Objective) -> str:
    """``function``, ``script`` or ``container``."""
    return next(name for name, cls in _KINDS.items() if isinstance(objective, cls))


def what(objective: Objective) -> str:
    """What runs, in a few words for people."""
    match objective:
        case FunctionObjective():
            return f"function {objective.what}"
        case ScriptObjective():
            return f"script {objective.source}"
        case ContainerObjective():
            return f"container {objective.image}"


def copies(objective: Objective) -> list[tuple[str, str]]:
    """What is installed beside an objective's description: (absolute path, name there)."""
    if isinstance(objective, FunctionObjective):
        return []
    found = [(source, template_name(place)) for place, (source, _) in enumerate(objective.templates)]
    found += [(source, input_name(place)) for place, source in enumerate(objective.inputs)]
    if isinstance(objective, ScriptObjective):
        own = () if objective.in_place else (objective.source,)
        found += [(source, PurePath(source).name) for source in (*own, *objective.copy)]
    return found


#: What does not change what is computed: limits, warnings, where and by what it is run. And what is compared
#: by itself: the program, and what is copied, by its contents.
_ASIDE = {
    *("timeout", "warning", "warning_signal", "output_limit", "scratch", "stage_out"),
    *("engine", "network", "user", "image_cache"),
    *("script", "source", "image", "templates", "inputs", "copy"),
}

#: What may hold secrets: the names are told, and no values.
_VARIABLES = ("environment", "env_vars")


def changes(
    before: Objective, files_before: Mapping[str, str], now: Objective, files_now: Mapping[str, str]
) -> list[str]:
    """In what two objectives differ that can change what they compute, in words; nothing for the same one.

    Of a function that is its bytecode: variables and functions that it uses may differ, and so may the bytes
    of two pickles of one function. Of programs that are run where they are it is their place.

    Parameters
    ----------
    files_before, files_now
        Checksums of what is installed beside each, by name.
    """
    if type(before) is not type(now):
        return [f"{what(before)} before, {what(now)} now"]
    if isinstance(before, FunctionObjective) and isinstance(now, FunctionObjective):
        if before.what != now.what:
            return [f"{what(before)} before, {what(now)} now"]
        same = before.code == now.code and (before.code != "" or files_before == files_now)
        return [] if same else [f"the code of {what(now)}"]
    from dataclasses import fields  # a job compares nothing

    found = []
    if _program(before) != _program(now):
        found.append(f"{_program(before)} before, {_program(now)} now")
    old_files, new_files = _contents(before, files_before), _contents(now, files_now)
    for name in sorted({*old_files, *new_files}):
        if name not in new_files:
            found.append(f"{name} is gone")
        elif old_files.get(name) != new_files[name]:
            found.append(f"{name} {'has another content' if name in old_files else 'is new'}")
    for name in (field.name for field in fields(before) if field.name not in _ASIDE):
        old, new = getattr(before, name), getattr(now, name)
        if old != new and name in _VARIABLES:
            found.append(f"{name}: {', '.join(sorted({each for each, _ in set(old) ^ set(new)}))}")
        elif old != new:
            found.append(f"{name}: {_shown(old)} before, {_shown(new)} now")
    return found


def _program(objective: Objective) -> str:
    """What runs, where that is no file that is installed."""
    in_place = isinstance(objective, ContainerObjective) or getattr(objective, "in_place", False)
    return what(objective) if in_place else ""


def _contents(objective: Objective, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The checksums of what is installed, by what it is for its user, who may have moved it."""
    names = {name: PurePath(source).name for source, name in copies(objective)}
    if isinstance(objective, ProgramObjective):
        for place, (_, target) in enumerate(objective.templates):
            names[template_name(place)] = f"the template of {target}"
    found: dict[str, dict[str, str]] = {}
    for path, digest in files.items():
        name, _, inside = path.partition("/")
        found.setdefault(names.get(name, name), {})[inside] = digest
    return found


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(each) for each in value) + "]"
    return "none" if value is None else str(value)


#: Fields that earlier versions do not know, beside those of :class:`ProgramObjective`.
_LATER = {
    *("link", "in_place", "network", "user", "image_cache", "warning", "warning_signal"),
}


def encode(objective: Objective) -> dict[str, Any]:
    """The objective as fields of ``objective.json``."""
    from dataclasses import asdict, fields  # a job writes none

    later = _LATER | {field.name for field in fields(ProgramObjective)}
    # What is not asked for is not written, as by earlier versions: the digest of an objective stays the same.
    left_out = {
        field.name
        for field in fields(objective)
        if field.name in later and getattr(objective, field.name) == field.default
    }
    spec = {name: value for name, value in asdict(objective).items() if name not in left_out}
    return {"kind": kind(objective), "what": what(objective), "spec": spec}


def decode(fields: Mapping[str, Any], *, source: str) -> Objective:
    """The objective in the fields of ``objective.json``.

    Raises
    ------
    ValueError
        They are malformed; the message names the source.
    """
    cls = _KINDS.get(document.field(fields, "kind", str, source=source))
    raw = document.field(fields, "spec", dict, source=source)
    if cls is None:
        raise ValueError(f"{source}: {fields['kind']!r:.80} is no kind of objective.")
    try:
        values = {name: _tuples(value) for name, value in raw.items()}
        if "extract" in raw:
            values["extract"] = tuple(Extraction(**each) for each in raw["extract"])
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{source}: the field 'spec' does not fit ({error}).") from None


def _tuples(value: Any) -> Any:
    # JSON has no tuples; the dataclasses hold nothing else.
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
