"""The live bar on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
        progress.update(task, completed=max(0, ended), state=_state(ledger, incumbent))

    external = len(session.ledger.trials) - session.ledger.own
    with progress:
        task = progress.add_task("", total=total, state="")
        update(None, session.ledger)
        session.listeners.append(update)
        yield


def _state(ledger: Ledger, incumbent: Incumbent) -> str:
    counts = ledger.counts
    queued = counts[TrialState.QUEUED] + counts[TrialState.PLANNED] + counts[TrialState.WAITING]
    text = f"{counts[TrialState.RUNNING]} running, {queued} queued"
    if failed := counts[TrialState.FAILED] + counts[TrialState.ABANDONED]:
        text += f", [red]{failed} failed[/red]"
    if incumbent.value is not None:
        text += f", best {incumbent.name} [green]{incumbent.value:.6g}[/green]"
    return text
