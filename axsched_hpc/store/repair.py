"""Mending a journal that cannot be read: what is readable is kept, what was computed is found again.

The repaired journal is one new segment that stands for all that was before it, and it appears whole: a kill
at any time leaves the old journal or the new one. The old segments stay where they are and count no more; a
copy of them is kept in ``journal-before-repair-N/``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from axsched_hpc.core.errors import AxSchedError, JournalError
from axsched_hpc.core.events import DriverClosed, DriverOpened, LeaseTaken
from axsched_hpc.core.salvage import Dropped, Record, Salvaged, salvage
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from axsched_hpc.store import finding, journal
from axsched_hpc.store.holder import TAKEOVER
from axsched_hpc.store.lease import Lease, first_record
from axsched_hpc.store.writer import JournalWriter


@dataclass(frozen=True)
class Examined:
    """What a repair has found, and would do.

    Attributes
    ----------
    error
        Why the journal cannot be used; None where it can.
    salvaged
        What the repaired journal will hold; ``dropped`` has the lines that cannot be read, too.
    unusable
        Files beside the journal that cannot be read, in words.
    """

    error: str | None
    salvaged: Salvaged
    unusable: tuple[str, ...]


def examine(layout: Layout, *, before: int | None = None) -> Examined:
    """Look at an experiment directory without changing anything.

    Parameters
    ----------
    before
        Leaves out the segments from that epoch on.

    Raises
    ------
    JournalError
        The journal was written by a later version, or a file of it cannot be opened.
    """
    try:
        found, unusable = finding.find(layout)
        error = _error(layout, before)
        records, dropped = _records(layout, before)
    except OSError as problem:
        raise JournalError(
            f"{problem.filename or layout.root} cannot be read ({problem.strerror or problem}). Nothing was "
            "changed.",
            file=str(problem.filename or layout.root),
        ) from problem
    salvaged = salvage(records, found)
    dropped = sorted([*dropped, *salvaged.dropped], key=lambda each: (each.file, each.line))
    salvaged = Salvaged(salvaged.ledger, salvaged.events, tuple(dropped), salvaged.rescued, salvaged.lost)
    return Examined(error, salvaged, unusable)


def repair(
    layout: Layout,
    *,
    say: Callable[[str], None] = lambda text: None,
    wait: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> tuple[Examined, Path]:
    """Mend a journal; what was done, and where the copy of the old one is.

    Parameters
    ----------
    say, wait, monotonic
        As for :meth:`axsched_hpc.store.lease.Lease.take`.

    Raises
    ------
    ExperimentLockedError
        A driver runs the experiment.
    JournalError
        The journal was written by a later version.
    OSError
        The directory cannot be written; the old journal is as it was.
    """
    lease = Lease.take(layout, takeover=TAKEOVER, purpose="repair", say=say, wait=wait, monotonic=monotonic)
    try:
        return _mend(layout, lease.writer)
    except BaseException:
        with contextlib.suppress(OSError, AxSchedError):
            lease.writer.append([DriverClosed(time.time(), finished=False)])
        raise
    finally:
        lease.release()


def _mend(layout: Layout, writer: JournalWriter) -> tuple[Examined, Path]:
    examined = examine(layout, before=writer.epoch)
    if examined.error is None:
        raise JournalError(
            f"{layout.journal} reads well now; nothing was changed. Has another process repaired it?",
            file=str(layout.journal),
        )
    copy = _copy(layout, before=writer.epoch)
    writer.check()
    _write(layout, writer.epoch + 1, examined.salvaged)
    return examined, copy


def _write(layout: Layout, epoch: int, salvaged: Salvaged) -> None:
    events = (
        first_record(TAKEOVER, "repair", base=True),
        *salvaged.events,
        DriverClosed(time.time(), finished=False),
    )
    text = "".join(journal.encode_line(event, epoch, number) for number, event in enumerate(events, 1))
    path = layout.journal / journal.segment_name(epoch)
    if not atomic.create(path, text):
        raise JournalError(
            f"Another process has taken the experiment over while it was repaired ({path}). The journal is "
            "as it was; see `axsched status`, and repair it again.",
            file=str(path),
        )


def _copy(layout: Layout, *, before: int) -> Path:
    number = 1
    while (target := layout.root / f"journal-before-repair-{number}").exists():
        number += 1
    atomic.make_directory(target)
    for epoch in journal.epochs(layout.journal):
        if epoch < before:
            name = journal.segment_name(epoch)
            atomic.write(target / name, (layout.journal / name).read_bytes())
    return target


# ---------------------------------------------------------------- reading what can be read


def _error(layout: Layout, before: int | None) -> str | None:
    """Why the journal cannot be used."""
    try:
        ledger = journal.replay(journal.read(layout.journal, before=before))
    except JournalError as error:
        return str(error)
    what = finding.unknown(layout, ledger)
    return None if what is None else str(lost_end(layout, what))


def lost_end(layout: Layout, what: str) -> JournalError:
    """The error of a journal that knows nothing of a trial or attempt whose files are there."""
    return JournalError(
        f"{layout.journal} knows nothing of {what}, but its files are there: the end of the journal is lost. "
        f"Nothing was changed. Restore it from a backup, or let `axsched repair {layout.root}` take from the "
        "files what was computed.",
        file=str(layout.journal),
    )


def _records(layout: Layout, before: int | None) -> tuple[list[Record], list[Dropped]]:
    """The readable lines, oldest first, and those that are not."""
    segments: list[list[Record]] = []
    dropped: list[Dropped] = []
    limits: dict[str, int] = {}
    for epoch in reversed(journal.epochs(layout.journal)):
        if before is not None and epoch >= before:
            continue
        name = journal.segment_name(epoch)
        lines, damage = _segment(layout.journal / name, epoch, limits.pop(name, None))
        segments.append([line for _, line in lines])
        dropped += damage
        # Further down in a segment that a repair has made stand the records of earlier drivers.
        head = [line.event for seq, line in lines if seq <= 2]
        if any(isinstance(event, LeaseTaken) and event.base for event in head[:1]):
            limits.clear()
            break
        for event in head:
            if isinstance(event, DriverOpened):
                for earlier, size in event.previous.items():
                    limits.setdefault(earlier, size)
    dropped += [
        Dropped(str(layout.journal / name), 0, f"it is missing; a later driver read {size} bytes of it")
        for name, size in limits.items()
        if size
    ]
    return [record for segment in reversed(segments) for record in segment], dropped


def _segment(path: Path, epoch: int, limit: int | None) -> tuple[list[tuple[int, Record]], list[Dropped]]:
    data = path.read_bytes()
    found: dict[int, Record] = {}
    dropped: list[Dropped] = []
    beyond: list[Dropped] = []
    start = number = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        number += 1
        if limit is not None and start >= limit:
            beyond.append(
                Dropped(str(path), number, f"it lies beyond the {limit} bytes that were read later")
            )
        else:
            try:
                line = _new_line(data[start:end], epoch, found)
                found[line.seq] = Record(str(path), number, line.event)
            except journal.NewerFormatError as error:
                raise JournalError(journal.newer_text(path, error), file=str(path), line=number) from None
            except ValueError as error:
                torn = end == len(data) and limit is None
                why = "it is not complete: its driver was stopped while writing it" if torn else str(error)
                dropped.append(Dropped(str(path), number, why))
        start = end + 1
    unreadable = len(dropped)
    if limit is not None and len(data) < limit:
        why = f"its end is lost: it has {len(data)} bytes, and a later driver read {limit}"
        dropped.append(Dropped(str(path), number + 1, why))
    missing = max(found, default=0) - len(found)
    if missing > unreadable:
        # Not all of them are listed: a damaged number can be any.
        numbers = islice((number for number in count(1) if number not in found), min(missing, 10))
        which = ", ".join(map(str, numbers)) + (" ..." if missing > 10 else "")
        dropped.append(Dropped(str(path), 0, f"of the records {which}, some are missing"))
    # What lies beyond, in an undamaged segment, was never part of the experiment, and needs no word.
    return sorted(found.items()), dropped + (beyond if dropped else [])


def _new_line(data: bytes, epoch: int, known: Mapping[int, Record]) -> journal.Line:
    line = journal.parse_line(data)
    if line.epoch != epoch:
        raise ValueError(f"it is a record of epoch {line.epoch}")
    if line.seq in known:
        raise ValueError(f"record {line.seq} is there already, in line {known[line.seq].line}")
    return line
