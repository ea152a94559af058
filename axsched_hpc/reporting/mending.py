"""What is said before a journal is repaired, or an experiment taken from its holder."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from axsched_hpc.core.errors import plural
from axsched_hpc.io import processes
from axsched_hpc.io.layout import Layout
from axsched_hpc.reporting.records import FORMAT
from axsched_hpc.reporting.table import duration, iso
from axsched_hpc.store.holder import Holder
from axsched_hpc.store.repair import Examined


def repair_text(layout: Layout, examined: Examined) -> str:
    """What is dropped, line by line, what is made again, and what comes of it."""
    salvaged = examined.salvaged
    ledger = salvaged.ledger
    counts = ", ".join(f"{count} {word}" for word, count in ledger.tally().items())
    places = (
        f"{Path(each.file).relative_to(layout.root)}{f', line {each.line}' if each.line else ''}: {each.why}"
        for each in salvaged.dropped
    )
    return "\n".join(
        [
            f"The journal cannot be used. {examined.error}",
            *_section("Dropped:", places),
            *_section("Made again from the files of the trials:", salvaged.rescued),
            *_section("Found, and of no use:", [*salvaged.lost, *examined.unusable]),
            f"The repaired journal holds {plural(len(salvaged.events), 'record')} and "
            f"{plural(len(ledger.trials), 'trial')}{f' ({counts})' if counts else ''}.",
        ]
    )


def repair_record(layout: Layout, examined: Examined, copy: Path | None) -> dict[str, Any]:
    """The same for programs; ``copy`` is where the old journal is kept, once it is repaired."""
    salvaged = examined.salvaged
    return {
        "format": FORMAT,
        "directory": str(layout.root),
        "error": examined.error,
        "dropped": [{"file": each.file, "line": each.line, "why": each.why} for each in salvaged.dropped],
        "rescued": list(salvaged.rescued),
        "unusable": [*salvaged.lost, *examined.unusable],
        "records": len(salvaged.events),
        "counts": salvaged.ledger.tally(),
        "old_journal": None if copy is None else str(copy),
    }


def unlock_record(layout: Layout, who: Holder | None) -> dict[str, Any]:
    """From whom an experiment was taken; None: from nobody, since nobody held it."""
    taken = (
        None if who is None else {"host": who.host, "pid": who.pid, "user": who.user, "seen": iso(who.seen)}
    )
    return {"format": FORMAT, "directory": str(layout.root), "taken_from": taken}


def holder_text(layout: Layout, who: Holder, *, now: float) -> str:
    """Who holds an experiment, and what is known of him. ``now`` is in seconds since the epoch."""
    seen = f"last sign of life {duration(now - who.seen)} ago"
    if who.host is None or who.since is None:
        return f"{layout.root} is held by a process of which nothing can be read; {seen}."
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who.since))
    user = f" of {who.user}" if who.user is not None else ""
    alive = {
        None: "this machine cannot tell whether it is alive",
        True: "it is alive",
        False: "it has ended",
    }[who.alive()]
    if who.alive() and who.pid is not None and processes.stopped(who.pid):
        alive = "it is alive, and stopped"
    return f"{layout.root} is held by process {who.pid}{user} on {who.host}, since {since}; {seen}; {alive}."


def _section(title: str, lines: Iterable[str]) -> list[str]:
    found = [f"  {line}" for line in lines]
    return [title, *found] if found else []
