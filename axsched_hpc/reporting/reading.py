"""An experiment as its directory tells it, for commands that only look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from axsched_hpc.core.best import Problem
from axsched_hpc.core.errors import ConfigError, JournalError
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


def read_experiment(directory: str | Path) -> Reading:
    """Read an experiment directory; a driver may be at work in it.

    Raises
    ------
    ConfigError
        There is no experiment in the directory.
    JournalError
        Its journal is damaged.
    """
    layout = Layout.at(directory)
    if not layout.journal.is_dir():
        raise ConfigError(
            f"{layout.root} holds no experiment: it has no journal/. "
            "Name the directory that is config['job_output_dir'] of the scheduler (default ./outputs)."
        )
    try:
        segments = journal.read(layout.journal)
        held = holder(layout)
    except OSError as error:
        raise ConfigError(f"{layout.journal} cannot be read ({error.strerror or error}).") from error
    ledger = Ledger()
    try:
        ledger.replay(journal.events(segments))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise JournalError(
            f"The journal in {layout.journal} tells of something that cannot have happened: {error}. "
            "Please report it with a copy of the journal.",
            file=str(layout.journal),
        ) from error
    problem = Problem.from_json(ledger.driver.problem if ledger.driver else {})
    return Reading(layout, ledger, problem, held)
