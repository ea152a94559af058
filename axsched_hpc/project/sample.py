"""A project file to begin with: what was asked for, and other keys as options, in the reference's words."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from axsched_hpc.io import yaml_text
from axsched_hpc.project import keys, point, schema
from axsched_hpc.project.findings import in_yaml
from axsched_hpc.project.kinds import Key, Keys
from axsched_hpc.project.model import Parameter

_WIDTH = 100

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(:[A-Za-z_][A-Za-z0-9_]*)?|[0-9]+ ?[A-Za-z]+")

#: Parameters that are shown where they are of no use, one of each type.
_SHOWN: Mapping[str, dict[str, Any]] = {
    "rate": {"type": "float", "lower": 0.0001, "upper": 0.1, "log": True},
    "layers": {"type": "int", "lower": 1, "upper": 8},
    "solver": {"type": "choice", "values": ["cg", "gmres"]},
    "shuffle": {"type": "bool"},
    "size": {"type": "fixed", "value": 64},
}

_HEAD = """\
# An experiment of axsched: `axsched try` runs one trial of it, `axsched run` all of them.
# A line that begins with # and no blank after it is an option: take the # away to set it.
"""


@dataclass(frozen=True)
class Sample:
    """What is asked for.

    Attributes
    ----------
    parameters, space
        As in a file, and as they are understood.
    objective
        The keys of ``objective``.
    runner
        ``local``, or the keys of ``runner``.
    schema
        Whether the JSON Schema for editors lies beside the file.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    space: Sequence[Parameter]
    metric: str
    minimize: bool
    objective: Mapping[str, Any]
    runner: str | Mapping[str, Any] = "local"
    parallel: int = 2
    trials: int = 8
    directory: str = "outputs"
    schema: bool = False
    #: Lines of options of the objective: key -> value.
    options: Mapping[str, Any] = field(default_factory=dict)


