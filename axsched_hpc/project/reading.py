"""A project file, read and checked as a whole: every problem at once, or a project."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import AxSchedError, plural
from axsched_hpc.io import yaml_text
from axsched_hpc.project import goals, keys, place, program, space
from axsched_hpc.project.findings import Findings
from axsched_hpc.project.model import Goal, Project, Stopping

_LARGEST = 1_000_000


class ProjectError(AxSchedError):
    """A project file is wrong.

    Attributes
    ----------
    problems
        One text each, in the order of lines.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join([*problems, f"{plural(len(problems), 'problem')}; nothing was started."]))
        self.problems = tuple(problems)


def load(path: Path) -> Project:
    """The project of a file. Relative paths in it are those of its directory.

    Raises
    ------
    ProjectError
        It cannot be read, or something in it is wrong; has every problem.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        text = raw.decode()
    except FileNotFoundError:
        what = f"there is no file {path}; name another one (axsched run FILE), or write one: axsched init."
        raise ProjectError([what]) from None
    except OSError as error:
        raise ProjectError([f"{path}: it cannot be read: {error.strerror or error}."]) from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ProjectError([f"{path}:{line}: this is no text in UTF-8 ({error.reason})."]) from None
    if len(raw) > _LARGEST:
        raise ProjectError([f"{path}: it is larger than a megabyte, so it is no project file."])
    with contextlib.chdir(path.absolute().parent):
        return parse(text, str(path))


def parse(text: str, name: str) -> Project:
    """The project of a text. Relative paths in it are those of the current directory.

    Raises
    ------
    ProjectError
        Something in it is wrong; has every problem.
    """
    document = yaml_text.read(text, strict=True)
    findings = Findings(name, document)
    if document.data is None and document.problems:
        raise ProjectError(findings.texts)
    keys.PROJECT.check(findings, (), document.data if document.data is not None else {})
    data = document.data if isinstance(document.data, dict) else {}
    found = _project(findings, data)
    if findings.texts or found is None:
        raise ProjectError(findings.texts)
    return found


def _project(findings: Findings, data: Mapping[str, Any]) -> Project | None:
    parameters = space.parameters(findings, data)
    limits = space.constraints(findings, data, parameters)
    space.baseline(findings, data, parameters, limits)
    wanted = goals.goals(findings, data)
    constraints = goals.constraints(findings, data, wanted)
    tracked = goals.tracked(findings, data, wanted)
    names = data["parameters"] if isinstance(data.get("parameters"), dict) else {}
    objective = program.objective(findings, data, names)
    where = place.where(findings, data)
    early = _early(findings, data, wanted, tracked)
    if findings.texts or objective is None or where is None:
        return None
    parallel = data.get("parallel", {})
    budget = data["budget"]
    time = budget.get("time")
    elsewhere = {
        "job_output_dir": data.get("directory"),
        "synchronous": parallel.get("synchronous"),
        "retries": data.get("retries"),
        "seed": data.get("seed"),
    }
    config = {key: each for key, each in elsewhere.items() if each is not None}
    return Project(
        name=data.get("name"),
        parameters=parameters,
        parameter_constraints=tuple(text for text, _ in limits),
        baseline=data.get("baseline"),
        goals=wanted,
        constraints=constraints,
        tracked_metrics=tracked,
        objective=objective,
        where=where,
        trials=budget["trials"],
        seconds=None if time is None else keys.seconds("budget.time", time),
        early_stopping=early,
        global_stopping=_strategy(data.get("global_stopping")),
        config={"job_output_dir": "outputs", **data.get("config", {}), **config},
    )


def _early(
    findings: Findings, data: Mapping[str, Any], wanted: tuple[Goal, ...], tracked: tuple[str, ...]
) -> bool | Stopping | None:
    given = data.get("early_stopping")
    if given is None or isinstance(given, bool):
        several = len(wanted) > 1
        if given and several:
            findings.add(
                ("early_stopping",),
                "early_stopping is true, and there are several objectives; Ax compares the curves of one "
                "metric. Name it: {strategy: percentile, metric: " + wanted[0].metric + "}.",
            )
        return given
    if not isinstance(given, dict) or not findings.good("early_stopping"):
        return None
    metric = given.get("metric")
    recorded = [*(goal.metric for goal in wanted), *tracked]
    if metric is None and len(wanted) > 1:
        findings.add(
            ("early_stopping",),
            "early_stopping lacks 'metric', which says whose curves are compared where there are several "
            "objectives.",
        )
    elif metric is not None and wanted and metric not in recorded:
        findings.wrong(("early_stopping", "metric"), metric, " or ".join(recorded), recorded)
    return _strategy(given)


def _strategy(given: Any) -> Stopping | None:
    if not isinstance(given, dict):
        return None
    return Stopping(given["strategy"], {key: each for key, each in given.items() if key != "strategy"})
