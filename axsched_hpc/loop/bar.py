"""The live bar on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from axsched_hpc.core.best import Incumbent
from axsched_hpc.core.events import Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState
from axsched_hpc.loop.session import Session


@contextmanager
def live_bar(session: Session, incumbent: Incumbent, total: int) -> Iterator[None]:
    """Show a bar towards ``total`` trials, on standard error, and leave its last state there."""
    progress = Progress(
        TextColumn("[bold]trials"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )

    def update(event: Event | None, ledger: Ledger) -> None:
        ended = sum(ledger.counts[s] for s in TrialState if s.final) - external
        wanted = ledger.changes.total(total)
        progress.update(task, total=wanted, completed=max(0, ended), state=_state(ledger, incumbent))

    external = len(session.ledger.trials) - session.ledger.own
    streams = (sys.stderr, sys.stdout)
    with progress, _lines_above(streams):
        task = progress.add_task("", total=total, state="")
        update(None, session.ledger)
        session.listeners.append(update)
        yield


@contextmanager
def _lines_above(streams: tuple[TextIO, TextIO]) -> Iterator[None]:
    """Let log handlers that write to the terminal print above the bar.

    While the bar is live, rich stands in for ``sys.stderr`` and ``sys.stdout``; handlers hold the streams of
    before, and would write into the bar's line.
    """
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    moved = [
        (handler, handler.stream)
        for handler in {handler for logger in loggers for handler in logger.handlers}
        if isinstance(handler, logging.StreamHandler) and handler.stream in streams
    ]
    for handler, stream in moved:
        handler.setStream(sys.stderr if stream is streams[0] else sys.stdout)
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)


def _state(ledger: Ledger, incumbent: Incumbent) -> str:
    counts = ledger.counts
    queued = counts[TrialState.QUEUED] + counts[TrialState.PLANNED] + counts[TrialState.WAITING]
    text = f"{counts[TrialState.RUNNING]} running, {queued} queued"
    if ledger.changes.halted:
        text = f"[yellow]{'stopping' if ledger.changes.stopping else 'paused'}[/yellow], {text}"
    if stopped := counts[TrialState.EARLY_STOPPED]:
        text += f", {stopped} stopped early"
    if failed := counts[TrialState.FAILED] + counts[TrialState.ABANDONED]:
        text += f", [red]{failed} failed[/red]"
    if incumbent.value is not None:
        text += f", best {incumbent.name} [green]{incumbent.value:.6g}[/green]"
    return text
