"""An experiment as its directory tells it, for commands that only look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.best import Problem
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal
from axsched_hpc.store.holder import Holder, holder


@dataclass(frozen=True)
class Reading:
    """What the journal said when it was read."""

    layout: Layout
    ledger: Ledger
    problem: Problem
    holder: Holder | None


def experiment_at(directory: str | Path) -> Layout:
    """The layout of a directory that holds an experiment.

    Raises
    ------
    ConfigError
        There is no experiment in it.
    """
    layout = Layout.at(directory)
    if not layout.journal.is_dir():
        raise ConfigError(
            f"{layout.root} holds no experiment: it has no journal/. "
            "Name the directory that is config['job_output_dir'] of the scheduler (default ./outputs)."
        )
    return layout


def read_experiment(directory: str | Path) -> Reading:
    """Read an experiment directory; a driver may be at work in it.

    Raises
    ------
    ConfigError
        There is no experiment in the directory.
    JournalError
        Its journal is damaged.
    """
    layout = experiment_at(directory)
    try:
        segments = journal.read(layout.journal)
        held = holder(layout)
    except OSError as error:
        raise ConfigError(f"{layout.journal} cannot be read ({error.strerror or error}).") from error
    ledger = journal.replay(segments)
    problem = Problem.from_json(ledger.driver.problem if ledger.driver else {})
    return Reading(layout, ledger, problem, held)
