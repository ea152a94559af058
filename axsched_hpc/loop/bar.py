"""The live bar on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from axsched_hpc.core.best import Incumbent
from axsched_hpc.core.events import Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.core.states import TrialState
from axsched_hpc.loop.session import Session

#: From so many columns on there is room for a bar.
_WIDE = 100


@contextmanager
def live_bar(session: Session, incumbent: Incumbent, total: int) -> Iterator[None]:
    """Show a bar towards ``total`` trials, on standard error, and leave its last state there."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("[bold]trials"),
        # In a narrow terminal its room is for words.
        *([BarColumn(bar_width=24)] if console.width >= _WIDE else []),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        _StateColumn(),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        console=console,
        # The line is sent whole each time, maybe over a slow connection.
        refresh_per_second=2,
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


class _StateColumn(ProgressColumn):
    """Where things stand: in one line, of which the end is cut where there is no room. Numbers are not."""

    def render(self, task: Task) -> Text:
        """The words."""
        text = Text.from_markup(task.fields["state"], overflow="ellipsis")
        text.no_wrap = True
        return text


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
    if ledger.cancelled:
        text += f", {ledger.cancelled} cancelled"
    if failed := counts[TrialState.FAILED] + counts[TrialState.ABANDONED] - ledger.cancelled:
        text += f", [red]{failed} failed[/red]"
    if incumbent.value is not None:
        text += f", best {escape(incumbent.name)} [green]{incumbent.value:.6g}[/green]"
    return text
