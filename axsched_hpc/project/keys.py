"""The keys of a project file, each with what it takes and what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from axsched_hpc.core.errors import wrong_value
from axsched_hpc.core.sizes import time_s
from axsched_hpc.objectives import checks
from axsched_hpc.objectives.kinds import ContainerObjective, ScriptObjective
from axsched_hpc.project import options
from axsched_hpc.project.kinds import (
    BOOLEAN,
    COUNT,
    INTEGER,
    NUMBER,
    POSITIVE,
    SCALAR,
    TEXT,
    Key,
    Keys,
    Many,
    OneOf,
    Option,
    Plain,
    words,
)

#: The file that is run where none is named.
FILE = "axsched.yaml"

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_TIME = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def seconds(name: str, value: Any) -> float:
    """Seconds of ``90 min``, ``12 h``, ``02:30:00`` or ``2-00:00:00``.

    Raises
    ------
    ConfigError
        It is none of them.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is not None and float(found[1]) > 0:
        return float(found[1]) * _UNITS[found[2]]
    clock = time_s(value) if isinstance(value, str) and re.search(r":\d+:|-", value) else None
    if clock is None:
        raise wrong_value(name, value, "a time such as 90 min, 12 h, 2 d or 02:30:00")
    return float(clock)


# ---------------------------------------------------------------- parameters

_ASIDE = {
    "bounds": "Say lower and upper.",
    "range": "Say lower and upper.",
    "min": "Say lower.",
    "max": "Say upper.",
    "scale": "Say log: true.",
    "scaling": "Say log: true.",
    "log_scale": "Say log: true.",
    "step_size": "Say step.",
    "choices": "Say values.",
    "is_ordered": "Say ordered.",
}


def _parameter(kind: str, *own: Key) -> Keys:
    keys = (
        Key("type", words(kind), "float, int, choice, bool or fixed.", needed=True),
        *own,
        Key(
            "when",
            Many(SCALAR, "a mapping of one parameter to one of its values, such as {solver: cg}", named=True),
            "The one parameter and its value with which this one counts, such as {solver: cg}; without that "
            "value a trial does not have it.",
        ),
    )
    return Keys(keys, "a mapping", moved={name: hint for name, hint in _ASIDE.items()})


def _range(kind: str, bound: Plain, step: Plain) -> Keys:
    return _parameter(
        kind,
        Key("lower", bound, "The smallest value.", needed=True),
        Key("upper", bound, "The largest value.", needed=True),
        Key("log", BOOLEAN, "Whether it is searched on a log scale; lower is above 0 then. Default: false."),
        Key("step", step, "Only lower, lower + step, and so on up to upper, which has to be one of them."),
    )


_PARAMETERS = {
    "float": _range("float", NUMBER, POSITIVE),
    "int": _range("int", INTEGER, COUNT),
    "choice": _parameter(
        "choice",
        Key(
            "values",
            Many(SCALAR, "a list of two values or more", least=2),
            "All that it may be.",
            needed=True,
        ),
        Key(
            "ordered",
            BOOLEAN,
            "Whether values near each other in the list give similar results. Default: true for numbers.",
        ),
    ),
    "bool": _parameter("bool"),
    "fixed": _parameter("fixed", Key("value", SCALAR, "The value that all trials have.", needed=True)),
}

PARAMETER = OneOf(
    _PARAMETERS,
    lambda value: value.get("type") if isinstance(value.get("type"), str) else None,
    "a mapping such as {type: float, lower: 0.1, upper: 10}",
    "type",
)

# ---------------------------------------------------------------- what is wanted

GOAL = Keys(
    (
        Key("goal", words("minimize", "maximize"), "minimize or maximize.", needed=True),
        Key(
            "weight",
            POSITIVE,
            "Its share in the weighted sum of all objectives, which is then the one that counts. Either all "
            "objectives have one, or none.",
        ),
        Key("threshold", NUMBER, "With several objectives: the worst value that is of any interest."),
    ),
    "minimize, maximize, or a mapping with the key 'goal'",
    short=words("minimize", "maximize"),
    moved={"direction": "Say goal.", "minimize": "Say goal: minimize.", "maximize": "Say goal: maximize."},
)

# ---------------------------------------------------------------- what runs

