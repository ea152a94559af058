"""What the driver saw of the queue when it looked last, for those who watch it. It is news, and no record:
nothing is decided by it, and it may be missing or out of date.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field

from axsched_hpc.core import typed
from axsched_hpc.io import atomic, document
from axsched_hpc.io.layout import Layout


@dataclass(frozen=True)
class Queue:
    """The slots, and why jobs wait.

    Attributes
    ----------
    slots
        Attempts that may be under way at a time; None where nobody has told.
    waits
        The scheduler's reason -> the trials whose jobs wait for it.
    """

    slots: int | None = None
    waits: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def reasons(self) -> dict[int, str]:
        """Trial -> the reason."""
        return {trial: reason for reason, trials in self.waits.items() for trial in trials}


def write(layout: Layout, queue: Queue, *, mode: int | None = None) -> None:
    """Write it.

    Raises
    ------
    OSError
        It cannot be written.
    """
    atomic.write(layout.queue, document.encode(asdict(queue)), mode=mode)


def read(layout: Layout) -> Queue:
    """What was written last; nothing where there is no such file, or one that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        found: Queue = typed.read(Queue, document.read(layout.queue))
        return found
    return Queue()
