"""A journal that is watched while a driver appends to it: at each look only what is new is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from axsched_hpc.core.errors import JournalError
from axsched_hpc.core.events import DriverOpened, Event
from axsched_hpc.core.ledger import Ledger
from axsched_hpc.io import atomic
from axsched_hpc.store import journal
from axsched_hpc.store.holder import Holder, changed, holder_of


class Listener(Protocol):
    """Whoever wants to be told of each event, right after the ledger has taken it in."""

    def __call__(self, event: Event, ledger: Ledger) -> None:
        """Take an event in."""


L = TypeVar("L", bound=Listener)


class Follower(Generic[L]):
    """Follows a journal.

    The last segment is read on from where its last complete group ended. All is read anew where that is not
    enough: for a new driver, who says how much of the earlier segments counts, and after whatever is odd,
    such as a segment that has become shorter because half an append was taken back.

    Parameters
    ----------
    directory
        The journal's directory.
    begin
        Makes a listener, for a reading from the beginning.

    Attributes
    ----------
    ledger
        The state of the experiment as it was at the last look.
    listener
        Who was told of all its events.
    holder
        Who has made the last segment.
    """

    def __init__(self, directory: Path, begin: Callable[[], L]) -> None:
        self._directory = directory
        self._begin = begin
        self._epoch = self._size = self._seq = 0
        self._first: Event | None = None
        self._last: Event | None = None
        self.ledger = Ledger()
        self.listener = begin()
        self.holder: Holder | None = None

    def look(self) -> None:
        """Take in what has happened since the last look.

        Raises
        ------
        FileNotFoundError
            There is no journal now.
        OSError
            It cannot be read.
        JournalError
            It is damaged; what was known before is still there.
        """
        epochs = journal.epochs(self._directory)
        if not epochs:
            raise FileNotFoundError(f"{self._directory} holds no journal")
        if epochs[-1] != self._epoch or not self._read_on():
            self._read_all(epochs[-1])

    def _read_on(self) -> bool:
        """Take in what was appended to the last segment; False where all has to be read anew."""
        path = self._directory / journal.segment_name(self._epoch)
        seen, size = changed(path)
        if size < self._size:
            return False
        if size > self._size:
            data = atomic.read_bytes(path, self._size)
            try:
                events, read = journal.whole_groups(path, data, self._epoch, self._seq)
                for event in events:
                    if isinstance(event, DriverOpened):
                        return False
                    self.ledger.take(event)
                    self.listener(event, self.ledger)
            except (ValueError, JournalError):
                self._epoch = 0  # whatever comes of reading all: this is no place to go on from
                return False
            self._size += read
            self._seq += len(events)
            self._last = events[-1] if events else self._last
        self.holder = holder_of(self._epoch, seen, size, self._first, self._last)
        return True

    def _read_all(self, epoch: int) -> None:
        seen, size = changed(self._directory / journal.segment_name(epoch))
        segments = journal.read(self._directory)
        ledger, listener = Ledger(), self._begin()
        for event in journal.replayed(segments, ledger):
            listener(event, ledger)
        last = segments[-1] if segments else None
        # A segment without a record that counts is none yet: it is looked at anew.
        self._epoch, self._size, self._seq, self._first, self._last = 0, 0, 0, None, None
        if last is not None and last.epoch == epoch:
            self._epoch, self._size, self._seq = epoch, last.size, len(last.events)
            self._first, self._last = last.events[0], last.events[-1]
        self.ledger, self.listener = ledger, listener
        self.holder = holder_of(epoch, seen, size, self._first, self._last)