_PROGRAM = Option(checks.command, {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]})
_FUNCTION_KIND = Plain(
    "module:name",
    {"type": "string", "pattern": f"^{_FUNCTION.pattern}$"},
    lambda value: isinstance(value, str) and bool(_FUNCTION.fullmatch(value)),
)

_OBJECTIVES = {
    "script": Keys(
        (
            Key("script", TEXT, "A script or program, by its path.", needed=True),
            *options.program_keys(options.SCRIPT_OPTIONS, ScriptObjective),
        ),
        "a mapping",
    ),
    "command": Keys(
        (
            Key("command", _PROGRAM, "A program and its arguments; it is run where it is.", needed=True),
            *options.program_keys(
                options.SCRIPT_OPTIONS, ScriptObjective, without=("args", "in_place", "interpreter", "copy")
            ),
        ),
        "a mapping",
        moved={"args": "Arguments stand in command.", "image": "Say container."},
    ),
    "container": Keys(
        (
            Key("container", TEXT, "The container's image, by its path or name.", needed=True),
            Key("command", _PROGRAM, "What is run in the container.", needed=True),
            *options.program_keys(options.CONTAINER_OPTIONS, ContainerObjective),
        ),
        "a mapping",
        moved={"environment": "Say env_vars.", "args": "Arguments stand in command."},
    ),
    "function": Keys(
        (
            Key("function", _FUNCTION_KIND, "A Python function: module:name.", needed=True),
            *options.program_keys(
                {name: None for name in ("checkpointable", "warning")},
                ScriptObjective,
            ),
        ),
        "a mapping",
    ),
}


def kind_of_objective(value: Mapping[str, Any]) -> str | None:
    """Which kind of objective a mapping is meant to be."""
    return next((kind for kind in ("container", "script", "function", "command") if kind in value), None)


OBJECTIVE = OneOf(_OBJECTIVES, kind_of_objective, "a mapping such as {script: simulate.sh}", "")

# ---------------------------------------------------------------- where it runs


def kind_of_runner(value: Mapping[str, Any]) -> str | None:
    """Which type of runner a mapping is meant to be."""
    given = value.get("type", "slurm" if "profile" in value else None)
    return given if isinstance(given, str) else None


RUNNER = OneOf(
    options.runners(),
    kind_of_runner,
    "local, slurm, or a mapping with the key 'type'",
    "type",
    short=words("local", "slurm"),
)

# ---------------------------------------------------------------- when it stops


def _strategy(name: str, *own: Key) -> Keys:
    return Keys((Key("strategy", words(name), "Which of Ax's strategies.", needed=True), *own), "a mapping")


def _chosen(value: Mapping[str, Any]) -> str | None:
    given = value.get("strategy")
    return given if isinstance(given, str) else None


_CURVES = (
    Key("metric", TEXT, "The metric whose curves are compared. Default: the objective."),
    Key("min_progression", NUMBER, "No trial is stopped before this step. Default: 10."),
    Key("max_progression", NUMBER, "No trial is stopped after this step."),
    Key("min_curves", COUNT, "No trial is stopped before so many have completed with a curve. Default: 5."),
    Key("normalize_progressions", BOOLEAN, "Whether steps count from 0 to 1. Default: false."),
    Key("check_safe", BOOLEAN, "Whether Ax looks first whether stopping does harm here. Default: false."),
)

#: The settings of Ax's strategies, under Ax's own names (but for ``metric``).
EARLY = {
    "percentile": _strategy(
        "percentile",
        *_CURVES,
        Key("percentile_threshold", NUMBER, "A trial in the worst so many percent is stopped. Default: 50."),
        Key("n_best_trials_to_complete", COUNT, "The best so many trials are never stopped."),
        Key("interval", POSITIVE, "Steps between two looks at a trial."),
        Key("patience", NUMBER, "Steps for which a trial has to be among the worst. Default: 0."),
    ),
    "threshold": _strategy(
        "threshold",
        *_CURVES,
        Key("metric_threshold", NUMBER, "What a trial has to reach by min_progression. Default: 0.2."),
    ),
}
GLOBAL = {
    "improvement": _strategy(
        "improvement",
        Key("min_trials", COUNT, "The run goes on for so many trials at the least.", needed=True),
        Key("window_size", COUNT, "Recent trials in which there has to be progress. Default: 5."),
        Key(
            "improvement_bar",
            NUMBER,
            "Progress, as a share of the range between the quartiles of what was seen. Default: 0.1.",
        ),
        Key(
            "inactive_when_pending_trials",
            BOOLEAN,
            "Whether it acts only while no trial runs. Default: true with rounds, else false.",
        ),
    )
}

