"""What a notebook shows of a scheduler, and of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axsched_hpc.core.best import best
from axsched_hpc.core.errors import AxSchedError, plural
from axsched_hpc.core.machine import Trial
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from axsched_hpc.loop.session import Session
from axsched_hpc.reporting.notebook import Fact, best_facts, experiment_facts, front_rows, notebook_html
from axsched_hpc.reporting.plain import without_directories
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.reporting.table import duration, number
from axsched_hpc.runners.base import BaseRunner

if TYPE_CHECKING:
    from axsched_hpc.scheduler.result import Result


def scheduler_html(layout: Layout, runner: BaseRunner, session: Session | None) -> str:
    """Where an experiment stands: by its session, or without one by its journal, which is only read."""
    facts: list[Fact] = [
        ("directory", str(layout.root)),
        ("runner", f"{type(runner).__name__}, {plural(runner.max_parallel, 'slot')}"),
    ]
    front: list[Trial] = []
    try:
        known = session or (read_experiment(layout.root) if atomic.listing(layout.journal) else None)
    except AxSchedError as error:
        facts.append(("trials", str(error)))
    else:
        if known is None:
            facts.append(("trials", "none yet: nothing has been run"))
        else:
            facts += experiment_facts(known.ledger, known.problem)
            if len(known.problem.objectives) > 1:
                front = best(known.ledger.trials.values(), known.problem)
    return notebook_html("AxScheduler", facts, front_rows(front))


def result_html(result: Result) -> str:
    """What was found, and what it cost."""
    facts: list[Fact] = [("trials", plural(len(result.trials), "trial"))]
    if result.best_trial is not None:
        facts += best_facts(result.best_trial, result.best_values, result.best_parameters)
    facts.append(("feasibility", result.feasibility))
    if result.hypervolume is not None:
        facts.append(("hypervolume", number(result.hypervolume.hypervolume)))
    if result.stopped_early:
        facts.append(("stopped early", plural(len(result.stopped_early), "trial")))
    if result.cancelled:
        facts.append(("cancelled", plural(len(result.cancelled), "trial")))
    if result.failures:
        last = result.failures[-1]
        facts.append(("given up", plural(len(result.failures), "trial")))
        facts.append((f" trial {last.trial}", without_directories(last.reason)))
    spent = result.seconds
    times = (("running", spent.running), ("waiting", spent.waiting), ("in Ax", spent.generating))
    facts.append(("time", ", ".join(f"{name} {duration(seconds)}" for name, seconds in times)))
    if result.stopped:
        facts.append(("ended by", result.stopped))
    front = [(arm, result.front_values[arm], point) for arm, point in result.front.items()]
    return notebook_html("Result", facts, front)
