"""The options of objectives, runners and the scheduler as keys of a project file.

Their names and checks are those of the packages to which they belong; here is only what a JSON Schema says of
each kind of check.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, get_args, get_type_hints

from axsched_hpc.core import config
from axsched_hpc.core.policy import RetryPolicy
from axsched_hpc.objectives import checks, spec
from axsched_hpc.objectives.extraction.options import extractions
from axsched_hpc.project.kinds import BOOLEAN, COUNT, TEXT, Key, Keys, Kind, Option, Schema, words
from axsched_hpc.runners import slurm_checks
from axsched_hpc.runners.slurm_runner import SlurmRunner

_WORD: Schema = {"type": ["string", "number"]}
_WORDS: Schema = {"type": "array", "items": _WORD}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
_VARIABLES: Schema = {"type": "object", "additionalProperties": _WORD}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_OPTIONAL: Schema = {"type": ["integer", "null"], "minimum": 0}
_FLAGS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}

#: What is an option's JSON Schema, by its check.
_SCHEMAS: dict[Callable[[str, Any], Any], Schema] = {
    checks.absolute: {"type": "string", "minLength": 1},
    checks.command: {"anyOf": [{"type": "string", "minLength": 1}, {**_WORDS, "minItems": 1}]},
    checks.environment: _VARIABLES,
    checks.gpus: {"enum": [True, False, "nvidia", "all", "amd", "rocm"]},
    checks.inside: {"type": "string", "pattern": "^/"},
    checks.megabytes: _WHOLE,
    checks.paths: _TEXTS,
    checks.patterns: _TEXTS,
    checks.seconds: {"type": "number", "exclusiveMinimum": 0},
    checks.signal: {"enum": [*checks.WARNING_SIGNALS, *(f"SIG{name}" for name in checks.WARNING_SIGNALS)]},
    checks.templates: {"anyOf": [_TEXTS, {"type": "object", "additionalProperties": {"type": "string"}}]},
    checks.volumes: {"type": "object", "additionalProperties": {"type": "string", "pattern": "^/"}},
    checks.words: _WORDS,
    checks.yes_or_no: {"type": "boolean"},
    extractions: {"type": "object", "additionalProperties": {"type": "object"}, "minProperties": 1},
    config.boolean: {"type": "boolean"},
    config.optional_whole_number: _OPTIONAL,
    config.whole_number: _WHOLE,
    config.share: {"type": "number", "minimum": 0, "maximum": 1},
    slurm_checks.array_size: {"type": "integer", "minimum": 1},
    slurm_checks.environment: _VARIABLES,
    slurm_checks.lines: _TEXTS,
    slurm_checks.sbatch_options: _FLAGS,
}


def _schema(check: Callable[[str, Any], Any]) -> Schema:
    if isinstance(check, checks.Choice | config.OneOf):
        return {"enum": list(check.allowed)}
    if isinstance(check, config.Seconds):
        return {"type": "number", "minimum": check.least}
    return _SCHEMAS[check]


def _kind(check: Callable[[str, Any], Any]) -> Kind:
    return Option(check, _schema(check))


def described(of: type) -> dict[str, str]:
    """The sentences of a class's docstring on its parameters and attributes, by name."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(of) or "").splitlines():
        heading = re.fullmatch(r"(\w+(?:, \w+)*)(?: : .*)?", line)
        if heading is not None:
            names = heading[1].split(", ")
        elif line.startswith("    "):
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip()
        else:
            names = []
    return {name: text.replace("``", "").replace(":class:", "") for name, text in found.items()}


def program_keys(options: Mapping[str, Any], of: type, *, without: Iterable[str] = ()) -> tuple[Key, ...]:
    """The options of a script or a container."""
    own: dict[str, Kind] = {"checkpointable": BOOLEAN, "warning": COUNT}
    docs = described(of) | {
        "checkpointable": "It saves its state, and goes on from there when it is started again.",
        "warning": "Seconds before the end of its job's time at which it is told to save.",
        "args": "Its arguments. {NAME} stands for a parameter, {metrics} for the metric file.",
        "copy": "Files that lie beside the script where it runs.",
        "env_vars": "Variables of the container.",
        "environment": "Variables of its own.",
        "extract": "Metrics that are read from what it prints, or from files that it writes.",
        "inputs": "Files of which each trial's working directory has a copy.",
        "interpreter": "The program that runs it, with arguments.",
        "parameters_format": "The form of the parameter file. Default: json.",
        "timeout": "The most seconds that a trial may take.",
    }
    return tuple(
        Key(name, own[name] if name in own else _kind(check), docs.get(name, ""))
        for name, check in options.items()
        if name not in without
    )


SCRIPT_OPTIONS, CONTAINER_OPTIONS = spec.SCRIPT_OPTIONS, spec.CONTAINER_OPTIONS