_WHOLE_FILE = (
    Key("name", TEXT, "The experiment's name."),
    Key("directory", TEXT, "The experiment directory. Default: outputs."),
    Key(
        "parameters",
        Many(PARAMETER, "a mapping of parameters' names to what they may be", named=True, least=1),
        "What may be varied, by name.",
        needed=True,
    ),
    Key(
        "parameter_constraints",
        Many(TEXT, "a list of inequalities such as a + 2*b <= 10"),
        "Linear inequalities that parameters meet, such as a + 2*b <= 10.",
    ),
    Key(
        "baseline",
        Many(SCALAR, "a mapping of all parameters' names to values", named=True, least=1),
        "The parameters of the first trial, with which relative constraints compare.",
    ),
    Key(
        "objectives",
        Many(GOAL, "a mapping of metrics to minimize or maximize", named=True, least=1),
        "The metrics that are to be small or large; with several, their Pareto front is looked for.",
        needed=True,
    ),
    Key(
        "constraints",
        Many(TEXT, "a list of inequalities such as memory <= 8"),
        "Linear inequalities that metrics should meet: memory <= 8, or memory <= 1.2 * baseline.",
    ),
    Key("tracked_metrics", Many(TEXT, "a list of metrics"), "Metrics that are recorded, and not judged."),
    Key("objective", OBJECTIVE, "What each trial runs.", needed=True),
    Key("runner", RUNNER, "Where trials run. Default: local."),
    Key(
        "parallel",
        Keys(
            (
                Key(
                    "max_parallel",
                    COUNT,
                    "Trials that are queued or running at a time. Default: the runner's.",
                ),
                Key(
                    "synchronous",
                    BOOLEAN,
                    "Whether trials run in rounds, or a free slot is filled at once. Default: true.",
                ),
            ),
            "a mapping such as {max_parallel: 8, synchronous: false}",
        ),
        "How many trials run side by side.",
    ),
    Key(
        "budget",
        Keys(
            (
                Key("trials", COUNT, "Trials of the experiment, over all runs.", needed=True),
                Key(
                    "time",
                    Option(seconds, {"type": "string"}),
                    "Time of the experiment, over all runs, such as 90 min, 12 h, 2 d or 02:30:00.",
                ),
            ),
            "a mapping such as {trials: 40}",
            moved={"max_trials": "Say trials.", "timeout": "Say time."},
        ),
        "When the experiment is done. Raise it to go on.",
        needed=True,
    ),
    Key(
        "early_stopping",
        OneOf(EARLY, _chosen, "true, false, or a mapping with the key 'strategy'", "strategy", short=BOOLEAN),
        "Whether unpromising trials are stopped by their curves: true for Ax's default, or a strategy.",
    ),
    Key(
        "global_stopping",
        OneOf(GLOBAL, _chosen, "a mapping with the key 'strategy'", "strategy"),
        "Whether the run ends before its budget is spent.",
    ),
    Key("retries", options.retries(), "Repetitions of a failed attempt, by class of failure."),
    Key(
        "seed",
        Plain(
            "a whole number, 0 or more",
            {"type": "integer", "minimum": 0},
            lambda value: INTEGER.fits(value) and value >= 0,
        ),
        "Makes what Ax suggests the same in each run.",
    ),
    Key("config", options.scheduler(), "The scheduler's other options."),
)

_BELONGS = {
    key.name: f"It belongs in {section.name}."
    for section in _WHOLE_FILE
    if isinstance(section.kind, Keys)
    for key in section.kind.keys
    if section.name != "retries"
}

PROJECT = Keys(
    _WHOLE_FILE,
    "a mapping with the keys parameters, objectives, objective and budget",
    moved=_BELONGS
    | {kind: "It belongs in objective." for kind in _OBJECTIVES}
    | {
        "max_trials": "Say budget.trials.",
        "job_output_dir": "Say directory.",
        "metrics": "Say tracked_metrics.",
        "outcome_constraints": "Say constraints.",
        "profile": "It belongs in runner.",
    },
)
