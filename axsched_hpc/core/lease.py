"""Who may drive an experiment: a pure judgement over what can be seen of the one who holds it.

The rules, in words. A holder on this machine is alive as long as its process is, even if it is stopped; when
its process has ended, the next driver takes over at once. A holder on another machine cannot be asked: it
shows signs of life (see :mod:`axsched_hpc.store.lease`), and counts as dead after ``takeover`` seconds
without one. The filesystem's clock and this machine's may differ, so that a third of that time has to be
watched in any case. A judgement can be wrong where a machine sleeps; that a superseded driver can then do no
harm is the part of the journal (:mod:`axsched_hpc.store.writer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Signs of life in the time after which a holder without one counts as dead.
BEATS = 6

#: The share of that time that is watched in any case.
WATCHED_SHARE = 1 / 3

#: Seconds for which a lock without a holder is believed to be that of a driver which is just starting.
STARTING = 5.0


class Judgement(StrEnum):
    """What a process that wants to drive may do."""

    TAKE = "take"
    REFUSE = "refuse"  #: another one drives
    WAIT = "wait"  #: look again a little later


@dataclass(frozen=True)
class Sighting:
    """What is seen of the holder.

    Attributes
    ----------
    held
        Whether somebody holds the experiment: the journal's last segment has no end.
    alive
        Whether the holder's process runs; None where this machine cannot know.
    locked
        Whether another process holds the lock of ``driver.lock``. A filesystem without locks says False.
    silent
        Seconds since the holder's last sign of life, on the filesystem's clock.
    watched
        Seconds for which no sign has come while this process looked, on its own clock.
    stirred
        Whether a sign has come while this process looked.
    """

    held: bool
    alive: bool | None = None
    locked: bool = False
    silent: float = 0.0
    watched: float = 0.0
    stirred: bool = False


def judge(seen: Sighting, *, takeover: float) -> Judgement:
    """Whether to take the experiment over. ``takeover`` is in seconds, as the holder has promised it."""
    if not seen.held:
        # A lock without a holder: a driver that has not come to its segment, or the lock of a dead machine.
        return Judgement.WAIT if seen.locked and seen.watched < STARTING else Judgement.TAKE
    if seen.alive:
        return Judgement.REFUSE
    if seen.alive is False and not seen.locked:
        return Judgement.TAKE
    if seen.stirred:
        return Judgement.REFUSE
    silent = max(seen.silent, seen.watched)
    if silent >= takeover and seen.watched >= WATCHED_SHARE * takeover:
        return Judgement.TAKE
    return Judgement.WAIT
