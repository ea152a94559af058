"""An experiment as its directory tells it, for commands that only look."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from axsched_hpc.core.best import Problem
from axsched_hpc.core.changes import Change
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.core.events import Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.machine import Trial
from axsched_hpc.core.record import Record
from axsched_hpc.core.states import TrialState
from axsched_hpc.io import atomic, requests
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import journal
from axsched_hpc.store.holder import Holder, holder

_NAME_IT = "Name the directory: `directory` of a project file, config['job_output_dir'] of a script"


class Reading(Record):
    """What the journal said when it was read."""

    layout: Layout
    ledger: Ledger
    problem: Problem
    holder: Holder | None
    #: Requests without an answer, by id; None for one that cannot be read.
    requests: tuple[tuple[str, Change | None], ...] = ()
    #: Of a trial whose job waits: the scheduler's reason, as a driver that is at work saw it last.
    waits: Mapping[int, str] = field(default_factory=dict)


def experiment_at(directory: str | Path | None = None) -> Layout:
    """The layout of a directory that holds an experiment.

    Parameters
    ----------
    directory
        None for the experiment that belongs to where one is: ``./outputs``, or else the current directory or
        the nearest one above it.

    Raises
    ------
    ConfigError
        There is no experiment.
    """
    if directory is None:
        return _nearest(Path.cwd())
    layout = Layout.at(directory)
    if not layout.journal.is_dir():
        raise ConfigError(
            f"{layout.root} holds no experiment: it has no journal/. "
            f"{_NAME_IT} (default ./outputs)."
            f"{_below(layout.root)}"
        )
    return layout


def _nearest(here: Path) -> Layout:
    outputs = here / "outputs"
    for place in (outputs, here, *here.parents):
        layout = Layout.at(place)
        # A directory of that name may be anybody's, a diary for example: it has to hold a segment.
        if journal.epochs(layout.journal):
            return layout
    instead = _below(outputs) or _below(here)
    raise ConfigError(
        f"There is no experiment in {outputs}, in {here}, or in a directory above it. {_NAME_IT}.{instead}"
    )


def _below(place: Path) -> str:
    """Where experiments are instead, one level down."""
    with contextlib.suppress(OSError):
        found = [each for each in sorted(place.iterdir()) if journal.epochs(Layout.at(each).journal)]
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        there = "There is one in" if len(found) == 1 else "There are some:"
        return f" {there} {', '.join(map(str, found[:3]))}{more}." if found else ""
    return ""


def driven(reading: Reading, *, now: float) -> bool:
    """Whether a driver is at work, as far as can be seen from here."""
    who = reading.holder
    if who is None or who.ended:
        return False
    alive = who.alive()
    return now - who.seen <= who.takeover if alive is None else alive


def driver_text(reading: Reading, *, now: float) -> str:
    """Who drives, and when there was a sign of life: ``process 77 on n1 (last sign of life 3s ago)``."""
    who = reading.holder
    if who is None or who.host is None:
        return "the driver"
    return f"process {who.pid} on {who.host} (last sign of life {max(0, round(now - who.seen))} s ago)"


def parameter_names(layout: Layout) -> list[str] | None:
    """The parameters of the experiment, by its definition; None where that does not tell."""
    try:
        return list(json.loads(atomic.read_text(layout.definition))["axsched"]["fingerprint"]["parameters"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def trial_of(reading: Reading, number: int) -> Trial:
    """A trial by its number.

    Raises
    ------
    ConfigError
        There is none of that number; the message says which there are.
    """
    trials = reading.ledger.trials
    if number in trials:
        return trials[number]
    if not trials:
        known = "It has no trials yet"
    elif len(trials) == 1:
        known = f"Its only trial is {min(trials)}"
    else:
        known = f"Its trials are {min(trials)} to {max(trials)}"
    raise ConfigError(f"{reading.layout.root} has no trial {number}. {known}.")


def read_experiment(directory: str | Path | None = None) -> Reading:
    """Read an experiment directory; a driver may be at work in it.

    Parameters
    ----------
    directory
        As of :func:`experiment_at`.

    Raises
    ------
    ConfigError
        There is no experiment in the directory.
    JournalError
        Its journal is damaged.
    """
    return read_history(directory)[0]


def read_history(directory: str | Path | None = None) -> tuple[Reading, list[Event]]:
    """The same, and all that has happened, oldest first."""
    layout = experiment_at(directory)
    try:
        segments = journal.read(layout.journal, ax=False)
        held = holder(layout, segments=segments)
        # After the journal: what was answered meanwhile is not there any more.
        asked = tuple(requests.waiting(layout))
    except OSError as error:
        raise ConfigError(f"{layout.journal} cannot be read ({error.strerror or error}).") from error
    ledger = journal.replay(segments)
    problem = Problem.from_json(ledger.driver.problem if ledger.driver else {})
    asked = tuple(each for each in asked if each[0] not in ledger.changes.answers)
    reading = Reading(layout, ledger, problem, held, asked)
    if ledger.counts[TrialState.QUEUED] and driven(reading, now=time.time()):
        from axsched_hpc.io import queue  # few looks need it

        waits = queue.read(layout).reasons()
        reading = reading.changed(waits=waits)
    return reading, list(journal.events(segments))