def text(sample: Sample) -> str:
    """The file."""
    metric, goal = sample.metric, "minimize" if sample.minimize else "maximize"
    other, memory, seconds = _others(metric)
    top = {key.name: key for key in keys.PROJECT.keys}
    parts = [
        [_HEAD.rstrip("\n")],
        _section(top["name"], sample.name),
        _section(top["directory"], sample.directory),
        [
            *_comment(top["parameters"].doc),
            "parameters:",
            *(_line(name, each, 1) for name, each in sample.parameters.items()),
            *(
                _line(name, each, 1, on=False)
                for name, each in _SHOWN.items()
                if name not in sample.parameters
            ),
        ],
        _section(top["parameter_constraints"], _inequalities(sample.space), on=False),
        _section(top["baseline"], _middle(sample.space), on=False),
        [
            *_comment(top["objectives"].doc),
            "objectives:",
            _line(metric, goal, 1),
            _line(other, {"goal": "minimize", "threshold": 100}, 1, on=False),
        ],
        _section(top["constraints"], [f"{memory} <= 8"], on=False),
        _section(top["tracked_metrics"], [seconds], on=False),
        _objective(top["objective"], sample),
        _runner(top["runner"], sample.runner),
        _keys(top["parallel"], {"max_parallel": sample.parallel, "synchronous": False}),
        _keys(top["budget"], {"trials": sample.trials}, {"time": "1 h"}),
        _section(
            top["early_stopping"],
            {"strategy": "percentile", "metric": metric, "min_progression": 10, "min_curves": 5},
            on=False,
        ),
        _section(
            top["global_stopping"], {"strategy": "improvement", "min_trials": 4 * sample.trials}, on=False
        ),
        _keys(
            top["retries"],
            {},
            {
                "infrastructure": 3,
                "objective": 1,
                "out_of_memory": {"attempts": 2, "memory_factor": 2, "memory_max": "64G"},
                "timeout": {"attempts": 1, "time_factor": 1.5, "time_max": "24:00:00"},
            },
        ),
        _section(top["seed"], 1, on=False),
        _keys(
            top["config"],
            {},
            {"monitoring_interval": 10, "failure_rate": 0.5, "cleanup_after_completion": False},
        ),
    ]
    if sample.schema:
        parts[0].insert(0, f"# yaml-language-server: $schema={schema.NAME}")
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def flow(value: Any) -> str:
    """A value in one line of YAML, which every reader of YAML reads as the same."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        # Without a point some readers take 1e-05 for a text.
        return re.sub(r"^(-?[0-9]+)e", r"\1.0e", repr(value))
    if _PLAIN.fullmatch(value) and yaml_text.read(value, strict=True).data == value:
        return value
    if "\\" in value and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f").replace("\ufeff", "\\ufeff")


# ---------------------------------------------------------------- sections


def _objective(key: Key, sample: Sample) -> list[str]:
    kind = keys.kind_of_objective(sample.objective)
    assert kind is not None
    return _keys(key, sample.objective, sample.options, keys.OBJECTIVE.variants[kind])


def _runner(key: Key, runner: str | Mapping[str, Any]) -> list[str]:
    if isinstance(runner, str):
        slurm = flow({"type": "slurm", "partition": "main", "time_limit": "00:10:00", "memory": "1G"})
        return [*_section(key, runner), f"# Another: runner: {slurm}"]
    options = {
        "profile": "gpu",
        "partition": "main",
        "account": "project",
        "gpus_per_task": 1,
        "config": {"modules": ["gcc"], "environment": {"OMP_NUM_THREADS": 1}},
    }
    left = {name: each for name, each in options.items() if name not in runner}
    return _keys(key, runner, left, keys.RUNNER.variants["slurm"])


def _keys(
    key: Key, given: Mapping[str, Any], options: Mapping[str, Any] | None = None, of: Keys | None = None
) -> list[str]:
    """A section with keys; it is an option itself where nothing in it is given."""
    section = key.kind if of is None else of
    assert isinstance(section, Keys)
    docs = {each.name: each.doc for each in section.keys}
    lines = [*_comment(key.doc), f"{'' if given else '#'}{key.name}:"]
    for name, each in given.items():
        lines += [*_comment(docs[name], 1), _line(name, each, 1)]
    told = ""
    for name, each in (options or {}).items():
        lines += _comment(docs[name], 1) if docs[name] != told else []
        lines.append(_line(name, each, 1, on=False))
        told = docs[name]
    return lines


def _section(key: Key, value: Any, *, on: bool = True) -> list[str]:
    if not value:
        return []
    return [*_comment(key.doc), _line(key.name, value, on=on)]


def _line(name: str, value: Any, depth: int = 0, *, on: bool = True) -> str:
    return f"{'  ' * depth}{'' if on else '#'}{flow(name)}: {flow(value)}"


def _comment(doc: str, depth: int = 0) -> list[str]:
    words = in_yaml(doc.replace("; None: ", "; default: ").replace("None: ", "Default: "))
    blanks = "  " * depth
    return textwrap.wrap(words, _WIDTH, initial_indent=f"{blanks}# ", subsequent_indent=f"{blanks}# ")


# ---------------------------------------------------------------- examples of one's own


def _others(metric: str) -> tuple[str, str, str]:
    """Names of other metrics: of an objective, of a constraint, and of one that is only recorded."""
    names = [name for name in ("cost", "memory", "seconds", "energy") if name != metric]
    return names[0], names[1], names[2]


def _inequalities(space: Sequence[Parameter]) -> list[str]:
    """An inequality that these parameters can have; none where they cannot have any."""
    numbers = [
        each
        for each in space
        if each.type in ("float", "int")
        and not each.log
        and re.fullmatch(r"[a-z][a-z0-9_]+|[a-z]", each.name)
    ][:2]
    if not numbers:
        return []
    most = sum(each.upper for each in numbers)
    return [f"{' + '.join(each.name for each in numbers)} <= {most!r}"]


def _middle(space: Sequence[Parameter]) -> dict[str, Any]:
    fixed = {each.name for each in space if each.type == "fixed"}
    return {name: each for name, each in point.middle(space).items() if name not in fixed}