def retries() -> Keys:
    """Repetitions by class of failure."""
    grown = {
        name: {
            "type": "object",
            "properties": {
                "attempts": _WHOLE,
                f"{what}_factor": {"type": "number", "exclusiveMinimum": 1, "maximum": 100},
                f"{what}_max": {"type": ["string", "integer", "null"]},
            },
            "additionalProperties": False,
        }
        for name, what in (("out_of_memory", "memory"), ("timeout", "time"))
    }
    docs = described(RetryPolicy)
    keys = tuple(
        Key(
            field.name,
            Option(partial(_retry, field.name), grown.get(field.name, _WHOLE)),
            docs.get(field.name, ""),
        )
        for field in fields(RetryPolicy)
    )
    return Keys(keys, "a mapping such as {infrastructure: 3, objective: 1}")


def _retry(name: str, way: str, value: Any) -> None:
    config.retries(way.rpartition(".")[0], {name: value})


#: Options of the scheduler that a file says elsewhere.
ELSEWHERE = {
    "job_output_dir": "directory",
    "synchronous": "parallel.synchronous",
    "early_stopping": "early_stopping",
    "global_stopping": "global_stopping",
    "retries": "retries",
    "seed": "seed",
}

#: Those that a file does not have.
BY_SCRIPT = {"arms_per_trial": "The trials of a file have one arm each; a script can pass an Experiment."}


def scheduler() -> Keys:
    """The other options of the scheduler."""
    docs = described(config.SchedulerConfig)
    keys = (
        Key(name, _kind(check), docs.get(name, ""))
        for name, check in config.CHECKS.items()
        if name not in (*ELSEWHERE, *BY_SCRIPT)
    )
    moved = {name: f"Say it at the top, as {place}." for name, place in ELSEWHERE.items()}
    moved |= BY_SCRIPT
    return Keys(tuple(keys), "a mapping such as {monitoring_interval: 30}", moved=moved)


#: Said of a number of attempts where a runner's arguments stand.
_PARALLEL = {"max_parallel": "Say it at the top, as parallel.max_parallel."}
#: What sbatch and submitit call the arguments of SlurmRunner.
_SBATCH = {
    "time": "Say time_limit.",
    "timeout_min": "Say time_limit.",
    "mem": "Say memory.",
    "mem_gb": "Say memory.",
    "cpus": "Say cpus_per_task.",
    "gpus": "Say gpus_per_task.",
    "ntasks": "Say tasks_per_node.",
    **{name: "It belongs in runner.config." for name in slurm_checks.CHECKS},
    "qos": "It belongs in runner.config.sbatch_options.",
}


def slurm_keys() -> tuple[Key, ...]:
    """The arguments of SlurmRunner, but for the number of attempts."""
    docs, hints = described(SlurmRunner), get_type_hints(SlurmRunner.__init__)
    kinds: dict[str, Kind] = {
        "mode": words("jobs", "steps"),
        "config": Keys(
            tuple(Key(name, _kind(check)) for name, check in slurm_checks.CHECKS.items()),
            "a mapping such as {modules: [gcc]}",
        ),
    }
    return tuple(
        Key(name, kinds.get(name) or Option(partial(_argument, name), _types(hints[name])), docs[name])
        for name in inspect.signature(SlurmRunner).parameters
        if name not in _PARALLEL
    )


def _argument(name: str, way: str, value: Any) -> None:
    SlurmRunner(**{name: value})


def _types(hint: Any) -> Schema:
    names = {str: "string", int: "integer"}
    found = [names[each] for each in get_args(hint) or (hint,) if each in names]
    return {"type": found[0] if len(found) == 1 else found}


def runners() -> dict[str, Keys]:
    """The keys of each type of runner."""
    return {
        "local": Keys(
            (_type("local", needed=True),),
            "a mapping",
            moved={key.name: "It belongs to a runner of type slurm." for key in slurm_keys()} | _PARALLEL,
        ),
        "slurm": Keys(
            (
                _type("slurm"),
                Key(
                    "profile",
                    TEXT,
                    "Name or path of the site's settings, over which the others count. Default: that of "
                    "AXSCHED_PROFILE, else the user's default one, where there is one.",
                ),
                *slurm_keys(),
            ),
            "a mapping",
            moved=_PARALLEL | _SBATCH,
        ),
        "submitit": Keys(
            (
                _type("submitit", needed=True),
                Key("cluster", TEXT, "The executor, by submitit's name for it.", needed=True),
            ),
            "a mapping",
            moved=_PARALLEL,
            others=True,
        ),
    }


def _type(name: str, *, needed: bool = False) -> Key:
    return Key("type", words(name), "Where trials run: local, slurm or submitit.", needed)
