"""What is checked and written before an experiment directory is driven."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from axsched_hpc._version import __version__
from axsched_hpc.core import redefinition
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError, JournalError
from axsched_hpc.core.events import DefinitionChanged, Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import access, atomic, owner
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import finding, journal, repair

if TYPE_CHECKING:
    from axsched_hpc.ax_bridge.bridge import AxBridge

log = logging.getLogger("axsched_hpc")


def make_directories(layout: Layout, permissions: str) -> None:
    """Make the experiment directory and what is always in it, and check that it is this user's alone.

    Raises
    ------
    ConfigError
        It cannot be written, a symbolic link leads out of it, or what is in it is another user's.
    """
    mode = access.DIRECTORY_MODES[permissions]
    inside = (layout.journal, layout.inbox, layout.trials, layout.submitit, layout.objective)
    try:
        for path in (layout.root, *inside):
            atomic.make_directory(path, mode=mode)
        access.require_inside(layout.root, *inside)
    except OSError as error:
        raise unwritable(layout, error) from error
    if not os.access(layout.root, os.W_OK | os.X_OK) or not os.access(layout.journal, os.W_OK | os.X_OK):
        raise unwritable(layout, PermissionError("no permission to write"))
    for path in (layout.root, *inside):
        atomic.remove_stale(path)
    segments = [layout.journal / name for name in atomic.listing(layout.journal)]
    for path in (layout.journal, *segments):
        if not owner.is_mine(path, beside=layout.journal):
            raise ConfigError(
                f"{path} belongs to another user (number {path.lstat().st_uid}), and only the one who began "
                "an experiment may go on with it: its jobs would run what that user has left there. "
                "`axsched status` reads it; to go on, copy the directory and own the copy."
            )


def unwritable(layout: Layout, error: OSError) -> ConfigError:
    """The error for an experiment directory in which nothing can be begun."""
    reason = error.strerror or str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    todo = "Free some space and start again, or choose a directory" if full else "Choose a directory"
    return ConfigError(
        f"config['job_output_dir'] is {str(layout.root)!r}, which cannot be written ({reason}). "
        f"Nothing was submitted. {todo} of your own on the filesystem that all nodes share."
    )


def check_resume(layout: Layout, resume: str, *, there: bool) -> None:
    """Refuse what ``config["resume"]`` forbids.

    Raises
    ------
    ConfigError
        It does.
    """
    if resume == "never" and there:
        raise ConfigError(
            f"{layout.root} already holds an experiment, and config['resume'] is 'never'. "
            "Choose another job_output_dir, or 'auto' to go on with it."
        )
    if resume == "must" and not there:
        raise ConfigError(
            f"{layout.root} holds no experiment, and config['resume'] is 'must'. "
            "Check the path of job_output_dir, or use 'auto' to start a new one."
        )


def reconciled(
    layout: Layout, bridge: AxBridge, ledger: Ledger | None = None, *, time: float = 0.0
) -> DefinitionChanged | None:
    """How an experiment that is passed in differs from the one in a directory, where that can be gone on with
    all the same; None where it does not.

    Parameters
    ----------
    ledger
        Of the directory's journal. Without it, the experiment as it began is what is compared with: what
        cannot follow from that cannot follow from what it has become either, which is wider.

    Raises
    ------
    ExperimentMismatchError
        It is another experiment; has the differences. Nothing was changed.
    JournalError
        Its definition cannot be read.
    """
    if layout.definition.name not in atomic.listing(layout.root):
        return None
    from axsched_hpc.ax_bridge import definition

    if ledger is not None and ledger.redefinitions:
        before = ledger.redefinitions[-1].after
    else:
        before = definition.recorded(json.loads(read_definition(layout)))
    after = bridge.defined
    differences = definition.compare(before.fingerprint, after.fingerprint)
    # Where Ax itself drives, it is Ax that knows how points are made.
    if all(each.sound for each in differences) and (bridge.keeps_snapshot or not differences):
        trials = 0 if ledger is None else len(ledger.trials)
        changes = tuple(each.change for each in differences)
        return DefinitionChanged(time, changes, trials, before, after) if changes else None
    if ledger is None:
        # The message compares with what the experiment is now, and names its trials.
        return reconciled(layout, bridge, journal.replay(journal.read(layout.journal)))
    left_out = redefinition.outside(
        after.fingerprint, {number: trial.parameters for number, trial in ledger.trials.items()}
    )
    text = "; ".join(str(each) for each in differences if not each.sound or not bridge.keeps_snapshot)
    raise ExperimentMismatchError(
        f"{layout.root} holds another experiment than the one passed in: {text}. {_outside(left_out)}"
        "Nothing was changed. Pass in the same definition to go on, or use another job_output_dir for the "
        f"new one, where scheduler.attach({str(layout.root)!r}) brings the trials of this one that fit."
    )


def _outside(trials: list[int]) -> str:
    if not trials:
        return ""
    more = f" and {len(trials) - 5} more" if len(trials) > 5 else ""
    names = ", ".join(map(str, trials[:5])) + more
    return f"Outside of the new one {'is trial' if len(trials) == 1 else 'are the trials'} {names}. "


def last_change(layout: Layout) -> DefinitionChanged | None:
    """How the definition in a directory was changed last; None where it is as it was written.

    Raises
    ------
    JournalError
        The journal is damaged.
    """
    kind = DefinitionChanged.kind.encode()
    paths = [layout.journal / name for name in atomic.listing(layout.journal) if name.endswith(".jsonl")]
    if not any(kind in atomic.read_bytes(path) for path in paths):
        return None  # without decoding thousands of lines
    changes = journal.replay(journal.read(layout.journal)).redefinitions
    return changes[-1] if changes else None


def read_bridge(layout: Layout, **options: Any) -> AxBridge:
    """The experiment in a directory as it is defined now, without what its journal tells of trials.

    Raises
    ------
    ConfigError, JournalError
        It cannot be read.
    """
    from axsched_hpc.ax_bridge.bridge import AxBridge

    change = last_change(layout)
    return AxBridge.from_text(
        read_definition(layout),
        str(layout.definition),
        redefined=None if change is None else change.after,
        **options,
    )


def file_mode(permissions: str) -> int:
    """The mode of files in the root, which may be a directory that the user made with a mode of his own."""
    return access.DIRECTORY_MODES[permissions] & 0o666


def refuse_lost_end(layout: Layout, ledger: Ledger) -> None:
    """Refuse a journal that was cut between two lines: what is lost would be computed again.

    Raises
    ------
    JournalError
        There are files of a trial or attempt of which it knows nothing.
    """
    what = finding.unknown(layout, ledger)
    if what is not None:
        raise repair.lost_end(layout, what)


def settle_definition(layout: Layout, bridge: AxBridge, events: Iterable[Event] | None, *, mode: int) -> str:
    """Write the definition of a new experiment, or check the trials that an old one began with; its digest.

    Parameters
    ----------
    events
        The old one's journal; None for a new one.

    Raises
    ------
    ExperimentMismatchError, JournalError
        A trial is missing or another; the definition cannot be read.
    OSError
        It cannot be written.
    """
    if events is None:
        text = json.dumps(bridge.definition()) + "\n"
        atomic.write(layout.definition, text, mode=mode)
        return _digest(text)
    from axsched_hpc.ax_bridge import definition
    from axsched_hpc.ax_bridge.taking import recorded

    text = read_definition(layout)
    definition.check_base(json.loads(text), bridge.experiment, recorded=recorded(events))
    return _digest(text)


def read_definition(layout: Layout) -> str:
    """The definition of the experiment in a directory, as it was written.

    Raises
    ------
    JournalError
        It is missing or not JSON.
    """
    try:
        text = atomic.read_text(layout.definition)
        json.loads(text)
    except (OSError, ValueError) as error:
        raise JournalError(
            f"{layout.definition} cannot be read ({error}). It is written once, when an experiment starts; "
            "restore it from a backup.",
            file=str(layout.definition),
        ) from None
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str]:
    """What this driver runs with, for the record."""
    found = {"axsched_hpc": __version__, "python": platform.python_version()}
    for package in ("ax-platform", "botorch", "gpytorch", "torch", "submitit"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
