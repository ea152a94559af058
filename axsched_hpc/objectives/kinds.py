"""What an objective is, as it stands in ``objective.json``: plain data, made once and read by every job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from axsched_hpc.io import document


@dataclass(frozen=True)
class FunctionObjective:
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


@dataclass(frozen=True)
class ScriptObjective:
    """A program that reads a parameter file and writes a metric file.

    Attributes
    ----------
    script
        Name of the copy that runs.
    source
        The original's absolute path.
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
    warning: int | None = None
    warning_signal: str = "USR1"


@dataclass(frozen=True)
class ContainerObjective:
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


def same_code(one: Objective, other: Objective) -> bool:
    """Whether both are functions of the same name with the same bytecode; variables they use may differ."""
    return (
        isinstance(one, FunctionObjective)
        and isinstance(other, FunctionObjective)
        and one.code != ""
        and (one.what, one.code) == (other.what, other.code)
    )


def encode(objective: Objective) -> dict[str, Any]:
    """The objective as fields of ``objective.json``."""
    spec = asdict(objective)
    if objective.warning is None:
        # As versions without checkpoints write it: the digest of an objective stays the same.
        spec = {name: value for name, value in spec.items() if not name.startswith("warning")}
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
        return cls(**{name: _tuples(value) for name, value in raw.items()})
    except TypeError as error:
        raise ValueError(f"{source}: the field 'spec' does not fit ({error}).") from None


def _tuples(value: Any) -> Any:
    # JSON has no tuples; the dataclasses hold nothing else.
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
