"""What ``axsched try`` shows of a trial: what it runs, how it ended, and what is missing."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axsched_hpc.commands.output import show, width
from axsched_hpc.core.best import Problem
from axsched_hpc.core.states import TrialState
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.evidence import Evidence, look

if TYPE_CHECKING:
    from axsched_hpc.core.machine import Trial
    from axsched_hpc.project.model import Project

#: Lines of a metric file that are shown.
_LINES = 20


def surroundings(layout: Layout, name: str, trial: Trial, token: str) -> tuple[str, dict[str, str]]:
    """The command that a worker runs for a trial's first attempt, and the variables that it sets."""
    from axsched_hpc.objectives import install, kinds, script
    from axsched_hpc.objectives.context import ObjectiveFailed, RunContext

    files = layout.attempt(trial.number, 1)
    checkpoint = layout.checkpoint(trial.number)
    where = layout.parameters(trial.number)
    context = RunContext(trial.number, 1, token, trial.parameters, where, files, files.claim, checkpoint)
    installed = install.load(layout, name)
    objective = installed.objective
    if isinstance(objective, kinds.FunctionObjective):
        return f"{objective.what}({trial.parameters})", context.variables
    if isinstance(objective, kinds.ContainerObjective):
        from axsched_hpc.objectives.containers import checks, engines
        from axsched_hpc.objectives.containers.run import container_run

        try:
            engine, _ = checks.find(objective)
        except ObjectiveFailed as error:
            return f"{shlex.join(objective.command)}\n  in {objective.image} ({error})", context.variables
        run = container_run(objective, engine, context, files.work)
        forwarded = engines.forwarded(os.environ)
        own = {key: value for key, value in run.environment if forwarded.get(key) != value}
        return f"{shlex.join(run.command)}\n  in {objective.image}, by {engine.name}", own
    parameters = where
    if objective.parameters_format != "json":
        parameters = files.root / f"parameters.{objective.parameters_format}"
    work = Path(objective.working_directory) if objective.working_directory else files.work
    own = script.own_values(context, parameters, work)
    try:
        command = script.command_for(objective, installed.files, context, own, os.environ)
    except ObjectiveFailed as error:
        return f"{shlex.join((objective.script, *objective.args))} ({error})", context.variables
    ours = {key: value for key, value in command.environment.items() if os.environ.get(key) != value}
    return f"{shlex.join(command.argv)}\n  in {command.directory}", ours


def entries(title: str, entries: Mapping[str, str]) -> str:
    room = max(map(len, entries))
    return f"\n{title}\n" + "\n".join(f"  {name:{room}}  {value}" for name, value in entries.items())


# ---------------------------------------------------------------- how it went


def problems(project: Project, layout: Layout, trial: Trial) -> list[str]:
    """What a completed trial lacks that the file needs; without its metrics it is not completed."""
    from axsched_hpc.project.model import Stopping
    from axsched_hpc.reporting.curves import read_curves

    early = project.early_stopping
    if trial.state is not TrialState.COMPLETED or not early:
        return []
    metric = early.settings.get("metric") if isinstance(early, Stopping) else None
    metric = metric or project.goals[0].metric
    curve = read_curves(layout.root).get(trial.number, {})
    if any(metric in values for values in curve.values()):
        return []
    came = (
        f"reported only {', '.join(sorted({name for each in curve.values() for name in each}))}"
        if curve
        else "reported nothing"
    )
    return [
        f"early_stopping compares the curves of {metric!r}, and the trial {came} on its way. Add a line "
        f'"1 {metric} 0.5" per step to the file that AXSCHED_PROGRESS_FILE names (in a Python function: '
        f"axsched_hpc.report(1, {metric}=0.5)), or leave early_stopping out."
    ]


def record(layout: Layout, trial: Trial) -> dict[str, Any]:
    """What ``axsched show --json`` says of it."""
    from axsched_hpc.reporting.reading import read_experiment
    from axsched_hpc.reporting.show import show_record

    return show_record(read_experiment(layout.root), trial, _evidence(layout, trial))


def tell(project: Project, layout: Layout, trial: Trial, problems: Sequence[str]) -> None:
    """Show how it ended: as axsched show, with how its metrics were read."""
    from axsched_hpc.reporting.reading import read_experiment
    from axsched_hpc.reporting.show import show_text

    for source in _sources(project, layout, trial):
        show(f"\n{source}")
    evidence = _evidence(layout, trial)
    last = trial.attempts[-1] if trial.attempts else None
    if last is not None and last.failure is not None and evidence[last.number].tail:
        # It has just been printed as it came.
        last = replace(last, failure=replace(last.failure, stderr_tail=()))
        trial = replace(trial, attempts=(*trial.attempts[:-1], last))
        evidence[last.number] = replace(evidence[last.number], tail=())
    # With nothing to compare it with, that it is the best is no news.
    reading = replace(read_experiment(layout.root), problem=Problem(()))
    show("\n" + show_text(reading, trial, evidence, now=time.time(), width=width()))
    missing = [name for name in project.tracked_metrics if name not in (trial.metrics or {})]
    if trial.metrics is not None and missing:
        show(f"\nNote: {', '.join(missing)} of tracked_metrics was not reported. A run goes on without it.")
    for problem in problems:
        show(f"\nProblem: {problem}")


def _evidence(layout: Layout, trial: Trial) -> dict[int, Evidence]:
    return {each.number: look(layout.attempt(trial.number, each.number)) for each in trial.attempts}


def _sources(project: Project, layout: Layout, trial: Trial) -> list[str]:
    """Where its metrics come from, and how they were read."""
    from axsched_hpc.io import atomic
    from axsched_hpc.project.model import Function

    files, found = layout.attempt(trial.number, len(trial.attempts)), []
    if isinstance(project.objective, Function):
        return ["Its metrics are what the function returned."] if trial.metrics is not None else []
    extracted = {each.metric for each in project.objective.extract}
    # Where all are read from its output, the worker has written that file.
    own = not extracted or not extracted.issuperset(trial.metrics or ())
    if own and files.metrics.name in atomic.listing(files.root):
        text = files.metrics.read_text(encoding="utf-8", errors="replace")
        form = "JSON" if text.lstrip().startswith("{") else "lines: NAME VALUE [ERROR]"
        lines = "\n".join(f"  {line}" for line in text.splitlines()[:_LINES])
        found.append(f"It wrote {files.metrics}, which is read as {form}\n{lines}")
    if project.objective.extract and trial.metrics is not None:
        found.append(
            "Read from what it wrote:\n"
            + "\n".join(
                f"  {each.metric} by {each.kind} {each.address} in {each.file} ({each.which})"
                for each in project.objective.extract
            )
        )
    return found
